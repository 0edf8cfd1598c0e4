"""Later changes of the template reach a project, and changed answers as well."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from loading import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IDENTITY = {
    "GIT_AUTHOR_NAME": "test",
    "GIT_AUTHOR_EMAIL": "test@example.org",
    "GIT_COMMITTER_NAME": "test",
    "GIT_COMMITTER_EMAIL": "test@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
}


def run(folder: Path, *command: str) -> str:
    result = subprocess.run(
        command, cwd=folder, env={**os.environ, **IDENTITY}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def commit(folder: Path) -> None:
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", "test")


def test_cruft_creates_and_updates(tmp_path: Path, bake: Callable[..., Path]) -> None:
    template = tmp_path / "template"
    template.mkdir()
    for name in ("cookiecutter.json", "hooks", "templates", "{{cookiecutter.project_slug}}"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, template / name)
    run(template, "git", "init", "--quiet")
    commit(template)
    run(tmp_path, "cruft", "create", str(template), "--no-input")
    project = tmp_path / "my-service"
    run(project, "git", "init", "--quiet")
    commit(project)

    settings = template / "{{cookiecutter.project_slug}}" / "clippy.toml"
    settings.write_text(settings.read_text(encoding="utf-8") + "# a later change\n", encoding="utf-8")
    commit(template)
    run(project, "cruft", "update", "--skip-apply-ask")
    assert (project / "clippy.toml").read_text(encoding="utf-8").endswith("# a later change\n")
    commit(project)

    answers = '{"platforms": "linux/amd64,linux/386"}'
    run(project, "cruft", "update", "--skip-apply-ask", "--variables-to-update", answers)
    wanted = bake(platforms="linux/amd64,linux/386")
    for name in ("Dockerfile", "docker-bake.hcl", ".github/workflows/docker-build.yml", "Cargo.lock"):
        assert (project / name).read_text(encoding="utf-8") == (wanted / name).read_text(encoding="utf-8"), name
    assert not list(project.rglob("*.rej"))
