"""The shell of the image workflow, run for real: on images that are right, and on those that it is there to stop."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import tarfile
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from e2e import engine
from workflows import IMAGE_WORKFLOW, PLATFORMS, scripts, shell, steps
from workflows import load as load_workflow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.docker

VERSION = "--version) echo backend 0.1.0 ;;"
HEALTHY = "healthcheck) exit 0 ;;"
SERVE = "*) echo serving; exec sleep 600 ;;"
DOCKERFILE = """\
FROM debian:bookworm-slim
COPY --chmod=755 backend /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/backend"]
"""


@dataclass
class Outcome:
    """What came of a step."""

    status: int
    text: str
    summary: str
    outputs: str

    @property
    def error(self) -> str:
        """The message that GitHub shows, or nothing."""
        return "\n".join(re.findall(r"^::error::(.*)", self.text, re.MULTILINE))


@pytest.fixture(scope="module")
def names() -> Iterator[Callable[[], str]]:
    """Return a function that makes up names of binaries; their images are removed in the end."""
    made: list[str] = []

    def name() -> str:
        made.append(f"wf-{uuid.uuid4().hex[:12]}")
        return made[-1]

    yield name
    for binary in made:
        subprocess.run(["docker", "rmi", "--force", f"under-test:{binary}"], capture_output=True, check=False)


@pytest.fixture
def step(tmp_path: Path, bake: Callable[..., Path]) -> Callable[..., Outcome]:
    """Return a function that runs a step of the image workflow."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "work").mkdir()
    if engine.NETWORK:
        # An engine whose containers have no network of their own.
        docker = tmp_path / "bin" / "docker"
        run = f'case "$*" in *--network*) ;; run*) shift; set -- run --network {engine.NETWORK} "$@" ;; esac'
        docker.write_text(f'#!/bin/sh\n{run}\nexec {shutil.which("docker")} "$@"\n', encoding="utf-8")
        docker.chmod(0o755)

    def run_step(builders: str, name: str, folder: Path | None = None, **env: str) -> Outcome:
        (script,) = [
            script
            for where, script in scripts(bake(ci_builders=builders)).items()
            if where.startswith(f"docker-build.yml: {name}")
        ]
        files = {"GITHUB_STEP_SUMMARY": tmp_path / "summary", "GITHUB_OUTPUT": tmp_path / "output"}
        for path in files.values():
            path.write_text("", encoding="utf-8")
        given = {
            "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "RUNNER_TEMP": str(tmp_path),
            "TARGET_BINARY": "backend",
            "PLATFORMS": ",".join(PLATFORMS),
            "SIZE_LIMIT_MB": "100",
            **{key: str(path) for key, path in files.items()},
        }
        result = shell(script, folder or tmp_path / "work", **{**given, **env})
        summary, outputs = (path.read_text(encoding="utf-8") for path in files.values())
        return Outcome(result.returncode, result.stdout + result.stderr, summary, outputs)

    return run_step


def build(folder: Path, program: list[str], *arguments: str, dockerfile: str = DOCKERFILE) -> None:
    """Build an image with a shell script for the service."""
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    (folder / "backend").write_text("\n".join(["#!/bin/sh", 'case "$1" in', *program, "esac", ""]), encoding="utf-8")
    result = engine.build(folder, *arguments)
    assert result.status == 0, result.errors


def load(folder: Path, program: list[str], binary: str, *platforms: str, dockerfile: str = DOCKERFILE) -> None:
    """Build an image and load it as the workflow does."""
    arguments = ("--platform", ",".join(platforms or ["linux/amd64"]), "--load", "--tag", f"under-test:{binary}")
    build(folder, program, *arguments, dockerfile=dockerfile)


