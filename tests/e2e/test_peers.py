"""The benchmark's other Dockerfiles: each builds images that run."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from e2e import engine
from loading import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.docker

PEERS = sorted(path.name.removesuffix(".Dockerfile") for path in (ROOT / "benchmarks" / "peers").iterdir())
ALL = "linux/amd64,linux/arm64,linux/arm/v7"


@pytest.mark.parametrize("peer", PEERS)
def test_each_peer_builds_an_image_that_runs(peer: str, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    shutil.copytree(ROOT / "tests" / "data" / "stub-traps", workspace)
    # Most peers would ship cargo-chef's stub of a crate at 0.0.1.
    for file in [*workspace.glob("crates/*/Cargo.toml"), workspace / "Cargo.lock"]:
        file.write_text(file.read_text("utf-8").replace('"0.0.1"', '"0.1.0"'), "utf-8")
    shutil.copy(ROOT / "benchmarks" / "peers" / f"{peer}.Dockerfile", workspace / "Dockerfile")
    project = engine.copy(workspace, tmp_path / peer)

    platforms = "linux/arm64" if peer == "qemu" else ALL
    image = engine.repository(f"peer-{peer}")
    result = engine.build(project, "--build-arg", "TARGET_BINARY=traps", "--tag", image, "--push", platforms=platforms)
    assert result.status == 0, result.log + result.errors
    for platform in platforms.split(","):
        told = engine.run(image, platform=platform)
        assert told.stdout == "first: library, proc-macro, build script\n", (platform, told)
