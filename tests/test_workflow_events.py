"""What the image workflow does at each event, its expressions evaluated by nektos/act's packages."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from workflows import IMAGE_WORKFLOW, IMAGES, PLATFORMS, SECRETS, go_build

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.go

SHA = "0123456789abcdef0123456789abcdef01234567"
DIGEST, FRONTEND_DIGEST = "sha256:" + "d" * 64, "sha256:" + "e" * 64
BUILD, LOGIN, META = "docker/build-push-action", "docker/login-action", "docker/metadata-action"
ATTEST = "actions/attest"
VERSION = "Check that the tag is the version"


def event(kind: str, ref: str, **more: Any) -> dict[str, Any]:
    """Return what GitHub knows of an event, the secrets that it hands out, and what steps would put out."""
    actor, head, fork = more.get("actor", "octocat"), more.get("head", "acme/thing"), more.get("fork", False)
    visibility = "private" if more.get("private") else "public"
    payload: dict[str, Any] = {"repository": {"fork": fork, "visibility": visibility}}
    if more.get("bare"):
        payload = {}
    if kind == "pull_request":
        payload["pull_request"] = {"head": {"repo": {"full_name": head, "fork": head != "acme/thing"}}}
    trusted = head == "acme/thing" and actor != "dependabot[bot]" and not fork
    name = ref.split("/", 2)[2]
    return {
        "github": {
            "event_name": kind,
            "ref": ref,
            "ref_name": name,
            "ref_type": "tag" if ref.startswith("refs/tags/") else "branch",
            "base_ref": "main" if kind == "pull_request" else "",
            "sha": SHA,
            "actor": actor,
            "repository": "acme/thing",
            "workflow": "Docker Multiplatform Build",
            "token": "ghs",
            "run_id": more.get("run", "1"),
            "event": payload,
        },
        "secrets": SECRETS if trusted else {},
        "steps": {
            "version": {"version": name.removeprefix("v")},
            "main": {"sha": more.get("newest", SHA)},
            "meta": {"tags": more.get("tags", "TAGS")},
            "meta-frontend": {"tags": more.get("tags", "FRONTEND'S TAGS")},
            "push": {"digest": DIGEST},
            "push-frontend": {"digest": FRONTEND_DIGEST},
        },
        "fails": more.get("fails", ""),
        "fails_at": more.get("fails_at"),
    }


# `newest`: main's newest commit, where that is another one by the end of the run.
EVENTS = {
    "push to main": event("push", "refs/heads/main"),
    "push to main, overtaken": event("push", "refs/heads/main", newest="f" * 40),
    "push to main, private": event("push", "refs/heads/main", private=True),
    "push to a fork's main": event("push", "refs/heads/main", fork=True),
    "push of another branch": event("push", "refs/heads/topic"),
    "pull request, same repository": event("pull_request", "refs/pull/7/merge"),
    "pull request, fork": event("pull_request", "refs/pull/7/merge", head="stranger/thing"),
    "pull request, dependabot": event("pull_request", "refs/pull/7/merge", actor="dependabot[bot]"),
    "tag v1.2.3": event("push", "refs/tags/v1.2.3"),
    "tag v1.2.3-rc.1": event("push", "refs/tags/v1.2.3-rc.1"),
    "tag v1.2": event("push", "refs/tags/v1.2"),
    "tag vnext": event("push", "refs/tags/vnext"),
    "tag v1.2.3, not in Cargo.toml": event("push", "refs/tags/v1.2.3", fails=VERSION),
    "schedule": event("schedule", "refs/heads/main"),
    "schedule, no repository in the payload": event("schedule", "refs/heads/main", bare=True),
    "schedule, overtaken": event("schedule", "refs/heads/main", newest="f" * 40, tags=""),
    "dispatch on main": event("workflow_dispatch", "refs/heads/main"),
    "dispatch on a branch": event("workflow_dispatch", "refs/heads/topic"),
    "dispatch on tag v1.2.3": event("workflow_dispatch", "refs/tags/v1.2.3"),
    "dispatch on tag vnext": event("workflow_dispatch", "refs/tags/vnext", fails=VERSION),
    "dispatch on tag nightly": event("workflow_dispatch", "refs/tags/nightly", fails=VERSION),
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
STOPS = Row(reads_cache=False)
MAIN = Row(logs_in=True, pushes=True, tags=("latest", SHA), writes_cache=True, attests=True)
RELEASE = Row(logs_in=True, pushes=True, tags=("1.2.3", "1.2"), attests=True)
WEEKLY = Row(logs_in=True, pushes=True, tags=("latest",), reads_cache=False, writes_cache=True, attests=True)
EXPECTED = {
    "push to main": MAIN,
    "push to main, overtaken": replace(MAIN, tags=(SHA,)),
    "push to main, private": replace(MAIN, attests=False),
    "push to a fork's main": TESTS,
    "push of another branch": NOTHING,
    "pull request, same repository": TESTS,
    "pull request, fork": TESTS,
    "pull request, dependabot": TESTS,
    "tag v1.2.3": RELEASE,
    "tag v1.2.3-rc.1": replace(RELEASE, tags=("1.2.3-rc.1",)),
    "tag v1.2": NOTHING,
    "tag vnext": NOTHING,
    "tag v1.2.3, not in Cargo.toml": STOPS,
    "schedule": WEEKLY,
    "schedule, no repository in the payload": replace(WEEKLY, attests=False),
    "schedule, overtaken": replace(WEEKLY, pushes=False, tags=(), attests=False),
    "dispatch on main": MAIN,
    "dispatch on a branch": TESTS,
    "dispatch on tag v1.2.3": RELEASE,
    "dispatch on tag vnext": STOPS,
    "dispatch on tag nightly": STOPS,
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
    """Return the inputs of the builds that are tested."""
    return [inputs for inputs in using(jobs, BUILD) if "load" in inputs]


def pushes(jobs: Jobs) -> list[dict[str, str]]:
    """Return the inputs of the builds that are pushed."""
    return [inputs for inputs in using(jobs, BUILD) if inputs.get("push") == "true"]


def moves(jobs: Jobs) -> list[str]:
    """Return the tags that a run would move: each image's own."""
    moved = [inputs["tags"] for inputs in pushes(jobs) if "push-by-digest" not in inputs.get("outputs", "")]
    return moved + [step["env"]["TAGS"] for job in jobs for step in job["steps"] if step["name"] == "Move the tags"]


