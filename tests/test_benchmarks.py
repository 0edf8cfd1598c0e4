"""The benchmark's report says what was measured."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
import report
from e2e import engine
from loading import ROOT

if TYPE_CHECKING:
    from pathlib import Path

RESULTS = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))


def test_the_report_and_the_chart_are_those_of_the_results() -> None:
    assert (ROOT / "benchmarks" / "results.md").read_text(encoding="utf-8") == report.markdown(RESULTS)
    assert (ROOT / "benchmarks" / "chart.svg").read_text(encoding="utf-8") == report.chart(RESULTS)


def test_the_readme_shows_the_chart_and_the_ratios() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "(benchmarks/chart.svg)" in readme
    assert report.ratios(RESULTS) in readme


def test_medians_are_taken_over_the_rounds() -> None:
    runs = [
        {"contestant": "ours", "scenario": "cold", "round": i, "seconds": seconds, "peak": 0}
        for i, seconds in enumerate((5, 1, 3), 1)
    ]
    assert report.medians({"runs": runs}) == {("ours", "cold"): 3}


def test_a_ratio_above_its_limit_is_told() -> None:
    runs = [
        {"contestant": name, "scenario": "cold", "round": 1, "seconds": seconds, "peak": 0}
        for name, seconds in (("ours", 130), ("floor", 100), ("original", 260))
    ]
    text = report.ratios({"runs": runs})
    assert "| first build / cargo alone | 1.300 | 1.25 | **no** | 1 |" in text
    assert "| first build / original design | 0.500 | 0.6 | yes | 1 |" in text


@pytest.mark.parametrize("part", ["floor", "ours", "original"])
def test_the_contestants_of_the_ratios_were_measured(part: str) -> None:
    assert (part, "cold") in report.medians(RESULTS)


@pytest.mark.parametrize("peer", sorted(path.name for path in (ROOT / "benchmarks" / "peers").iterdir()))
def test_fresh_mounts_are_as_many_as_before(tmp_path: Path, peer: str) -> None:
    """A mount for each platform stays that."""
    (tmp_path / "project").mkdir()
    text = (ROOT / "benchmarks" / "peers" / peer).read_text(encoding="utf-8")
    (tmp_path / "project" / "Dockerfile").write_text(text, encoding="utf-8")
    copied = (engine.copy(tmp_path / "project", tmp_path / "copy") / "Dockerfile").read_text(encoding="utf-8")
    before, after = (re.findall(r"type=cache.*?,id=([^,\s]+)", it) for it in (text, copied))
    assert [name.rpartition("-")[0] for name in after] == before
    assert copied.count("type=cache") == text.count("type=cache")