@pytest.fixture(scope="module")
def good(names: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a binary whose image has three platforms and does what the service does."""
    binary = names()
    load(tmp_path_factory.mktemp("good"), [VERSION, HEALTHY, SERVE], binary, *PLATFORMS)
    return binary


def weight(image: str, platform: str, folder: Path) -> int:
    """Return the bytes of the files in all layers of an image, counted by Python's own tar."""
    command = ["docker", "save", "--platform", platform, "--output", str(folder / "saved.tar"), image]
    subprocess.run(command, capture_output=True, check=True)
    with tarfile.open(folder / "saved.tar") as saved:

        def read(name: str) -> bytes:
            file = saved.extractfile(name)
            assert file
            return file.read()

        (manifest,) = json.loads(read("manifest.json"))
        layers = [read(name) for name in manifest["Layers"]]
    return sum(engine.content(gzip.decompress(layer) if layer[:2] == b"\x1f\x8b" else layer) for layer in layers)


@pytest.mark.parametrize(
    ("builders", "platforms"),
    [("one-runner", PLATFORMS), *(("native-runners", [platform]) for platform in PLATFORMS)],
)
def test_good_images_pass(
    step: Callable[..., Outcome], good: str, tmp_path: Path, builders: str, platforms: list[str]
) -> None:
    outcome = step(builders, "Run and weigh", BINARIES=good, PLATFORMS=",".join(platforms))
    assert outcome.status == 0, outcome.text
    assert outcome.text.count("backend 0.1.0\n") == len(platforms)
    assert outcome.text.count("serving\n") == len(platforms)
    head, _, *rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in outcome.summary.splitlines()]
    assert head == ["image", "platform", "MB, limit 100"]
    assert [row[:2] for row in rows] == [[good, platform] for platform in platforms]
    for _, platform, megabytes in rows:
        # The same measure as that of the tests of the real images, rounded up.
        found = weight(f"under-test:{good}", platform, tmp_path) / 1e6
        assert 30 < found <= float(megabytes) < found + 0.1
    containers = ["docker", "ps", "-aq", "--filter", f"ancestor=under-test:{good}"]
    assert not subprocess.run(containers, capture_output=True, check=True).stdout


@pytest.mark.parametrize(
    "case",
    [
        (["--version) exit 1 ;;", HEALTHY, SERVE], "--version failed"),
        ([VERSION, "healthcheck) exit 1 ;;", SERVE], "the server did not become healthy"),
        ([VERSION, HEALTHY, "*) exit 1 ;;"], "the server did not become healthy"),
    ],
    ids=["exits 1", "stays unhealthy", "dies at once"],
)
def test_an_image_that_fails_is_stopped(
    step: Callable[..., Outcome],
    names: Callable[[], str],
    tmp_path: Path,
    case: tuple[list[str], str],
) -> None:
    program, message = case
    binary = names()
    load(tmp_path / "image", program, binary)
    outcome = step("one-runner", "Run and weigh", BINARIES=binary, PLATFORMS="linux/amd64")
    assert outcome.status == 1
    assert outcome.error == f"{binary} for linux/amd64: {message}"


def test_one_failing_platform_stops_all(step: Callable[..., Outcome], names: Callable[[], str], tmp_path: Path) -> None:
    binary = names()
    only_arm = '--version) [ "$(uname -m)" != aarch64 ] || exit 1 ;;'
    load(tmp_path / "image", [only_arm, HEALTHY, SERVE], binary, *PLATFORMS)
    outcome = step("one-runner", "Run and weigh", BINARIES=binary)
    assert outcome.status == 1
    assert outcome.error == f"{binary} for linux/arm64: --version failed"
    assert "| linux/amd64 |" in outcome.summary
    assert "linux/arm" not in outcome.summary


def test_one_failing_image_stops_both(
    step: Callable[..., Outcome], names: Callable[[], str], good: str, tmp_path: Path
) -> None:
    bad = names()
    load(tmp_path / "image", ["--version) exit 1 ;;", HEALTHY, SERVE], bad)
    outcome = step("one-runner", "Run and weigh", BINARIES=f"{good} {bad}", PLATFORMS="linux/amd64")
    assert outcome.status == 1
    assert outcome.error == f"{bad} for linux/amd64: --version failed"
    assert f"| {good} | linux/amd64 |" in outcome.summary


