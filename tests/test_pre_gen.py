"""The checks of the answers: by import for the rules, by the command line for what a user sees."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from loading import load_hook, load_toml

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent.parent
COOKIECUTTER = Path(sys.executable).with_name("cookiecutter")


pre_gen = load_hook("pre_gen_project")


@pytest.fixture
def answers(table: dict[str, Any]) -> dict[str, Any]:
    """Return good answers, as the hook receives them."""
    return {
        "project_name": "My Service",
        "__given_slug": "my-service",
        "project_description": "A service",
        "author": "",
        "github_owner": "your-org",
        "registry": "docker.io",
        "image_namespace": "yourorg",
        "binary_name": "backend",
        "frontend": False,
        "platforms": "linux/amd64,linux/arm64,linux/arm/v7",
        "runtime": "debian-slim",
        "debian_release": "bookworm",
        "rust_version": "1.95",
        "_platforms": table["_platforms"],
    }


def test_good_answers_have_no_problems(answers: dict[str, Any]) -> None:
    assert pre_gen.problems(answers) == []


GOOD = [
    ("__given_slug", "a"),
    ("__given_slug", "x2-y3"),
    ("binary_name", "svg-server"),
    ("binary_name", "my_tool"),
    ("github_owner", "Org-1"),
    ("image_namespace", "org1"),
    ("platforms", " linux/arm64 , linux/amd64 "),
    ("platforms", "linux/arm64,\tlinux/amd64"),
    ("rust_version", "1.86"),
    ("rust_version", "1.95.0"),
    ("project_description", "quotes \" ' and \\ # ${X} {{ 7*7 }} 한국어"),
    ("author", "Zoë <zoe@example.org>"),
    ("project_name", "日本語\u3000サービス"),
    ("project_name", "👨\u200d👩\u200d👧 Rien à voir\u00a0!"),
]


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_a_good_value_is_accepted(answers: dict[str, Any], name: str, value: str) -> None:
    assert pre_gen.problems(answers | {name: value}) == []


BAD = [
    ("__given_slug", "", "project_slug: ''"),
    ("__given_slug", "Foo Bar!", "project_slug: 'Foo Bar!'"),
    ("__given_slug", "-a", "project_slug: '-a'"),
    ("__given_slug", "a--b", "project_slug: 'a--b'"),
    ("__given_slug", "a/b", "project_slug: 'a/b'"),
    ("__given_slug", "..", "project_slug: '..'"),
    ("__given_slug", "nul", "device name"),
    ("__given_slug", "x" * 65, "1 to 64"),
    ("project_name", "  ", "project_name: must not be empty"),
    ("project_name", "two\nlines", "one line"),
    ("project_description", "bell\a", "one line"),
    ("author", "tab\t", "one line"),
    ("author", "two\u2028lines", "one line"),
    ("project_name", "turned \u202eround", "one line"),
    ("project_name", "set \u2067apart", "one line"),
    ("github_owner", "-x", "github_owner: '-x'"),
    ("github_owner", "a_b", "github_owner: 'a_b'"),
    ("image_namespace", "your-org", "image_namespace: 'your-org' must be 4 to 30"),
    ("image_namespace", "Yourorg", "image_namespace: 'Yourorg'"),
    ("image_namespace", "team/sub", "image_namespace: 'team/sub'"),
    ("image_namespace", "ibm", "4 to 30"),
    ("image_namespace", "x" * 31, "4 to 30"),
    ("image_namespace", "", "image_namespace: ''"),
    ("binary_name", "fn", "Rust keyword"),
    ("binary_name", "test", "reserved name"),
    ("binary_name", "service-kit", "reserved name"),
    ("binary_name", "Backend", "lower-case"),
    ("binary_name", "1st", "starting with a letter"),
    ("platforms", "linux/arm/v8", "did you mean linux/arm/v7?"),
    ("platforms", "linux/aarch64", "did you mean linux/arm64?"),
    ("platforms", "Linux/AMD64", "did you mean linux/amd64?"),
    ("platforms", "x86_64", "did you mean linux/amd64?"),
    ("platforms", "linux/armhf", "did you mean linux/arm/v7?"),
    ("platforms", "linux/amd64,linux/amd64", "named 2 times"),
    ("platforms", "linux/s390x", "needs debian_release=trixie"),
    ("platforms", "linux/amd64,,linux/arm64", "platforms: ''"),
    ("platforms", "", "platforms: ''"),
    ("platforms", "windows/amd64", "is not one of"),
    ("rust_version", "1.70", "at least 1.86"),
    ("binary_name", "tokio", "name of a dependency"),
    ("binary_name", "null", "reserved name"),
    ("binary_name", "yes", "reserved name"),
    ("rust_version", "2.0", "1.N"),
    ("rust_version", "stable", "1.N"),
    ("rust_version", "1.95.", "1.N"),
]


@pytest.mark.parametrize(("name", "value", "part"), BAD)
def test_a_bad_value_is_one_line_with_value_rule_and_example(
    answers: dict[str, Any], name: str, value: str, part: str
) -> None:
    (problem,) = pre_gen.problems(answers | {name: value})
    assert part in problem
    assert "\n" not in problem
    assert problem.startswith(name.replace("__given_slug", "project_slug") + ": ")
    assert any(hint in problem for hint in ("for example", "did you mean", "once", "possible are")), problem


def test_each_registry_has_its_own_namespaces(answers: dict[str, Any]) -> None:
    github = answers | {"registry": "ghcr.io"}
    for good in ("your-org", "your-org/sub.project_x"):
        assert pre_gen.problems(github | {"image_namespace": good}) == []
    for bad in ("", "Your-Org", "-x", "a--b", "a_b", "x" * 40, "your-org/", "your-org/Sub", "x/" * 64 + "x"):
        (problem,) = pre_gen.problems(github | {"image_namespace": bad})
        assert problem.startswith(f"image_namespace: {bad!r} must be a GitHub account in lower case")
    (problem,) = pre_gen.problems(github | {"image_namespace": "other/name"})
    assert problem.startswith("image_namespace: 'other/name' is not github_owner's")
    assert problem.endswith("take 'your-org'")


@pytest.mark.parametrize(
    ("registry", "owner", "namespace"),
    [("docker.io", "Acme-Inc", "acmeinc"), ("ghcr.io", "Acme-Inc", "acme-inc")],
)
def test_the_namespace_offered_is_one_of_the_registry(
    bake: Callable[..., Path], registry: str, owner: str, namespace: str
) -> None:
    project = bake(registry=registry, github_owner=owner)
    assert f'"{registry}/{namespace}/my-service"' in (project / "docker-bake.hcl").read_text(encoding="utf-8")


def test_trixie_needs_a_rust_that_has_it(answers: dict[str, Any]) -> None:
    assert pre_gen.problems(answers | {"debian_release": "trixie", "rust_version": "1.88"}) == []
    (problem,) = pre_gen.problems(answers | {"debian_release": "trixie", "rust_version": "1.87"})
    assert "on trixie, at least 1.88" in problem


def test_the_dependencies_are_those_of_the_locks() -> None:
    lock = (ROOT / "{{cookiecutter.project_slug}}" / "Cargo.frontend.lock").read_text(encoding="utf-8")
    names = {line[8:-1] for line in lock.splitlines() if line.startswith('name = "')}
    assert names - {"backend", "frontend", "service-kit"} == pre_gen.DEPENDENCIES


def test_the_frontend_keeps_its_name(answers: dict[str, Any]) -> None:
    assert pre_gen.problems(answers | {"binary_name": "frontend"}) == []
    (problem,) = pre_gen.problems(answers | {"binary_name": "frontend", "frontend": True})
    assert "frontend crate" in problem


def test_all_problems_are_told_at_once(answers: dict[str, Any]) -> None:
    bad = {"__given_slug": "Foo Bar!", "binary_name": "fn", "platforms": "linux/arm/v8", "rust_version": "1.70"}
    assert len(pre_gen.problems(answers | bad)) == 4


def run(folder: Path, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run cookiecutter as a user does."""
    return subprocess.run(
        [COOKIECUTTER, ROOT, *(["--no-input"] if stdin is None else []), *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (["project_slug="], 1),
        (["project_slug=Foo Bar!"], 1),
        (["project_slug=a/b"], 1),
        (["project_slug=../up"], 1),
        (["binary_name=fn"], 1),
        (["binary_name=test"], 1),
        (["platforms=linux/arm/v8"], 1),
        (["platforms=linux/amd64,linux/amd64"], 1),
        (["platforms=linux/s390x", "debian_release=bookworm"], 1),
        (["rust_version=1.70"], 1),
        (["project_slug=Foo Bar!", "binary_name=fn", "platforms=linux/arm/v8,linux/mips", "rust_version=1"], 5),
        (["binary_name=tokio", "rust_version=1.7"], 2),
    ],
)
def test_a_user_sees_short_lines_and_nothing_is_left(tmp_path: Path, arguments: list[str], lines: int) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    result = run(folder, *arguments)
    assert result.returncode == 1
    told = [line for line in result.stderr.splitlines() if line and not line.startswith("Hook script failed")]
    assert len(told) == lines, result.stderr
    names = {argument.partition("=")[0] for argument in arguments}
    assert all(line.partition(":")[0] in names for line in told), told
    assert "Context" not in result.stdout + result.stderr
    assert list(tmp_path.rglob("*")) == [folder]


