"""Whole projects: built for all their platforms by one command, pushed, pulled, inspected and run."""

from __future__ import annotations

import io
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from e2e import engine
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.docker

GLIBC = {"bookworm": (2, 36), "trixie": (2, 41)}
# platform: what `readelf -h` calls machine, class in bits, and whether the float ABI is hard (arm only)
ELF = {
    "linux/amd64": ("EM_X86_64", 64, None),
    "linux/arm64": ("EM_AARCH64", 64, None),
    "linux/arm/v7": ("EM_ARM", 32, True),
}
EF_ARM_ABI_FLOAT_HARD = 0x400


@dataclass
class Built:
    """A project, its first build and where that was pushed."""

    folder: Path
    answers: dict[str, Any]
    image: str
    cold: engine.Build

    @property
    def binary(self) -> str:
        """The service's binary, and its package."""
        return str(self.answers.get("binary_name", "backend"))

    @property
    def binaries(self) -> dict[str, str]:
        """Image → binary."""
        images = {f"{self.image}:latest": self.binary}
        if self.answers.get("frontend"):
            images[f"{self.image}-frontend:latest"] = "frontend"
        return images

    @property
    def platforms(self) -> list[str]:
        return str(self.answers.get("platforms", "linux/amd64,linux/arm64,linux/arm/v7")).split(",")

    def bake(self, *arguments: str) -> engine.Build:
        """Build and push again, under the same name."""
        return engine.bake(self.folder, "--push", *arguments, env={"IMAGE": self.image, "GIT_SHA": "0123abc"})


PROJECTS: list[dict[str, Any]] = [
    {},
    {
        "project_name": "Realtime SVG",
        "project_slug": "realtime-svg",
        "binary_name": "svg-server",
        "platforms": "linux/arm64,linux/arm/v7",
        "debian_release": "trixie",
        "project_description": "Says \"hi\" & 'bye' \\ # ${X} $HOME 한국어",
    },
    {"project_slug": "with-frontend", "frontend": True},
]