def test_a_heavy_image_is_stopped(step: Callable[..., Outcome], names: Callable[[], str], tmp_path: Path) -> None:
    """Every layer weighs, also what a later one removes."""
    binary = names()
    dockerfile = DOCKERFILE + "COPY ballast /ballast\nCOPY empty /ballast\n"
    folder = tmp_path / "image"
    folder.mkdir()
    (folder / "ballast").write_bytes(bytes(60_000_000))
    (folder / "empty").touch()
    load(folder, [VERSION, HEALTHY, SERVE], binary, dockerfile=dockerfile)
    found = weight(f"under-test:{binary}", "linux/amd64", tmp_path)
    assert found > 100_000_000
    weigh = {"BINARIES": binary, "PLATFORMS": "linux/amd64"}
    outcome = step("one-runner", "Run and weigh", **weigh)
    assert outcome.status == 1
    assert outcome.error == f"{binary} for linux/amd64: {found} bytes, the limit is 100 MB"
    megabytes = found // 1_000_000
    assert step("one-runner", "Run and weigh", **weigh, SIZE_LIMIT_MB=str(megabytes)).status == 1
    assert step("one-runner", "Run and weigh", **weigh, SIZE_LIMIT_MB=str(megabytes + 1)).status == 0


def test_a_platform_that_was_not_built_is_noticed(
    step: Callable[..., Outcome], names: Callable[[], str], tmp_path: Path
) -> None:
    binary = names()
    load(tmp_path / "image", [VERSION, HEALTHY, SERVE], binary, "linux/amd64", "linux/arm64")
    outcome = step("one-runner", "Run and weigh", BINARIES=binary)
    assert outcome.status == 1
    assert outcome.error == f"{binary} for linux/arm/v7: --version failed"


@dataclass
class Pushed:
    """One image for each platform in the registry, none of them under a tag that people use."""

    repository: str
    digests: dict[str, str]
    folder: Path

    @property
    def image(self) -> str:
        return f"{engine.REGISTRY}/{self.repository}"

    def hand_over(self, step: Callable[..., Outcome], work: Path, platforms: list[str]) -> Path:
        """Write the digests as the build jobs do, and return where the last job finds those of the service."""
        work.mkdir()
        (work / "digests/backend").mkdir(parents=True)
        for platform in platforms:
            digests = f"backend/{self.digests[platform]}\nfrontend/sha256:{'0' * 64}\n"
            assert step("native-runners", "Keep the digest", work, DIGESTS=digests).status == 0
        return work / "digests/backend"


@pytest.fixture
def pushed(names: Callable[[], str], tmp_path: Path) -> Pushed:
    repository = names()
    digests = {}
    for platform in PLATFORMS:
        metadata = tmp_path / "metadata.json"
        build(
            tmp_path / "image", [VERSION, HEALTHY, SERVE],
            "--platform", platform, "--push", "--provenance", "mode=max", "--metadata-file", str(metadata),
            # By a tag of its own: the engine's built-in builder cannot push by digest, which the workflow's can.
            "--tag", f"{engine.REGISTRY}/{repository}:{platform.replace('/', '-')}",
        )  # fmt: skip
        (digest,) = re.findall(r'"containerimage\.digest": "(\S+)"', metadata.read_text(encoding="utf-8"))
        digests[platform] = digest
    return Pushed(repository, digests, tmp_path)


def test_a_whole_index_is_tagged(step: Callable[..., Outcome], pushed: Pushed, tmp_path: Path) -> None:
    folder = pushed.hand_over(step, tmp_path / "job", PLATFORMS)
    checked = step("native-runners", "Check that no platform is missing", folder, IMAGE=pushed.image)
    assert checked.status == 0, checked.text
    tags = [f"{pushed.image}:latest", f"{pushed.image}:{'a' * 40}"]
    moved = step("native-runners", "Move the tags", folder, IMAGE=pushed.image, TAGS="\n".join(tags))
    assert moved.status == 0, moved.text
    for tag in tags:
        found = engine.platforms(tag)
        assert sorted(found) == sorted(PLATFORMS)
    (digest,) = re.findall(r"^digest=(sha256:[0-9a-f]{64})$", moved.outputs, re.MULTILINE)
    assert moved.outputs == f"digest={digest}\n"

    told = step("native-runners", "Summarize", PUSHED="\n".join([*tags, f"{pushed.image}@{digest}", ""]))
    assert told.status == 0, told.text
    pulls = re.findall(r"^docker pull (\S+)$", told.summary, re.MULTILINE)
    assert pulls == [*tags, f"{pushed.image}@{digest}"]
    assert told.summary.count("docker pull") == len(pulls)
    for reference in pulls:
        subprocess.run(["docker", "buildx", "imagetools", "inspect", reference], capture_output=True, check=True)


