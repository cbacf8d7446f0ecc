"""Packed names: any text in any order, in little memory."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavepaint.data.names import PackedNames, sort_key


@given(st.lists(st.text(st.characters(blacklist_characters="\0"), min_size=1, max_size=12), unique=True))
def test_packed_names_equal_the_names(names: list[str]) -> None:
    names = sorted((name.encode("utf-8", "ignore").decode() for name in names), key=sort_key)
    packed = PackedNames(names)
    assert list(packed) == names
    assert packed == names
    assert list(packed[1:]) == names[1:]
    for name in set(names):
        assert packed[packed.find(name)] == name
    with pytest.raises(KeyError):
        packed.find("\0")


def test_file_names_that_are_not_utf_8_round_trip() -> None:
    assert list(PackedNames(["\udcff.jpg"])) == ["\udcff.jpg"]


def test_many_names_need_little_memory_and_are_found_quickly() -> None:
    names = [f"train/n{i // 1000:08d}/image_{i:08d}.JPEG" for i in range(100_000)]
    packed = PackedNames(names)
    assert len(pickle.dumps(packed)) < 50 * len(names)
    assert [packed.find(names[i]) for i in range(0, 100_000, 9973)] == list(range(0, 100_000, 9973))
