"""Scores of fills, their means, wins and the report's page."""

import numpy as np
import pytest

from tests.networks import make_random_lpips
from wavepaint.bench.fill_scores import FillScores, count_wins, score_fill, summarise
from wavepaint.bench.quality_report import Run, describe_results, draw_pictures, make_page
from wavepaint.evaluation.perceptual import measure_lpips, to_tensor
from wavepaint.evaluation.photo_cases import Case
from wavepaint.metrics import image_quality


def make_scores(**values: float) -> FillScores:
    plain = {
        "photo": "a", "psnr_hole_db": 20.0, "ssim_hole": 0.5, "l1_hole": 0.1, "l2_hole": 0.01,
        "psnr_db": 30.0, "ssim": 0.9, "l1": 0.01, "l2": 0.001, "num_lines": 0, "num_lines_joined": 0,
        "sum_lines_continued": 0.0, "repetition": 0.0,
    }  # fmt: skip
    return FillScores(**{**plain, **values})


def make_case() -> Case:
    rng = np.random.default_rng(0)
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 24:44] = 1
    photo = np.full((64, 64, 3), 60, np.uint8)
    photo[:, 34:] = 190
    return Case("a.png", photo + rng.integers(0, 4, photo.shape, dtype=np.uint8), mask)


def test_a_fill_is_scored_in_its_hole() -> None:
    case = make_case()
    grey = np.where(case.mask[..., None] > 0, np.uint8(128), case.photo)
    scores = score_fill(grey, case, None)
    assert scores.psnr_hole_db == image_quality.psnr(grey / 255, case.photo / 255, case.mask)
    assert (scores.num_lines, scores.num_lines_joined, scores.lpips_hole) == (1, 0, None)
    assert score_fill(case.photo, case, None).num_lines_joined == 1


def test_lpips_is_that_of_the_module_at_once_inside_around_and_overall() -> None:
    case, lpips = make_case(), make_random_lpips("alexnet")
    grey = np.where(case.mask[..., None] > 0, np.uint8(128), case.photo)
    inside, around, whole = measure_lpips(lpips, grey, case.photo, case.mask)
    spatial = lpips(to_tensor(grey), to_tensor(case.photo), spatial=True)[0, 0].numpy()
    assert inside == pytest.approx(spatial[case.mask > 0].mean(), rel=1e-5)
    assert whole == pytest.approx(float(lpips(to_tensor(grey), to_tensor(case.photo))), rel=1e-5)
    assert around > 0
    assert measure_lpips(lpips, case.photo, case.photo, case.mask) == (0, 0, 0)


def test_means_are_over_fills_and_lines_over_all_lines() -> None:
    summary = summarise(
        [
            make_scores(num_lines=3, num_lines_joined=3, sum_lines_continued=3, repetition=0.2, lpips_hole=0.1),
            make_scores(num_lines=1, num_lines_joined=0, sum_lines_continued=0.5, lpips_hole=0.3),
            make_scores(lpips_hole=0.2),
        ]
    )
    assert summary["lines_joined"] == 0.75
    assert summary["lines_continued"] == pytest.approx(3.5 / 4)
    assert summary["repetition"] == pytest.approx(0.2 / 3)
    assert summary["lpips_hole"] == pytest.approx(0.2)
    assert (summary["num_photos"], summary["num_lines"]) == (3, 4)
    assert not {"lines_joined", "lpips"} & set(summarise([make_scores()]))


def test_wins_are_counted_over_the_fills_that_both_have() -> None:
    own = [make_scores(lpips_hole=value) for value in (0.1, 0.2, 0.3, 0.4)]
    other = [make_scores(lpips_hole=value) for value in (0.2, 0.2)]
    assert count_wins(own, other) == 0.5
    assert count_wins(own, [make_scores()]) is None


def make_run(case: Case, values: list[float]) -> Run:
    scores = [make_scores(lpips_hole=value, repetition=1 - value) for value in values]
    return Run([np.full_like(case.photo, round(value * 100)) for value in values], scores, seconds=1)


def test_pictures_show_the_worst_fills_first_and_a_choice_at_random() -> None:
    case = make_case()
    values = [index / 40 for index in range(30)]
    runs = {"own": make_run(case, values), "slow": make_run(case, values[:2])}
    pictures = draw_pictures(runs, [case] * 30, "thin", 64)
    assert list(pictures) == ["thin", "thin-worst-lpips", "thin-worst-repetition"]
    first = {name: picture.getpixel((64 + 4 + 5, 18 + 5))[0] for name, picture in pictures.items()}
    assert first["thin-worst-lpips"] == round(values[-1] * 100)
    assert first["thin-worst-repetition"] == 0
    assert pictures["thin"].height == 18 + 10 * 68 - 4
    assert pictures["thin-worst-repetition"].width == pictures["thin"].width + 68


def test_the_page_has_a_table_per_set_and_the_wins_of_each_bundle() -> None:
    case = make_case()
    results = {
        "thin": {"own": make_run(case, [0.1, 0.3]), "Telea": make_run(case, [0.2, 0.2])},
        "lines": {"own": make_run(case, [0.1]), "Telea": make_run(case, [0.2])},
    }
    report = {**describe_results(results, ["own"]), "masks": {"thin": "thin holes", "lines": "holes over lines"}}
    page = make_page(report)
    assert page.count("| method |") == 2
    assert "thin holes" in page
    assert "| thin | 50% |" in page
    assert "| lines | 100% |" in page
    assert report["fills"]["thin"]["own"][1]["lpips_hole"] == 0.3
