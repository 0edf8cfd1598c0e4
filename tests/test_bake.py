"""Generated projects, read as files."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from loading import ROOT, load_toml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEMPLATE = ROOT / "{{cookiecutter.project_slug}}"
OTHER: dict[str, Any] = {
    "project_name": "Realtime SVG",
    "project_slug": "realtime-svg",
    "binary_name": "svg-server",
    "platforms": "linux/arm64, linux/arm/v7",
    "debian_release": "trixie",
    "rust_version": "1.95.0",
    "license": "Proprietary",
    "author": "Zoë <zoe@example.org>",
    "github_owner": "Some-Org",
}
COMBINATIONS: list[dict[str, Any]] = [
    {},
    OTHER,
    {"platforms": "linux/amd64"},
    {"frontend": True},
    {"runtime": "distroless", "frontend": True, "registry": "ghcr.io"},
    {"runtime": "scratch", "platforms": "linux/amd64,linux/arm/v6", "ci_builders": "native-runners"},
    {"runtime": "scratch", "frontend": True, "ci_builders": "native-runners", "registry": "ghcr.io"},
    {"license": "MIT", "debian_release": "trixie"},
    {
        "platforms": "linux/s390x,linux/riscv64,linux/ppc64le,linux/386,linux/arm/v7,linux/arm64,linux/amd64",
        "debian_release": "trixie",
        "license": "Apache-2.0",
    },
]


@pytest.fixture(params=COMBINATIONS, ids=lambda answers: ",".join(map(str, answers.values())) or "default")
def baked(request: pytest.FixtureRequest, bake: Callable[..., Path]) -> Path:
    return bake(**request.param)


def texts(project: Path) -> dict[str, str]:
    """Return every file of a project."""
    return {
        path.relative_to(project).as_posix(): path.read_bytes().decode()
        for path in sorted(project.rglob("*"))
        if path.is_file() and "target" not in path.parts
    }


def test_no_jinja_is_left(baked: Path) -> None:
    for name, text in texts(baked).items():
        assert not re.search(r"\{\{-?\s|\{%|\{#|cookiecutter", text.replace("${{ ", "")), name


def test_files_are_tidy(baked: Path) -> None:
    for name, text in texts(baked).items():
        assert text.endswith("\n"), name
        assert not text.endswith("\n\n"), name
        assert "\n\n\n" not in text.removeprefix("\n"), name
        assert not re.search(r"[ \t]$", text, re.MULTILINE), name
        assert "\r" not in text, name


def test_lines_are_short(baked: Path) -> None:
    for name, text in texts(baked).items():
        if name.endswith(".lock") or name.startswith("LICENSE"):
            continue
        for line in text.splitlines():
            # A label holds any text of the user's, and the row of a table cannot be broken.
            assert len(line) <= 120 or "org.opencontainers" in line or line.startswith("|"), f"{name}: {line}"


def test_every_toml_and_yaml_file_parses(baked: Path) -> None:
    for path in baked.rglob("*.toml"):
        assert load_toml(path)
    for pattern in ("*.yml", "*.yaml"):
        for path in baked.rglob(pattern):
            assert yaml.safe_load(path.read_text(encoding="utf-8"))


def test_default_answers_leave_plain_files_as_they_are(project: Path, table: dict[str, Any]) -> None:
    absent = []
    for path in TEMPLATE.rglob("*"):
        relative = path.relative_to(TEMPLATE).as_posix()
        there = project / relative.replace("{{cookiecutter.binary_name}}", "backend")
        if path.is_dir() or not any(fnmatch.fnmatch(relative, plain) for plain in table["_copy_without_render"]):
            continue
        if there.exists():
            assert there.read_bytes() == path.read_bytes(), relative
        else:
            absent.append(relative)
    not_chosen = re.compile(r"Cargo\.frontend\.lock|crates/frontend/.*|.*native-runners.*")
    assert [name for name in absent if not not_chosen.fullmatch(name)] == []


@pytest.mark.parametrize("text", ["1. first", "2) second", "# head", "- item", "10.5 more", "*b* `c` <d>"])
def test_a_description_becomes_no_markup(bake: Callable[..., Path], text: str) -> None:
    line = (bake(project_description=text) / "README.md").read_text(encoding="utf-8").splitlines()[2]
    assert not re.match(r"#|[-+*] |\d+[.)] ", line)
    assert re.sub(r"\\(.)", r"\1", line) == text


def test_the_names_arrive_where_they_belong(bake: Callable[..., Path]) -> None:
    project = bake(**OTHER)
    assert project.name == "realtime-svg"
    assert (project / "crates" / "svg-server" / "src" / "main.rs").is_file()
    dockerfile = (project / "Dockerfile").read_text(encoding="utf-8")
    assert "ARG TARGET_BINARY=svg-server\n" in dockerfile
    assert 'ENTRYPOINT ["/usr/bin/tini", "--", "/usr/local/bin/svg-server"]' in dockerfile
    assert "x86_64" not in dockerfile
    everything = "".join(text for name, text in texts(project).items() if not name.endswith(".rs"))
    assert not re.search(r"\bbackend\b|my-service|your-?org|linux/amd64,", everything)
    assert "docker.io/someorg/realtime-svg" in everything
    assert load_toml(project / "Cargo.toml")["workspace"]["package"]["authors"] == [OTHER["author"]]


def test_project_versions_are_never_cargo_chefs_own(baked: Path) -> None:
    # cargo-chef gives its stubs version 0.0.1: a crate of that version could be taken for built.
    assert load_toml(baked / "Cargo.toml")["workspace"]["package"]["version"] != "0.0.1"


def test_every_question_and_menu_entry_has_a_text(table: dict[str, Any]) -> None:
    prompts = table["__prompts__"]
    for name, default in table.items():
        if name.startswith("_"):
            continue
        if isinstance(default, list):
            assert set(prompts[name]) == {"__prompt__", *default}, name
        else:
            assert prompts[name], name
    assert set(prompts) == {name for name in table if not name.startswith("_")}


def test_hadolint_has_nothing_to_say(baked: Path) -> None:
    for dockerfile in baked.glob("Dockerfile*"):
        result = subprocess.run(["hadolint", dockerfile], capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr


def test_yamllint_has_nothing_to_say(baked: Path) -> None:
    files = [path for pattern in ("*.yml", "*.yaml") for path in baked.rglob(pattern)]
    config = ROOT / ".yamllint.yaml"
    result = subprocess.run(["yamllint", "--strict", "-c", config, *files], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_the_project_speaks_of_itself_alone(baked: Path) -> None:
    for name, text in texts(baked).items():
        assert "rust-multiarch" not in text or name == "README.md", name


@pytest.mark.parametrize(
    ("platforms", "expected"),
    [
        ("linux/arm/v7,linux/arm64,linux/amd64", None),
        ("linux/amd64", "linux/amd64"),
        ("linux/arm/v7,linux/arm64", "linux/arm64"),
        ("linux/ppc64le,linux/386", "linux/ppc64le"),
    ],
)
def test_compose_asks_for_a_platform_that_is_there(
    platforms: str, expected: str | None, bake: Callable[..., Path]
) -> None:
    compose = yaml.safe_load((bake(platforms=platforms, frontend=True) / "compose.yaml").read_text(encoding="utf-8"))
    assert [service.get("platform") for service in compose["services"].values()] == [expected, expected]


@pytest.mark.docker
def test_the_builder_has_nothing_to_say(baked: Path) -> None:
    for dockerfile in baked.glob("Dockerfile*"):
        result = subprocess.run(
            ["docker", "buildx", "build", "--check", "--file", dockerfile, baked],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.skipif(not shutil.which("docker"), reason="docker is not installed")
def test_bake_accepts_its_file(baked: Path) -> None:
    result = subprocess.run(
        ["docker", "buildx", "bake", "--print"], cwd=baked, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_the_lists_of_platforms_agree(bake: Callable[..., Path]) -> None:
    project = bake(**OTHER)
    dockerfile = (project / "Dockerfile").read_text(encoding="utf-8")
    rows = re.findall(r"^  (linux/\S+)\) echo (\S+)", dockerfile, re.MULTILINE)
    assert rows == [("linux/arm64", "aarch64-unknown-linux-gnu"), ("linux/arm/v7", "armv7-unknown-linux-gnueabihf")]
    assert "supported: linux/arm64, linux/arm/v7" in dockerfile
    assert 'default = "linux/arm64,linux/arm/v7"' in (project / "docker-bake.hcl").read_text(encoding="utf-8")
