"""What the end-to-end tests leave behind."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", autouse=True)
def little_disk() -> Iterator[None]:
    """With E2E_PRUNE=1, empty the builder's cache after each module: together they leave tens of GB."""
    yield
    if os.environ.get("E2E_PRUNE") == "1":
        subprocess.run(["docker", "buildx", "prune", "--all", "--force"], check=True, capture_output=True)