def test_make_new_adds_no_traceback(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, ROOT / "tools/new.py", ROOT, "--no-input", "platforms=linux/arm/v8"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stdout == "Hook script failed (exit status: 1)\n"
    assert len(result.stderr.splitlines()) == 1


def test_make_new_knows_questions_and_menus(tmp_path: Path) -> None:
    wrong = ["platform=linux/arm64", "runtime=alpine", "frontend=maybe", "license=GPL"]
    result = subprocess.run(
        [sys.executable, ROOT / "tools/new.py", ROOT, "--no-input", "registry=ghcr.io", *wrong],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (1, "")
    told = result.stderr.splitlines()
    assert [line.partition(":")[0] for line in told] == ["platform", "runtime", "frontend", "license"]
    assert told[1] == "runtime: 'alpine' is not one of debian-slim, distroless, scratch; for example 'debian-slim'"
    assert not list(tmp_path.iterdir())


HOSTILE = """Says "hi" & 'bye' \\ C:\\new # ${X} %{Y} $HOME `id` *b* _i_ <b> {{ 7*7 }} {% raw %} 한국어"""


def test_any_text_typed_at_the_prompts_arrives_unchanged(tmp_path: Path, table: dict[str, Any]) -> None:
    asked = [name for name in table if not name.startswith("_")]
    typed = {"project_name": 'Näme "q" \\ {{ 1+1 }}', "project_slug": "hostile", "project_description": HOSTILE}
    result = run(tmp_path, stdin="".join(typed.get(name, "") + "\n" for name in asked))
    assert result.returncode == 0, result.stderr
    project = tmp_path / "hostile"
    manifest = next(project.glob("crates/backend/Cargo.toml"))
    assert load_toml(manifest)["package"]["description"] == HOSTILE
    label = re.search(r'image.description="(.*)" \\\n', (project / "Dockerfile").read_text(encoding="utf-8"))
    # In double quotes a Dockerfile knows the backslash before these three.
    assert label
    assert re.sub(r'\\(["\\$])', r"\1", label[1]) == HOSTILE
    text = (project / "README.md").read_text(encoding="utf-8")
    assert unescape_markdown(text.splitlines()[0]) == "# " + typed["project_name"]
    assert unescape_markdown(text.splitlines()[2]) == HOSTILE


def unescape_markdown(line: str) -> str:
    """Return the text that a Markdown line shows, by CommonMark's rule for backslash escapes."""
    shown, rest = "", line
    while rest:
        escape = len(rest) > 1 and rest[0] == "\\" and rest[1] in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
        shown += rest[1] if escape else rest[0]
        rest = rest[2 if escape else 1 :]
    return shown


def test_an_answer_cannot_become_code(tmp_path: Path) -> None:
    trap = '"""); open("trap", "w").close(); ("""'
    result = run(tmp_path, f"author={trap}")
    assert result.returncode == 0, result.stderr
    assert not list(tmp_path.rglob("trap"))
    assert json.dumps(trap)[1:-1] in (tmp_path / "my-service" / "Cargo.toml").read_text(encoding="utf-8")
