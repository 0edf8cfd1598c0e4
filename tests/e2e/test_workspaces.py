"""The Dockerfile on workspaces that are not the generated one, and on requests that it must refuse."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from e2e import engine
from loading import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.docker

ALL = "linux/amd64,linux/arm64,linux/arm/v7"


def test_an_unsupported_platform_is_refused(project: Path) -> None:
    result = engine.build(project, "--platform", "linux/arm/v8")
    assert result.status == 1
    assert f"unsupported platform 'linux/arm/v8', supported: {ALL.replace(',', ', ')}" in result.log
    assert not [step for step in result.steps if "dependencies 2/2]" in step.name and step.seconds]


def test_a_list_without_the_platform_is_refused(project: Path, tmp_path: Path) -> None:
    workspace = with_dockerfile(project, ROOT / "tests" / "data" / "stub-traps", tmp_path / "workspace")
    result = engine.build(
        workspace, "--platform", "linux/amd64,linux/arm64", "--build-arg", "PLATFORMS=linux/amd64",
        "--build-arg", "TARGET_BINARY=traps",
    )  # fmt: skip
    assert result.status == 1
    assert "traps for linux/arm64: not built, PLATFORMS is linux/amd64" in result.log


def with_dockerfile(project: Path, workspace: Path, to: Path) -> Path:
    """Copy a workspace and put the project's Dockerfile, unchanged but for its cache mounts, next to it."""
    shutil.copytree(workspace, to)
    fresh = engine.copy(project, to.parent / f"{to.name}-project")
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy(fresh / name, to / name)
    return to


def test_no_stub_is_shipped(project: Path, tmp_path: Path) -> None:
    """A proc-macro, a build script and crates at 0.0.1, the version that cargo-chef gives its stubs."""
    workspace = with_dockerfile(project, ROOT / "tests" / "data" / "stub-traps", tmp_path / "workspace")
    image = engine.repository("traps")
    for said in ("first", "second"):
        main = workspace / "crates" / "traps" / "src" / "main.rs"
        main.write_text(main.read_text(encoding="utf-8").replace("first", said), encoding="utf-8")
        result = engine.build(workspace, "--build-arg", "TARGET_BINARY=traps", "--tag", image, "--push", platforms=ALL)
        assert result.status == 0, result.log + result.errors
        for platform in ALL.split(","):
            told = engine.run(image, platform=platform)
            assert told.stdout == f"{said}: library, proc-macro, build script\n", (platform, told)


def test_a_stub_fails_the_build(project: Path, tmp_path: Path) -> None:
    workspace = with_dockerfile(project, ROOT / "tests" / "data" / "stub-traps", tmp_path / "workspace")
    dockerfile = workspace / "Dockerfile"
    text = dockerfile.read_text(encoding="utf-8")
    compiling = "xargs -a /targets cargo build"
    assert text.count(compiling) == 1
    dockerfile.write_text(text.replace(compiling, f"true {compiling}"), encoding="utf-8")
    result = engine.build(workspace, "--platform", "linux/amd64", "--build-arg", "TARGET_BINARY=traps")
    assert result.status == 1
    assert "is still the stub that cargo-chef compiled" in result.log


