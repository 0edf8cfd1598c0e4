"""Write the pins of pins.json into every workflow: `uses: OWNER/ACTION@COMMIT # VERSION` and `image: NAME:VERSION`.

    python tools/bump.py            rewrite what differs
    python tools/bump.py --check    only tell what differs, exit 1 if anything does

To move an action, change its version and commit in pins.json, then run this. Take the commit that the tag points to,
not the tag's own object: `git ls-remote https://github.com/OWNER/ACTION 'refs/tags/VERSION^{}'`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
USES = re.compile(r"(?P<key>\buses: )(?P<action>[\w.-]+/[\w.-]+)(?P<path>[\w./-]*)@\S+(?: # \S+)?")

IMAGE = re.compile(r"(?P<key>\bimage: )(?P<image>[a-z]+\.io/[\w./-]+):\S+")


def workflows(root: Path) -> list[Path]:
    """Return the workflows of the template and of this repository."""
    folders = [root / ".github/workflows", root / "{{cookiecutter.project_slug}}/.github/workflows"]
    return sorted(path for folder in folders for path in folder.glob("*.yml"))


def pin(text: str, pins: dict[str, dict[str, str]]) -> str:
    """Return a workflow's text with each action and image as pinned; raise KeyError for one without a pin."""

    def replace(match: re.Match[str]) -> str:
        entry = pins[match["action"]]
        return f"{match['key']}{match['action']}{match['path']}@{entry['commit']} # {entry['version']}"

    text = IMAGE.sub(lambda match: f"{match['key']}{match['image']}:{pins[match['image']]['version']}", text)
    return USES.sub(replace, text)


def main() -> int:
    """Rewrite or check the workflows; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 if a workflow differs")
    check = parser.parse_args().check
    pins = json.loads((ROOT / "pins.json").read_text(encoding="utf-8"))
    differs = False
    for path in workflows(ROOT):
        text = path.read_bytes().decode()
        try:
            pinned = pin(text, pins)
        except KeyError as error:
            print(f"{path.relative_to(ROOT)}: pins.json has no {error}", file=sys.stderr)
            return 1
        if pinned != text:
            differs = True
            print(f"{path.relative_to(ROOT)}: {'differs from pins.json' if check else 'rewritten'}")
            if not check:
                path.write_bytes(pinned.encode())
    return 1 if check and differs else 0


if __name__ == "__main__":
    sys.exit(main())
