"""Tailor the plain files to the answers, take away what was not chosen, say what comes next.

Runs in the generated project, at every `cruft update` too: idempotent, and without network, git or Docker.
Standard library only. With the default answers it changes no file.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The only line that Jinja touches. The answers arrive as data: nothing in them can become code.
ANSWERS = r"""{{ cookiecutter | tojson }}"""
# {% raw %}

DEFAULT_BINARY = "backend"


class TailorError(Exception):
    """The template and this hook disagree; the project would be wrong in silence."""


@dataclass(frozen=True)
class Edit:
    """A replacement in a plain file that must match exactly `count` times."""

    old: str
    new: str
    count: int = 1


def tailor(path: Path, edits: list[Edit]) -> None:
    """Apply the edits to one file; raise TailorError when one does not match as often as it must."""
    text = path.read_bytes().decode()
    for edit in edits:
        found, done = text.count(edit.old), text.count(edit.new)
        if done == edit.count and found == done * edit.new.count(edit.old):
            continue  # an earlier run did it, or there is nothing to do
        if found != edit.count:
            raise TailorError(f"{path}: expected {edit.old!r} {edit.count} time(s), found it {found} time(s)")
        text = text.replace(edit.old, edit.new)
    path.write_bytes(text.encode())


def remove(path: Path) -> None:
    """Remove a file or a folder; one that is gone already is fine."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def tailor_lock(path: Path, binary: str) -> None:
    """Give the service's package its name in Cargo.lock, and the packages cargo's order.

    Cargo sorts packages by name and would want to rewrite the file otherwise: `cargo build --locked` fails.
    """
    header, *packages = path.read_bytes().decode().split("[[package]]\n")
    names = [re.match(r'name = "(.+)"\n', package) for package in packages]
    known = [name[1] for name in names if name]
    if len(known) != len(packages):
        raise TailorError(f"{path}: a package without a name")
    if binary != DEFAULT_BINARY and DEFAULT_BINARY in known:
        if binary in known:
            raise TailorError(
                f"binary_name: {binary!r} is the name of a crate that the service depends on; "
                "take another, for example 'backend'"
            )
        packages[known.index(DEFAULT_BINARY)] = packages[known.index(DEFAULT_BINARY)].replace(
            f'name = "{DEFAULT_BINARY}"', f'name = "{binary}"'
        )
        known[known.index(DEFAULT_BINARY)] = binary
    order = sorted(range(len(packages)), key=lambda i: known[i])  # stable: versions of one name stay in order
    blocks = [packages[i].rstrip("\n") + "\n" for i in order]
    path.write_bytes((header + "\n".join("[[package]]\n" + block for block in blocks)).encode())


def choose_frontend(root: Path, *, frontend: bool) -> None:
    """Keep the frontend and the lock file that knows it, or take both away without a trace."""
    lock = root / "Cargo.frontend.lock"
    if frontend and lock.exists():
        lock.replace(root / "Cargo.lock")
    elif not frontend:
        for name in ("Cargo.frontend.lock", "Dockerfile.frontend", "crates/frontend"):
            remove(root / name)


def choose_license(root: Path, license_: str) -> None:
    """Keep the text of the chosen licence, as LICENSE unless there are two."""
    texts = {"MIT": root / "LICENSE-MIT", "Apache-2.0": root / "LICENSE-APACHE"}
    chosen = license_.split(" OR ")
    if license_ != "Proprietary":
        remove(root / "LICENSE")
    for name, path in texts.items():
        if name not in chosen:
            remove(path)
        elif len(chosen) == 1:
            path.replace(root / "LICENSE")


WORKFLOWS = Path(".github/workflows")

# The plain workflows are those of Docker Hub; what ghcr.io does differently follows.
SECRETS_TEXT = """\
# Two repository secrets, needed by what pushes:
#
#   DOCKERHUB_USERNAME   the Docker Hub account that pushes
#   DOCKERHUB_TOKEN      its access token with "Read & Write": Docker Hub, Account settings, Personal access tokens
#
# Set them in the repository's Settings, Secrets and variables, Actions, or with
#
#   gh secret set DOCKERHUB_USERNAME
#   gh secret set DOCKERHUB_TOKEN
"""
NO_SECRETS_TEXT = """\
# No secret to set: GitHub's own token of the run may push to ghcr.io.
"""
SECRETS_CHECK = """\
    steps:
      - name: Check that the secrets are set
        if: env.PUBLISH == 'true'
        env:
          DOCKERHUB_USERNAME: ${{ secrets.DOCKERHUB_USERNAME != '' }}
          DOCKERHUB_TOKEN: ${{ secrets.DOCKERHUB_TOKEN != '' }}
        run: |
          page=$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/settings/secrets/actions
          missing=0
          for name in DOCKERHUB_USERNAME DOCKERHUB_TOKEN; do
            [ "${!name}" = true ] && continue
            echo "::error::The secret $name is not set. Set it at $page or with: gh secret set $name"
            missing=1
          done
          exit "$missing"

      - name: Check out
"""
LOGIN = """\
          username: ${{ secrets.DOCKERHUB_USERNAME }}
          password: ${{ secrets.DOCKERHUB_TOKEN }}
"""
GHCR_LOGIN = """\
          registry: ghcr.io
          username: ${{ github.actor }}
          password: ${{ github.token }}
"""


