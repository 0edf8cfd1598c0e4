"""The generated project's GitHub workflows, in every variant: linted, pinned, in order."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from loading import ROOT, load_hook, load_script
from workflows import IMAGE_WORKFLOW, IMAGES, PLATFORMS, SECRETS, go_build, load, scripts, shell, steps, workflows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

post_gen = load_hook("post_gen_project")
bump = load_script("tools/bump.py")
PINS: dict[str, dict[str, str]] = json.loads((ROOT / "pins.json").read_text(encoding="utf-8"))
INPUTS: dict[str, dict[str, Any]] = json.loads((ROOT / "tests/data/action_inputs.json").read_text(encoding="utf-8"))


def tool(*command: str | Path, cwd: Path | None = None, stdin: str | None = None) -> None:
    """Run a checker that must have nothing to say."""
    result = subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


# Linters


@pytest.fixture(scope="session")
def actionlint() -> Path:
    return go_build("github.com/rhysd/actionlint/cmd/actionlint", "v1.7.12")


@pytest.mark.go
def test_actionlint_has_nothing_to_say(actionlint: Path, variant: Path) -> None:
    tool(actionlint, *workflows(variant), cwd=variant)


def test_zizmor_has_nothing_to_say(variant: Path) -> None:
    tool("zizmor", "--offline", "--persona", "auditor", "--strict-collection", variant / ".github")


def test_what_zizmor_ignores_has_a_reason(variant: Path) -> None:
    for path in workflows(variant):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert "zizmor:" not in line or re.search(r"# zizmor: ignore\[[a-z-]+\] \w+( \S+){3}", line), line


def test_the_schemas_hold(variant: Path) -> None:
    tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows(variant))
    tool("check-jsonschema", "--builtin-schema", "vendor.dependabot", variant / ".github/dependabot.yml")


def test_yamllint_has_nothing_to_say(variant: Path) -> None:
    tool("yamllint", "--strict", "--config-file", ROOT / ".yamllint.yaml", variant / ".github")


def test_shellcheck_has_nothing_to_say(variant: Path) -> None:
    found = scripts(variant)
    assert len(found) >= 8
    for where, script in found.items():
        assert "${{" not in script, f"{where}: values come through the environment"
        tool("shellcheck", "--shell", "bash", "-", stdin=script)


def test_every_shell_stops_at_an_error(variant: Path) -> None:
    for path in workflows(variant):
        assert load(path)["defaults"]["run"]["shell"] == "bash -euo pipefail {0}"
        assert not any("shell" in step for step in steps(load(path)))


# Pins


def test_every_action_has_its_pin() -> None:
    tool(sys.executable, ROOT / "tools/bump.py", "--check")
    used = {
        match[1]
        for path in [*workflows(ROOT / "{{cookiecutter.project_slug}}"), *workflows(ROOT)]
        for match in re.finditer(r"(?:uses|\bimage): ([\w.-]+/[\w.-]+(?:/\w+)?)", path.read_text(encoding="utf-8"))
    }
    assert used == set(PINS)


def test_bump_rewrites_from_the_list() -> None:
    pins = {"a/b": {"version": "v2", "commit": "f" * 40}}
    new = "uses: a/b@" + "f" * 40 + " # v2\n"
    for old in ("uses: a/b@v1\n", "uses: a/b@" + "0" * 40 + " # v1.0\n", new):
        assert bump.pin(old, pins) == new
    assert bump.pin("uses: a/b/sub@v1\n", pins) == new.replace("a/b", "a/b/sub")
    assert bump.pin("image: a.io/b/c:1\n", {"a.io/b/c": {"version": "2"}}) == "image: a.io/b/c:2\n"
    with pytest.raises(KeyError, match="c/d"):
        bump.pin("uses: c/d@v1\n", pins)


def test_every_input_exists(variant: Path) -> None:
    assert {action: row["version"] for action, row in INPUTS.items()} == {
        action: row["version"] for action, row in PINS.items() if "commit" in row
    }
    for path in workflows(variant):
        for step in steps(load(path)):
            if "uses" in step:
                action = step["uses"].partition("@")[0]
                assert set(step.get("with", {})) <= set(INPUTS[action]["inputs"]), (path.name, step["name"])


# Structure


def test_jobs_have_what_they_need_and_no_more(variant: Path, answers: dict[str, Any]) -> None:
    write = {"id-token", "attestations"} | ({"packages"} if answers["registry"] == "ghcr.io" else set())
    for path in workflows(variant):
        workflow = load(path)
        assert workflow["permissions"] == {}
        assert "cancel-in-progress" in workflow["concurrency"]
        assert set(workflow["on"]) - {"schedule"} == {"push", "pull_request", "workflow_dispatch"}
        for key, job in workflow["jobs"].items():
            assert job["timeout-minutes"] <= 60, key
            scopes = {scope for scope, level in job["permissions"].items() if level == "write"}
            publishes = any(step.get("uses", "").startswith("actions/attest@") for step in job["steps"])
            logs_in = any(step.get("uses", "").startswith("docker/login-action@") for step in job["steps"])
            assert scopes == (write if publishes else write & {"packages"} if logs_in else set()), key
        for step in steps(workflow):
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"] == {"persist-credentials": False}


def test_ghcr_needs_no_secret(variant: Path, answers: dict[str, Any]) -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in workflows(variant))
    assert bool(re.search(r"secrets\.|DOCKERHUB|Docker Hub", text)) == (answers["registry"] == "docker.io")
    assert bool(re.search(r"ghcr\.io|packages: write", text)) == (answers["registry"] == "ghcr.io")


def test_the_steps_come_in_order(variant: Path, answers: dict[str, Any]) -> None:
    """All images are run and weighed before anyone logs in; QEMU is there before the builder."""
    (job, *_) = load(variant / IMAGE_WORKFLOW)["jobs"].values()
    order = [step.get("uses", step["name"]).partition("@")[0] for step in job["steps"]]
    weigh = next(i for i, step in enumerate(order) if step.startswith("Run and weigh"))
    builds = [i for i, step in enumerate(order) if step == "docker/build-push-action"]
    assert order.index("actions/checkout") < order.index("docker/setup-qemu-action")
    assert order.index("docker/setup-qemu-action") < order.index("docker/setup-buildx-action") < builds[0]
    images = 2 if answers["frontend"] else 1
    assert len(builds) == 2 * images
    assert builds[images - 1] < weigh < order.index("docker/login-action") < builds[images]


def test_both_kinds_of_builders_weigh_alike(bake: Callable[..., Path]) -> None:
    """The end-to-end tests of the failing cases run one of the two."""
    found = {
        script
        for builders in ("one-runner", "native-runners")
        for where, script in scripts(bake(ci_builders=builders)).items()
        if "Run and weigh" in where
    }
    assert len(found) == 1


def test_what_is_pushed_is_built_as_what_was_tested(variant: Path) -> None:
    found = [
        step["with"]
        for step in steps(load(variant / IMAGE_WORKFLOW))
        if step.get("uses", "").startswith("docker/build-push-action@")
    ]
    built, pushed = found[: len(found) // 2], found[len(found) // 2 :]
    same = ("context", "file", "platforms", "build-args")
    assert [[build.get(key) for key in same] for build in built] == [[push.get(key) for key in same] for push in pushed]
    # From the builder's own cache, even on the day on which the first build leaves the cache out.
    for push in pushed:
        assert not {"cache-from", "cache-to", "no-cache", "pull"} & set(push)


def test_the_native_runners_build_every_platform(bake: Callable[..., Path], table: dict[str, Any]) -> None:
    platforms = [
        platform for platform, row in table["_platforms"].items() if "trixie" in row["runtimes"]["debian-slim"]
    ]
    project = bake(ci_builders="native-runners", platforms=",".join(platforms), debian_release="trixie")
    workflow = load(project / IMAGE_WORKFLOW)
    rows = workflow["jobs"]["build"]["strategy"]["matrix"]["target"]
    assert [row["platform"] for row in rows] == platforms == workflow["env"]["PLATFORMS"].split(",")
    for row in rows:
        assert row["runner"] == ("ubuntu-24.04-arm" if "arm" in row["platform"] else "ubuntu-24.04")


def test_one_image_workflow_is_left(variant: Path) -> None:
    assert {path.name for path in (variant / ".github/workflows").iterdir()} == {"ci.yml", "docker-build.yml"}


def test_the_answers_arrive(bake: Callable[..., Path]) -> None:
    other = {"github_owner": "acme", "project_slug": "thing", "binary_name": "thingd", "rust_version": "1.90"}
    for builders in ("one-runner", "native-runners"):
        project = bake(ci_builders=builders, platforms="linux/arm64", registry="ghcr.io", **other)
        env = load(project / IMAGE_WORKFLOW)["env"]
        assert env["IMAGE"] == "ghcr.io/acme/thing"
        assert env["TARGET_BINARY"] == "thingd"
        assert env["PLATFORMS"] == "linux/arm64"
        assert env["RUST_VERSION"] == "1.90"
        assert load(project / ".github/workflows/ci.yml")["env"]["RUST_VERSION"] == "1.90"


def test_tailoring_twice_changes_nothing_more(variant: Path, answers: dict[str, Any], table: dict[str, Any]) -> None:
    image = IMAGES[answers["registry"]]
    full = {
        **answers,
        "__image": image,
        "__platforms": ",".join(PLATFORMS),
        "_platforms": table["_platforms"],
        "_size_limits": table["_size_limits"],
        "binary_name": "backend",
        "runtime": "debian-slim",
        "debian_release": "bookworm",
        "rust_version": "1.95",
    }
    workflow = variant / IMAGE_WORKFLOW
    before = workflow.read_bytes()
    post_gen.tailor_workflows(variant, full)
    assert workflow.read_bytes() == before


def test_the_msrv_is_the_one_that_is_declared(variant: Path) -> None:
    msrv = load(variant / ".github/workflows/ci.yml")["env"]["MSRV"]
    assert f'\nrust-version = "{msrv}"\n' in (variant / "Cargo.toml").read_text(encoding="utf-8")


def test_the_last_job_needs_all_others(variant: Path) -> None:
    jobs = load(variant / ".github/workflows/ci.yml")["jobs"]
    assert set(jobs["ci"]["needs"]) == set(jobs) - {"ci"}


@pytest.mark.parametrize(("result", "passes"), [("success", True), ("failure", False), ("skipped", False)])
def test_the_last_job_passes_when_all_others_did(project: Path, tmp_path: Path, result: str, *, passes: bool) -> None:
    needs = {"lint": {"result": "success"}, "test": {"result": result}}
    script = scripts(project)["ci.yml: Check that every job passed (ci)"]
    assert (shell(script, tmp_path, NEEDS=json.dumps(needs)).returncode == 0) == passes


# Versions


def version_of(project: Path, folder: Path, tag: str, declared: str) -> subprocess.CompletedProcess[str]:
    """Run the check of a tag in a workspace that declares a version."""
    manifest = (project / "Cargo.toml").read_text(encoding="utf-8")
    assert manifest.count('\nversion = "0.1.0"\n') == 1
    manifest = manifest.replace('\nversion = "0.1.0"\n', f'\nversion = "{declared}"\n')
    (folder / "Cargo.toml").write_text(manifest, encoding="utf-8")
    (folder / "output").write_text("", encoding="utf-8")
    (script,) = [script for where, script in scripts(project).items() if "Check that the tag is the version" in where]
    return shell(script, folder, GITHUB_REF_NAME=tag, GITHUB_OUTPUT=str(folder / "output"))


@pytest.mark.parametrize("version", ["1.2.3", "1.2.3-rc.1", "0.1.0"])
def test_a_tag_names_the_version(variant: Path, tmp_path: Path, version: str) -> None:
    result = version_of(variant, tmp_path, f"v{version}", version)
    assert result.returncode == 0, result.stdout
    assert (tmp_path / "output").read_text(encoding="utf-8") == f"version={version}\n"


@pytest.mark.parametrize("tag", ["v1.2.4", "v1.2", "v1.2.3-rc.1", "vnext", "nightly", "v"])
def test_a_tag_that_is_not_the_version_is_refused(variant: Path, tmp_path: Path, tag: str) -> None:
    result = version_of(variant, tmp_path, tag, "1.2.3")
    assert result.returncode == 1
    assert result.stdout == f'::error::The tag {tag} needs version = "{tag.removeprefix("v")}" in Cargo.toml\n'
    assert not (tmp_path / "output").read_text(encoding="utf-8")


@pytest.mark.parametrize("fails", [False, True])
def test_github_is_asked_for_the_newest_commit(
    variant: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    (script,) = [script for where, script in scripts(variant).items() if "newest commit of main" in where]
    gh = tmp_path / "gh"
    gh.write_text(
        '#!/bin/sh\n[ "$*" = "api repos/acme/thing/git/ref/heads/main --jq .object.sha" ] || exit 2\n'
        f"echo {'a' * 40}\nexit {int(fails)}\n",
        encoding="utf-8",
    )
    gh.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    output = tmp_path / "output"
    result = shell(script, tmp_path, GITHUB_REPOSITORY="acme/thing", GITHUB_OUTPUT=str(output))
    assert result.returncode == int(fails), result.stderr
    assert fails or output.read_text(encoding="utf-8") == f"sha={'a' * 40}\n"


# The secrets


@pytest.mark.parametrize("missing", [[], ["DOCKERHUB_TOKEN"], ["DOCKERHUB_USERNAME", "DOCKERHUB_TOKEN"]])
@pytest.mark.parametrize("builders", ["one-runner", "native-runners"])
def test_a_missing_secret_is_named(
    bake: Callable[..., Path], tmp_path: Path, builders: str, missing: list[str]
) -> None:
    project = bake(registry="docker.io", ci_builders=builders)
    workflow = load(project / IMAGE_WORKFLOW)
    first = next(iter(workflow["jobs"].values()))["steps"][0]
    assert first["env"] == {secret: f"${{{{ secrets.{secret} != '' }}}}" for secret in SECRETS}
    given = {secret: str(secret not in missing).lower() for secret in SECRETS}
    result = shell(
        first["run"], tmp_path, **given, GITHUB_SERVER_URL="https://github.com", GITHUB_REPOSITORY="acme/thing"
    )
    assert result.returncode == bool(missing)
    assert [line.split()[2] for line in result.stdout.splitlines()] == missing
    for line in result.stdout.splitlines():
        assert line.startswith("::error::The secret DOCKERHUB_")
        assert "https://github.com/acme/thing/settings/secrets/actions" in line
        assert "gh secret set DOCKERHUB_" in line


@pytest.mark.parametrize("file", ["README.md", IMAGE_WORKFLOW])
def test_the_secrets_are_documented(bake: Callable[..., Path], file: str) -> None:
    for secret in SECRETS:
        assert f"gh secret set {secret}" in (bake(registry="docker.io") / file).read_text(encoding="utf-8")
        assert secret not in (bake(registry="ghcr.io") / file).read_text(encoding="utf-8")


def test_the_closing_message_names_the_secrets() -> None:
    base = {"project_slug": "thing", "github_owner": "acme", "__platforms": "linux/amd64", "frontend": False}
    hub = post_gen.next_steps({**base, "registry": "docker.io"})
    ghcr = post_gen.next_steps({**base, "registry": "ghcr.io"})
    for secret in SECRETS:
        assert f"gh secret set {secret}" in hub
        assert secret not in ghcr


def test_both_ways_to_run_everything_install_the_same() -> None:
    versions = [
        re.findall(r"cargo-deny@([0-9.]+)|toolchain install ([0-9.]+)", (ROOT / name).read_text(encoding="utf-8"))
        for name in (".ci/run", ".github/workflows/ci.yml")
    ]
    assert sorted(versions[0]) == sorted(versions[1])
    assert len(versions[0]) == 2
