"""The platform table of cookiecutter.json, and all that must agree with it."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from loading import ROOT, load_hook

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RUNTIMES = ["debian-slim", "distroless", "scratch"]
RELEASES = ["bookworm", "trixie"]
EVERY = [(runtime, release) for runtime in RUNTIMES for release in RELEASES]

pre_gen = load_hook("pre_gen_project")


def offered(table: dict[str, Any], runtime: str, release: str) -> list[str]:
    """Return the platforms that the table offers."""
    return [name for name, row in table["_platforms"].items() if release in row["runtimes"][runtime]]


@pytest.fixture(params=EVERY, ids="-".join)
def choice(request: pytest.FixtureRequest) -> tuple[str, str]:
    runtime, release = request.param
    return runtime, release


@pytest.fixture
def everything(bake: Callable[..., Path], table: dict[str, Any], choice: tuple[str, str]) -> Path:
    """Return a project with all platforms of a runtime and a Debian release."""
    runtime, release = choice
    return bake(runtime=runtime, debian_release=release, platforms=",".join(offered(table, runtime, release)))


def script(project: Path, part: str) -> str:
    """Return the one script in the Dockerfile that holds a text."""
    text = (project / "Dockerfile").read_text(encoding="utf-8")
    (found,) = [body for body in re.findall(r"<<'EOF'[^\n]*\n(.*?\n)EOF\n", text, re.DOTALL) if part in body]
    return str(found)


def test_menus_and_table_name_the_same_runtimes_and_releases(table: dict[str, Any]) -> None:
    assert table["runtime"] == RUNTIMES == list(table["_size_limits"])
    assert table["debian_release"] == RELEASES
    for name, row in table["_platforms"].items():
        assert list(row["runtimes"]) == RUNTIMES, name
        assert any(row["runtimes"].values()), name
        assert all(set(releases) <= set(RELEASES) for releases in row["runtimes"].values()), name
        assert bool(row["musl"]) == bool(row["runtimes"]["scratch"]), name
        assert bool(row["target"]) == bool(row["runtimes"]["debian-slim"] or row["runtimes"]["distroless"]), name


def test_the_answers_are_checked_by_the_table(table: dict[str, Any], choice: tuple[str, str]) -> None:
    for name in table["_platforms"]:
        problems = pre_gen.check_platforms(name, table["_platforms"], *choice)
        if name in offered(table, *choice):
            assert problems == []
        else:
            (problem,) = problems
            assert problem.startswith(f"platforms: {name!r} does not exist with {choice[0]} on {choice[1]}; it needs ")


@pytest.mark.parametrize(
    ("platform", "runtime", "release", "needs"),
    [
        ("linux/s390x", "debian-slim", "bookworm", "debian_release=trixie"),
        ("linux/riscv64", "distroless", "bookworm", "debian_release=trixie"),
        ("linux/386", "distroless", "trixie", "runtime=debian-slim or scratch"),
        ("linux/arm/v6", "debian-slim", "trixie", "runtime=scratch"),
        ("linux/ppc64le", "scratch", "bookworm", "runtime=debian-slim or distroless"),
        ("linux/riscv64", "scratch", "trixie", "runtime=debian-slim or distroless"),
        (
            "linux/riscv64",
            "scratch",
            "bookworm",
            "runtime=debian-slim with debian_release=trixie or runtime=distroless with debian_release=trixie",
        ),
    ],
)
def test_a_platform_that_is_not_possible_is_told_what_it_needs(
    table: dict[str, Any], platform: str, runtime: str, release: str, needs: str
) -> None:
    (problem,) = pre_gen.check_platforms(platform, table["_platforms"], runtime, release)
    assert f"it needs {needs}, possible are linux/amd64" in problem


def test_dockerfile_and_bake_follow_the_table(everything: Path, table: dict[str, Any], choice: tuple[str, str]) -> None:
    runtime, release = choice
    platforms = offered(table, runtime, release)
    case = script(everything, "unsupported platform")
    assert re.findall(r"^ +(linux/\S+)\)", case, re.MULTILINE) == platforms
    for name, row in table["_platforms"].items():
        result = subprocess.run(["sh", "-c", case, "platform", name], capture_output=True, text=True, check=False)
        if name in platforms:
            target = row["musl"]["target"] if runtime == "scratch" else row["target"]
            compiler = f"gcc-{row['triplet'].replace('_', '-')}"
            assert result.stdout.split()[:4] == [target, row["debian"], row["triplet"], compiler]
        else:
            assert result.returncode == 1
            assert result.stderr == f"unsupported platform '{name}', supported: {', '.join(platforms)}\n"
    bake = (everything / "docker-bake.hcl").read_text(encoding="utf-8")
    assert f'"{",".join(platforms)}"' in bake


def test_dockerfile_starts_from_the_chosen_images(everything: Path, choice: tuple[str, str]) -> None:
    runtime, release = choice
    text = (everything / "Dockerfile").read_text(encoding="utf-8")
    images = re.findall(r"^FROM (?:--platform=\S+ )?(\S+[:/]\S+|scratch) AS", text, re.MULTILINE)[1:]
    assert f"ARG DEBIAN_RELEASE={release}\n" in text
    expected = {
        "debian-slim": "debian:${DEBIAN_RELEASE}-slim",
        "distroless": "gcr.io/distroless/cc-debian${DEBIAN_NUMBER/trixie/13}:nonroot",
        "scratch": "scratch",
    }
    assert images == [expected[runtime]]
    assert ("musl" in text) == (runtime == "scratch")
    assert ("distroless" in text) == (runtime == "distroless")


@pytest.mark.parametrize("host", ["amd64", "arm64"])
def test_each_build_host_gets_the_other_machines_compilers(
    everything: Path, table: dict[str, Any], choice: tuple[str, str], host: str, tmp_path: Path
) -> None:
    """Run the script that installs the tools, with stand-ins that only note what they are asked for."""
    runtime, release = choice
    tools = tmp_path / "bin"
    tools.mkdir()
    log = tmp_path / "log"
    platforms = offered(table, runtime, release)
    programs = {
        "dpkg": f'#!/bin/sh\n[ "$*" = --print-architecture ] && echo {host}\n',
        "platform": script(everything, "unsupported platform"),
        **{name: f'#!/bin/sh\necho {name} "$@" >>{log}\n' for name in ("rustup", "apt-get")},
    }
    for name, text in programs.items():
        (tools / name).write_text(text, encoding="utf-8")
        (tools / name).chmod(0o755)
    install = script(everything, "dpkg --print-architecture")
    install = re.sub(r"(?<=[>< ])/(platforms|targets)\b", rf"{tmp_path}/\1", install)
    result = subprocess.run(
        ["sh", "-c", install],
        env={"PATH": f"{tools}:/usr/bin:/bin", "PLATFORMS": ",".join(platforms)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    asked = [line.split() for line in log.read_text(encoding="utf-8").splitlines()]

    rows = [table["_platforms"][name] for name in platforms]
    targets = [row["musl"]["target"] if runtime == "scratch" else row["target"] for row in rows]
    (rustup,) = [words for words in asked if words[0] == "rustup"]
    assert rustup == ["rustup", "target", "add", *targets]
    assert (tmp_path / "targets").read_text(encoding="utf-8").split() == [f"--target={target}" for target in targets]

    (packages,) = [words for words in asked if words[:2] == ["apt-get", "install"]]
    foreign = [row for row in rows if row["debian"] != host]
    expected = {f"gcc-{row['triplet'].replace('_', '-')}" for row in foreign}
    expected |= {f"libc6-dev-{row['debian']}-cross" for row in foreign}
    assert {word for word in packages[2:] if not word.startswith("-")} == expected


def test_every_target_has_linker_and_compiler(everything: Path, table: dict[str, Any], choice: tuple[str, str]) -> None:
    runtime, release = choice
    text = (everything / "Dockerfile").read_text(encoding="utf-8")
    for name in offered(table, runtime, release):
        row = table["_platforms"][name]
        static = runtime == "scratch"
        target = row["musl"]["target"] if static else row["target"]
        key = target.replace("-", "_")
        assert f"CARGO_TARGET_{key.upper()}_LINKER={'rust-lld' if static else row['triplet'] + '-gcc'} " in text
        assert f" CC_{key}={target if static else row['triplet']}-gcc " in text
        assert f" AR_{key}={row['triplet']}-ar " in text


@pytest.mark.cargo
def test_rust_knows_every_target(table: dict[str, Any]) -> None:
    result = subprocess.run(["rustc", "--print", "target-list"], capture_output=True, text=True, check=True)
    rows = table["_platforms"].values()
    targets = {row["target"] for row in rows} | {row["musl"]["target"] for row in rows if row["musl"]}
    assert targets - {None} <= set(result.stdout.split())


def test_the_readme_of_the_project_lists_the_platforms(
    everything: Path, table: dict[str, Any], choice: tuple[str, str]
) -> None:
    text = (everything / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (linux/\S+) \| (\S+) \|", text, re.MULTILINE)
    static = choice[0] == "scratch"
    expected = {name: table["_platforms"][name] for name in offered(table, *choice)}
    assert rows == [(name, row["musl"]["target"] if static else row["target"]) for name, row in expected.items()]


def test_the_matrix_in_the_readme_offers_what_the_table_offers(table: dict[str, Any]) -> None:
    from e2e import matrix

    shown = matrix.read((ROOT / "README.md").read_text(encoding="utf-8"))
    cells = {(name, *choice) for name in table["_platforms"] for choice in EVERY}
    assert set(shown) == cells
    for (name, runtime, release), cell in shown.items():
        assert (cell == matrix.NOT_OFFERED) == (name not in offered(table, runtime, release)), (name, runtime, release)


# What a program of the image looks like to readelf, and what the image has.
READELF = """#!/bin/sh
case "$1 $2" in
  *tini) machine=AArch64 ;;
  *libc.so.6) [ "$1" = -h ] || echo "GLIBC_2.4 GLIBC_2.36" ;;
  *) machine=$MACHINE dynamic=yes ;;