@pytest.fixture(scope="module", params=PROJECTS, ids=["default", "realtime-svg", "with-frontend"])
def built(request: pytest.FixtureRequest, bake: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Built:
    project = bake(**request.param)
    folder = engine.copy(project, tmp_path_factory.mktemp("e2e") / project.name)
    result = Built(folder, request.param, engine.repository(project.name), None)  # type: ignore[arg-type]
    result.cold = result.bake("--no-cache")
    assert result.cold.status == 0, result.cold.log + result.cold.errors
    return result


def test_us1_the_pushed_index_lists_exactly_the_platforms(built: Built) -> None:
    for image in built.binaries:
        assert sorted(engine.platforms(image)) == sorted(built.platforms)


def test_us1_each_image_runs(built: Built) -> None:
    for image, binary in built.binaries.items():
        for platform in built.platforms:
            version = engine.run(image, "--version", platform=platform)
            assert (version.returncode, version.stdout) == (0, f"{binary} 0.1.0 (0123abc)\n"), version.stderr
            told = engine.run(image, "--help", platform=platform)
            assert told.returncode == 0
            assert "LISTEN_ADDR" in told.stdout
            dead = engine.run(image, "healthcheck", platform=platform)
            assert dead.returncode == 1, "nothing listens, yet it is healthy"
            with engine.serve(image, platform) as server:
                assert server.get("/healthz")[0] == 200
                assert server.healthcheck() == 0
                status, seconds = server.stop()
                assert status == 0
                assert seconds < 1, platform


def test_us2_each_binary_is_of_its_machine(built: Built) -> None:
    release = str(built.answers.get("debian_release", "bookworm"))
    for reference, binary in built.binaries.items():
        for platform in built.platforms:
            image = engine.pull(reference, platform)
            elf = ELFFile(io.BytesIO(image.file(f"usr/local/bin/{binary}")))
            machine, bits, hard_float = ELF[platform]
            assert (elf["e_machine"], elf.elfclass) == (machine, bits)
            if hard_float is not None:
                assert bool(elf["e_flags"] & EF_ARM_ABI_FLOAT_HARD) == hard_float
            needed = [
                tuple(int(part) for part in re.findall(r"\d+", version.name))
                for section in elf.iter_sections()
                if isinstance(section, GNUVerNeedSection)
                for _, versions in section.iter_versions()
                for version in versions
                if version.name.startswith("GLIBC_2")
            ]
            assert needed
            assert max(needed) <= GLIBC[release], platform
            tini = ELFFile(io.BytesIO(image.file("usr/bin/tini")))
            assert (tini["e_machine"], tini.elfclass) == (machine, bits)


def test_us4_each_image_is_small(built: Built) -> None:
    # Files in all layers, as the workflow counts them, and tar archives in MiB: Debian's arm64 base alone is 97 and 95.
    for reference, binary in built.binaries.items():
        for platform in built.platforms:
            image = engine.pull(reference, platform)
            sizes = f"{image.own / 1e6:.2f} MB over the base image, {image.size / 1e6:.1f} MB as tar archives"
            print(f"\n{binary} {platform}: {image.content / 1e6:.1f} MB, {sizes}")
            assert image.content < 100_000_000
            assert image.size < 100 * 2**20
            assert image.own < 5_000_000


def test_the_image_is_what_the_readme_says(built: Built) -> None:
    for reference, binary in built.binaries.items():
        for platform in built.platforms:
            config = engine.pull(reference, platform).config["config"]
            assert config["User"] == "65532:65532"
            assert config["Entrypoint"] == ["/usr/bin/tini", "--", f"/usr/local/bin/{binary}"]
            assert config["Healthcheck"]["Test"] == ["CMD", f"/usr/local/bin/{binary}", "healthcheck"]
            assert config["StopSignal"] == "SIGTERM"
            labels = {name.removeprefix("org.opencontainers.image."): text for name, text in config["Labels"].items()}
            assert labels["title"].removesuffix(" frontend") == built.answers.get("project_name", "My Service")
            assert labels["description"] == built.answers.get("project_description", labels["description"])
            assert labels["revision"] == "0123abc"
            assert labels["platform"] == platform
            assert {"version", "source", "licenses"} <= set(labels)


@pytest.mark.cargo
@pytest.mark.parametrize("built", PROJECTS[:2], ids=["default", "realtime-svg"], indirect=True)
def test_us3_an_edit_keeps_the_dependencies_and_a_dependency_does_not(built: Built) -> None:
    cook = "dependencies 2/2]"
    assert not built.cold.step(cook).cached
    (main,) = built.folder.glob("crates/*/src/main.rs")
    text = main.read_text(encoding="utf-8")
    main.write_text(
        text.replace("fn main() -> ExitCode {", 'fn main() -> ExitCode {\n    eprintln!("edited");'), "utf-8"
    )
    edit = built.bake()
    assert edit.status == 0, edit.log + edit.errors
    assert edit.step(cook).cached
    for platform in built.platforms:
        assert "edited" in engine.run(f"{built.image}:latest", "--version", platform=platform).stderr
    ratio = edit.seconds / built.cold.seconds
    print(f"\n{built.folder.name}: first {built.cold.seconds:.0f} s, after an edit {edit.seconds:.0f} s = {ratio:.0%}")
    assert ratio <= 0.5

    subprocess.run(
        ["cargo", "add", "--quiet", "--package", built.binary, "fastrand@2"],
        cwd=built.folder, check=True, capture_output=True,
    )  # fmt: skip
    subprocess.run(["cargo", "update", "--quiet", "--workspace"], cwd=built.folder, check=True, capture_output=True)
    added = built.bake()
    assert added.status == 0, added.log + added.errors
    assert not added.step(cook).cached
    print(f"{built.folder.name}: after a new dependency {added.seconds:.0f} s")
