"""The Rust workspace: formatting, lints, tests, the oldest compiler, and what it costs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from loading import load_toml

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.cargo

FOREIGN = "armv7-unknown-linux-gnueabihf"
MOST_PACKAGES = 90
MOST_BYTES = 2_900_000


@pytest.fixture(params=[False, True], ids=["service", "frontend"])
def workspace(request: pytest.FixtureRequest, bake: Callable[..., Path]) -> Path:
    """Return a project without and with the frontend."""
    return bake(frontend=True) if request.param else bake()


@pytest.fixture
def cargo(cargo_env: dict[str, str]) -> Callable[..., str]:
    """Return a function that runs cargo in a project and returns what it printed."""

    def cargo_(project: Path, *arguments: str, **env: str) -> str:
        done = subprocess.run(
            ["cargo", *arguments], cwd=project, env={**cargo_env, **env}, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            # What was compiled comes first, so that the failed tests stand at the end.
            pytest.fail(f"cargo {' '.join(arguments)}\n{done.stderr}\n{done.stdout}", pytrace=False)
        return done.stdout

    return cargo_


def rustup(*arguments: str) -> str:
    """Return what rustup prints, or nothing if there is no rustup."""
    if not shutil.which("rustup"):
        return ""
    return subprocess.run(["rustup", *arguments], capture_output=True, text=True, check=False).stdout


def packages(lock: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = load_toml(lock)["package"]
    return found


def test_format(workspace: Path, cargo: Callable[..., str]) -> None:
    cargo(workspace, "fmt", "--all", "--check")


def test_clippy(workspace: Path, cargo: Callable[..., str]) -> None:
    cargo(workspace, "clippy", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings")


def test_tests(workspace: Path, cargo: Callable[..., str]) -> None:
    output = cargo(workspace, "test", "--locked", "--workspace")
    assert sum(int(count) for count in re.findall(r"(\d+) passed", output)) >= 29


def test_the_version_tells_the_commit(project: Path, cargo: Callable[..., str]) -> None:
    for sha, expected in (("", "backend 0.1.0\n"), ("0123abc", "backend 0.1.0 (0123abc)\n")):
        assert cargo(project, "run", "--quiet", "--locked", "--", "--version", GIT_SHA=sha) == expected


def test_the_declared_compiler_suffices(workspace: Path, cargo: Callable[..., str]) -> None:
    oldest = load_toml(workspace / "Cargo.toml")["workspace"]["package"]["rust-version"] + ".0"
    if not re.search(rf"^{re.escape(oldest)}-", rustup("toolchain", "list"), re.MULTILINE):
        pytest.skip(f"Rust {oldest} is not installed: rustup toolchain install {oldest} --profile minimal")
    cargo(workspace, f"+{oldest}", "check", "--locked", "--workspace", "--all-targets")


def test_no_c_compiler_is_needed(workspace: Path, cargo: Callable[..., str]) -> None:
    if FOREIGN not in rustup("target", "list", "--installed").split():
        pytest.skip(f"the standard library for {FOREIGN} is not installed: rustup target add {FOREIGN}")
    nothing = dict.fromkeys(("CC", "CXX", "HOST_CC", "TARGET_CC"), "/nonexistent/cc")
    cargo(workspace, "check", "--locked", "--workspace", "--target", FOREIGN, **nothing)


def test_dependencies_are_allowed(workspace: Path, cargo: Callable[..., str]) -> None:
    if not shutil.which("cargo-deny"):
        pytest.skip("cargo-deny is not installed: cargo install --locked cargo-deny")
    # Not the advisories: they come over the network, and on a day of their own.
    cargo(workspace, "deny", "--locked", "--offline", "check", "bans", "licenses", "sources")


def test_one_lock_is_a_part_of_the_other(bake: Callable[..., Path]) -> None:
    # Both templates of Cargo.lock are made on one day, or the frontend's project would have other versions.
    def versions(project: Path) -> set[tuple[str, str]]:
        return {(package["name"], package["version"]) for package in packages(project / "Cargo.lock")}

    assert versions(bake()) < versions(bake(frontend=True))


def test_few_packages(project: Path) -> None:
    assert len(packages(project / "Cargo.lock")) <= MOST_PACKAGES


def test_a_small_binary(project: Path, cargo: Callable[..., str], cargo_env: dict[str, str]) -> None:
    cargo(project, "build", "--locked", "--release")
    assert Path(cargo_env["CARGO_TARGET_DIR"], "release", "backend").stat().st_size <= MOST_BYTES


@pytest.mark.parametrize("name", ["service", "a", "zebra-9"])
def test_any_name_of_the_binary(name: str, bake: Callable[..., Path], cargo: Callable[..., str]) -> None:
    project = bake(binary_name=name)
    cargo(project, "check", "--locked", "--workspace", "--all-targets")
    assert cargo(project, "run", "--quiet", "--locked", "--", "--version") == f"{name} 0.1.0\n"


def test_sources_do_not_depend_on_the_name(bake: Callable[..., Path]) -> None:
    def sources(project: Path, name: str) -> dict[str, bytes]:
        return {
            path.relative_to(project).as_posix().replace(f"crates/{name}/", "crates/binary/"): path.read_bytes()
            for path in project.glob("crates/**/*.rs")
        }

    default = sources(bake(), "backend")
    assert default == sources(bake(binary_name="zebra-9"), "zebra-9")
    assert not [name for name, text in default.items() if b"backend" in text]


def test_text_in_manifests_is_escaped(bake: Callable[..., Path], cargo: Callable[..., str]) -> None:
    description, author = r'Says "hi" \ bye', r'Ann "\o/" Otter <ann@example.org>'
    project = bake(project_description=description, author=author)
    crate = load_toml(project / "crates" / "backend" / "Cargo.toml")["package"]
    assert crate["description"] == description
    assert load_toml(project / "Cargo.toml")["workspace"]["package"]["authors"] == [author]
    assert description in cargo(project, "run", "--quiet", "--locked", "--", "--help")
