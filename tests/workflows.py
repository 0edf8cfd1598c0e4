"""Workflows as tests read them."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import yaml
from loading import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMAGE_WORKFLOW = ".github/workflows/docker-build.yml"
PLATFORMS = ["linux/amd64", "linux/arm64", "linux/arm/v7"]
# Docker Hub's namespaces have no hyphen.
IMAGES = {"docker.io": "docker.io/yourorg/my-service", "ghcr.io": "ghcr.io/your-org/my-service"}
SECRETS = {"DOCKERHUB_USERNAME": "robot", "DOCKERHUB_TOKEN": "token"}
BINARIES = ROOT / ".cache" / "bin"


def workflows(project: Path) -> list[Path]:
    """Return a project's workflows."""
    return sorted((project / ".github/workflows").glob("*.yml"))


def load(path: Path) -> dict[str, Any]:
    """Read a workflow. In YAML 1.1 the key `on` is a boolean."""
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {"on" if key is True else key: value for key, value in data.items()}


def steps(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the steps of all jobs."""
    for job in workflow["jobs"].values():
        yield from job["steps"]


def scripts(project: Path) -> dict[str, str]:
    """Return the shell of every `run:` of a project's workflows."""
    return {
        f"{path.name}: {step['name']} ({job})": step["run"]
        for path in workflows(project)
        for job, content in load(path)["jobs"].items()
        for step in content["steps"]
        if "run" in step
    }


def shell(script: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a step's script in a folder as the runner does, with `shell: bash -euo pipefail {0}`."""
    return subprocess.run(
        [shutil.which("bash") or "bash", "-euo", "pipefail", "-c", script],
        cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def go_build(package: str, version: str = "") -> Path:
    """Build a Go program of this repository, or of a module at a version, into .cache."""
    BINARIES.mkdir(parents=True, exist_ok=True)
    if version:
        command, folder = ["go", "install", f"{package}@{version}"], ROOT
    else:
        command, folder = ["go", "build", "-o", str(BINARIES) + "/", "."], ROOT / package
    subprocess.run(command, cwd=folder, env={**os.environ, "GOBIN": str(BINARIES)}, check=True)
    return BINARIES / package.rpartition("/")[2]
