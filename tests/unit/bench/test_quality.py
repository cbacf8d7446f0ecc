"""Quality on photos: only the hole counts, which no method sees."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.unit.bench.results import make_report
from wavepaint.bench import report
from wavepaint.bench.cells import EAGER, PYTORCH, list_cells
from wavepaint.bench.classical import RADIUS, Classical
from wavepaint.bench.entrants import Subject
from wavepaint.bench.quality import load_pairs, measure_quality
from wavepaint.bench.race import race
from wavepaint.data.sources import PhotoSource, open_source
from wavepaint.errors import TrainingError, WavePaintWarning
from wavepaint.metrics import image_quality
from wavepaint.runtime.filling.options import FillOptions
from wavepaint.runtime.inpainter import Inpainter


def test_quality_compares_the_hole_which_the_method_does_not_see(photos: PhotoSource) -> None:
    pairs = load_pairs(photos, 96)

    def grey(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        assert not image[mask > 0].any()
        return np.where(mask[..., None] > 0, np.uint8(128), image)

    quality = measure_quality(grey, pairs)
    errors = [((photo[mask > 0] - 128.0) ** 2).mean() / 255**2 for photo, mask in pairs]
    assert quality.psnr_db == pytest.approx(np.mean(-10 * np.log10(errors)))
    assert 0 < quality.ssim < 1
    truth = iter([photo for photo, _ in pairs])
    perfect = measure_quality(lambda image, mask: next(truth), pairs)
    assert (perfect.psnr_db, perfect.ssim) == (100, pytest.approx(1))


def test_quality_is_measured_only_for_trained_weights_and_opencv(default: Subject, photos: PhotoSource) -> None:
    subjects = [default, Subject("random", default.bundle, False), Classical("telea")]
    cells = list_cells(subjects, [64], [1], engines=["ort-cpu", PYTORCH], precisions=["float32"], torch_configs=[EAGER])
    results = race(cells, threads=1, rounds=1, seconds=0, photos=photos)
    scores = {(r.model, r.engine): r.hole_psnr_db for r in results}
    assert {key for key, value in scores.items() if value is not None} == {("default", "ort-cpu"), ("telea", "opencv")}
    pairs = load_pairs(photos, 64)
    hidden = [(np.where(mask[..., None] > 0, np.uint8(0), photo), photo, mask) for photo, mask in pairs]
    by_hand = [
        image_quality.psnr(cv2.inpaint(image, mask, RADIUS, cv2.INPAINT_TELEA) / 255, photo / 255, mask)
        for image, photo, mask in hidden
    ]
    assert scores["telea", "opencv"] == pytest.approx(np.mean(by_hand))
    page, table = report.make_markdown(make_report(), results, "lama"), report.make_table(results, "lama").splitlines()
    assert table[0].endswith("PSNR dB    SSIM")
    assert "means over 2 photos" in page
    without = race(cells[:1], threads=1, rounds=1, seconds=0)
    assert "SSIM" not in report.make_table(without, "lama")
    assert "photos" not in report.make_markdown(make_report(), without, "lama").split("| model |")[0]


def test_a_network_is_scored_on_the_pixels_that_a_file_would_have(default: Subject, photos: PhotoSource) -> None:
    """The public interface fills the same photos with the same scores."""
    cells = list_cells([default], [64], [1], engines=["ort-cpu"], precisions=["float32"])
    (result,) = race(cells, threads=1, rounds=1, seconds=0, photos=photos)
    with Inpainter(default.bundle.folder, engine="ort-cpu", precision="float32") as inpainter:
        quality = measure_quality(
            lambda image, mask: np.asarray(inpainter.fill(image, mask > 0, FillOptions(strategy="whole"))),
            load_pairs(photos, 64),
        )
    assert result.hole_psnr_db == pytest.approx(quality.psnr_db, abs=0.01)
    assert result.hole_ssim == pytest.approx(quality.ssim, abs=1e-3)


def test_broken_photos_are_named(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    with (
        pytest.raises(TrainingError, match="no photo to validate on"),
        pytest.warns(WavePaintWarning, match="broken.jpg"),
    ):
        load_pairs(open_source(tmp_path), 64)
