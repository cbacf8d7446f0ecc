"""Files and folders appear complete or not at all."""

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wavepaint import atomic
from wavepaint.atomic import check_target, write_file, write_folder
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


def test_a_failure_leaves_the_earlier_file_and_nothing_else(tmp_path: Path) -> None:
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


def test_overwriting_must_be_allowed(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("former")
    with pytest.raises(OutputError, match="exists already.*--overwrite"), write_file(target):
        pass
    with write_file(target, overwrite=True) as temporary:
        temporary.write_text("new")
    assert target.read_text() == "new"


def test_a_folder_appears_when_it_is_complete_and_replaces_the_earlier_one(tmp_path: Path) -> None:
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


def test_permissions_follow_the_umask_which_is_never_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    former = os.umask(0o027)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "umask", None)
            with write_file(tmp_path / "a"), write_folder(tmp_path / "b"):
                pass
    finally:
        os.umask(former)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"] == [0o640, 0o750]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.EACCES, "Permission denied")])
def test_an_error_between_the_two_renames_of_a_folder_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "former").touch()
    rename = Path.rename

    def fail_for_the_new_one(self: Path, place: Path) -> Path:
        if (self / "new").exists():
            raise error
        return rename(self, place)

    monkeypatch.setattr(Path, "rename", fail_for_the_new_one)
    with pytest.raises((KeyboardInterrupt, OutputError)), write_folder(target, overwrite=True) as temporary:
        (temporary / "new").touch()
    assert names(target) == ["former"]
    assert names(tmp_path) == ["bundle"]


def test_if_the_earlier_folder_cannot_be_restored_both_are_kept_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "former").touch()
    rename = Path.rename

    def fail_after_the_first(self: Path, place: Path) -> Path:
        if self != target:
            raise OSError(errno.EIO, "Input/output error", str(self))
        return rename(self, place)

    monkeypatch.setattr(Path, "rename", fail_after_the_first)
    with pytest.raises(OutputError) as caught, write_folder(target, overwrite=True) as temporary:
        (temporary / "new").touch()
    monkeypatch.undo()
    former, new = tmp_path / f"{temporary.name}-former", temporary
    assert (names(former), names(new)) == (["former"], ["new"])
    assert str(former) in str(caught.value)
    assert new.name in str(caught.value)
    forget_folders()
    with write_file(tmp_path / "other"):  # removes leftovers of killed processes, but not these
        pass
    assert (names(former), names(new)) == (["former"], ["new"])


def test_a_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with write_folder(tmp_path / "link", overwrite=True) as temporary:
        (temporary / "new").touch()
    assert names(tmp_path / "real") == ["new"]
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path) == ["link", "real"]


def test_a_link_to_a_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "real").write_text("former")
    (tmp_path / "link").symlink_to("deep/real")
    with write_file(tmp_path / "link", overwrite=True) as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "deep" / "real").read_text() == "new"
    assert (names(tmp_path), names(tmp_path / "deep")) == (["deep", "link"], ["real"])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a folder in which nobody can create files")
def test_the_folder_behind_a_link_is_checked_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/proc/none")
    with pytest.raises(OutputError, match="cannot write"):
        check_target(tmp_path / "link", False)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither permissions nor named pipes in folders")
def test_a_replaced_file_passes_its_permissions_on(tmp_path: Path) -> None:
    target = tmp_path / "private"
    target.touch(0o600)
    with write_file(target, overwrite=True) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither permissions nor named pipes in folders")
@pytest.mark.parametrize("overwrite", [False, True])
def test_devices_and_pipes_are_not_replaced(tmp_path: Path, overwrite: bool) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    for name in ("pipe", "null"):
        for write in (write_file, write_folder):
            with pytest.raises(OutputError, match="device, a pipe"), write(tmp_path / name, overwrite=overwrite):
                pass
        with pytest.raises(OutputError, match="device, a pipe"):
            check_target(tmp_path / name, overwrite)
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "null").is_symlink()


def test_a_target_created_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    for write, make in ((write_file, Path.touch), (write_folder, Path.mkdir)):
        target = tmp_path / write.__name__
        with pytest.raises(OutputError, match="exists already"), write(target):
            make(target)
    assert names(tmp_path) == ["write_file", "write_folder"]


def test_an_error_about_another_file_is_not_changed(tmp_path: Path) -> None:
    for write in (write_file, write_folder):
        with pytest.raises(FileNotFoundError, match="missing.txt"), write(tmp_path / "a"):
            (tmp_path / "missing.txt").read_text()
        with pytest.raises(OutputError, match="cannot write .*/a: No"), write(tmp_path / "a") as temporary:
            (temporary / "missing" / "b").write_text("")
    assert names(tmp_path) == []


def test_names_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    for name in ("n" * 251 + ".png", "n." + "p" * 253):
        with write_file(tmp_path / name) as temporary:
            temporary.write_text("whole")
        assert (tmp_path / name).read_text() == "whole"


@pytest.mark.parametrize("name", ["n" * 256, "a\0b", "a\ud800b"])
def test_invalid_names_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    for write in (check_target, lambda path, overwrite: write_file(path).__enter__()):
        with pytest.raises(OutputError, match="^cannot write ") as caught:
            write(tmp_path / name, False)
        assert len(str(caught.value).splitlines()) == 1
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a /proc that cannot be written")
def test_a_target_that_cannot_be_written_is_refused_before_the_work() -> None:
    with pytest.raises(OutputError, match="cannot write /proc"):
        check_target(Path("/proc/a/b.json"), overwrite=False)


def forget_folders() -> None:
    """Forget which folders were searched for leftovers, as a new process would."""
    atomic._remove_leftovers.cache_clear()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL and locks are POSIX")
def test_leftovers_of_killed_processes_are_removed_by_the_next(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys\nfrom wavepaint.atomic import write_file, write_folder\n"
        "with write_file(pathlib.Path('a.png')), write_folder(pathlib.Path('b')) as folder:\n"
        "    (folder / 'half').touch()\n    os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 2
    foreign = [".wp-0123456789abcdef", ".wp-notes.png", ".a.png"]
    for name in foreign[1:]:
        (tmp_path / name).touch()
    (tmp_path / foreign[0]).symlink_to(".a.png")
    with write_file(tmp_path / "c.png") as living:
        forget_folders()
        with write_file(tmp_path / "d.png"):
            assert living.exists()
    assert names(tmp_path) == sorted([*foreign, "c.png", "d.png"])


def test_without_locks_only_old_temporaries_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "_lock", lambda path: None)
    old, young = tmp_path / ".wp-0123456789abcdef.png", tmp_path / ".wp-0123456789abcde0.png"
    for path, days in ((old, 2.0), (young, 0.5)):
        path.touch()
        os.utime(path, (time.time() - days * 86_400,) * 2)
    with write_file(tmp_path / "a.png"):
        pass
    assert names(tmp_path) == [young.name, "a.png"]
