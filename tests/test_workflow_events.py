"""What the image workflow does at each event, its expressions evaluated by nektos/act's packages."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from workflows import IMAGE_WORKFLOW, IMAGES, PLATFORMS, SECRETS, go_build

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.go

SHA = "0123456789abcdef0123456789abcdef01234567"
DIGEST = "sha256:" + "d" * 64
BUILD, LOGIN, META = "docker/build-push-action", "docker/login-action", "docker/metadata-action"
ATTEST = "actions/attest"


def event(kind: str, ref: str, **more: Any) -> dict[str, Any]:
    """Return what GitHub knows of an event, the secrets that it hands out, and what steps would put out."""
    actor, head, fork = more.get("actor", "octocat"), more.get("head", "acme/thing"), more.get("fork", False)
    payload: dict[str, Any] = {"repository": {"fork": fork, "private": more.get("private", False)}}
    if kind == "pull_request":
        payload["pull_request"] = {"head": {"repo": {"full_name": head, "fork": head != "acme/thing"}}}
    trusted = head == "acme/thing" and actor != "dependabot[bot]" and not fork
    return {
        "github": {
            "event_name": kind,
            "ref": ref,
            "ref_name": ref.split("/", 2)[2],
            "ref_type": "tag" if ref.startswith("refs/tags/") else "branch",
            "base_ref": "main" if kind == "pull_request" else "",
            "sha": SHA,
            "actor": actor,
            "repository": "acme/thing",
            "workflow": "Docker Multiplatform Build",
            "token": "ghs",
            "event": payload,
        },
        "secrets": SECRETS if trusted else {},
        "steps": {"meta": {"tags": "TAGS"}, "push": {"digest": DIGEST}},
    }


EVENTS = {
    "push to main": event("push", "refs/heads/main"),
    "push of another branch": event("push", "refs/heads/topic"),
    "pull request, same repository": event("pull_request", "refs/pull/7/merge"),
    "pull request, fork": event("pull_request", "refs/pull/7/merge", head="stranger/thing"),
    "pull request, dependabot": event("pull_request", "refs/pull/7/merge", actor="dependabot[bot]"),
    "tag v1.2.3": event("push", "refs/tags/v1.2.3"),
    "tag v1.2.3-rc.1": event("push", "refs/tags/v1.2.3-rc.1"),
    "tag nightly": event("push", "refs/tags/nightly"),
    "schedule": event("schedule", "refs/heads/main"),
    "dispatch on main": event("workflow_dispatch", "refs/heads/main"),
    "dispatch on a branch": event("workflow_dispatch", "refs/heads/topic"),
    "push to a fork's main": event("push", "refs/heads/main", fork=True),
    "push to main, private": event("push", "refs/heads/main", private=True),
}


@dataclass(frozen=True)
class Row:
    """What is seen of an event from outside."""

    runs: bool = True
    logs_in: bool = False
    pushes: bool = False
    tags: tuple[str, ...] = ()
    reads_cache: bool = True
    writes_cache: bool = False
    attests: bool = False


TESTS = Row()
NOTHING = Row(runs=False, reads_cache=False)
MAIN = Row(logs_in=True, pushes=True, tags=("latest", SHA), writes_cache=True, attests=True)
EXPECTED = {
    "push to main": MAIN,
    "push of another branch": NOTHING,
    "pull request, same repository": TESTS,
    "pull request, fork": TESTS,
    "pull request, dependabot": TESTS,
    "tag v1.2.3": Row(logs_in=True, pushes=True, tags=("1.2.3", "1.2"), attests=True),
    "tag v1.2.3-rc.1": Row(logs_in=True, pushes=True, tags=("1.2.3-rc.1",), attests=True),
    "tag nightly": NOTHING,
    "schedule": Row(logs_in=True, pushes=True, tags=("latest",), reads_cache=False, writes_cache=True, attests=True),
    "dispatch on main": MAIN,
    "dispatch on a branch": TESTS,
    "push to a fork's main": TESTS,
    "push to main, private": Row(logs_in=True, pushes=True, tags=("latest", SHA), writes_cache=True),
}
Jobs = list[dict[str, Any]]


@pytest.fixture(scope="session")
def oracle() -> Path:
    return go_build("tests/workflow_oracle")


def consult(oracle: Path, workflow: Path, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what becomes of each event."""
    result = subprocess.run([oracle, workflow], input=json.dumps(events), capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    answer: list[dict[str, Any]] = json.loads(result.stdout)
    return answer


@pytest.fixture(scope="module")
def jobs(oracle: Path, variant: Path) -> dict[str, Jobs]:
    """Return the jobs of a variant that run at each event, every expression in them replaced by its value."""
    results = consult(oracle, variant / IMAGE_WORKFLOW, list(EVENTS.values()))
    assert all(result["triggered"] == bool(result["jobs"]) for result in results)
    return {title: result["jobs"] for title, result in zip(EVENTS, results, strict=True)}


def using(jobs: Jobs, action: str) -> list[dict[str, str]]:
    """Return the inputs of all steps with an action."""
    return [step["with"] for job in jobs for step in job["steps"] if step["uses"].startswith(f"{action}@")]


def builders(jobs: Jobs) -> Jobs:
    """Return the jobs that build."""
    return [job for job in jobs if using([job], BUILD)]


def builds(jobs: Jobs) -> list[dict[str, str]]:
    """Return the inputs of the first build of each job, the one that is tested."""
    return [using([job], BUILD)[0] for job in builders(jobs)]


def pushes(jobs: Jobs) -> list[dict[str, str]]:
    """Return the inputs of the builds that follow the test."""
    return [inputs for job in builders(jobs) for inputs in using([job], BUILD)[1:]]


def tags(inputs: dict[str, str], github: dict[str, Any]) -> list[str]:
    """Return the tags that docker/metadata-action makes of its inputs, for the types that the workflow uses."""
    assert inputs["flavor"] == "latest=false"
    found = []
    version = re.fullmatch(r"v((\d+\.\d+)\.\d+(-\S+)?)", github["ref_name"]) if github["ref_type"] == "tag" else None
    for line in inputs["tags"].split():
        row = dict(pair.split("=", 1) for pair in line.split(","))
        if row["type"] == "raw" and row["enable"] == "true":
            found.append(row["value"])
        elif row["type"] == "semver" and version:
            # A pre-release gets no tag but its own.
            found.append(version[1] if row["pattern"] == "{{version}}" or version[3] else version[2])
    return list(dict.fromkeys(found))


def observe(jobs: Jobs, github: dict[str, Any]) -> Row:
    """Return what is seen of an event's jobs."""
    named = [tags(inputs, github) for inputs in using(jobs, META)] if pushes(jobs) else []
    assert all(found == named[0] for found in named)
    return Row(
        runs=bool(jobs),
        logs_in=bool(using(jobs, LOGIN)),
        pushes=any(inputs["push"] == "true" for inputs in using(jobs, BUILD) if "push" in inputs),
        tags=tuple(named[0]) if named else (),
        reads_cache=any(
            inputs["no-cache"] == "false" and "type=gha" in inputs["cache-from"] for inputs in builds(jobs)
        ),
        writes_cache=any(inputs["cache-to"] for inputs in builds(jobs)),
        attests=bool(using(jobs, ATTEST)),
    )


def test_every_event_does_what_the_table_says(
    jobs: dict[str, Jobs], answers: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    found = {title: observe(jobs[title], given["github"]) for title, given in EVENTS.items()}
    columns = ("runs", "logs in", "pushes", "attests", "reads cache", "writes cache")
    with capsys.disabled():
        print(f"\n{answers}\n{'event':31}{''.join(f'{column:14}' for column in columns)}tags")
        for title, row in found.items():
            cells = ["yes" if getattr(row, column.replace(" ", "_")) else "-" for column in columns]
            shown = ", ".join(row.tags).replace(SHA, "<full sha>") or "-"
            print(f"{title:31}{''.join(f'{cell:14}' for cell in cells)}{shown}")
    assert found == EXPECTED


def test_every_image_is_built_and_tested_at_every_event(jobs: dict[str, Jobs], answers: dict[str, Any]) -> None:
    native = answers["ci_builders"] == "native-runners"
    wanted = PLATFORMS if native else [",".join(PLATFORMS)]
    binaries = ["backend", "frontend"] if answers.get("frontend") else ["backend"]
    for title, found in jobs.items():
        if not found:
            continue
        rows = [
            (job["env"]["TARGET_BINARY"], inputs["platforms"])
            for job, inputs in zip(builders(found), builds(found), strict=True)
        ]
        assert sorted(rows) == sorted((binary, platform) for binary in binaries for platform in wanted), title
        for job in builders(found):
            (weighing,) = [step for step in job["steps"] if step["name"].startswith("Run and weigh")]
            assert {**job["env"], **weighing["env"]}["PLATFORMS"] == using([job], BUILD)[0]["platforms"]
            runner = "ubuntu-24.04-arm" if native and "arm" in using([job], BUILD)[0]["platforms"] else "ubuntu-24.04"
            assert job["runs_on"] == runner


def test_builds_get_their_arguments_and_a_cache_of_their_own(jobs: dict[str, Jobs], answers: dict[str, Any]) -> None:
    native = answers["ci_builders"] == "native-runners"
    for found in jobs.values():
        for job, inputs in zip(builders(found), builds(found), strict=True):
            binary = job["env"]["TARGET_BINARY"]
            arguments = dict(line.split("=", 1) for line in inputs["build-args"].splitlines())
            assert arguments.pop("VERSION") in (SHA, "v1.2.3", "v1.2.3-rc.1")
            shared = {} if native else {"PLATFORMS": ",".join(PLATFORMS)}
            assert arguments == {"TARGET_BINARY": binary, "RUST_VERSION": "1.95", "GIT_SHA": SHA, **shared}
            assert inputs.get("file", "Dockerfile") == "Dockerfile" + ".frontend" * (binary == "frontend")
            assert inputs["load"] == "true"
            assert "push" not in inputs
            scope = f"scope={binary}" + (f"-{inputs['platforms']}" if native else "")
            assert inputs["cache-from"] == f"type=gha,{scope}"
            assert inputs["cache-to"] in ("", f"type=gha,mode=max,ignore-error=true,{scope}")
        assert len({inputs["cache-from"] for inputs in builds(found)}) == len(builds(found))


def test_what_is_pushed_goes_where_it_belongs(jobs: dict[str, Jobs], answers: dict[str, Any]) -> None:
    native = answers["ci_builders"] == "native-runners"
    image = IMAGES[answers["registry"]]
    images = [image, f"{image}-frontend"] if answers.get("frontend") else [image]
    for title, found in jobs.items():
        if not EXPECTED[title].pushes:
            assert not pushes(found)
            assert not using(found, ATTEST)
            continue
        for inputs in using(found, LOGIN):
            if answers["registry"] == "ghcr.io":
                assert inputs == {"registry": "ghcr.io", "username": "octocat", "password": "ghs"}
            else:
                assert inputs == {"username": "robot", "password": "token"}
        for inputs in pushes(found):
            assert (inputs["push"], inputs["provenance"], inputs["sbom"]) == ("true", "mode=max", "true")
            # The push of one platform moves no tag.
            assert inputs["tags"] in (images if native else ["TAGS"])
            assert ("push-by-digest=true" in inputs.get("outputs", "")) == native
        assert [inputs["images"] for inputs in using(found, META)] == images
        subjects = [(inputs["subject-name"], inputs["subject-digest"]) for inputs in using(found, ATTEST)]
        assert subjects == [(name, DIGEST) for name in images] * EXPECTED[title].attests


def test_digests_reach_the_job_that_tags_them(jobs: dict[str, Jobs], answers: dict[str, Any]) -> None:
    found = jobs["push to main"]
    names = [inputs["name"] for inputs in using(found, "actions/upload-artifact")]
    patterns = [inputs["pattern"] for inputs in using(found, "actions/download-artifact")]
    if answers["ci_builders"] == "one-runner":
        assert names == patterns == []
        return
    assert len(set(names)) == len(names) == len(builds(found))
    for pattern in patterns:
        assert sum(name.startswith(pattern.removesuffix("*")) for name in names) == len(PLATFORMS)


def test_ci_writes_its_cache_on_main_alone(oracle: Path, project: Path) -> None:
    wanted = ["push to main", "pull request, fork", "tag v1.2.3"]
    main, fork, tag = consult(oracle, project / ".github/workflows/ci.yml", [EVENTS[title] for title in wanted])
    for result, saves in ((main, "true"), (fork, "false")):
        assert [job["id"] for job in result["jobs"]][-1] == "ci"
        assert {inputs["save-if"] for inputs in using(result["jobs"], "Swatinem/rust-cache")} == {saves}
    assert not tag["triggered"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("github.event.repository.fork", "github.evnt.repository.fork"),
        ("${{ env.IMAGE }}", "${{ env.IMAEG }}"),
        ("steps.push.outputs.digest", "steps.psuh.outputs.digest"),
        ("${{ github.sha }}", "${{ github.sha"),
    ],
)
def test_the_oracle_refuses_what_it_does_not_know(
    oracle: Path, project: Path, tmp_path: Path, old: str, new: str
) -> None:
    text = (project / IMAGE_WORKFLOW).read_text(encoding="utf-8")
    assert old in text
    broken = tmp_path / "broken.yml"
    broken.write_text(text.replace(old, new), encoding="utf-8")
    given = json.dumps([EVENTS["push to main"]])
    result = subprocess.run([oracle, broken], input=given, capture_output=True, text=True, check=False)
    assert result.returncode == 1
