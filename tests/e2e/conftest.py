"""What the end-to-end tests need, and what they leave behind."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from e2e import engine

if TYPE_CHECKING:
    from collections.abc import Iterator


def runs_foreign_images() -> bool:
    """Return whether the engine can start a program of another platform."""
    platforms = ("linux/amd64", "linux/arm64")
    return all(engine.run("debian:bookworm-slim", "true", platform=name).returncode == 0 for name in platforms)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what the engine cannot run, with the reason; conftest.py skips what needs an engine where there is none."""
    here = [
        item
        for item in items
        if item.path.is_relative_to(Path(__file__).parent) and not item.get_closest_marker("skip")
    ]
    foreign = [item for item in here if not item.get_closest_marker("without_qemu")]
    if here and not engine.registry_answers():
        lacking, reason = here, f"no registry at {engine.REGISTRY}: docker run -d -p 5000:5000 registry:2"
    elif foreign and not runs_foreign_images():
        lacking, reason = foreign, "no emulator: docker run --privileged --rm tonistiigi/binfmt --install all"
    else:
        return
    for item in lacking:
        item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="module", autouse=True)
def little_disk() -> Iterator[None]:
    """With E2E_PRUNE=1, empty the builder's cache after each module: together they leave tens of GB."""
    yield
    if os.environ.get("E2E_PRUNE") == "1":
        subprocess.run(["docker", "buildx", "prune", "--all", "--force"], check=True, capture_output=True)
