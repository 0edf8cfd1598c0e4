"""Fixtures: generated projects, each combination of answers baked once, and what the machine offers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from loading import ROOT, TABLE

if TYPE_CHECKING:
    from collections.abc import Callable

# The tools of .venv, for `pytest` called by its path.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

# The questions whose answers shape the image workflow.
SHAPES = {"registry": TABLE["registry"], "ci_builders": TABLE["ci_builders"]}
if "frontend" in TABLE:
    SHAPES["frontend"] = [False, True]
VARIANTS = [dict(zip(SHAPES, values, strict=True)) for values in product(*SHAPES.values())]

# With REQUIRE_ALL=1 a test that cannot run, or is skipped for any reason, fails the run: CI has everything.
REQUIRE_ALL = os.environ.get("REQUIRE_ALL") == "1"


def docker_answers() -> bool:
    """Return whether there is a Docker Engine with buildx."""
    return bool(shutil.which("docker")) and all(
        subprocess.run(["docker", *command], capture_output=True, check=False).returncode == 0
        for command in (["version"], ["buildx", "version"])
    )


def missing(marker: str) -> str | None:
    """Return why tests of a marker cannot run here, or None when they can."""
    if marker in ("docker", "without_qemu") and not docker_answers():
        return "no Docker Engine with buildx answers"
    if marker == "cargo" and not shutil.which("cargo"):
        return "cargo is not installed"
    if marker == "go" and not shutil.which("go"):
        return "Go is not installed"
    if marker == "browser" and not (shutil.which("chromium") and shutil.which("chromedriver")):
        return "chromium or chromedriver is not installed"
    return None


# What a test could not do here, although it passed: shown at the end.
REMARKS: pytest.StashKey[list[str]] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    """Start without remarks."""
    config.stash[REMARKS] = []


@pytest.fixture(scope="session")
def remark(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Return a function that has a line shown at the end of the run."""
    return pytestconfig.stash[REMARKS].append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the remarks."""
    if config.stash[REMARKS]:
        terminalreporter.section("remarks")
        for line in config.stash[REMARKS]:
            terminalreporter.line(line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what the machine cannot run, with the reason."""
    reasons = {m: missing(m) for m in ("cargo", "docker", "go", "browser", "without_qemu")}
    for item in items:
        for marker, reason in reasons.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that had to run everything and did not."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if REQUIRE_ALL and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def table() -> dict[str, Any]:
    """Return cookiecutter.json."""
    return TABLE


@pytest.fixture(scope="session")
def bake(cookies_session: Any) -> Callable[..., Path]:
    """Return a function that generates a project from answers, once for each combination of them."""
    done: dict[str, Path] = {}

    def bake_(**answers: Any) -> Path:
        key = json.dumps(answers, sort_keys=True)
        if key not in done:
            result = cookies_session.bake(extra_context=answers)
            assert result.exception is None, result.exception
            assert result.exit_code == 0
            done[key] = result.project_path
        return done[key]

    return bake_


@pytest.fixture(scope="session")
def project(bake: Callable[..., Path]) -> Path:
    """Return the default project. Read-only: tests that change it take a copy."""
    return bake()


@pytest.fixture(scope="session", params=VARIANTS, ids=lambda answers: "-".join(map(str, answers.values())))
def answers(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the answers of a variant: each registry, kind of builders, with and without a frontend."""
    chosen: dict[str, Any] = request.param
    return chosen


@pytest.fixture(scope="session")
def variant(answers: dict[str, Any], bake: Callable[..., Path]) -> Path:
    """Return the project of a variant. Read-only, too."""
    return bake(**answers)


@pytest.fixture(scope="session")
def cargo_env() -> dict[str, str]:
    """Return an environment in which all bakes share one target folder."""
    return {**os.environ, "CARGO_TARGET_DIR": str(ROOT / ".cache" / "target"), "CARGO_TERM_COLOR": "never"}
