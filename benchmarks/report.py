"""Write what results.json says as results.md, as chart.svg and into README.md.

    python benchmarks/report.py

Every figure is the median of the rounds. Each ratio is of medians of one run.
"""

from __future__ import annotations

import json
import statistics
import sys
from html import escape
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "tests"))

from e2e import matrix  # noqa: E402

NAMES = {
    "floor": "cargo alone, no Docker",
    "ours": "this template",
    "original": "stage per platform, apt-get",
    "docker-guide": "Docker's guide",
    "xx": "xx style: clang, lld",
    "zigbuild": "cargo-zigbuild",
    "qemu": "compiled under QEMU",
}
SCENARIOS = {
    "cold": "first build",
    "edit": "after an edit",
    "dependency": "after a new dependency",
    "version": "after a new version",
    "layers": "after an edit, layers only",
    "import": "after an edit, imported cache",
    "one": "first build, arm64 alone",
}
# What was measured: contestant and scenario
Figure = tuple[str, str]
# name, what is divided by what, at most
RATIOS: list[tuple[str, Figure, Figure, float]] = [
    ("first build / cargo alone", ("ours", "cold"), ("floor", "cold"), 1.25),
    ("first build / original design", ("ours", "cold"), ("original", "cold"), 0.60),
    ("edit, layers only / first build", ("ours", "layers"), ("ours", "cold"), 0.15),
    ("edit / first build", ("ours", "edit"), ("ours", "cold"), 0.08),
    ("new dependency / first build", ("ours", "dependency"), ("ours", "cold"), 0.40),
    ("first build of three platforms / of one", ("ours", "cold"), ("ours", "one"), 2.6),
    ("exported cache / original design's", ("ours", "cache bytes"), ("original", "cache bytes"), 0.60),
    ("arm64 / compiled under QEMU", ("ours", "one"), ("qemu", "one"), 0.10),
]


def measured(results: dict[str, Any]) -> dict[Figure, list[float]]:
    """Return contestant and scenario → seconds of each round; with ` bytes` or ` peak` behind the scenario, bytes."""
    found: dict[Figure, list[float]] = {}
    for run in results["runs"]:
        who, what = run["contestant"], run["scenario"]
        found.setdefault((who, what), []).append(run["seconds"])
        if run["peak"]:
            found.setdefault((who, f"{what} peak"), []).append(run["peak"])
        if "bytes" in run:
            found.setdefault((who, f"{what} bytes"), []).append(run["bytes"])
        for platform, image in run.get("images", {}).items():
            for kind, size in image.items():
                found.setdefault((who, f"{platform} {kind}"), []).append(size)
    return found


def medians(results: dict[str, Any]) -> dict[Figure, float]:
    """Return the medians of what was measured."""
    return {key: statistics.median(values) for key, values in measured(results).items()}


def ratios(results: dict[str, Any]) -> str:
    """Return the table of ratios, with the limit of each and whether it holds; those not measured are left out.

    The rounds are those of the figure that has fewer.
    """
    figures = measured(results)
    rows = []
    for name, top, bottom, limit in RATIOS:
        if top in figures and bottom in figures:
            value = statistics.median(figures[top]) / statistics.median(figures[bottom])
            rounds = min(len(figures[top]), len(figures[bottom]))
            rows.append([name, f"{value:.3f}", f"{limit:g}", "yes" if value <= limit else "**no**", str(rounds)])
    over = [values for (who, what), values in figures.items() if who == "ours" and what.endswith("over_base")]
    if over:
        most = max(map(max, over))
        holds = "yes" if most <= 5e6 else "**no**"
        rows.append(["image over its base, MB", f"{most / 1e6:.2f}", "5", holds, str(len(over[0]))])
    return matrix.markdown(["", "ratio", "at most", "holds", "rounds"], rows)


