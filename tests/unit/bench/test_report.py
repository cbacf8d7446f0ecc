"""Tables, pages and plots of results, and the comparison with an earlier benchmark."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import REPOSITORY
from tests.unit.bench.results import make_report, make_result
from wavepaint.bench import report
from wavepaint.bench.plot import write_plot
from wavepaint.errors import ConfigError, OutputError


def test_a_page_with_quality_names_the_generator_of_its_masks() -> None:
    page = report.make_markdown(make_report(), [make_result("ours", 10, hole_psnr_db=20.0, hole_ssim=0.5)], "lama")
    assert "inside medium holes that are the same for all models (a generator)" in page


def test_ratios_are_between_cells_of_one_engine_and_precision() -> None:
    lama, ours, other = make_result("lama", 30), make_result("ours", 10), make_result("ours", 5, precision="float16")
    assert report.find_ratio(ours, [lama, ours, other], "lama") == pytest.approx(3)
    assert report.find_ratio(lama, [lama, ours], "lama") == pytest.approx(1)
    assert report.find_ratio(other, [lama, ours, other], "lama") is None
    page = report.make_markdown(make_report(), [lama, ours], "lama")
    assert "| ours | ort-cpu | float32 | 256x256 | 1 | 10.0 | 12.0 | 20.0 | 100.0 | 3.00 |" in page


def test_the_last_line_names_the_fastest_and_compares_it_with_the_rival_in_pytorch() -> None:
    results = [
        make_result("ours", 125, height=512, width=512),
        make_result("ours", 50),
        make_result("lama", 250, height=512, width=512),
    ]
    line = "fastest at 512x512: ours in ort-cpu float32, 8.0 images/s"
    assert report.describe_fastest(results, "lama") == line
    results.append(make_result("lama", 500, engine="pytorch", height=512, width=512))
    assert report.describe_fastest(results, "lama") == f"{line}, 4.0 times lama in pytorch float32"
    assert report.describe_fastest(results[:0], "lama") == ""


def test_a_plot_is_a_picture_and_is_never_overwritten_by_accident(tmp_path: Path) -> None:
    results = [make_result("lama", 30), make_result("ours", 10), make_result("ours", 9, engine="openvino")]
    write_plot(tmp_path / "p.png", results, overwrite=False)
    with Image.open(tmp_path / "p.png") as image:
        assert np.asarray(image.convert("L")).std() > 10
    with pytest.raises(OutputError, match="exists already"):
        write_plot(tmp_path / "p.png", results, overwrite=False)


def test_a_plot_has_a_second_panel_where_quality_was_measured(tmp_path: Path) -> None:
    plain = [make_result("ours", 10), make_result("telea", 4, engine="opencv")]
    scored = [make_result("ours", 10, hole_psnr_db=22.0), make_result("telea", 4, engine="opencv", hole_psnr_db=20.0)]
    for name, results in (("plain.png", plain), ("scored.png", scored)):
        write_plot(tmp_path / name, results, overwrite=False)
    with Image.open(tmp_path / "plain.png") as one, Image.open(tmp_path / "scored.png") as two:
        assert two.width > one.width + 300
        assert np.asarray(two.convert("L"))[:, one.width :].std() > 10


def test_slowdowns_beyond_the_margin_are_found(tmp_path: Path) -> None:
    former = tmp_path / "old.json"
    rows = [
        make_result("a", 10).as_dict(),
        make_result("b", 10).as_dict(),
        {**make_result("c", 1).as_dict(), "p50_ms": None},
    ]
    former.write_text(json.dumps({"results": rows}))
    new = [make_result("a", 11), make_result("b", 12), make_result("c", 9), make_result("d", 9)]
    assert [line.split(" in ")[0] for line in report.find_slowdowns(new, former, 0.15)] == ["b"]
    assert report.find_slowdowns(new, former, 0.3) == []
    with pytest.raises(ConfigError, match="has none of these"):
        report.find_slowdowns([make_result("d", 9)], former, 0.1)
    former.write_text("{}")
    with pytest.raises(ConfigError, match="is not the --json file"):
        report.find_slowdowns(new, former, 0.1)


def test_an_earlier_report_can_still_be_compared() -> None:
    earlier = REPOSITORY / "benchmarks" / "results" / "2026-11-21-race" / "race.json"
    row = json.loads(earlier.read_text())["results"][0]
    result = make_result(
        row["model"],
        row["p50_ms"] * 2,
        **{key: row[key] for key in ("engine", "precision", "height", "width", "batch")},
    )
    assert report.find_slowdowns([result], earlier, 0.15)
