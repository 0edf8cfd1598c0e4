"""Helpers that tests import: hooks as modules, TOML on every Python."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
TABLE: dict[str, Any] = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))


def load_script(path: str) -> ModuleType:
    """Import a Python file of this repository that is no module of a package."""
    name = Path(path).stem
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def load_hook(name: str) -> ModuleType:
    """Import a hook as it stands: the Jinja in it is inside strings and comments."""
    return load_script(f"hooks/{name}.py")


def load_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    return data
