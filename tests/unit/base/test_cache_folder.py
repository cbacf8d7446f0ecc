"""The cache folder."""

from pathlib import Path

import pytest

from wavepaint.cache_folder import cache_folder


def test_the_environment_chooses_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


@pytest.mark.skipif(not Path("/proc").exists(), reason="XDG folders are Linux's")
def test_the_default_is_in_the_users_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAVEPAINT_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "wavepaint"