@pytest.mark.parametrize("missing", PLATFORMS)
def test_an_index_without_a_platform_is_refused(
    step: Callable[..., Outcome], pushed: Pushed, tmp_path: Path, missing: str
) -> None:
    there = [platform for platform in PLATFORMS if platform != missing]
    folder = pushed.hand_over(step, tmp_path / "job", there)
    outcome = step("native-runners", "Check that no platform is missing", folder, IMAGE=pushed.image)
    assert outcome.status == 1
    wanted, found = re.fullmatch(r"\S+ is not tagged\. Wanted: (\S+)\. Pushed: (\S+)", outcome.error).groups()  # type: ignore[union-attr]
    assert wanted == ",".join(PLATFORMS)
    assert sorted(found.split(",")) == sorted(there)


def test_an_index_without_anything_is_refused(step: Callable[..., Outcome], pushed: Pushed, tmp_path: Path) -> None:
    folder = pushed.hand_over(step, tmp_path / "job", [])
    assert step("native-runners", "Check that no platform is missing", folder, IMAGE=pushed.image).status != 0


def test_what_was_tested_is_what_is_pushed(names: Callable[[], str], tmp_path: Path) -> None:
    """The second build takes everything from the first, even if that was told to leave the cache out."""
    if not engine.registry_answers():
        pytest.skip(f"no registry at {engine.REGISTRY}: docker run -d -p 5000:5000 registry:2")
    image = f"{engine.REGISTRY}/{names()}"
    dockerfile = DOCKERFILE + "RUN head -c 32 /dev/urandom >/different-each-time\n"
    first = ("--no-cache", "--load", "--platform", "linux/amd64", "--tag", image)
    build(tmp_path / "image", [VERSION, HEALTHY, SERVE], *first, dockerfile=dockerfile)
    show = ["docker", "run", "--rm", *(["--network", engine.NETWORK] if engine.NETWORK else []), "--entrypoint", "cat"]
    tested = subprocess.run([*show, image, "/different-each-time"], capture_output=True, check=True).stdout
    second = ("--push", "--platform", "linux/amd64", "--tag", f"{image}:pushed", "--provenance", "mode=max")
    build(tmp_path / "image", [VERSION, HEALTHY, SERVE], *second, dockerfile=dockerfile)
    assert engine.pull(f"{image}:pushed", "linux/amd64").file("different-each-time") == tested


def test_the_second_image_costs_no_second_compilation(bake: Callable[..., Path]) -> None:
    """The workflow builds the service first, then the frontend: what compiles the workspace is theirs in common."""
    project = bake(frontend=True)
    builds = [
        step["with"]
        for step in steps(load_workflow(project / IMAGE_WORKFLOW))
        if step.get("uses", "").startswith("docker/build-push-action@") and "load" in step["with"]
    ]
    assert [build.get("file", "Dockerfile") for build in builds] == ["Dockerfile", "Dockerfile.frontend"]
    arguments = ["--platform=linux/amd64", "--output=type=cacheonly"]
    arguments += [f"--build-arg={value}" for value in ("PLATFORMS=linux/amd64", "PROFILE=dev", f"GIT_SHA={'a' * 40}")]
    service = engine.build(project, "--no-cache", *arguments)
    frontend = engine.build(project, *arguments, "--file=Dockerfile.frontend")
    for build in (service, frontend):
        assert build.status == 0, build.log + build.errors
    compiling = [
        step
        for step in service.steps
        if re.search(r"\b(chef|planner|tools|dependencies|builder|files) \d+/\d+] RUN", step.name)
    ]
    assert len(compiling) >= 6
    assert not any(step.cached for step in compiling)
    assert all(frontend.step(step.name).cached for step in compiling)
