"""A thin layer over `docker` and a registry for the end-to-end tests.

Environment: E2E_REGISTRY (default 127.0.0.1:5000), and E2E_NETWORK for engines whose containers have no network of
their own (`host`).
"""

from __future__ import annotations

import atexit
import base64
import gzip
import http.client
import io
import json
import os
import re
import shutil
import socket
import subprocess
import tarfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

REGISTRY = os.environ.get("E2E_REGISTRY", "127.0.0.1:5000")
NETWORK = os.environ.get("E2E_NETWORK", "")
# As little privileged as can be: what the image promises to need.
HARDENED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
DIGEST_TYPES = (
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json"
)


@dataclass
class Step:
    """One vertex of a build, as BuildKit's own record tells it."""

    name: str
    cached: bool
    seconds: float


@dataclass
class Build:
    """What came of a build."""

    status: int
    seconds: float
    steps: list[Step]
    log: str
    errors: str

    def step(self, part: str) -> Step:
        """Return the one step whose name holds a text."""
        (found,) = [step for step in self.steps if part in step.name]
        return found


def _record(text: str) -> tuple[list[Step], str]:
    """Read `--progress rawjson`: the final state of each vertex, and what the steps printed."""
    steps: dict[str, Step] = {}
    log = io.StringIO()
    for line in text.splitlines():
        if not line.startswith("{"):
            continue
        event = json.loads(line)
        for vertex in event.get("vertexes") or []:
            step = steps.setdefault(vertex["digest"], Step(vertex["name"], cached=False, seconds=0))
            step.cached = step.cached or bool(vertex.get("cached"))
            if vertex.get("started") and vertex.get("completed"):
                start, end = (datetime.fromisoformat(vertex[k][:19] + "+00:00") for k in ("started", "completed"))
                step.seconds = max(step.seconds, (end - start).total_seconds())
        for entry in event.get("logs") or []:
            log.write(base64.b64decode(entry["data"]).decode(errors="replace"))
    return list(steps.values()), log.getvalue()


