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


def next_steps(answers: dict[str, Any]) -> str:
    """Return the closing message: what to do first, and the secrets to set."""
    slug, _owner = answers["project_slug"], answers["github_owner"]
    return f"""
{slug} is ready.

  cd {slug}
  cargo run                   # http://localhost:8080
  docker buildx bake          # {answers["__platforms"]}

"""


def main() -> int:
    """Tailor the project in the current folder; return the exit status."""
    answers = json.loads(ANSWERS)
    root = Path.cwd()
    try:
        tailor_lock(root / "Cargo.lock", answers["binary_name"])
        choose_license(root, answers["license"])
    except TailorError as error:
        print(error, file=sys.stderr)
        return 1
    print(next_steps(answers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
