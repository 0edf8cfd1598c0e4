"""The README's matrix of platforms, runtimes and Debian releases: written from what test_platforms.py measured.

`python tests/e2e/matrix.py` puts the last record into README.md.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
RECORD = ROOT / ".cache" / "matrix.json"
START, END = "<!-- matrix: written by `make matrix` -->\n", "<!-- end of matrix -->\n"
NOT_OFFERED = "\N{EN DASH}"
NOT_RUN = "\N{WHITE CIRCLE}"
# Run on a base image that stands in for the real one: its size tells nothing.
STAND_IN = "\N{CHECK MARK}"

# runtime → Debian release → platform → bytes of the image, none for those on a stand-in
Record = dict[str, dict[str, dict[str, int | None]]]

# platform, runtime, Debian release
Cell = tuple[str, str, str]


def columns(table: dict[str, Any]) -> list[tuple[str, str]]:
    """Return runtime and release of each column."""
    return [(runtime, release) for runtime in table["runtime"] for release in table["debian_release"]]


def cells(table: dict[str, Any], record: Record) -> dict[Cell, str]:
    """Return the text of each cell: the size of what ran, in MB."""
    shown = {}
    for name, row in table["_platforms"].items():
        for runtime, release in columns(table):
            ran = record.get(runtime, {}).get(release, {})
            size = ran.get(name)
            cell = f"{size / 1e6:.1f}" if size else STAND_IN if name in ran else NOT_RUN
            shown[name, runtime, release] = cell if release in row["runtimes"][runtime] else NOT_OFFERED
    return shown


def load() -> Record:
    """Return what was run last, of each runtime and release."""
    record: Record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    return record


def save(record: Record) -> None:
    """Keep what was run; what was not stays as it is."""
    kept = load()
    for runtime, releases in record.items():
        for release, ran in releases.items():
            kept.setdefault(runtime, {}).setdefault(release, {}).update(ran)
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def markdown(heads: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table with all but its first column to the right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write(start: str, end: str, text: str) -> None:
    """Put a text between two markers of README.md, which must stand there once."""
    readme = ROOT / "README.md"
    pattern = re.escape(start) + ".*?" + re.escape(end)
    new, count = re.subn(pattern, lambda _: start + text + end, readme.read_text(encoding="utf-8"), flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{readme}: {start.strip()!r} and its end stand there {count} times")
    readme.write_text(new, encoding="utf-8")


def render(table: dict[str, Any], record: Record) -> str:
    """Return the matrix as a Markdown table."""
    shown = cells(table, record)
    heads = [f"{runtime} {release}" for runtime, release in columns(table)]
    rows = [
        [name, *(shown[name, runtime, release] for runtime, release in columns(table))] for name in table["_platforms"]
    ]
    return markdown(["platform", *heads], rows)


def read(readme: str) -> dict[Cell, str]:
    """Return the cells of the matrix that a README holds."""
    head, _, *rows = readme.partition(START)[2].partition(END)[0].strip().splitlines()
    names = [name.strip().split() for name in head.strip("|").split("|")[1:]]
    found = {}
    for row in rows:
        platform, *texts = [text.strip() for text in row.strip("|").split("|")]
        for (runtime, release), text in zip(names, texts, strict=True):
            found[platform, runtime, release] = text
    return found


def main() -> None:
    """Write the matrix into README.md."""
    table = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    if not RECORD.exists():
        raise SystemExit("nothing was run yet: run `make matrix`")
    write(START, END, render(table, load()))


if __name__ == "__main__":
    main()
