"""The criteria of the GPU proof: the cells they need, their verdicts and their page."""

from typing import Any

from tests.unit.bench.results import make_report, make_result
from wavepaint.bench import report
from wavepaint.bench.cells import PYTORCH, Result
from wavepaint.bench.entrants import Subject
from wavepaint.bench.gpu_proof import BATCHES, ENGINES, MODELS, SIZES, judge, list_proof_cells
from wavepaint.bench.race import CHANGES_KNOWN_PIXELS, NOT_FINITE


def test_the_proof_measures_what_its_criteria_need_first(default: Subject) -> None:
    subjects = [Subject(name, default.bundle, False) for name in MODELS]
    cells = list_proof_cells(subjects, is_dry=False)
    assert {cell.height for cell in cells} == set(SIZES)
    assert {cell.batch for cell in cells} == set(BATCHES)
    assert {cell.engine for cell in cells} == set(ENGINES)
    assert {cell.precision for cell in cells if cell.engine != PYTORCH} == {"float16"}
    assert {cell.precision for cell in cells if cell.engine == PYTORCH} == {"float32", "tf32", "float16"}
    assert all(cell.height == 256 for cell in cells[: len(cells) // 3])
    assert len(cells) == 3 * 3 * 3 * 8
    dry = list_proof_cells(subjects, is_dry=True)
    assert "ort-cpu" in {cell.engine for cell in dry}
    assert len(dry) == 3 * 9


def measure(model: str, rate: float, engine: str = "tensorrt-rtx", **changes: Any) -> Result:
    """Return a result at 256x256 and batch 8 by its images/s without copies; with copies it is a fifth slower."""
    values = {"engine": engine, "precision": "float16", "batch": 8, "compute_ms": 8e3 / rate, "psnr_db": 60.0}
    return make_result(model, 10e3 / rate, **{**values, "images_per_s": rate * 0.8, **changes})


OURS = measure("wavepaint", 5000, layer_roofline=0.6, roofline=0.5)
THEIRS = measure("lama", 4000)
EAGER = measure("lama", 400, PYTORCH, precision="float32")
GOOD = [OURS, THEIRS, EAGER]


def verdicts(*results: Result) -> list[str]:
    return [criterion.verdict for criterion in judge(results, is_dry=False)]


def test_each_criterion_is_judged_separately() -> None:
    assert verdicts(*GOOD) == ["met"] * 5
    assert verdicts(OURS, THEIRS, measure("lama", 600, PYTORCH, precision="float32"))[:2] == ["not met", "met"]
    assert verdicts(OURS, measure("lama", 4500), EAGER)[:3] == ["met", "not met", "met"]
    assert verdicts(measure("wavepaint", 5000, layer_roofline=0.4), THEIRS, EAGER)[2] == "not met"
    assert verdicts(*GOOD, measure("wavepaint", 10, psnr_db=49.0))[3] == "not met"
    assert verdicts(*GOOD, measure("wavepaint", 10, psnr_db=None, problem=NOT_FINITE))[3] == "not met"
    assert verdicts(*GOOD, measure("default", 10, "tensorrt", problem=CHANGES_KNOWN_PIXELS))[4] == "not met"


def test_throughput_counts_without_copies_and_the_ratio_with_copies_is_shown() -> None:
    slow = measure("wavepaint", 3000, images_per_s=9000.0)
    first = judge([slow, THEIRS, EAGER], is_dry=False)[0]
    assert first.verdict == "not met"
    assert "compute only: 7.50 times, 3000 images/s (tensorrt-rtx, batch 8) to 400 (pytorch, batch 8)" in first.found
    assert "with copies: 28.12 times" in first.found
    without = measure("wavepaint", 5000, "ort-cuda", compute_ms=None)
    first = judge([without, EAGER], is_dry=False)[0]
    assert first.verdict == "not measured"
    assert "compute only: not timed; with copies: 12.50 times" in first.found


def test_the_ratio_to_pytorchs_defaults_is_shown() -> None:
    first = judge([*GOOD, measure("lama", 1000, PYTORCH, precision="tf32")], is_dry=False)[0]
    assert first.verdict == "met"
    assert "To PyTorch's defaults (TF32): compute only: 5.00 times" in first.found


def test_the_best_batch_of_each_model_counts() -> None:
    assert verdicts(*GOOD, measure("lama", 700, PYTORCH, precision="float32", batch=4, compute_ms=4e3 / 700))[0] == (
        "not met"
    )
    assert verdicts(*GOOD, measure("lama", 4900, batch=16, compute_ms=16e3 / 4900))[1] == "not met"


def test_results_of_different_runs_are_marked() -> None:
    second = judge([OURS, measure("lama", 4000, run=2), EAGER], is_dry=False)[1]
    assert "from different runs" in second.found


def test_a_missing_measurement_is_not_judged() -> None:
    assert verdicts() == ["not measured"] * 5
    assert verdicts(OURS, THEIRS)[0] == "not measured"
    assert verdicts(measure("wavepaint", 5000), THEIRS, EAGER)[2] == "not measured"
    failed = measure("lama", 400, PYTORCH, precision="float32", compute_ms=None, images_per_s=None, problem="x")
    assert verdicts(OURS, THEIRS, failed)[0] == "not measured"
    assert [criterion.verdict for criterion in judge(GOOD, is_dry=True)] == ["not measured"] * 5


def test_the_page_shows_criteria_card_and_runs() -> None:
    runs = [{"date": "today", "command": "wp bench", "machine": {}, "stopped": "stopped after 9 s"}]
    content = {**make_report(), "runs": runs, "card": {"name": "A GPU", "gmac_per_s": 1e5, "copy_gb_per_s": 2e3}}
    page = report.make_markdown(content, GOOD, "lama", criteria=judge(GOOD, is_dry=False))
    assert page.count("| **met** |") == 5
    assert "Roofs of A GPU: 100000 GMAC/s, 2000 GB/s copied." in page
    assert "- Run 1: today, `wp bench` stopped after 9 s" in page
