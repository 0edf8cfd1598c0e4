"""Measure a generated service against its budget, and print the result as a Markdown table.

    python3 benchmarks/service.py PROJECT [BINARY]

Needs cargo and wrk, and Linux. Runs on this machine only; takes two minutes after the builds.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

HELLO = Path(__file__).resolve().parent / "hyper-hello"
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
CONNECTIONS = 10_000
STARTS = 30
ROUNDS = 5
SECONDS = 4


class Row(NamedTuple):
    """A line of the table."""

    what: str
    budget: str
    measured: str
    holds: bool


def build(project: Path, binary: str) -> Path:
    """Build a project in release mode and return its binary."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", project / "target"))
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "--bin", binary], cwd=project, check=True)
    return target / "release" / binary


def listening(port: int) -> bool:
    """Return whether something listens on a port."""
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a port that nothing listens on, none that a connection could get: it might connect to itself."""
    return next(port for port in range(20_000, 32_000) if not listening(port))


@contextmanager
def running(binary: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, float]]:
    """Run a server until the end of the block; give process, port and seconds until it listened."""
    port = free_port()
    env = {"LISTEN_ADDR": f"127.0.0.1:{port}"}
    began = time.perf_counter()
    with subprocess.Popen([binary], env=env, stderr=subprocess.DEVNULL) as process:
        try:
            while not listening(port):
                pass
            yield process, port, time.perf_counter() - began
        finally:
            process.terminate()


def start_up(binary: Path) -> float:
    """Return the median seconds from start to listening."""

    def once() -> float:
        with running(binary) as (_, _, seconds):
            return seconds

    return statistics.median(once() for _ in range(STARTS))


def resident(process: subprocess.Popen[bytes]) -> float:
    """Return what a process has in memory, in MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


def rate(binary: Path) -> float:
    """Return requests per second for /healthz."""
    with running(binary) as (_, port, _):
        command = [
            "wrk",
            "--threads=1",
            "--connections=32",
            f"--duration={SECONDS}s",
            f"http://127.0.0.1:{port}/healthz",
        ]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert found, output
    assert "Non-2xx" not in output, output
    return float(found[1])


def answers(connections: list[socket.socket]) -> int:
    """Send a request over each connection and return how many are answered within ten seconds."""
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            connection.sendall(REQUEST)
            selector.register(connection, selectors.EVENT_READ)
        answered = 0
        until = time.monotonic() + 10
        while selector.get_map() and time.monotonic() < until:
            for key, _ in selector.select(1):
                selector.unregister(key.fileobj)
                answered += os.read(key.fd, 1024).startswith(b"HTTP/1.1 200 ")
    return answered


def held(binary: Path) -> tuple[int, float]:
    """Open many connections, leave them idle, and return how many still answer, and the MiB that they took."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with running(binary) as (process, port, _):
        connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
        answers(connections)
        time.sleep(5)
        memory = resident(process)
        answered = answers(connections)
        for connection in connections:
            connection.close()
    return answered, memory


def measure(project: Path, name: str) -> Iterator[Row]:
    """Measure everything, a row each."""
    packages = (project / "Cargo.lock").read_text(encoding="utf-8").count("[[package]]")
    yield Row("packages in Cargo.lock", "≤ 90", str(packages), packages <= 90)

    binary, hello = build(project, name), build(HELLO, "hyper-hello")
    size = binary.stat().st_size / 1e6
    yield Row("release binary", "≤ 2.9 MB", f"{size:.2f} MB", size <= 2.9)

    milliseconds = start_up(binary) * 1000
    yield Row(f"start to listening, median of {STARTS}", "≤ 20 ms", f"{milliseconds:.1f} ms", milliseconds <= 20)

    with running(binary) as (process, _, _):
        time.sleep(1)
        memory = resident(process)
    yield Row("resident when idle", "≤ 6 MiB", f"{memory:.1f} MiB", memory <= 6)

    # Side by side, so that what else the machine does falls on both.
    pairs = [(rate(binary), rate(hello)) for _ in range(ROUNDS)]
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    yield Row(
        f"requests a second to bare hyper's, median of {ROUNDS}",
        "≥ 60 %",
        f"{ratio:.0%} ({ours:,.0f} to {theirs:,.0f})",
        ratio >= 0.6,
    )

    answered, memory = held(binary)
    yield Row(
        f"idle connections held, of {CONNECTIONS:,}",
        "all",
        f"{answered:,} ({memory:.0f} MiB resident)",
        answered == CONNECTIONS,
    )


def main() -> int:
    """Print the table; return 1 if something is over budget."""
    parser = argparse.ArgumentParser(description="Measure a generated service against its budget")
    parser.add_argument("project", type=Path, help="folder of a generated project")
    parser.add_argument("binary", nargs="?", default="backend", help="its binary")
    arguments = parser.parse_args()
    for tool in ("cargo", "wrk"):
        if not shutil.which(tool):
            parser.error(f"{tool} is not installed")
    print("| what | budget | measured | holds |\n| --- | --- | --- | --- |")
    holds = True
    for row in measure(arguments.project.resolve(), arguments.binary):
        print(f"| {row.what} | {row.budget} | {row.measured} | {'yes' if row.holds else 'NO'} |", flush=True)
        holds = holds and row.holds
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