def _build(project: Path, command: list[str], env: dict[str, str]) -> Build:
    start = time.monotonic()
    result = subprocess.run(
        ["docker", "buildx", *command],
        cwd=project,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - start
    steps, log = _record(result.stderr)
    errors = "\n".join(line for line in result.stderr.splitlines() if not line.startswith("{"))
    return Build(result.returncode, seconds, steps, log, errors)


def bake(
    project: Path,
    *arguments: str,
    env: dict[str, str] | None = None,
    stand_ins: dict[str, dict[str, Any]] | None = None,
) -> Build:
    """Run `docker buildx bake` in a project; an image with a stand-in is built, by a target of bake, and not pulled."""
    files = ["--file", "docker-bake.hcl"]
    plan = subprocess.run(
        ["docker", "buildx", "bake", *files, "--print"], cwd=project, capture_output=True, text=True, check=True
    )
    made = {f"stand-in-{number}": target for number, target in enumerate((stand_ins or {}).values())}
    contexts = dict(zip(stand_ins or {}, (f"target:{name}" for name in made), strict=True))
    targets = {**{name: {"contexts": contexts} for name in json.loads(plan.stdout)["target"]}, **made}
    if NETWORK:
        # Bake takes the network from a file only.
        targets = {name: {**target, "network": NETWORK} for name, target in targets.items()}
        files += ["--allow", f"network.{NETWORK}"]
    override = project.with_suffix(".override.json")
    override.write_text(json.dumps({"target": targets}), encoding="utf-8")
    return _build(project, ["bake", *files, "--file", str(override), "--progress", "rawjson", *arguments], env or {})


def build(project: Path, *arguments: str, platforms: str = "", env: dict[str, str] | None = None) -> Build:
    """Run `docker buildx build` in a project; for the platforms named, by one builder that compiles for all of them."""
    options = ["--network", NETWORK] if NETWORK else []
    if platforms:
        options += ["--platform", platforms, "--build-arg", f"PLATFORMS={platforms}"]
    return _build(project, ["build", *options, "--progress", "rawjson", *arguments, "."], env or {})


class Memory:
    """A control group for the steps of a build: limits their memory, and tells how much they had at most.

    Without the page cache. Needs root, and an engine that makes its groups itself (`Cgroup Driver: cgroupfs`);
    otherwise `group` is None, and there are neither limits nor figures.
    """

    def __init__(self, limit: int | None = None) -> None:
        """Make the group; the limit is in bytes."""
        name = f"rust-multiarch-{uuid.uuid4().hex[:8]}"
        self.peak = 0
        self.group: Path | None = None
        self.arguments: list[str] = []
        # Of the first and of the second version of control groups
        for folder, self.key, file in (
            (Path("/sys/fs/cgroup/memory"), "total_rss", "memory.limit_in_bytes"),
            (Path("/sys/fs/cgroup"), "anon", "memory.max"),
        ):
            if os.access(folder / "cgroup.procs", os.W_OK):
                self.group = folder / name
                self.group.mkdir()
                atexit.register(self.remove)
                self.arguments = [f"--cgroup-parent=/{name}"]
                if limit:
                    (self.group / file).write_text(str(limit))
                break

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Sample the group ten times a second while the block runs; the result is in `peak`, in bytes."""
        done = threading.Event()
        self.peak = 0

        def watch() -> None:
            while self.group and not done.wait(0.1):
                lines = dict(line.split() for line in (self.group / "memory.stat").read_text().splitlines())
                self.peak = max(self.peak, int(lines[self.key]))

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def remove(self) -> None:
        """Remove the group, unless something still runs in it."""
        if self.group:
            with suppress(OSError):
                self.group.rmdir()

    def enter(self) -> None:
        """Put the calling process into the group."""
        if self.group:
            (self.group / "cgroup.procs").write_text(str(os.getpid()))


def copy(project: Path, to: Path) -> Path:
    """Copy a project, with cache mounts of its own: a first build of it has nothing to start from."""
    shutil.copytree(project, to)
    fresh = uuid.uuid4().hex

    def renamed(mount: re.Match[str]) -> str:
        options = mount[0].split(",")
        names = [option for option in options if option.startswith("id=")] or [f"id={mount[1]}"]
        return ",".join([option for option in options if not option.startswith("id=")] + [f"{names[0]}-{fresh}"])

    for dockerfile in to.glob("Dockerfile*"):
        text = dockerfile.read_text(encoding="utf-8")
        text = re.sub(r"--mount=type=cache,target=([^,\s]+)\S*", renamed, text)
        dockerfile.write_text(text, encoding="utf-8")
    return to


def run(image: str, *arguments: str, platform: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run a container to its end."""
    network = ["--network", NETWORK] if NETWORK else []
    return subprocess.run(
        ["docker", "run", "--rm", "--platform", platform, *HARDENED, *network, *options, image, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@dataclass
class Server:
    """A running container of the service."""

    name: str
    port: int
    image: str
    platform: str

    def get(self, path: str) -> tuple[int, str]:
        """Return status and body of a GET request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def healthcheck(self) -> int:
        """Return the exit status of the image's own healthcheck, run against this server."""
        options = ("--env", f"LISTEN_ADDR=127.0.0.1:{self.port}")
        if not NETWORK:
            options = ("--network", f"container:{self.name}")
        return run(self.image, "healthcheck", platform=self.platform, options=options).returncode

    def stop(self) -> tuple[int, float]:
        """Send SIGTERM; return exit status and seconds until the end."""
        start = time.monotonic()
        subprocess.run(["docker", "kill", "--signal", "TERM", self.name], check=True, capture_output=True)
        waited = subprocess.run(["docker", "wait", self.name], check=True, capture_output=True, text=True, timeout=60)
        return int(waited.stdout), time.monotonic() - start


@contextmanager
def serve(image: str, platform: str) -> Iterator[Server]:
    """Run the service in a container until the block ends; wait until it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    name = f"e2e-{uuid.uuid4().hex[:12]}"
    if NETWORK:
        network = ["--network", NETWORK, "--env", f"LISTEN_ADDR=127.0.0.1:{port}"]
    else:
        network = ["--publish", f"127.0.0.1:{port}:8080"]
    subprocess.run(
        ["docker", "run", "--detach", "--name", name, "--platform", platform, *HARDENED, *network, image],
        check=True,
        capture_output=True,
    )
    server = Server(name, port, image, platform)
    try:
        for _ in range(100):
            try:
                if server.get("/readyz")[0] == 200:
                    break
            except OSError:
                pass
            time.sleep(0.1)
        else:
            logs = subprocess.run(["docker", "logs", name], capture_output=True, text=True, check=False)
            raise AssertionError(f"{image} on {platform} does not answer: {logs.stdout}{logs.stderr}")
        yield server
    finally:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, check=False)


def fetch(path: str) -> bytes:
    """Return what the registry has at a path of its API."""
    request = urllib.request.Request(f"http://{REGISTRY}/v2/{path}", headers={"Accept": DIGEST_TYPES})
    with urllib.request.urlopen(request, timeout=60) as answer:
        data: bytes = answer.read()
        return data


# What `repository` has made up
repositories: list[str] = []


def repository(name: str) -> str:
    """Return a repository that nothing was pushed to. The engine's copies of its images are removed in the end."""
    repositories.append(f"{REGISTRY}/e2e/{name}-{uuid.uuid4().hex[:8]}")
    return repositories[-1]


def remove_images() -> None:
    """Remove what the engine has of all these repositories, and of those whose names begin alike."""
    listed = subprocess.run(
        ["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}"], capture_output=True, text=True, check=True
    )
    images = [image for image in listed.stdout.split() if image.startswith(tuple(repositories))]
    if images:
        subprocess.run(["docker", "image", "rm", "--force", *images], capture_output=True, check=True)


def registry_answers() -> bool:
    """Return whether there is a registry."""
    try:
        fetch("")
    except (OSError, urllib.error.URLError):
        return False
    return True


@dataclass
class Image:
    """One platform's image in the registry."""

    config: dict[str, Any]
    layers: list[bytes] = field(repr=False)

    @property
    def size(self) -> int:
        """Uncompressed bytes of all layers, as tar archives."""
        return sum(len(layer) for layer in self.layers)

    @property
    def content(self) -> int:
        """Bytes of the files in all layers: without tar's headers and padding, as `docker images` counts."""
        return sum(content(layer) for layer in self.layers)

    @property
    def own(self) -> int:
        """Bytes of the files that the Dockerfile adds to its base image: they are the last layer."""
        return content(self.layers[-1])

    def file(self, path: str) -> bytes:
        """Return a file's content, from the topmost layer that has it."""
        for layer in reversed(self.layers):
            with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
                for member in tar:
                    if member.name.lstrip("./") == path.lstrip("/"):
                        content = tar.extractfile(member)
                        assert content, f"{path} is no file"
                        return content.read()
        raise FileNotFoundError(path)


def content(layer: bytes) -> int:
    """Return the bytes of the files in a layer."""
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        return sum(member.size for member in tar)


def tagged(reference: str) -> Any:
    """Return what was pushed under a tag: an index, or a single manifest."""
    repository, _, tag = reference.removeprefix(f"{REGISTRY}/").rpartition(":")
    return json.loads(fetch(f"{repository}/manifests/{tag}"))


def platforms(reference: str) -> dict[str, str]:
    """Return platform → manifest digest of a pushed index; attestations left out."""
    found = {}
    for manifest in tagged(reference)["manifests"]:
        platform = manifest["platform"]
        parts = [platform["os"], platform["architecture"], platform.get("variant", "")]
        if platform["os"] == "unknown":
            continue
        name = "/".join(part for part in parts if part)
        found["linux/arm64" if name == "linux/arm64/v8" else name] = manifest["digest"]
    return found


def manifest(reference: str, platform: str) -> Any:
    """Return one platform's manifest of a pushed index: its configuration and compressed layers."""
    repository = reference.removeprefix(f"{REGISTRY}/").rpartition(":")[0]
    return json.loads(fetch(f"{repository}/manifests/{platforms(reference)[platform]}"))


def pull(reference: str, platform: str) -> Image:
    """Return one platform's image of a pushed index."""
    repository = reference.removeprefix(f"{REGISTRY}/").rpartition(":")[0]
    parts = manifest(reference, platform)
    config = json.loads(fetch(f"{repository}/blobs/{parts['config']['digest']}"))
    layers = []
    for layer in parts["layers"]:
        blob = fetch(f"{repository}/blobs/{layer['digest']}")
        assert layer["mediaType"].endswith(("tar", "gzip")), layer
        layers.append(gzip.decompress(blob) if layer["mediaType"].endswith("gzip") else blob)
    return Image(config, layers)