def markdown(results: dict[str, Any]) -> str:
    """Return the report."""
    figures = measured(results)
    rounds = max(len(values) for values in figures.values())

    def cell(who: str, what: str, unit: float = 1, digits: int = 0) -> str:
        values = figures.get((who, what), [])
        if not values:
            return ""
        text = f"{statistics.median(values) / unit:.{digits}f}"
        return text if len(values) == rounds else f"{text} ({len(values)})"

    known = [name for name in NAMES if any(who == name for who, _ in figures)]
    machine = results["machine"]
    platforms = ["linux/amd64", "linux/arm64", "linux/arm/v7"]
    sizes = [
        [
            NAMES[who],
            *(
                f"{cell(who, f'{name} bytes', 1e6, 1)} / {cell(who, f'{name} compressed', 1e6, 1)}"
                for name in platforms
            ),
        ]
        for who in known
        if (who, "linux/amd64 bytes") in figures
    ]
    hardware = f"{machine['cores']} cores ({machine['cpu']}), {machine['memory'] / 2**30:.0f} GiB"
    return f"""# Measured

Written by `make bench`: medians of {rounds} rounds, or of as many as stand behind a figure in parentheses.
On {hardware}, Docker {machine["docker"]}. What is built is the default project, for
linux/amd64, linux/arm64 and linux/arm/v7, and pushed to a registry on the same machine.

## Ratios

{ratios(results)}
## Seconds

{matrix.markdown(["", *SCENARIOS.values()], [[NAMES[who], *(cell(who, what) for what in SCENARIOS)] for who in known])}
An edit changes what the service answers. "Layers only" is the same with cache mounts that nobody used yet, so that the
crates are downloaded again; "imported cache" on a builder that has nothing but the exported cache. QEMU compiles one
platform. A first build includes all that is installed: zigbuild's published image would spare apt and pip.

## Exported cache and memory

{
        matrix.markdown(
            ["", "cache, MB compressed", "export, s", "peak memory of the first build, MB"],
            [
                [NAMES[who], cell(who, "cache bytes", 1e6), cell(who, "cache"), cell(who, "cold peak", 1e6)]
                for who in known
            ],
        )
    }
Memory is that of the processes, without the page cache.

## Images, MB uncompressed / compressed

{matrix.markdown(["", *platforms], sizes)}
This template's images and those of the original design hold tini and CA certificates, the others the binary alone.
"""


PANELS = [("cold", "First build, three platforms"), ("edit", "After an edit"), ("dependency", "After a new dependency")]


def chart(results: dict[str, Any]) -> str:
    """Return the chart as SVG: seconds of each contestant, a panel for each scenario."""
    figures = medians(results)
    bar, gap, label, width = 18, 6, 190, 420
    parts, y = [], 16
    for what, title in PANELS:
        shown = [(name, figures[who, what], who) for who, name in NAMES.items() if (who, what) in figures]
        if not shown:
            continue
        parts.append(f'<text x="0" y="{y}" font-weight="bold">{escape(title)}, seconds</text>')
        y += 10
        longest = max(seconds for _, seconds, _ in shown)
        for name, seconds, who in shown:
            length = max(1, round(width * seconds / longest))
            color = {"ours": "#d9480f", "floor": "#adb5bd"}.get(who, "#74a0c8")
            parts.append(f'<text x="{label - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
            parts.append(f'<rect x="{label}" y="{y}" width="{length}" height="{bar}" rx="2" fill="{color}"/>')
            parts.append(f'<text x="{label + length + 6}" y="{y + 13}">{seconds:.0f}</text>')
            y += bar + gap
        y += 22
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-12 -12 {label + width + 72} {y}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="#212529" role="img" aria-label="Build times">\n'
        f'<rect x="-12" y="-12" width="100%" height="100%" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


START, END = "<!-- ratios: written by `make bench` -->\n", "<!-- end of ratios -->\n"


def main() -> None:
    """Write the report and the chart, and the ratios into the README."""
    results = json.loads((FOLDER / "results.json").read_text("utf-8"))
    matrix.write(START, END, ratios(results))
    (FOLDER / "results.md").write_text(markdown(results), "utf-8")
    (FOLDER / "chart.svg").write_text(chart(results), "utf-8")


if __name__ == "__main__":
    main()
