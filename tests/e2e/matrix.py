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

# platform, runtime, Debian release
Cell = tuple[str, str, str]


def columns(table: dict[str, Any]) -> list[tuple[str, str]]:
    """Return runtime and release of each column."""
    return [(runtime, release) for runtime in table["runtime"] for release in table["debian_release"]]


def cells(table: dict[str, Any], sizes: dict[str, dict[str, dict[str, int]]]) -> dict[Cell, str]:
    """Return the text of each cell: the size of what ran, in MB."""
    shown = {}
    for name, row in table["_platforms"].items():
        for runtime, release in columns(table):
            size = sizes.get(runtime, {}).get(release, {}).get(name)
            cell = f"{size / 1e6:.1f}" if size else NOT_RUN
            shown[name, runtime, release] = cell if release in row["runtimes"][runtime] else NOT_OFFERED
    return shown


def render(table: dict[str, Any], sizes: dict[str, dict[str, dict[str, int]]]) -> str:
    """Return the matrix as a Markdown table."""
    shown = cells(table, sizes)
    heads = [f"{runtime} {release}" for runtime, release in columns(table)]
    lines = [["platform", *heads], ["---", *["---:"] * len(heads)]]
    lines += [
        [name, *(shown[name, runtime, release] for runtime, release in columns(table))] for name in table["_platforms"]
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


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
    sizes = json.loads(RECORD.read_text(encoding="utf-8"))
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    pattern = re.escape(START) + ".*?" + re.escape(END)
    new, count = re.subn(pattern, lambda _: START + render(table, sizes) + END, text, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{readme}: the matrix's markers stand there {count} times")
    readme.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
