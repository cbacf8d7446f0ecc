"""Facts about the machine."""

from pathlib import Path

import pytest

from wavepaint import machine


@pytest.mark.parametrize(
    ("content", "expected"), [("1048576\n", 1 << 20), ("max\n", 16 << 30), (f"{1 << 63}\n", 16 << 30), (None, 16 << 30)]
)
def test_memory_is_that_of_a_limited_container(
    content: str | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    if content is not None:
        limit.write_text(content)
    monkeypatch.setattr(machine, "_CONTAINER_LIMITS", (tmp_path / "missing", limit))
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 4 << 20}
    monkeypatch.setattr(machine.os, "sysconf", pages.__getitem__, raising=False)
    assert machine.find_memory_bytes() == expected


def test_memory_may_be_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(machine.os, "sysconf", raising=False)
    assert machine.find_memory_bytes() is None