def ghcr_edits(*, native: bool) -> list[Edit]:
    """Return what makes a workflow push to ghcr.io."""
    gates = [(" an environment would gate the pull requests, too", "build" if native else "docker")]
    if native:
        gates.append((" the build job has no environment, either", "publish"))
    jobs = 2 if native else 1
    return [
        Edit(SECRETS_TEXT, NO_SECRETS_TEXT),
        Edit(SECRETS_CHECK, "    steps:\n      - name: Check out\n"),
        Edit(LOGIN, GHCR_LOGIN, jobs),
        *(Edit(f"  {job}: # zizmor: ignore[secrets-outside-env]{reason}\n", f"  {job}:\n") for reason, job in gates),
        Edit("    permissions:\n", "    permissions:\n      packages: write # push the image\n", jobs),
    ]


# What a step of the service's image says, and what the frontend's says instead. The builder is the same one, so the
# frontend's build has no say in pulling and caching.
FRONTEND = [
    ("          context: .\n", "          context: .\n          file: Dockerfile.frontend\n"),
    ("          pull: true\n", ""),
    ("          no-cache: ${{ github.event_name == 'schedule' }}\n", ""),
    ("format('type=gha,scope={0}', env.TARGET_BINARY)", "'type=gha,scope=frontend'"),
    ("${{ env.IMAGE }}", "${{ env.IMAGE }}-frontend"),
    ("${{ env.TARGET_BINARY }}", "frontend"),
    (
        "format('type=gha,mode=max,ignore-error=true,scope={0}', env.TARGET_BINARY)",
        "'type=gha,mode=max,ignore-error=true,scope=frontend'",
    ),
    ("scope={0}-{1}', env.TARGET_BINARY, ", "scope=frontend-{0}', "),
    ("id: meta\n", "id: meta-frontend\n"),
    ("id: push\n", "id: push-frontend\n"),
    ("steps.meta.", "steps.meta-frontend."),
    ("steps.push.", "steps.push-frontend."),
]


def step(workflow: str, name: str) -> str:
    """Return the text of a step without blank lines."""
    found = re.search(rf"^      - name: {name}\n(?: {{8}}.*\n)+", workflow, re.MULTILINE)
    if not found:
        raise TailorError(f"the workflow has no step {name!r}")
    return found[0]


def add_for_frontend(workflow: str, name: str, new_name: str, comment: str = "") -> Edit:
    """Return what adds a step for the frontend's image after the service's."""
    service = step(workflow, name)
    frontend = re.sub(r"^ +# .*\n", "", service, flags=re.MULTILINE).replace(name, new_name, 1)
    for old, new in FRONTEND:
        frontend = frontend.replace(old, new)
    return Edit(service, f"{service}\n{comment}{frontend}")


def frontend_edits(workflow: str, image: str, binary: str, *, native: bool) -> list[Edit]:
    """Return what makes a workflow build and push the frontend's image as well, after the tests of both."""
    binaries = "          BINARIES: ${{ env.TARGET_BINARY }}"
    comment = "      # By the same builder: what the images share is compiled once.\n"
    edits = [
        Edit("weighs the image for every platform", "weighs both images for every platform"),
        add_for_frontend(workflow, "Build", "Build the frontend", comment),
        Edit(f"{binaries}\n", f"{binaries} frontend\n"),
    ]
    if not native:
        pushed = "            ${{ env.IMAGE }}@${{ steps.push.outputs.digest }}\n"
        frontend = """\
            ${{ steps.meta-frontend.outputs.tags }}
            ${{ env.IMAGE }}-frontend@${{ steps.push-frontend.outputs.digest }}
"""
        return [
            *edits,
            add_for_frontend(workflow, "Name the tags", "Name the frontend's tags"),
            add_for_frontend(workflow, "Push", "Push the frontend"),
            add_for_frontend(workflow, "Attest", "Attest the frontend"),
            Edit(pushed, pushed + frontend),
        ]
    digest = "            ${{ env.TARGET_BINARY }}/${{ steps.push.outputs.digest }}\n"
    runner = "    runs-on: ubuntu-24.04\n    timeout-minutes: 15\n"
    matrix = f"""\
    strategy:
      fail-fast: false
      matrix:
        include:
          - {{image: {image}, binary: {binary}}}
          - {{image: {image}-frontend, binary: frontend}}
    env:
      IMAGE: ${{{{ matrix.image }}}}
      TARGET_BINARY: ${{{{ matrix.binary }}}}
"""
    return [
        *edits,
        add_for_frontend(workflow, "Push by digest", "Push the frontend by digest"),
        Edit(digest, digest + "            frontend/${{ steps.push-frontend.outputs.digest }}\n"),
        Edit("    name: Tag\n", "    name: Tag ${{ matrix.binary }}\n"),
        Edit(runner, runner + matrix),
    ]


