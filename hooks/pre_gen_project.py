"""Check the answers before anything is written.

Every problem is printed on standard error, one line each: variable, value, rule, example.
Standard library only; no network, git or Docker.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
import unicodedata
from typing import Any

# The only line that Jinja touches. The answers arrive as data: nothing in them can become code.
ANSWERS = r"""{{ cookiecutter | tojson }}"""

# https://doc.rust-lang.org/reference/keywords.html, strict, reserved and weak ones that cargo refuses
RUST_KEYWORDS = frozenset(
    (
        "abstract as async await become box break const continue crate do dyn else enum extern false final fn for gen "
        "if impl in let loop macro match mod move mut override priv pub ref return self static struct super trait true "
        "try type typeof unsafe unsized use virtual where while yield"
    ).split(" ")
)
# Names that cargo refuses or that collide with its output folders, the standard library or the workspace's own crates
RESERVED_NAMES = frozenset(
    # The last line's are no text for YAML.
    (
        "alloc bench build core deps examples incremental proc-macro proc_macro service-kit service_kit std test "
        "n no null off on y yes"
    ).split(" ")
)
# Names that Windows keeps for devices: a folder of that name cannot be checked out there
DEVICE_NAMES = frozenset(["aux", "con", "nul", "prn", *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))])

# What the service depends on; a second package of such a name would be ambiguous. A test compares with the lock files.
DEPENDENCIES = frozenset(
    (
        "anstream anstyle anstyle-parse anstyle-query anstyle-wincon anyhow atomic-waker axum axum-core "
        "bitflags bytes cfg-if clap clap_builder clap_derive clap_lex colorchoice dtoa errno futures-channel "
        "futures-core futures-task futures-util heck http http-body http-body-util httparse httpdate hyper "
        "hyper-util is_terminal_polyfill itoa lazy_static libc lock_api log matchit memchr mime mio "
        "nu-ansi-term once_cell once_cell_polyfill parking_lot parking_lot_core percent-encoding "
        "pin-project-lite proc-macro2 prometheus-client prometheus-client-derive-encode quote redox_syscall "
        "scopeguard serde serde_core serde_derive serde_json sharded-slab signal-hook-registry slab smallvec "
        "socket2 strsim syn sync_wrapper thread_local tokio tokio-macros tower tower-http tower-layer "
        "tower-service tracing tracing-attributes tracing-core tracing-log tracing-serde tracing-subscriber "
        "try-lock unicode-ident utf8parse valuable want wasi windows-link windows-sys zmij"
    ).split(" ")
)

# What others call the platforms
ALIASES = {
    "x86_64": "linux/amd64",
    "x86-64": "linux/amd64",
    "x64": "linux/amd64",
    "aarch64": "linux/arm64",
    "arm": "linux/arm/v7",
    "armhf": "linux/arm/v7",
    "armv7": "linux/arm/v7",
    "armv6": "linux/arm/v6",
    "i386": "linux/386",
    "x86": "linux/386",
    "ppc64el": "linux/ppc64le",
    "riscv": "linux/riscv64",
}

# The oldest Rust that cargo-chef publishes an image of, by Debian release
OLDEST_RUST = {"bookworm": 86, "trixie": 88}


# Unicode's classes of characters that embed, override or isolate a direction, as in "Trojan Source"
TURNING = frozenset("LRE RLE LRO RLO PDF LRI RLI FSI PDI".split(" "))


def one_line(name: str, value: str, example: str, *, required: bool = True) -> list[str]:
    """Return the problems of a free text."""
    # Control characters, surrogates, other ends of lines; what turns the direction of the text; a byte order mark
    if any(
        unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(c) in TURNING or c == "\ufeff"
        for c in value
    ):
        return [f"{name}: {value!r} must be one line of printable characters, for example {example!r}"]
    if required and not value.strip():
        return [f"{name}: must not be empty, for example {example!r}"]
    return []


def check_slug(slug: str) -> list[str]:
    """Return the problems of the slug, which names folder, repository and image."""
    if len(slug) > 64 or not re.fullmatch(r"[a-z](-?[a-z0-9])*", slug):
        return [
            (
                f"project_slug: {slug!r} must be 1 to 64 lower-case letters, digits and single hyphens, "
                "starting with a letter, for example 'my-service'"
            )
        ]
    if slug in DEVICE_NAMES:
        return [f"project_slug: {slug!r} is a device name on Windows; take another, for example 'my-service'"]
    return []


def check_owner(owner: str) -> list[str]:
    """Return the problems of the repository's owner, by GitHub's rule for account names."""
    if len(owner) > 39 or not re.fullmatch(r"[A-Za-z0-9](-?[A-Za-z0-9])*", owner):
        return [
            (
                f"github_owner: {owner!r} must be 1 to 39 letters, digits and single hyphens, "
                "neither first nor last a hyphen, for example 'your-org'"
            )
        ]
    return []


def check_namespace(namespace: str, registry: str, owner: str) -> list[str]:
    """Return the problems of the image namespace: an account of the registry, and on ghcr.io what may follow it."""
    if registry == "docker.io":
        # Docker Hub accepts no hyphen, and has but one level.
        if not re.fullmatch(r"[a-z0-9]{4,30}", namespace):
            return [
                f"image_namespace: {namespace!r} must be 4 to 30 lower-case letters and digits, for example 'yourorg'"
            ]
        return []
    # After the account the distribution specification's grammar holds.
    component = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
    wrong = len(namespace) > 128 or not re.fullmatch(rf"{component}(/{component})*", namespace)
    if wrong or check_owner(namespace.partition("/")[0]):
        return [
            (
                f"image_namespace: {namespace!r} must be a GitHub account in lower case, "
                "more names may follow after '/', for example 'your-org'"
            )
        ]
    if namespace.partition("/")[0] != owner.lower():
        return [
            (
                f"image_namespace: {namespace!r} is not github_owner's, and the workflow's token may push to no other; "
                f"take {owner.lower()!r}"
            )
        ]
    return []


def check_binary(binary: str, *, frontend: bool) -> list[str]:
    """Return the problems of the binary's name, which is a Cargo package's name as well."""
    if len(binary) > 64 or not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", binary):
        return [
            (
                f"binary_name: {binary!r} must be 1 to 64 lower-case letters, digits and single '-' or '_', "
                "starting with a letter, for example 'backend'"
            )
        ]
    if binary in RUST_KEYWORDS:
        return [f"binary_name: {binary!r} is a Rust keyword; take another, for example 'backend'"]
    if binary in RESERVED_NAMES | DEVICE_NAMES:
        return [f"binary_name: {binary!r} is a reserved name; take another, for example 'backend'"]
    if binary in DEPENDENCIES:
        return [f"binary_name: {binary!r} is the name of a dependency; take another, for example 'backend'"]
    if frontend and binary == "frontend":
        return ["binary_name: 'frontend' is taken by the frontend crate; take another, for example 'backend'"]
    return []


def needs(runtimes: dict[str, list[str]], runtime: str, release: str) -> str:
    """Return the answers that a platform is possible with: another release, another runtime, or else both."""
    if runtimes[runtime]:
        return f"debian_release={' or '.join(runtimes[runtime])}"
    others = [other for other, releases in runtimes.items() if release in releases]
    if others:
        return f"runtime={' or '.join(others)}"
    return " or ".join(
        f"runtime={other} with debian_release={' or '.join(releases)}"
        for other, releases in runtimes.items()
        if releases
    )


def check_platforms(text: str, table: dict[str, Any], runtime: str, release: str) -> list[str]:
    """Return the problems of the platform list: each must be known, possible and named once."""
    possible = [name for name, row in table.items() if release in row["runtimes"][runtime]]
    names = [name.strip() for name in text.split(",")]
    problems = []
    for name in dict.fromkeys(names):
        if name in possible:
            if names.count(name) > 1:
                problems.append(f"platforms: {name!r} is named {names.count(name)} times; name each platform once")
        elif name in table:
            problems.append(
                f"platforms: {name!r} does not exist with {runtime} on {release}; "
                f"it needs {needs(table[name]['runtimes'], runtime, release)}, possible are {', '.join(possible)}"
            )
        else:
            lower = name.lower()
            known = ALIASES.get(lower.removeprefix("linux/"), lower)
            close = [known] if known in possible else difflib.get_close_matches(lower, possible, n=1)
            hint = f"did you mean {close[0]}?" if close else "for example linux/amd64,linux/arm64"
            problems.append(f"platforms: {name!r} is not one of {', '.join(possible)}; {hint}")
    return problems


def check_rust_version(version: str, release: str) -> list[str]:
    """Return the problems of the Rust version."""
    oldest = OLDEST_RUST[release]
    match = re.fullmatch(r"1\.(0|[1-9][0-9]{0,3})(\.(0|[1-9][0-9]{0,3}))?", version)
    if not match or int(match[1]) < oldest:
        return [
            f"rust_version: {version!r} must be 1.N or 1.N.P and, on {release}, at least 1.{oldest}, for example '1.95'"
        ]
    return []


def problems(answers: dict[str, Any]) -> list[str]:
    """Return all that is wrong with the answers, a line each; empty when they are good."""
    frontend = bool(answers["frontend"])
    return [
        *one_line("project_name", answers["project_name"], "My Service"),
        *check_slug(answers["__given_slug"]),
        *one_line("project_description", answers["project_description"], "A small HTTP service"),
        *one_line("author", answers["author"], "Name <mail@example.org>", required=False),
        *check_owner(answers["github_owner"]),
        *check_namespace(answers["image_namespace"], answers["registry"], answers["github_owner"]),
        *check_binary(answers["binary_name"], frontend=frontend),
        *check_platforms(answers["platforms"], answers["_platforms"], answers["runtime"], answers["debian_release"]),
        *check_rust_version(answers["rust_version"], answers["debian_release"]),
    ]


def main() -> int:
    """Print the problems; return the exit status."""
    found = problems(json.loads(ANSWERS))
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
