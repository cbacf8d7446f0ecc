"""The score of a study: its statistics against scipy, and answers that are refused."""

from pathlib import Path

import pytest
from scipy.stats import binomtest

from wavepaint.errors import StudyError
from wavepaint.study.scores import (
    COLUMNS,
    compute_binomial_p,
    compute_wilson_interval,
    format_scores,
    read_answers,
    score_answers,
)


@pytest.mark.parametrize(("successes", "total"), [(0, 1), (1, 1), (0, 7), (3, 6), (27, 40), (400, 1000), (612, 1201)])
def test_interval_and_p_value_are_those_of_scipy(successes: int, total: int) -> None:
    expected = binomtest(successes, total, 0.5)
    assert compute_binomial_p(successes, total) == pytest.approx(expected.pvalue, rel=1e-9)
    for level in (0.8, 0.95):
        interval = expected.proportion_ci(level, method="wilson")
        assert compute_wilson_interval(successes, total, level) == pytest.approx(
            (interval.low, interval.high), abs=1e-12
        )


def test_a_large_study_has_a_p_value() -> None:
    assert compute_binomial_p(0, 5_000) == 0.0
    assert compute_binomial_p(2_500, 5_000) == 1.0


def write_answers(path: Path, *rows: dict[str, object], columns: tuple[str, ...] = COLUMNS) -> Path:
    usual = {"study": "s", "participant": "anna", "trial": 1, "left": "A", "choice": "A", "seconds": 1.5,
             "answered": "2026-01-01T00:00:00Z", "method_a": "ours", "method_b": "lama"}  # fmt: skip
    lines = [",".join(columns)]
    for index, row in enumerate(rows):
        full = {"image": f"{index}.png", **usual, **row}
        lines.append(",".join(str(full[column]) for column in columns))
    path.write_text("\r\n".join(lines) + "\r\n")
    return path


def test_tallies_are_by_participant_and_by_image(tmp_path: Path) -> None:
    anna = write_answers(tmp_path / "anna.csv", {}, {"choice": "B", "seconds": 3}, {"left": "B"})
    ben = write_answers(tmp_path / "ben.csv", {"participant": "ben", "choice": "B"}, {"participant": "ben"})
    scores = score_answers(read_answers([anna, ben]))
    assert scores["methods"] == {"A": "ours", "B": "lama"}
    assert (scores["answers"], scores["prefers_a"], scores["share"]) == (5, 3, 0.6)
    assert scores["left_share"] == 0.4
    assert scores["median_seconds"] == 1.5
    assert [(row["name"], row["prefers_a"], row["answers"]) for row in scores["participants"]] == [
        ("anna", 2, 3), ("ben", 1, 2),
    ]  # fmt: skip
    assert [(row["name"], row["share"]) for row in scores["images"]] == [("2.png", 1), ("0.png", 0.5), ("1.png", 0.5)]
    text = format_scores(scores)
    assert "ours (A) against lama (B): 5 answers by 2 participants for 3 images" in text
    assert "60.0% (3 of 5), 95% interval 23.1% to 88.2% (Wilson)" in text
    assert "most prefer A in 1, B in 0; 2 are even" in text


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"choice": "tie"}, ("line 2 of", "'tie' as choice", "no ties")),
        ({"choice": ""}, ("line 2 of", "'' as choice")),
        ({"left": "a"}, ("'a' as left", "expected A or B")),
        ({"seconds": "nan"}, ("'nan' as seconds",)),
        ({"seconds": "-1"}, ("'-1' as seconds",)),
        ({"seconds": "soon"}, ("'soon' as seconds",)),
        ({"participant": ""}, ("line 2 of", "no participant")),
        ({"image": "a,b"}, ("line 2 of", "11 columns: expected 10")),
        ({"image": '"a'}, ("not CSV",)),
    ],
)
def test_damaged_rows_are_refused_with_their_line(tmp_path: Path, row: dict[str, object], words: tuple[str]) -> None:
    path = write_answers(tmp_path / "answers.csv", row)
    with pytest.raises(StudyError) as error:
        read_answers([path])
    assert all(word in str(error.value) for word in words), error.value
    assert "\n" not in str(error.value)


def test_two_answers_of_a_participant_for_an_image_are_refused(tmp_path: Path) -> None:
    early, late = (write_answers(tmp_path / f"{name}.csv", {}) for name in ("early", "late"))
    with pytest.raises(StudyError, match=r"line 2 of .*late\.csv answers for 0\.png again: .*early\.csv"):
        read_answers([early, late])


@pytest.mark.parametrize("other", [{"study": "t"}, {"method_b": "mat"}])
def test_answers_of_different_studies_are_refused(tmp_path: Path, other: dict[str, object]) -> None:
    path = write_answers(tmp_path / "answers.csv", {}, {"participant": "ben", **other})
    with pytest.raises(StudyError, match="line 3 of .* belongs to another study than line 2"):
        read_answers([path])


def test_files_that_are_no_answers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="cannot be read: No such file"):
        read_answers([tmp_path / "none.csv"])
    (tmp_path / "noise.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StudyError, match="cannot be read"):
        read_answers([tmp_path / "noise.csv"])
    with pytest.raises(StudyError, match="lacks the column choice"):
        read_answers([write_answers(tmp_path / "short.csv", columns=COLUMNS[:5])])
    with pytest.raises(StudyError, match="has no answers"):
        read_answers([write_answers(tmp_path / "empty.csv")])
    (tmp_path / "blank.csv").write_text("")
    with pytest.raises(StudyError, match="lacks the column study"):
        read_answers([tmp_path / "blank.csv"])