def test_a_warm_mount_ships_what_the_sources_say(project: Path, tmp_path: Path) -> None:
    """What cargo would miss: files older than the mount's last build, failed builds, files that no crate declares."""
    workspace = with_dockerfile(project, ROOT / "tests" / "data" / "stub-traps", tmp_path / "workspace")
    main, library = (workspace / "crates" / crate for crate in ("traps/src/main.rs", "traps-library/src/lib.rs"))
    undeclared = workspace / "undeclared.txt"
    (workspace / "crates" / "traps-macro" / "src" / "lib.rs").write_text(
        """
        #[proc_macro]
        pub fn name(_: proc_macro::TokenStream) -> proc_macro::TokenStream {
            format!("{:?}", std::fs::read_to_string("undeclared.txt").unwrap()).parse().unwrap()
        }
        """,
        encoding="utf-8",
    )
    source, name = main.read_text(encoding="utf-8"), library.read_text(encoding="utf-8")
    image = engine.repository("warm")

    def build() -> engine.Build:
        return engine.build(
            workspace, "--platform", "linux/amd64", "--build-arg", "TARGET_BINARY=traps", "--build-arg", "PROFILE=dev",
            # Never twice the same: no step of an earlier run serves.
            "--build-arg", f"GIT_SHA={uuid.uuid4()}", "--tag", image, "--push",
        )  # fmt: skip

    def write(path: Path, text: str, age: int) -> None:
        path.write_text(text, encoding="utf-8")
        os.utime(path, (time.time() - age, time.time() - age))

    def told() -> str:
        result = build()
        assert result.status == 0, result.log + result.errors
        return engine.run(image, platform="linux/amd64").stdout.strip()

    write(undeclared, "one", 0)
    assert told() == "first: library, one, build script"
    write(main, source.replace("first", "older"), 86400)
    assert told() == "older: library, one, build script"
    write(library, name.replace("library", "compiled before the build failed"), 0)
    write(main, source + "mod missing;", 0)
    assert build().status == 1
    write(library, name, 86400)
    write(main, source.replace("first", "older"), 86400)
    assert told() == "older: library, one, build script"
    write(library, name.replace("library", "edited"), 86400)
    assert told() == "older: edited, one, build script"
    write(undeclared, "two", 86400)
    assert told() == "older: edited, two, build script"


def test_two_builds_from_scratch_are_equal_and_4_gb_are_enough(
    project: Path, tmp_path: Path, remark: Callable[[str], None]
) -> None:
    """The second build has 4 GB, and as many compilers at a time as a machine of 16 cores would give it then."""
    small = engine.Memory(limit=4_000_000_000)
    if not small.group:
        remark("memory was not limited: that needs root and the cgroupfs driver")
    digests = []
    for name, arguments in ("one", []), ("two", ["--build-arg=JOBS=3", *small.arguments]):
        folder = engine.copy(project, tmp_path / name)
        result = engine.build(
            folder, "--no-cache", "--provenance=false", *arguments,
            "--output", f"type=oci,dest={tmp_path / name}.tar,rewrite-timestamp=true",
            "--metadata-file", str(tmp_path / f"{name}.json"), platforms=ALL,
            env={"SOURCE_DATE_EPOCH": "1700000000"},
        )  # fmt: skip
        assert result.status == 0, result.log + result.errors
        digests.append(json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))["containerimage.digest"])
    assert digests[0] == digests[1]


def test_a_toolchain_file_downloads_no_second_toolchain(project: Path, tmp_path: Path) -> None:
    workspace = with_dockerfile(project, ROOT / "tests" / "data" / "stub-traps", tmp_path / "workspace")
    (workspace / "rust-toolchain.toml").write_text('[toolchain]\nchannel = "1.87.0"\n', encoding="utf-8")
    result = engine.build(workspace, "--platform", "linux/amd64", "--build-arg", "TARGET_BINARY=traps")
    assert result.status == 0, result.log + result.errors
    assert "1.87" not in result.log


def test_the_oldest_rust_builds(project: Path, tmp_path: Path) -> None:
    folder = engine.copy(project, tmp_path / project.name)
    image = engine.repository("oldest")
    result = engine.build(
        folder, "--platform", "linux/amd64", "--build-arg", "RUST_VERSION=1.86", "--tag", image, "--push"
    )
    assert result.status == 0, result.log + result.errors
    assert engine.run(image, "--version", platform="linux/amd64").stdout == "backend 0.1.0\n"


@pytest.mark.without_qemu
def test_the_build_needs_no_emulation(project: Path, tmp_path: Path) -> None:
    base = subprocess.run(
        ["docker", "run", "--rm", "--platform", "linux/arm64", "debian:bookworm-slim", "true"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if base.returncode == 0:
        pytest.skip("this machine runs foreign programs: take its binfmt handlers away first")
    assert "exec format error" in base.stderr
    folder = engine.copy(project, tmp_path / project.name)
    image = engine.repository("without-qemu")
    result = engine.bake(folder, "--push", "--no-cache", env={"IMAGE": image})
    assert result.status == 0, result.log + result.errors
    assert sorted(engine.platforms(f"{image}:latest")) == sorted(ALL.split(","))
