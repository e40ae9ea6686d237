"""Files that hold the text of an identifier are found, as Postgres writes it and packs it, and no other file."""

from pathlib import Path

import pytest

from kpi_assets.materialize.erased_files import files_with

NAME = "Canary.7f31@example.org"
PACKED = b"\x00Canary.7\x0af31@exam\x00ple.org"  # a byte after eight letters


@pytest.mark.parametrize(
    "content", [b"x" * 5000 + b"canary.7F31@EXAMPLE.org", PACKED, b"\x00\x31" + NAME.encode() + b"\x00"]
)
def test_a_text_is_found_wherever_it_stands(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "base/5").mkdir(parents=True)
    (tmp_path / "base/5/16384").write_bytes(content)
    (tmp_path / "base/5/16385").write_bytes(b"somebody.else@example.org")
    (tmp_path / "empty").touch()
    (tmp_path / "link").symlink_to(tmp_path / "base/5/16384")
    seen: list[tuple[int, int]] = []
    found = [*files_with(tmp_path, ["nobody at all", f" {NAME} "], lambda _, done, of: seen.append((done, of)))]
    assert found == [tmp_path / "base/5/16384"]
    assert seen == [(0, 3), (1, 3), (2, 3)]


def test_a_short_text_is_not_looked_for(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("2026-11-28 123456789")
    assert [*files_with(tmp_path, ["123456789"], lambda *_: None)] == []


def test_letters_that_mean_something_in_a_pattern_are_letters(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("a+b(c)@example.org")
    (tmp_path / "other").write_text("aab c @example_org")
    assert [*files_with(tmp_path, ["a+b(c)@example.org"], lambda *_: None)] == [tmp_path / "one"]
