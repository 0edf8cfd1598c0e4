"""Build the default project with our Dockerfile and with those of its peers, side by side, and write what it took.

    python benchmarks/run.py [--rounds 3] [--only NAME,…] [--scenarios NAME,…] [--more]

On one machine, alternating: each round takes every contestant through every scenario. Each result is appended to
results.json at once; report.py makes the table and the chart of it. Earlier results are dropped, unless --more adds to
them: those of the same machine.

Needs a Docker Engine with buildx, a registry on 127.0.0.1:5000, cargo, and for the floor rustup's toolchain 1.95.0 with
the three targets, gcc-aarch64-linux-gnu and gcc-arm-linux-gnueabihf. E2E_NETWORK as in tests/e2e/engine.py.
It empties the builder's cache. For figures that mean something, let nothing else run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform as machine
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from e2e import engine  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results.json"
THREE = "linux/amd64,linux/arm64,linux/arm/v7"
ONE = "linux/arm64"
TARGETS = {
    "linux/amd64": "x86_64-unknown-linux-gnu",
    "linux/arm64": "aarch64-unknown-linux-gnu",
    "linux/arm/v7": "armv7-unknown-linux-gnueabihf",
}
CONTESTANTS = ["floor", "ours", "original", "docker-guide", "xx", "zigbuild", "qemu"]
# In this order: each starts from what the one before left.
SCENARIOS = ["cold", "edit", "dependency", "version", "layers", "cache", "import", "one"]
# apt keeps no archives in the images on Docker Hub. Stand-ins for them may lack that setting, and then whoever runs
# apt-get without a clean would look worse than with those.
CLEAN = """FROM {base}
COPY <<EOF /etc/apt/apt.conf.d/docker-clean
DPkg::Post-Invoke {{ "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; }};
APT::Update::Post-Invoke {{ "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; }};
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
EOF
"""
# Base image → platforms it is used for
BASES = {"lukemathwalker/cargo-chef:latest-rust-1.95-bookworm": "", "debian:bookworm-slim": THREE}


def clean_bases() -> list[str]:
    """Make the base images of all contestants apt-clean; return the arguments that put them in place of those."""
    arguments = []
    with tempfile.TemporaryDirectory() as folder:
        for base, platforms in BASES.items():
            (Path(folder) / "Dockerfile").write_text(CLEAN.format(base=base), "utf-8")
            name = f"bench/{base.replace('/', '-')}"
            build = engine.build(Path(folder), "--tag", name, "--load", platforms=platforms)
            assert build.status == 0, build.log + build.errors
            arguments.append(f"--build-context={base}=docker-image://{name}")
    return arguments


def generate(folder: Path) -> Path:
    """Generate the default project and return its folder."""
    subprocess.run(
        [Path(sys.executable).with_name("cookiecutter"), "--no-input", "--output-dir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    return folder / "my-service"


def edit(project: Path) -> None:
    """Change what the service answers: another text each time, so that no earlier build serves."""
    source = project / "crates" / "backend" / "src" / "lib.rs"
    before, _, after = source.read_text("utf-8").partition('    format!("{} {}')
    source.write_text(f'{before}    format!("{{}} {{}} {uuid.uuid4()}{after[after.index(chr(92)) :]}', "utf-8")


def add_dependency(project: Path) -> None:
    """Add a small crate, as a developer would."""
    for command in (["add", "--package", "backend", "fastrand@2"], ["update", "--workspace"]):
        subprocess.run(["cargo", *command], cwd=project, check=True, capture_output=True)


def bump_version(project: Path) -> None:
    """Release: nothing but the version changes."""
    manifest = project / "Cargo.toml"
    manifest.write_text(manifest.read_text("utf-8").replace('version = "0.1.0"', 'version = "0.2.0"'), "utf-8")
    subprocess.run(["cargo", "update", "--workspace"], cwd=project, check=True, capture_output=True)


class Contestant:
    """A way to build the project, taken through the scenarios that it has."""

    project: Path

    def build(self, *arguments: str, platforms: str = THREE) -> dict[str, Any]:
        """Build; return at least the seconds, and the peak of memory in bytes."""
        raise NotImplementedError

    def fresh(self) -> None:
        """Take the project as it was generated."""
        raise NotImplementedError

    def edit(self) -> dict[str, Any]:
        """Rebuild after an edit of the service, on the machine that built before."""
        edit(self.project)
        return self.build()

    def dependency(self) -> dict[str, Any]:
        """Rebuild after adding a crate."""
        add_dependency(self.project)
        return self.build()

    def version(self) -> dict[str, Any]:
        """Rebuild after a new version of the workspace."""
        bump_version(self.project)
        return self.build()


class Dockerfile(Contestant):
    """A Dockerfile: ours, or a peer's."""

    def __init__(self, name: str, folder: Path, memory: engine.Memory, bases: list[str]) -> None:
        """Generate the project and put the Dockerfile next to it, with cache mounts that nobody used yet."""
        self.name, self.memory, self.bases = name, memory, bases
        self.folder = folder
        self.fresh()
        self.image = f"{engine.REGISTRY}/bench/{name}-{uuid.uuid4().hex[:8]}:latest"
        self.exported = f"{engine.REGISTRY}/bench/cache-{name}-{uuid.uuid4().hex[:8]}:latest"

    def fresh(self) -> None:
        """Take the project as it was generated, and cache mounts that nobody used yet."""
        folder = self.folder / uuid.uuid4().hex
        project = generate(folder)
        if self.name != "ours":
            shutil.copy(ROOT / "benchmarks" / "peers" / f"{self.name}.Dockerfile", project / "Dockerfile")
        self.project = engine.copy(project, folder / self.name)

    def build(self, *arguments: str, platforms: str = THREE) -> dict[str, Any]:
        """Build and push; return the seconds, those of the longest steps, and the peak of memory in bytes."""
        with self.memory.watched():
            build = engine.build(
                self.project, "--tag", self.image, "--push", "--provenance=false", *self.memory.arguments, *self.bases,
                *arguments, platforms=platforms,
            )  # fmt: skip
        assert build.status == 0, f"{self.name}: {build.log[-3000:]}{build.errors}"
        steps = {
            re.sub(r"(?s)^(\[[^]]*\]).*", r"\1", step.name): step.seconds for step in build.steps if step.seconds >= 5
        }
        return {"seconds": round(build.seconds, 1), "peak": self.memory.peak, "steps": steps}

    def cold(self) -> dict[str, Any]:
        """Build from nothing; start each image once, and weigh it."""
        result = self.build("--no-cache")
        result["images"] = {}
        for name in engine.platforms(self.image):
            told = engine.run(self.image, "--version", platform=name)
            assert told.returncode == 0, f"{self.name} {name}: {told.stderr}"
            image = engine.pull(self.image, name)
            layers = engine.manifest(self.image, name)["layers"]
            result["images"][name] = {
                "bytes": image.content,
                "compressed": sum(layer["size"] for layer in layers),
                # Above the base image, which has two layers: Debian, and the setting of apt.
                "over_base": sum(engine.content(layer) for layer in image.layers[2:]),
            }
        return result

    def layers(self) -> dict[str, Any]:
        """Rebuild after an edit, with the layers but with cache mounts that nobody used yet.

        The mounts' ids are not part of BuildKit's cache key; pruning the mounts would take more than them along.
        """
        self.project = engine.copy(self.project, self.project.with_name(f"{self.name}-layers"))
        edit(self.project)
        return self.build()

    def cache(self) -> dict[str, Any]:
        """Export the cache; return its compressed bytes as well."""
        result = self.build(f"--cache-to=type=registry,ref={self.exported},mode=max")
        found = engine.tagged(self.exported)
        blobs = {blob["digest"]: blob["size"] for blob in found.get("manifests") or found["layers"]}
        return {**result, "bytes": sum(blobs.values())}

    def import_(self) -> dict[str, Any]:
        """Rebuild after an edit on a machine that has nothing but the exported cache."""
        subprocess.run(["docker", "buildx", "prune", "--all", "--force"], check=True, capture_output=True)
        edit(self.project)
        return self.build(f"--cache-from=type=registry,ref={self.exported}")

    def one(self) -> dict[str, Any]:
        """Build one foreign platform from nothing."""
        self.fresh()
        return self.build("--no-cache", platforms=ONE)


class Floor(Contestant):
    """Cargo alone, no Docker: the same workspace, profile and targets, with all tools installed."""

    def __init__(self, folder: Path, memory: engine.Memory) -> None:
        """Generate the project; download the crates."""
        self.memory, self.folder, self.target = memory, folder, folder / "target"
        self.fresh()
        subprocess.run(["cargo", "+1.95.0", "fetch", "--locked"], cwd=self.project, check=True, capture_output=True)

    def fresh(self) -> None:
        """Take the project as it was generated."""
        self.project = generate(self.folder / uuid.uuid4().hex)

    def build(self, *arguments: str, platforms: str = THREE) -> dict[str, Any]:
        """Run cargo; return the seconds and the peak of memory in bytes."""
        targets = [argument for name in platforms.split(",") for argument in ("--target", TARGETS[name])]
        environment = {
            "CARGO_TARGET_DIR": str(self.target),
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER": "aarch64-linux-gnu-gcc",
            "CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER": "arm-linux-gnueabihf-gcc",
        }
        start = time.monotonic()
        with self.memory.watched():
            result = subprocess.run(
                ["cargo", "+1.95.0", "build", "--release", "--locked", "--bin", "backend", *targets, *arguments],
                cwd=self.project, env={**os.environ, **environment}, preexec_fn=self.memory.enter,
                capture_output=True, text=True, check=False,
            )  # fmt: skip
        seconds = time.monotonic() - start
        assert result.returncode == 0, result.stderr
        return {"seconds": round(seconds, 1), "peak": self.memory.peak}

    def cold(self) -> dict[str, Any]:
        """Build from nothing but downloaded crates."""
        return self.build()

    def one(self) -> dict[str, Any]:
        """Build one foreign platform from nothing."""
        self.fresh()
        shutil.rmtree(self.target)
        return self.build(platforms=ONE)


def record(entry: dict[str, Any]) -> None:
    """Append a result to the file, which must be of the same machine."""
    results: dict[str, Any] = {"machine": describe(), "runs": []}
    if RESULTS.exists():
        earlier = json.loads(RESULTS.read_text("utf-8"))
        assert earlier["machine"] == results["machine"], f"{RESULTS} is of another machine: run without --more"
        results = earlier
    results["runs"].append(entry)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


def describe() -> dict[str, Any]:
    """Return what the figures depend on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        machine.machine(),
    )
    version = ["docker", "version", "--format", "{{.Server.Version}}"]
    return {
        "kernel": machine.release(),
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "docker": subprocess.run(version, capture_output=True, text=True, check=True).stdout.strip(),
    }


def take(name: str, scenarios: list[str], round_: int, bases: list[str]) -> None:
    """Take one contestant through the scenarios."""
    memory = engine.Memory()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        contestant = Floor(folder, memory) if name == "floor" else Dockerfile(name, folder, memory, bases)
        for scenario in scenarios:
            # `import` is no name in Python. Cargo alone has neither layers nor an exported cache.
            measure = getattr(contestant, "import_" if scenario == "import" else scenario, None)
            if not measure or (name == "qemu" and scenario != "one"):
                continue
            load = os.getloadavg()[0]
            result = measure()
            stamp = datetime.now(timezone.utc).isoformat(timespec="seconds")
            entry = {"time": stamp, "round": round_, "contestant": name, "scenario": scenario, "load": load, **result}
            record(entry)
            print(
                f"{round_} {name:>12} {scenario:>10} {result['seconds']:7.1f} s  {result['peak'] / 1e6:6.0f} MB",
                flush=True,
            )


def main() -> None:
    """Run the rounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(CONTESTANTS), help="contestants, separated by commas")
    parser.add_argument("--scenarios", default=",".join(SCENARIOS), help="scenarios, separated by commas")
    parser.add_argument("--more", action="store_true", help="add to the results of an earlier run")
    options = parser.parse_args()
    bases = clean_bases()
    if not options.more:
        RESULTS.unlink(missing_ok=True)
    for round_ in range(1, options.rounds + 1):
        for name in options.only.split(","):
            take(name, [scenario for scenario in SCENARIOS if scenario in options.scenarios.split(",")], round_, bases)


if __name__ == "__main__":
    main()
