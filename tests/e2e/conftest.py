"""What all end-to-end tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from e2e import engine

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session", autouse=True)
def _clean_up() -> Iterator[None]:
    """Remove the images that the tests pushed and pulled."""
    yield
    if engine.repositories:
        engine.remove_images()
