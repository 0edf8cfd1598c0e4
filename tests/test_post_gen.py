"""The tailoring hook, by import."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from loading import ROOT, load_hook

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

post_gen = load_hook("post_gen_project")
LOCK = ROOT / "{{cookiecutter.project_slug}}" / "Cargo.lock"


def test_an_edit_must_match_as_often_as_expected(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("a b b\n", encoding="utf-8")
    with pytest.raises(post_gen.TailorError, match=r"expected 'b' 1 time\(s\), found it 2 time\(s\)"):
        post_gen.tailor(file, [post_gen.Edit("b", "c")])
    with pytest.raises(post_gen.TailorError, match="found it 0"):
        post_gen.tailor(file, [post_gen.Edit("x", "c")])
    assert file.read_text(encoding="utf-8") == "a b b\n"
    post_gen.tailor(file, [post_gen.Edit("b", "c", 2)])
    assert file.read_text(encoding="utf-8") == "a c c\n"


def test_tailoring_twice_changes_nothing_more(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("platform: a\n", encoding="utf-8")
    for _ in range(2):
        post_gen.tailor(file, [post_gen.Edit("platform: a", "platform: a,b")])
        assert file.read_text(encoding="utf-8") == "platform: a,b\n"


def test_tailoring_keeps_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"a\r\nb\n")
    post_gen.tailor(file, [post_gen.Edit("a", "c")])
    assert file.read_bytes() == b"c\r\nb\n"


@pytest.mark.parametrize("binary", ["backend", "aaa", "svg-server", "zzz", "clap-x", "my_tool"])
def test_the_lock_is_in_order_for_any_name(tmp_path: Path, binary: str) -> None:
    lock = tmp_path / "Cargo.lock"
    for _ in range(2):
        if not lock.exists():
            lock.write_bytes(LOCK.read_bytes())
        post_gen.tailor_lock(lock, binary)
        names = [line[8:-1] for line in lock.read_text(encoding="utf-8").splitlines() if line.startswith('name = "')]
        assert names == sorted(names)
        assert binary in names
    if binary == "backend":
        assert lock.read_bytes() == LOCK.read_bytes()
    else:
        assert "backend" not in names


def test_a_name_of_a_dependency_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / "Cargo.lock"
    lock.write_bytes(LOCK.read_bytes())
    with pytest.raises(post_gen.TailorError, match=r"binary_name: 'tokio' .* for example 'backend'"):
        post_gen.tailor_lock(lock, "tokio")


@pytest.mark.parametrize(
    ("chosen", "files"),
    [
        ("MIT OR Apache-2.0", {"LICENSE-MIT", "LICENSE-APACHE"}),
        ("MIT", {"LICENSE"}),
        ("Apache-2.0", {"LICENSE"}),
        ("Proprietary", {"LICENSE"}),
    ],
)
def test_the_licence_has_its_text(bake: Callable[..., Path], chosen: str, files: set[str]) -> None:
    project = bake(license=chosen)
    found = {path.name for path in project.glob("LICENSE*")}
    assert found == files
    first = {name: (project / name).read_text(encoding="utf-8") for name in files}
    assert any("MIT License" in text for text in first.values()) == ("MIT" in chosen)
    assert any("Apache License" in text for text in first.values()) == ("Apache" in chosen)
    assert any("All rights reserved" in text for text in first.values()) == (chosen == "Proprietary")
