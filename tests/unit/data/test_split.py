"""The split: decided by seed and name, and checked when a run resumes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavepaint.data.split import Split, check_split, read_split, split_names, write_split
from wavepaint.errors import ConfigError, OutputError, TrainingError

NAMES = [f"{i}.jpg" for i in range(40)]


def test_seed_0_gives_the_split_of_earlier_runs() -> None:
    assert split_names(NAMES, seed=0, val_fraction=0.1).val == ("26.jpg", "34.jpg", "36.jpg", "38.jpg")


@given(
    names=st.lists(st.text(min_size=1, max_size=5), min_size=3, max_size=40, unique=True),
    seed=st.integers(0, 2**63),
    val=st.floats(0.01, 0.6),
    test=st.floats(0, 0.39),
)
def test_every_photo_has_one_side_and_no_requested_side_is_empty(
    names: list[str], seed: int, val: float, test: float
) -> None:
    names = [name for name in names if name.isprintable()] + ["a", "b", "c"]
    split = split_names(names, seed=seed, val_fraction=val, test_fraction=test)
    assert sorted(split.train + split.val + split.test) == sorted(set(names))
    assert split.train
    assert split.val
    assert bool(split.test) == (test > 0)


def test_photo_keeps_its_side_when_others_change() -> None:
    many = [f"{i}.jpg" for i in range(2000)]
    whole = split_names(many, seed=3, val_fraction=0.1, test_fraction=0.1)
    fewer = split_names(many[::2], seed=3, val_fraction=0.1, test_fraction=0.1)
    for side in ("train", "val", "test"):
        assert set(getattr(fewer, side)) == set(getattr(whole, side)) & set(many[::2])


def test_sides_have_the_requested_shares_and_seeds_differ() -> None:
    many = [f"{i}.jpg" for i in range(20_000)]
    splits = [split_names(many, seed=seed, val_fraction=0.1, test_fraction=0.1) for seed in (0, 1)]
    for split in splits:
        assert abs(len(split.val) / len(many) - 0.1) < 0.01
        assert abs(len(split.test) / len(many) - 0.1) < 0.01
    in_both = len(set(splits[0].val) & set(splits[1].val))
    assert in_both / len(many) == pytest.approx(0.01, abs=0.005)


def test_too_few_photos_and_bad_shares_are_refused() -> None:
    with pytest.raises(TrainingError, match="1 photo.s., but training and validation need 2 or more"):
        split_names(["a"], seed=0, val_fraction=0.1)
    with pytest.raises(TrainingError, match="2 photo.s., but training, validation and test need 3 or more"):
        split_names(["a", "b"], seed=0, val_fraction=0.1, test_fraction=0.1)
    for val, test in ((0.0, 0.1), (0.5, 0.5), (0.1, -0.1), (float("nan"), 0.0)):
        with pytest.raises(ConfigError, match="--val-fraction"):
            split_names(NAMES, seed=0, val_fraction=val, test_fraction=test)


def test_split_round_trips_through_its_file(tmp_path: Path) -> None:
    split = split_names([*NAMES, "\udcff.jpg"], seed=5, val_fraction=0.2, test_fraction=0.1)
    write_split(tmp_path / "split.json", split)
    assert read_split(tmp_path / "split.json") == split
    check_split(tmp_path / "split.json", split)
    with pytest.raises(OutputError):
        write_split(tmp_path / "split.json", split)


def test_other_photos_are_refused(tmp_path: Path) -> None:
    write_split(tmp_path / "split.json", split_names(NAMES, seed=0, val_fraction=0.1))
    with pytest.raises(TrainingError, match="1 of 36 train photos are gone, and 0 are new .for example '0.jpg'"):
        check_split(tmp_path / "split.json", split_names(NAMES[1:], seed=0, val_fraction=0.1))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"train": 1}', "\x00"])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(TrainingError, match="not a readable split"):
        read_split(tmp_path / "split.json")
    with pytest.raises(TrainingError, match="not a readable split"):
        check_split(tmp_path / "none.json", Split(train=("a",), val=("b",)))
