"""Outputs never replace an input or one another."""

import os
from pathlib import Path

import pytest

from wavepaint import outputs
from wavepaint.errors import OutputError
from wavepaint.outputs import check_outputs


def make_tree(folder: Path) -> None:
    """Make a photo and a mask, and links to both."""
    (folder / "photos").mkdir()
    for name in ("photos/p.png", "m.png"):
        (folder / name).write_text(name)
    (folder / "soft.png").symlink_to("photos/p.png")
    os.link(folder / "m.png", folder / "hard.png")
    (folder / "elsewhere").symlink_to("photos")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["m.png"], "m.png is one of the inputs"),
        (["photos/../m.png"], "m.png would replace .*m.png, which is one of the inputs"),
        (["hard.png"], "hard.png would replace .*m.png"),
        (["soft.png"], "soft.png would replace .*p.png"),
        (["elsewhere/p.png"], "elsewhere/p.png would replace .*p.png"),
        (["photos"], "photos would replace .*p.png"),
        (["elsewhere"], "elsewhere would replace .*p.png"),
        (["."], "would replace .*p.png"),
        (["new.png", "photos/../new.png"], "new.png are one file"),
        (["elsewhere/new/a", "photos/new/a"], "are one file"),
        (["new", "new/deep/report.json"], "one lies in the other"),
        (["new/deep/report.json", "new"], "one lies in the other"),
    ],
)
def test_no_output_may_be_an_input_or_another_output(tmp_path: Path, names: list[str], message: str) -> None:
    make_tree(tmp_path)
    inputs = [tmp_path / "photos" / "p.png", tmp_path / "m.png"]
    with pytest.raises(OutputError, match=message):
        check_outputs(inputs, [tmp_path / name for name in names])


def test_outputs_may_lie_beside_and_below_inputs(tmp_path: Path) -> None:
    make_tree(tmp_path)
    inputs = [tmp_path / name for name in ("photos", "photos/p.png", "m.png", "none.png", "a\0b", "n" * 300)]
    names = ("photos/q.png", "photos/out/p.png", "new.png", "New.png", "a\0b", "n" * 300)
    check_outputs(inputs, [tmp_path / name for name in names])


def test_names_that_differ_only_in_case_are_one_file_if_the_file_system_ignores_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "_ignores_case", lambda folder: True)
    for names in (["new.png", "New.png"], ["new/a.png", "NEW/A.png"], ["Bundle", "bundle/report.json"]):
        with pytest.raises(OutputError, match="are one file, or one lies in the other"):
            check_outputs([], [tmp_path / name for name in names])
