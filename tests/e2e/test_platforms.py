"""Every platform and runtime: built, measured and run. The README's matrix is what came of it.

A platform whose base image or standard library the machine cannot have is left out, and the run's remarks say so. For
distroless a stand-in made of Debian's packages will do: what it shows is that the image runs, not its size.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from e2e import engine, matrix
from elftools.elf.elffile import ELFFile
from loading import ROOT, TABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.docker

# Bytes of the files in all layers. The workflow's own limits allow for base images that are larger than these here.
LIMITS = {"debian-slim": 100_000_000, "distroless": 35_000_000, "scratch": 6_000_000}
DEFAULT = ["linux/amd64", "linux/arm64", "linux/arm/v7"]
BASES = {
    ("debian-slim", "bookworm"): "debian:bookworm-slim",
    ("debian-slim", "trixie"): "debian:trixie-slim",
    ("distroless", "bookworm"): "gcr.io/distroless/cc-debian12:nonroot",
    ("distroless", "trixie"): "gcr.io/distroless/cc-debian13:nonroot",
}
MACHINES = {
    "linux/amd64": ("EM_X86_64", 64),
    "linux/arm64": ("EM_AARCH64", 64),
    "linux/arm/v7": ("EM_ARM", 32),
    "linux/arm/v6": ("EM_ARM", 32),
    "linux/386": ("EM_386", 32),
    "linux/ppc64le": ("EM_PPC64", 64),
    "linux/s390x": ("EM_S390", 64),
    "linux/riscv64": ("EM_RISCV", 64),
}


@dataclass(frozen=True)
class Combination:
    """What is built in one go: for all platforms that it is offered for, or only for those named."""

    runtime: str
    release: str
    rust: str
    only: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the name that pytest shows."""
        return "-".join([self.runtime, self.release, *(name.rpartition("/")[2] for name in self.only)])

    @property
    def answers(self) -> dict[str, str]:
        """Return the template's answers."""
        return {"runtime": self.runtime, "debian_release": self.release, "rust_version": self.rust}


def offered(runtime: str, release: str) -> tuple[str, ...]:
    """Return the platforms of a runtime and a release."""
    return tuple(name for name, row in TABLE["_platforms"].items() if release in row["runtimes"][runtime])


# Both runtimes of trixie have these: built for the same platforms, they share their builder.
BOTH = offered("distroless", "trixie")
REST = tuple(name for name in offered("debian-slim", "trixie") if name not in BOTH)
COMBINATIONS = [
    Combination("debian-slim", "bookworm", "1.95"),
    Combination("distroless", "bookworm", "1.95"),
    Combination("debian-slim", "trixie", "1.95", BOTH),
    Combination("distroless", "trixie", "1.95", BOTH),
    Combination("debian-slim", "trixie", "1.95", REST),
    # The oldest Rust: some mirrors hold the standard libraries of 32-bit ARM with musl for it alone.
    Combination("scratch", "bookworm", "1.86"),
    Combination("scratch", "trixie", "1.95"),
]


@dataclass
class Built:
    """A pushed image of one combination."""

    combination: Combination
    image: str
    platforms: list[str]
    stand_in: bool


def can_be_had(image: str, platform: str) -> bool:
    """Return whether the engine has a base image for a platform, or can pull it."""
    return any(
        subprocess.run(
            ["docker", *command, "--platform", platform, image], capture_output=True, check=False
        ).returncode == 0
        for command in (["image", "inspect"], ["pull", "--quiet"])
    )  # fmt: skip


