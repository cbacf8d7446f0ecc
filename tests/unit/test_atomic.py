"""Files and folders appear whole or not at all."""

import os
import stat
from pathlib import Path

import pytest

from wavepaint.atomic import write_file, write_folder
from wavepaint.errors import OutputError


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "a.txt"
    with write_file(target) as temporary:
        assert not target.exists()
        assert temporary.suffix == ".txt"
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert names(target.parent) == ["a.txt"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask


def test_a_failure_leaves_the_former_file_and_no_rubbish(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("former")
    with pytest.raises(KeyboardInterrupt), write_file(target, overwrite=True) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "former"
    assert names(tmp_path) == ["a.txt"]


def test_a_full_disk_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No space left"), write_file(tmp_path / "a.txt"):
        raise OSError(28, "No space left on device")
    assert names(tmp_path) == []


def test_overwriting_needs_permission(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("former")
    with pytest.raises(OutputError, match="exists already.*--overwrite"), write_file(target):
        pass
    with write_file(target, overwrite=True) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"


def test_a_folder_appears_when_it_is_complete_and_replaces_the_former(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    with write_folder(target) as temporary:
        (temporary / "a").write_text("1")
        assert not target.exists()
    with pytest.raises(OutputError, match="exists already"), write_folder(target):
        pass
    with pytest.raises(RuntimeError), write_folder(target, overwrite=True) as temporary:
        (temporary / "b").write_text("2")
        raise RuntimeError
    assert names(target) == ["a"]
    with write_folder(target, overwrite=True) as temporary:
        (temporary / "b").write_text("2")
    assert names(target) == ["b"]
    assert names(tmp_path) == ["bundle"]


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file is a file, not a folder"), write_file(tmp_path / "file" / "a.txt"):
        pass
    with pytest.raises(OutputError, match="a file of that name"), write_folder(tmp_path / "file", overwrite=True):
        pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="it is a folder"), write_file(tmp_path / "folder", overwrite=True):
        pass
