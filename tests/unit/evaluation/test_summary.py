"""Groups of fills, and the comparison of two subjects."""

import pytest

from wavepaint.evaluation.evaluate import Evaluation, Fill
from wavepaint.evaluation.fill_metrics import Scores
from wavepaint.evaluation.photo_cases import CaseKey
from wavepaint.evaluation.summary import ALL, compare, group_by_hole, group_by_set, summarise
from wavepaint.evaluation.tables import make_tables


def make_fill(photo: str, value: float, *, share: float = 0.15, set_name: str = "thin") -> Fill:
    scores = Scores(
        photo=photo, l1_hole=value, l2_hole=value, psnr_hole_db=30 - value, ssim_hole=1 - value, l1=value, l2=value,
        psnr_db=40 - value, ssim=1 - value,
    )  # fmt: skip
    return Fill(key=CaseKey(set_name=set_name, photo=photo), hole_share=share, scores=scores)


def test_share_on_a_border_belongs_to_the_lower_bin_as_in_lama() -> None:
    shares = [0.001, 0.1, 0.1001, 0.3, 0.95, 1.0]
    evaluation = Evaluation({"own": [make_fill(str(share), 0.1, share=share) for share in shares]})
    found = {label: [fill.hole_share for fill in one["own"]] for label, one in group_by_hole(evaluation).items()}
    assert found == {"0-10%": [0.001, 0.1], "10-20%": [0.1001], "20-30%": [0.3], "90-100%": [0.95, 1.0]}


def test_all_sets_together_follow_several_sets_only() -> None:
    thin, thick = make_fill("a", 0.1), make_fill("a", 0.3, set_name="thick")
    assert list(group_by_set(Evaluation({"own": [thin, thick]}))) == ["thin", "thick", ALL]
    assert list(group_by_set(Evaluation({"own": [thin]}))) == ["thin"]


def test_win_is_a_lower_distance_or_a_higher_psnr_and_a_tie_counts_half() -> None:
    first = [make_fill(name, value) for name, value in zip("abcd", (0.1, 0.2, 0.3, 0.4), strict=True)]
    second = [make_fill(name, value) for name, value in zip("abcd", (0.2, 0.3, 0.3, 0.1), strict=True)]
    compared = compare(first, second, ["l1_hole", "psnr_hole_db"], seed=0)
    assert compared["l1_hole"]["share_won"] == compared["psnr_hole_db"]["share_won"] == 0.625
    assert compared["l1_hole"]["mean"] == pytest.approx(0.025)
    assert compared["psnr_hole_db"]["mean"] == pytest.approx(-0.025)


def test_interval_of_a_difference_is_that_of_pairs_and_not_of_two_means() -> None:
    first = [make_fill(str(i), i + 0.1) for i in range(20)]
    second = [make_fill(str(i), i + 0.0) for i in range(20)]
    compared = compare(first, second, ["l1_hole"], seed=0)["l1_hole"]
    assert compared["low"] == pytest.approx(0.1)
    assert compared["high"] == pytest.approx(0.1)


def test_tables_show_what_was_measured() -> None:
    fills = {title: [make_fill(name, value) for name in "ab"] for title, value in (("own", 0.1), ("other", 0.25))}
    evaluation = Evaluation(fills, {"thin": {"own": 1.5, "other": 2.5}})
    tables = dict(make_tables(summarise(evaluation, seed=0, distance="Frechet distance, AlexNet")))
    assert list(tables) == [
        "own, in the hole", "own, over the whole image", "other, in the hole", "other, over the whole image",
        "own minus other, in the hole",
    ]  # fmt: skip
    assert tables["own, in the hole"][0] == ("holes", "fills", "PSNR, dB", "SSIM", "L1", "L2")
    assert [row[:2] for row in tables["own, in the hole"][1:]] == [("thin", "2"), ("10-20%", "2")]
    assert tables["other, over the whole image"][0][-1] == "Frechet distance, AlexNet"
    assert tables["other, over the whole image"][1][-1] == "2.500"
    difference = {row[1]: row[2:] for row in tables["own minus other, in the hole"][1:]}
    assert difference["L1"] == ("-0.1500 [-0.1500, -0.1500]", "100%")