def standard_libraries(combination: Combination, targets: list[str]) -> set[str]:
    """Return the targets that the builder can have a standard library of."""
    builder = f"lukemathwalker/cargo-chef:latest-rust-{combination.rust}-{combination.release}"
    network = ["--network", engine.NETWORK] if engine.NETWORK else []
    script = 'for target; do ! rustup target add "$target" || echo "$target"; done'
    result = subprocess.run(
        ["docker", "run", "--rm", *network, builder, "sh", "-c", script, "sh", *targets],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    there = set(result.stdout.split())
    for target in set(targets) - there:
        assert f"for target '{target}' is unavailable for download" in result.stderr, result.stderr
    return there


@pytest.fixture(scope="module")
def record() -> Iterator[matrix.Record]:
    """Return what the tests fill in with what they ran. Kept for `make matrix`."""
    ran: matrix.Record = {}
    yield ran
    matrix.save(ran)


def can_be_built(
    combination: Combination, table: dict[str, Any], remark: Callable[[str], None]
) -> tuple[list[str], bool]:
    """Return the platforms of a combination that this machine can build, and whether that takes a stand-in."""
    runtime, release, rust = combination.runtime, combination.release, combination.rust
    targets = {
        name: (row["musl"] if runtime == "scratch" else row)["target"]
        for name, row in table["_platforms"].items()
        if name in (combination.only or offered(runtime, release))
    }
    base = BASES.get((runtime, release))
    missing = {name: base for name in targets if base and not can_be_had(base, name)}
    stand_in = runtime == "distroless" and len(missing) == len(targets)
    if stand_in:
        remark(f"{combination}: a stand-in takes the place of {base}, which cannot be had")
        base = BASES["debian-slim", release]
        missing = {name: base for name in targets if not can_be_had(base, name)}
    libraries = standard_libraries(combination, [targets[name] for name in targets if name not in missing])
    for name, target in targets.items():
        if name not in missing and target not in libraries:
            missing[name] = f"Rust {rust}'s standard library for {target}"
    for name, what in missing.items():
        remark(f"{combination}: {name} is left out, {what} cannot be had")
    return [name for name in targets if name not in missing], stand_in


def push(project: Path, combination: Combination, platforms: list[str], *, stand_in: bool) -> str:
    """Build and push a project; return the repository. The tag is the Debian release."""
    runtime, release = combination.runtime, combination.release
    repository = engine.repository(runtime)
    target = {
        "context": str(ROOT / "tests" / "data" / "distroless"),
        "args": {"DEBIAN_RELEASE": release},
        "platforms": platforms,
    }
    build = engine.bake(
        project,
        "--push",
        env={"IMAGE": repository, "TAG": release, "GIT_SHA": "0123abc"},
        stand_ins={BASES[runtime, release]: target} if stand_in else {},
    )
    assert build.status == 0, build.log + build.errors
    return repository


@pytest.fixture(scope="module", params=COMBINATIONS, ids=str)
def built(
    request: pytest.FixtureRequest, bake: Callable[..., Path], table: dict[str, Any], remark: Callable[[str], None]
) -> Built:
    combination: Combination = request.param
    platforms, stand_in = can_be_built(combination, table, remark)
    if not platforms:
        return Built(combination, "", [], stand_in)
    project = bake(**combination.answers, platforms=",".join(platforms))
    repository = push(project, combination, platforms, stand_in=stand_in)
    return Built(combination, f"{repository}:{combination.release}", platforms, stand_in)


def test_each_image_runs(built: Built) -> None:
    if built.platforms:
        assert sorted(engine.platforms(built.image)) == sorted(built.platforms)
    for platform in built.platforms:
        version = engine.run(built.image, "--version", platform=platform)
        assert (version.returncode, version.stdout) == (0, "backend 0.1.0 (0123abc)\n"), (platform, version.stderr)
        assert engine.run(built.image, "healthcheck", platform=platform).returncode == 1, platform
        with engine.serve(built.image, platform) as server:
            assert server.get("/healthz")[0] == 200, platform
            assert server.healthcheck() == 0, platform
            assert server.stop()[0] == 0, platform


def test_each_image_is_what_its_runtime_promises(built: Built, record: matrix.Record) -> None:
    runtime, release = built.combination.runtime, built.combination.release
    ran = record.setdefault(runtime, {}).setdefault(release, {})
    for platform in built.platforms:
        image = engine.pull(built.image, platform)
        print(f"\n{built.combination} {platform}: {image.content / 1e6:.1f} MB")
        assert image.content < LIMITS[runtime], platform
        assert image.own < 5_000_000, platform
        ran[platform] = None if built.stand_in else image.content

        config = image.config["config"]
        assert config["User"] == "65532:65532", platform
        assert config["Entrypoint"] == ["/usr/bin/tini", "--", "/usr/local/bin/backend"], platform
        assert config["Healthcheck"]["Test"] == ["CMD", "/usr/local/bin/backend", "healthcheck"], platform
        assert config["Labels"]["org.opencontainers.image.platform"] == platform
        assert b"BEGIN CERTIFICATE" in image.file("etc/ssl/certs/ca-certificates.crt"), platform

        binary, tini = (ELFFile(io.BytesIO(image.file(path))) for path in ("usr/local/bin/backend", "usr/bin/tini"))
        for elf in (binary, tini):
            assert (elf["e_machine"], elf.elfclass) == MACHINES[platform]
            assert is_static(elf) == (runtime == "scratch"), platform
        if platform == "linux/arm/v6":
            assert arm_version(binary) == "v6"
            assert arm_version(tini) in ("v4T", "v5T", "v5TE", "v6")
        if runtime == "scratch":
            assert b"nonroot:x:65532:65532:" in image.file("etc/passwd"), platform
        if runtime != "debian-slim":
            for shell in ("bin/sh", "usr/bin/sh", "bin/bash"):
                with pytest.raises(FileNotFoundError):
                    image.file(shell)


def is_static(elf: Any) -> bool:
    """Return whether a binary needs neither a loader nor a library."""
    dynamic = elf.get_section_by_name(".dynamic")
    needed = dynamic and any(tag.entry.d_tag == "DT_NEEDED" for tag in dynamic.iter_tags())
    return not needed and not any(segment["p_type"] == "PT_INTERP" for segment in elf.iter_segments())


def arm_version(elf: Any) -> str:
    """Return the version of 32-bit ARM that a binary is for: the name of Tag_CPU_arch's value in ARM's ABI."""
    attributes = next(elf.get_section_by_name(".ARM.attributes").iter_subsections())
    (tag,) = [
        attribute.value
        for part in attributes.iter_subsubsections()
        for attribute in part.iter_attributes("TAG_CPU_ARCH")
    ]
    return ["before v4", "v4", "v4T", "v5T", "v5TE", "v5TEJ", "v6", "v6KZ", "v6T2", "v6K"][tag] if tag < 10 else "newer"


def test_every_platform_and_every_runtime_was_run(table: dict[str, Any], record: matrix.Record) -> None:
    ran = {runtime: {name for names in releases.values() for name in names} for runtime, releases in record.items()}
    for runtime in table["runtime"]:
        assert set(DEFAULT) <= ran[runtime], runtime
    assert set.union(*ran.values()) == set(table["_platforms"])


def test_the_matrix_in_the_readme_is_what_was_run(
    table: dict[str, Any], record: matrix.Record, remark: Callable[[str], None]
) -> None:
    """Less than the README tells would be a false promise; a machine that can have more images may run more."""
    shown = matrix.read((ROOT / "README.md").read_text(encoding="utf-8"))
    now = matrix.cells(table, record)
    certainty = [matrix.NOT_OFFERED, matrix.NOT_RUN, matrix.STAND_IN]
    for cell, text in shown.items():
        told, ran = (certainty.index(known) if known in certainty else len(certainty) for known in (text, now[cell]))
        assert ran >= told, f"{cell}: the README says {text}, and what was run is {now[cell]}"
        if ran > told:
            remark(f"{' '.join(cell)}: the README says {text}, and what was run is {now[cell]}: run `make matrix`")
        elif ran == len(certainty):
            # Base images change from week to week.
            assert float(now[cell]) == pytest.approx(float(text), rel=0.15, abs=0.5), f"{cell}: run `make matrix`"


@pytest.mark.parametrize("combination", [COMBINATIONS[1], COMBINATIONS[-1]], ids=str)
def test_the_frontend_runs_without_debian(
    bake: Callable[..., Path], table: dict[str, Any], combination: Combination
) -> None:
    """Two images by one command, on distroless and from scratch."""
    platforms = DEFAULT[:2]
    possible, stand_in = can_be_built(combination, table, print)
    assert set(platforms) <= set(possible)
    project = bake(**combination.answers, platforms=",".join(platforms), frontend=True)
    repository = push(project, combination, platforms, stand_in=stand_in)
    for image, binary in ((repository, "backend"), (f"{repository}-frontend", "frontend")):
        reference = f"{image}:{combination.release}"
        assert sorted(engine.platforms(reference)) == sorted(platforms)
        for platform in platforms:
            pulled = engine.pull(reference, platform)
            elf = ELFFile(io.BytesIO(pulled.file(f"usr/local/bin/{binary}")))
            assert (elf["e_machine"], elf.elfclass) == MACHINES[platform]
            assert is_static(elf) == (combination.runtime == "scratch"), (binary, platform)
            assert pulled.content < LIMITS[combination.runtime], (binary, platform)
            told = engine.run(reference, "--version", platform=platform)
            assert told.stdout == f"{binary} 0.1.0 (0123abc)\n", (platform, told.stderr)
            with engine.serve(reference, platform) as server:
                assert server.get("/healthz")[0] == 200, (binary, platform)
                assert server.healthcheck() == 0, (binary, platform)
                assert ("<html" in server.get("/")[1]) == (binary == "frontend"), platform


# linux/arm/v6 and linux/386 come with it: what C code sees there are musl's headers.
C_DEPENDENCIES = [
    ("debian-slim", "1.95", DEFAULT),
    ("scratch", "1.86", [*DEFAULT, "linux/arm/v6", "linux/386"]),
]


@pytest.mark.parametrize(("runtime", "rust", "platforms"), C_DEPENDENCIES, ids=["debian-slim", "scratch"])
def test_c_dependencies_cross_compile_and_run(
    bake: Callable[..., Path], tmp_path: Path, runtime: str, rust: str, platforms: list[str]
) -> None:
    project = bake(runtime=runtime, rust_version=rust, platforms=",".join(platforms))
    workspace = tmp_path / "c-deps"
    shutil.copytree(ROOT / "tests" / "data" / "c-deps", workspace)
    shutil.copy(project / "Dockerfile", workspace)
    image = f"{engine.repository('c-deps')}:{runtime}"
    build = engine.build(
        workspace,
        "--build-arg=TARGET_BINARY=c-deps",
        # What is shown does not depend on it, and C is compiled in a third of the time.
        "--build-arg=PROFILE=dev",
        *(["--build-arg=TIME_ZONES=yes"] if runtime == "scratch" else []),
        f"--tag={image}",
        "--push",
        platforms=",".join(platforms),
    )
    assert build.status == 0, build.log + build.errors
    for platform in platforms:
        result = engine.run(image, platform=platform, options=("--tmpfs", "/tmp:mode=1777"))  # noqa: S108
        assert result.returncode == 0, (platform, result.stderr)
        assert [line.split()[0] for line in result.stdout.splitlines()] == ["zstd:", "ring:", "sqlite"], platform
        if runtime == "scratch":
            assert engine.pull(image, platform).file("usr/share/zoneinfo/Europe/Berlin").startswith(b"TZif")
        if platform == "linux/arm/v6":
            binary = ELFFile(io.BytesIO(engine.pull(image, platform).file("usr/local/bin/c-deps")))
            assert arm_version(binary) == "v6"


# crate, version, binary
PROGRAMS = [("ripgrep", "15.2.0", "rg"), ("sd", "1.0.0", "sd"), ("hyperfine", "1.20.0", "hyperfine")]


@pytest.mark.cargo
@pytest.mark.parametrize(("crate", "version", "binary"), PROGRAMS, ids=[crate for crate, *_ in PROGRAMS])
def test_the_dockerfile_builds_other_workspaces_unchanged(
    project: Path, tmp_path: Path, crate: str, version: str, binary: str
) -> None:
    """Copy it and .dockerignore next to someone else's program, name the binary, and build."""
    # The only cargo command that fetches one package and nothing else.
    home = tmp_path / "cargo"
    subprocess.run(
        ["cargo", "info", "--quiet", f"{crate}@{version}"],
        cwd=tmp_path, env=cargo_home(home), check=True, capture_output=True,
    )  # fmt: skip
    (source,) = home.glob(f"registry/src/*/{crate}-{version}")
    workspace = tmp_path / crate
    shutil.copytree(source, workspace)
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy(project / name, workspace)

    image = f"{engine.repository(crate)}:{version}"
    build = engine.build(
        workspace, f"--platform={','.join(DEFAULT)}", f"--build-arg=TARGET_BINARY={binary}", f"--tag={image}", "--push"
    )
    assert build.status == 0, build.log + build.errors
    for platform in DEFAULT:
        told = engine.run(image, "--version", platform=platform)
        assert told.stdout.startswith(f"{crate} {version}"), (platform, told.stderr)
        {"rg": search, "sd": replace, "hyperfine": time_it}[binary](image, platform)


def cargo_home(home: Path) -> dict[str, str]:
    """Return an environment with an empty CARGO_HOME that knows the machine's settings."""
    home.mkdir()
    for name in ("config.toml", "config"):
        settings = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")) / name
        if settings.exists():
            shutil.copy(settings, home)
    return {**os.environ, "CARGO_HOME": str(home)}


def search(image: str, platform: str) -> None:
    """Find the line of root."""
    result = engine.run(image, "--count", "^root:", "/etc/passwd", platform=platform)
    assert result.stdout.strip() == "1", (platform, result.stderr)


def replace(image: str, platform: str) -> None:
    """Replace a word; a preview, since the image is read-only."""
    result = engine.run(image, "--preview", "root", "ROOT", "/etc/group", platform=platform)
    assert "ROOT" in result.stdout, (platform, result.stderr)


def time_it(image: str, platform: str) -> None:
    """Time a program that does nothing."""
    result = engine.run(image, "--shell=none", "--warmup=0", "--runs=2", "true", platform=platform)
    assert "Benchmark 1: true" in result.stdout, (platform, result.stderr)