def arguments(inputs: dict[str, str]) -> dict[str, str]:
    """Return the arguments of a build."""
    return dict(line.split("=", 1) for line in inputs["build-args"].splitlines())


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
    named = [tags(inputs, github) for inputs in using(jobs, META)]
    assert all(found == named[0] for found in named)
    # What the action would say and what the event lets it say are the same: nothing, or something.
    assert bool(moves(jobs)) == bool(named and named[0])
    return Row(
        runs=bool(jobs),
        logs_in=bool(using(jobs, LOGIN)),
        pushes=bool(moves(jobs)),
        tags=tuple(named[0]) if named else (),
        reads_cache=any(
            inputs.get("no-cache", "false") == "false" and "type=gha" in inputs["cache-from"]
            for inputs in builds(jobs)[:1]
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
    binaries = ["backend", "frontend"] if answers["frontend"] else ["backend"]
    for title, found in jobs.items():
        if EXPECTED[title] in (NOTHING, STOPS):
            assert not builds(found)
            continue
        wanted = PLATFORMS if native else [",".join(PLATFORMS)]
        assert [using([job], BUILD)[0]["platforms"] for job in builders(found)] == wanted
        for job, platforms in zip(builders(found), wanted, strict=True):
            assert [arguments(inputs)["TARGET_BINARY"] for inputs in builds([job])] == binaries
            assert [inputs["tags"] for inputs in builds([job])] == [f"under-test:{binary}" for binary in binaries]
            assert {inputs["platforms"] for inputs in using([job], BUILD)} == {platforms}
            (weighing,) = [step for step in job["steps"] if step["name"].startswith("Run and weigh")]
            assert weighing["env"]["BINARIES"].split() == binaries
            assert {**job["env"], **weighing["env"]}["PLATFORMS"] == platforms
            assert job["runs_on"] == ("ubuntu-24.04-arm" if native and "arm" in platforms else "ubuntu-24.04")


@pytest.mark.parametrize("title", ["push to main", "tag v1.2.3", "schedule", "dispatch on tag v1.2.3"])
def test_no_tag_moves_unless_every_image_passed(
    oracle: Path, variant: Path, answers: dict[str, Any], title: str
) -> None:
    legs = len(PLATFORMS) if answers["ci_builders"] == "native-runners" else 1
    images = 2 if answers["frontend"] else 1
    weigh = {**EVENTS[title], "fails": "Run and weigh"}
    good, *bad = consult(
        oracle, variant / IMAGE_WORKFLOW, [EVENTS[title], *({**weigh, "fails_at": leg} for leg in range(legs))]
    )
    assert len(moves(good["jobs"])) == images
    for leg, result in enumerate(bad):
        assert not moves(result["jobs"])
        assert not using(result["jobs"], META)
        assert not using(result["jobs"][leg : leg + 1], LOGIN)
        assert len(pushes(result["jobs"])) == images * (legs - 1)


def test_builds_get_their_arguments_and_a_cache_of_their_own(jobs: dict[str, Jobs], answers: dict[str, Any]) -> None:
    native = answers["ci_builders"] == "native-runners"
    for title, found in jobs.items():
        for inputs in using(found, BUILD):
            given = arguments(inputs)
            binary = given.pop("TARGET_BINARY")
            version = re.search(r"tag v(1\.2\.3\S*)", title)
            shared = {} if native else {"PLATFORMS": ",".join(PLATFORMS)}
            assert given == {
                "RUST_VERSION": "1.95", "GIT_SHA": SHA, "VERSION": version[1] if version else SHA, **shared
            }  # fmt: skip
            assert inputs.get("file", "Dockerfile") == "Dockerfile" + ".frontend" * (binary == "frontend")
            if "load" in inputs:
                assert "push" not in inputs
                scope = f"scope={binary}" + (f"-{inputs['platforms']}" if native else "")
                # The weekly build takes nothing that an earlier one made, for either image.
                assert inputs["cache-from"] == ("" if title.startswith("schedule") else f"type=gha,{scope}")
                assert inputs["cache-to"] in ("", f"type=gha,mode=max,ignore-error=true,{scope}")
                # The first build of the week starts from nothing, the second from the first, on the same base.
                assert ("pull" in inputs) == (binary == "backend")
                assert (inputs.get("no-cache") == "true") == (title.startswith("schedule") and binary == "backend")
        if not title.startswith("schedule"):
            assert len({inputs["cache-from"] for inputs in builds(found)}) == len(builds(found))


def test_what_is_pushed_goes_where_it_belongs(jobs: dict[str, Jobs], answers: dict[str, Any]) -> None:
    native = answers["ci_builders"] == "native-runners"
    image = IMAGES[answers["registry"]]
    images = [image, f"{image}-frontend"] if answers["frontend"] else [image]
    for title, found in jobs.items():
        if not EXPECTED[title].logs_in:
            assert not pushes(found)
            continue
        for inputs in using(found, LOGIN):
            if answers["registry"] == "ghcr.io":
                assert inputs == {"registry": "ghcr.io", "username": "octocat", "password": "ghs"}
            else:
                assert inputs == {"username": "robot", "password": "token"}
        assert [inputs["images"] for inputs in using(found, META)] == images
        for inputs in pushes(found):
            assert (inputs["provenance"], inputs["sbom"]) == ("mode=max", "true")
        if native:
            # The push of one platform moves no tag.
            assert [inputs["tags"] for inputs in pushes(found)] == images * len(PLATFORMS)
            assert all("push-by-digest=true" in inputs["outputs"] for inputs in pushes(found))
        if EXPECTED[title].pushes:
            assert moves(found) == (["TAGS"] * len(images) if native else ["TAGS", "FRONTEND'S TAGS"][: len(images)])
        digests = [DIGEST, DIGEST if native else FRONTEND_DIGEST]
        subjects = [(inputs["subject-name"], inputs["subject-digest"]) for inputs in using(found, ATTEST)]
        assert subjects == list(zip(images, digests, strict=False)) * EXPECTED[title].attests
        told = [
            line for job in found for step in job["steps"] if step["name"] == "Summarize"
            for line in step["env"]["PUSHED"].splitlines() if "@" in line
        ]  # fmt: skip
        assert (
            told == [f"{name}@{digest}" for name, digest in zip(images, digests, strict=False)] * EXPECTED[title].pushes
        )


def test_digests_reach_the_job_that_tags_them(jobs: dict[str, Jobs], answers: dict[str, Any]) -> None:
    found = jobs["push to main"]
    names = [inputs["name"] for inputs in using(found, "actions/upload-artifact")]
    patterns = {inputs["pattern"] for inputs in using(found, "actions/download-artifact")}
    if answers["ci_builders"] == "one-runner":
        assert not names
        assert not patterns
        return
    (pattern,) = patterns
    assert len(set(names)) == len(names) == len(PLATFORMS)
    assert all(name.startswith(pattern.removesuffix("*")) for name in names)
    binaries = {"backend": DIGEST} | ({"frontend": FRONTEND_DIGEST} if answers["frontend"] else {})
    kept = [
        step["env"]["DIGESTS"].split() for job in found for step in job["steps"] if step["name"] == "Keep the digest"
    ]
    assert kept == [[f"{binary}/{digest}" for binary, digest in binaries.items()]] * len(PLATFORMS)
    folders = [(job["env"]["TARGET_BINARY"], step["dir"]) for job in found for step in job["steps"] if step["dir"]]
    assert set(folders) == {(binary, f"digests/{binary}") for binary in binaries}


def test_only_runs_of_one_pull_request_share_a_group(oracle: Path, variant: Path) -> None:
    """In a group, GitHub lets one run wait and drops it when the next one comes: nothing that pushes may be there."""
    ran = [
        event(kind, ref, run=run)
        for kind, ref in (
            ("pull_request", "refs/pull/7/merge"), ("pull_request", "refs/pull/8/merge"), ("push", "refs/heads/main"),
            ("push", "refs/tags/v1.2.3"), ("schedule", "refs/heads/main"), ("workflow_dispatch", "refs/heads/main"),
        )
        for run in ("1", "2")
    ]  # fmt: skip
    found = [result["concurrency"] for result in consult(oracle, variant / IMAGE_WORKFLOW, ran)]
    assert found[0] == found[1] != found[2] == found[3]
    assert [row["cancel-in-progress"] for row in found] == ["true"] * 4 + ["false"] * 8
    for first, second in zip(found[4::2], found[5::2], strict=True):
        assert first["group"] != second["group"]


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
