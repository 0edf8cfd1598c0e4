"""Build the default project with our Dockerfile and with the design it started from, side by side.

    python benchmarks/run.py [ROUNDS]

Alternating, in one run on one machine: a first build for three platforms from nothing (no layer, no cache mount), then
a rebuild after an edit of the service's sources. Prints a Markdown table of medians. Needs a Docker Engine with buildx
and a registry on 127.0.0.1:5000; E2E_NETWORK as in tests/e2e/engine.py. For figures that mean something, let nothing
else run.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from e2e import engine  # noqa: E402

PLATFORMS = "linux/amd64,linux/arm64,linux/arm/v7"
NAMES = {"ours": "this template", "original": "the original design"}


def prepare(name: str, folder: Path) -> Path:
    """Generate the default project, with the Dockerfile of a contestant, and return its folder."""
    subprocess.run(
        [Path(sys.executable).with_name("cookiecutter"), "--no-input", "--output-dir", folder / "baked", ROOT],
        check=True,
        capture_output=True,
    )
    project = engine.copy(folder / "baked" / "my-service", folder / name)
    if name != "ours":
        dockerfile = (ROOT / "benchmarks" / "peers" / f"{name}.Dockerfile").read_text(encoding="utf-8")
        (project / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    return project


def once(name: str) -> tuple[float, float, dict[str, int]]:
    """Return the seconds of a first build and of a rebuild, and each platform's image in bytes."""
    with tempfile.TemporaryDirectory() as temporary:
        project = prepare(name, Path(temporary))
        image = f"{engine.REGISTRY}/bench/{name}-{uuid.uuid4().hex[:8]}:latest"
        arguments = ["--platform", PLATFORMS, "--build-arg", f"PLATFORMS={PLATFORMS}", "--tag", image, "--push"]
        cold = engine.build(project, "--no-cache", *arguments)
        assert cold.status == 0, cold.log + cold.errors
        main = project / "crates" / "backend" / "src" / "main.rs"
        text = main.read_text(encoding="utf-8")
        # Another text each time: what an earlier run built must not serve.
        edited = f'fn main() -> ExitCode {{\n    eprintln!("{uuid.uuid4()}");'
        main.write_text(text.replace("fn main() -> ExitCode {", edited), "utf-8")
        edit = engine.build(project, *arguments)
        assert edit.status == 0, edit.log + edit.errors
        assert edit.step("cargo chef cook").cached if name == "ours" else True
        for step in cold.steps:
            if step.seconds >= 2:
                print(f"{name}: {step.seconds:5.0f} s  {step.name[:70]!r}", file=sys.stderr)
        sizes = {platform: engine.pull(image, platform).content for platform in engine.platforms(image)}
    return cold.seconds, edit.seconds, sizes


def main() -> None:
    """Run the rounds and print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    results: dict[str, list[tuple[float, float, dict[str, int]]]] = {name: [] for name in NAMES}
    for _ in range(rounds):
        for name in NAMES:
            results[name].append(once(name))
            print(f"{name}: {results[name][-1]}", file=sys.stderr)
    print(f"{os.cpu_count()} cores, {rounds} round(s), load at the end {os.getloadavg()[0]:.1f}\n")
    print("| | first build | after an edit | " + " | ".join(PLATFORMS.split(",")) + " |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, runs in results.items():
        cold, edit = (statistics.median(run[i] for run in runs) for i in (0, 1))
        sizes = " | ".join(f"{runs[0][2][platform] / 1e6:.1f} MB" for platform in PLATFORMS.split(","))
        print(f"| {NAMES[name]} | {cold:.0f} s | {edit:.0f} s ({edit / cold:.0%}) | {sizes} |")


if __name__ == "__main__":
    main()