def build_edits(workflow: str, answers: dict[str, Any], rust: Edit) -> list[Edit]:
    """Return the edits of the image workflow."""
    native = answers["ci_builders"] == "native-runners"
    image, binary, platforms = answers["__image"], answers["binary_name"], answers["__platforms"]
    edits = [
        Edit(
            f"env:\n  IMAGE: docker.io/yourorg/my-service\n  TARGET_BINARY: {DEFAULT_BINARY}\n"
            "  PLATFORMS: linux/amd64,linux/arm64,linux/arm/v7\n",
            f"env:\n  IMAGE: {image}\n  TARGET_BINARY: {binary}\n  PLATFORMS: {platforms}\n",
        ),
        rust,
        Edit(
            "  SIZE_LIMIT_MB: 100\n",
            f"  SIZE_LIMIT_MB: {answers['_size_limits'][answers['runtime']][answers['debian_release']]}\n",
        ),
    ]
    if native:

        def rows(runners: dict[str, str]) -> str:
            return "".join(f"          - {{platform: {name}, runner: {runner}}}\n" for name, runner in runners.items())

        default = {
            "linux/amd64": "ubuntu-24.04",
            "linux/arm64": "ubuntu-24.04-arm",
            "linux/arm/v7": "ubuntu-24.04-arm",
        }
        chosen = {name: answers["_platforms"][name]["runner"] for name in platforms.split(",")}
        edits.append(Edit("        target:\n" + rows(default), "        target:\n" + rows(chosen)))
    if answers["registry"] == "ghcr.io":
        edits += ghcr_edits(native=native)
    if answers["frontend"]:
        edits += frontend_edits(workflow, image, binary, native=native)
    return edits


def tailor_workflows(root: Path, answers: dict[str, Any]) -> None:
    """Keep the chosen one of the two image workflows, and set the answers in all workflows."""
    folder = root / WORKFLOWS
    variant = folder / "docker-build.native-runners.yml"
    if variant.exists() and answers["ci_builders"] == "native-runners":
        variant.replace(folder / "docker-build.yml")
    remove(variant)
    rust = Edit('  RUST_VERSION: "1.95"\n', f'  RUST_VERSION: "{answers["rust_version"]}"\n')
    build = folder / "docker-build.yml"
    tailor(build, build_edits(build.read_bytes().decode(), answers, rust))
    tailor(folder / "ci.yml", [rust])


def next_steps(answers: dict[str, Any]) -> str:
    """Return the closing message: what to do first, and the secrets to set."""
    slug, repository = answers["project_slug"], f"{answers['github_owner']}/{answers['project_slug']}"
    secrets = "No secret to set: the workflow pushes to ghcr.io with GitHub's own token.\n"
    if answers["registry"] == "docker.io":
        secrets = f"""\
To let the workflow push to Docker Hub, set two secrets (README.md, "Secrets"):

  gh secret set DOCKERHUB_USERNAME --repo {repository}
  gh secret set DOCKERHUB_TOKEN --repo {repository}    # an access token with "Read & Write"
"""
    run = f"cargo run --bin {answers['binary_name']}" if answers["frontend"] else "cargo run"
    return f"""
{slug} is ready.

  cd {slug} && git init
  {run:<27} # http://localhost:8080
  docker buildx bake          # {answers["__platforms"]}

{secrets}"""


def main() -> int:
    """Tailor the project in the current folder; return the exit status."""
    answers = json.loads(ANSWERS)
    root = Path.cwd()
    try:
        choose_frontend(root, frontend=bool(answers["frontend"]))
        tailor_lock(root / "Cargo.lock", answers["binary_name"])
        choose_license(root, answers["license"])
        tailor_workflows(root, answers)
    except TailorError as error:
        print(error, file=sys.stderr)
        return 1
    print(next_steps(answers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
# {% endraw %}