esac
case "$1" in
  -h) printf '  Class: ELF64\n  Data: little\n  Machine: %s\n' "$machine" ;;
  -d) echo " 0x01 (NEEDED)  Shared library: [$LIBRARY]" ;;
  -V) [ -z "${dynamic-}" ] || echo "Name: $GLIBC" ;;
  -ldW) echo "$STATIC" ;;
  -A) echo "  Tag_CPU_arch: $ARM" ;;
esac
"""
GOOD_BINARY = {
    "MACHINE": "AArch64", "LIBRARY": "libc.so.6", "GLIBC": "GLIBC_2.17", "STATIC": "LOAD", "ARM": "v6KZ",
    "TARGETPLATFORM": "linux/arm64",
}  # fmt: skip


@pytest.mark.parametrize(
    ("runtime", "bad", "told"),
    [
        ("debian-slim", {}, ""),
        ("scratch", {}, ""),
        ("scratch", {"TARGETPLATFORM": "linux/arm/v6"}, ""),
        ("debian-slim", {"TARGETPLATFORM": "linux/386"}, "not built, PLATFORMS is linux/arm64"),
        ("debian-slim", {"MACHINE": "Advanced Micro Devices X86-64"}, "wrong machine"),
        ("debian-slim", {"LIBRARY": "libssl.so.3"}, "needs libssl.so.3, the image lacks it"),
        ("debian-slim", {"GLIBC": "GLIBC_2.39"}, "needs GLIBC_2.39, the image has GLIBC_2.36"),
        ("scratch", {"STATIC": "INTERP"}, "is not static"),
        ("scratch", {"TARGETPLATFORM": "linux/arm/v6", "ARM": "v7"}, "code for a newer ARM than v6"),
    ],
)
def test_the_build_refuses_what_would_not_start(
    bake: Callable[..., Path], tmp_path: Path, runtime: str, bad: dict[str, str], told: str
) -> None:
    """Run the script of the stage `check` on a binary of which readelf tells one bad thing."""
    project = bake(runtime=runtime, **({"platforms": "linux/arm64,linux/arm/v6"} if runtime == "scratch" else {}))
    for platform in ("linux/arm64", "linux/arm/v6"):
        for file in (f"out/{platform}/backend", f"files/{platform}/usr/bin/tini"):
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text("a program", encoding="utf-8")
    for file in ("base/lib/libc.so.6", "base/usr/lib/libm.so.6", "stubs"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "readelf").write_text(READELF, encoding="utf-8")
    (tmp_path / "readelf").chmod(0o755)
    check = re.sub(r"(?<![\w$.}*])/(out|files|base|stubs|rootfs)\b", rf"{tmp_path}/\1", script(project, "readelf"))
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", check],
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}", "PLATFORMS": "linux/arm64", "TARGET_BINARY": "backend",
            **GOOD_BINARY, **bad,
        },
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == (1 if told else 0), result.stdout + result.stderr
    assert told in result.stdout + result.stderr
    assert (tmp_path / "rootfs" / "usr" / "local" / "bin" / "backend").exists() == (not told)


def test_shellcheck_has_nothing_to_say_of_the_copied_scripts(everything: Path) -> None:
    # hadolint reads those of RUN.
    text = (everything / "Dockerfile").read_text(encoding="utf-8")
    scripts = re.findall(r"^COPY .*<<'EOF'.*\n((?:.*\n)*?)EOF\n", text, re.MULTILINE)
    assert len(scripts) == 3
    for body in scripts:
        result = subprocess.run(
            # /etc/os-release is the builder's; apt expands the dollars itself.
            ["shellcheck", "--exclude=SC1091,SC2016", "-"],
            input=body,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("cores", "kib", "jobs"), [(16, 4_000_000, 3), (2, 24_000_000, 2), (8, 8_388_608, 8), (4, 500_000, 1)]
)
def test_memory_bounds_the_compilers(project: Path, tmp_path: Path, cores: int, kib: int, jobs: int) -> None:
    """A builder of 16 cores and 4 GB must not start 16 of them."""
    text = (project / "Dockerfile").read_text(encoding="utf-8")
    (script,) = re.findall(r"^COPY .*/build-jobs\n((?:.*\n)*?)EOF\n", text, re.MULTILINE)
    (tmp_path / "meminfo").write_text(f"MemTotal:       {kib} kB\nMemFree:        1 kB\n", encoding="utf-8")
    (tmp_path / "nproc").write_text(f"#!/bin/sh\necho {cores}\n", encoding="utf-8")
    (tmp_path / "nproc").chmod(0o755)
    result = subprocess.run(
        ["sh"], input=script.replace("/proc/meminfo", str(tmp_path / "meminfo")),
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout == f"{jobs}\n"
