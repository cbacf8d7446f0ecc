"""What a race tells besides time: OpenCV's methods beside the models, quality on photos, and where the time goes."""

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.fakes.nvml import FakeNvml
from tests.unit.test_bench import CPU, make_report, make_result
from wavepaint.bench import report
from wavepaint.bench.cells import PYTORCH, Cell, list_cells
from wavepaint.bench.classical import METHODS, RADIUS, Classical
from wavepaint.bench.entrants import Subject, open_entrant
from wavepaint.bench.photo_stages import find_fastest, make_split_rows, measure_split
from wavepaint.bench.plot import write_plot
from wavepaint.bench.profile import make_profile_rows, measure_profile
from wavepaint.bench.quality import load_pairs, measure_quality
from wavepaint.bench.race import race
from wavepaint.contract import Bundle
from wavepaint.data.sources import PhotoSource, open_source
from wavepaint.errors import TrainingError, WavePaintWarning
from wavepaint.metrics import image_quality
from wavepaint.runtime.engines import gpus as gpu
from wavepaint.runtime.engines.openvino import cpu_precisions
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.engines.session import RunParts
from wavepaint.runtime.filling.options import FillOptions
from wavepaint.runtime.inpainter import Inpainter


@pytest.fixture
def subject(half_bundle: Bundle) -> Subject:
    return Subject("half", half_bundle, True)


@pytest.fixture
def photos(tmp_path: Path, photo: np.ndarray) -> PhotoSource:
    """Two photographs in a folder."""
    Image.fromarray(photo).save(tmp_path / "a.png")
    (tmp_path / "below").mkdir()
    Image.fromarray(photo[:, ::-1]).save(tmp_path / "below" / "b.jpg", quality=95)
    return open_source(tmp_path)


def test_opencv_races_beside_the_models_whatever_engines_are_asked_for(subject: Subject) -> None:
    telea = open_entrant("telea")
    cells = list_cells([subject, telea], [64], [2], engines=["ort-cpu"], precisions=["float32"])
    assert [(cell.engine, cell.precision) for cell in cells] == [("ort-cpu", "float32"), ("opencv", "uint8")]
    network, classical = race(cells, threads=1, rounds=2, seconds=0, copy_gb_per_s=10, ceilings=lambda execution: 10.0)
    assert classical.problem == ""
    assert (classical.weights, classical.gmac, classical.num_parameters) == ("none", 0, 0)
    assert classical.images_per_s == pytest.approx(2 / (classical.p50_ms or 0) * 1e3)
    assert (classical.roofline, classical.copy_share) == (None, None)
    assert cv2.__version__ in classical.label
    assert "| telea | opencv | uint8 | 64x64 | 2 |" in report.make_markdown(make_report(), [network, classical], "lama")


@pytest.mark.parametrize("name", METHODS)
def test_opencv_is_given_the_others_images_as_bytes_and_fills_each(name: str) -> None:
    cell = Cell(Classical(name), None, 48, 48, 2)
    image, mask = cell.make_inputs()
    other, hole = Cell(Subject("any", None, False), None, 48, 48, 2).make_inputs()  # type: ignore[arg-type]
    assert np.abs(image / 255 - other.transpose(0, 2, 3, 1)).max() <= 0.5 / 255 + 1e-6
    assert np.array_equal(mask[..., 0] > 0, hole[:, 0] > 0)
    fill, _ = Classical(name).open()
    filled = fill(image, mask)
    assert np.array_equal(filled[1], cv2.inpaint(image[1], mask[1], RADIUS, getattr(cv2, METHODS[name])))
    inside = np.broadcast_to(mask > 0, image.shape)
    assert np.array_equal(filled[~inside], image[~inside])
    assert (filled[inside] != image[inside]).any()


def test_an_opencv_that_changes_known_pixels_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "inpaint", lambda image, mask, radius, flag: image // 2)
    (result,) = race(list_cells([Classical("telea")], [64], [1], engines=[]), rounds=1, seconds=0)
    assert "changes known pixels" in result.problem
    assert result.p50_ms is None


def test_a_missing_opencv_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    (result,) = race(list_cells([Classical("telea")], [64], [1], engines=[]), rounds=1, seconds=0)
    assert 'pip install "wavepaint[opencv]"' in result.problem


def test_quality_is_that_of_the_hole_which_nobody_sees(photos: PhotoSource) -> None:
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


def test_quality_is_told_of_trained_weights_and_of_opencv_alone(subject: Subject, photos: PhotoSource) -> None:
    entrants = [subject, Subject("random", subject.bundle, False), Classical("telea")]
    cells = list_cells(entrants, [64], [1], engines=["ort-cpu", PYTORCH], precisions=["float32"])
    results = race(cells, threads=1, rounds=1, seconds=0, photos=photos)
    told = {(r.model, r.engine): r.hole_psnr_db for r in results}
    assert {key for key, value in told.items() if value is not None} == {("half", "ort-cpu"), ("telea", "opencv")}
    pairs = load_pairs(photos, 64)
    hidden = [(np.where(mask[..., None] > 0, np.uint8(0), photo), photo, mask) for photo, mask in pairs]
    by_hand = [
        image_quality.psnr(cv2.inpaint(image, mask, RADIUS, cv2.INPAINT_TELEA) / 255, photo / 255, mask)
        for image, photo, mask in hidden
    ]
    assert told["telea", "opencv"] == pytest.approx(np.mean(by_hand))
    page, table = report.make_markdown(make_report(), results, "lama"), report.make_table(results, "lama").splitlines()
    assert table[0].endswith("PSNR dB    SSIM")
    assert "means over 2 photos" in page
    without = race(cells[:1], threads=1, rounds=1, seconds=0)
    assert "SSIM" not in report.make_table(without, "lama")
    assert "photos" not in report.make_markdown(make_report(), without, "lama").split("| model |")[0]


def test_a_network_is_scored_on_what_it_writes_into_a_file(subject: Subject, photos: PhotoSource) -> None:
    """Held against filling the same photos by the public interface."""
    (result,) = race(
        list_cells([subject], [64], [1], engines=["ort-cpu"], precisions=["float32"]),
        threads=1, rounds=1, seconds=0, photos=photos,
    )  # fmt: skip
    with Inpainter(subject.bundle.folder, engine="ort-cpu", precision="float32") as inpainter:
        quality = measure_quality(
            lambda image, mask: np.asarray(inpainter.fill(image, mask > 0, FillOptions(strategy="whole"))),
            load_pairs(photos, 64),
        )
    assert result.hole_psnr_db == pytest.approx(quality.psnr_db, abs=0.01)
    assert result.hole_ssim == pytest.approx(quality.ssim, abs=1e-3)


def test_photos_that_are_broken_are_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    with (
        pytest.raises(TrainingError, match="no photo to validate on"),
        pytest.warns(WavePaintWarning, match="broken.jpg"),
    ):
        load_pairs(open_source(tmp_path), 64)


def test_the_plot_has_a_second_panel_where_there_is_quality(tmp_path: Path) -> None:
    plain = [make_result("ours", 10), make_result("telea", 4, engine="opencv")]
    scored = [make_result("ours", 10, hole_psnr_db=22.0), make_result("telea", 4, engine="opencv", hole_psnr_db=20.0)]
    for name, results in (("plain.png", plain), ("scored.png", scored)):
        write_plot(tmp_path / name, results, overwrite=False)
    with Image.open(tmp_path / "plain.png") as one, Image.open(tmp_path / "scored.png") as two:
        assert two.width > one.width + 300
        assert np.asarray(two.convert("L"))[:, one.width :].std() > 10


def test_the_share_of_copying_counts_weights_once_and_the_fullest_moment_once(subject: Subject) -> None:
    cells = list_cells([subject], [64], [2], engines=(*CPU, PYTORCH))
    manifest = subject.bundle.manifest
    for result in race(cells, threads=1, rounds=1, seconds=0, copy_gb_per_s=20):
        if result.engine == PYTORCH:
            assert result.copy_share is None
            continue
        if result.engine == "openvino" and result.precision not in cpu_precisions():
            assert result.copy_share is None  # this processor does not compute it
            continue
        floats = manifest.activation_bytes_per_pixel / 4 * 64 * 64 * 2 + manifest.num_parameters
        gb_per_s = floats * (4 if result.precision == "float32" else 2) / 1e9 / ((result.p50_ms or 0) / 1e3)
        assert result.copy_share == pytest.approx(gb_per_s / 20)


@pytest.mark.parametrize("engine", CPU)
def test_a_profile_tells_each_operators_share(subject: Subject, engine: str) -> None:
    (cell,) = list_cells([subject], [64], [1], engines=[engine], precisions=["float32"])
    profile = measure_profile(cell, threads=1)
    assert profile is not None
    assert sum(operator.share for operator in profile.operators) == pytest.approx(1)
    assert sum(operator.ms for operator in profile.operators) == pytest.approx(profile.total_ms)
    assert [operator.ms for operator in profile.operators] == sorted((o.ms for o in profile.operators), reverse=True)
    assert any(operator.name.startswith("Conv") and operator.num_nodes > 1 for operator in profile.operators)
    header, *rows = make_profile_rows([profile])
    assert all(len(row) == len(header) for row in rows)
    assert rows[-1][2] == "all"
    assert int(rows[-1][4]) == sum(int(row[4]) for row in rows[:-1])


def test_eager_pytorch_and_opencv_are_not_profiled(subject: Subject) -> None:
    cells = list_cells([subject, Classical("telea")], [64], [1], engines=[PYTORCH])
    assert [measure_profile(cell) for cell in cells] == [None, None]


class FillingNvml(FakeNvml):
    """A GPU whose memory fills up by 100 MiB from call to call."""

    def nvmlDeviceGetMemoryInfo(self, handle: Any, memory: Any) -> int:  # noqa: N802
        self.used_mb += 100
        return super().nvmlDeviceGetMemoryInfo(handle, memory)


def test_a_gpus_memory_is_told_where_there_is_one(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = list_cells([subject], [32], [1], engines=["ort-cpu"], precisions=["float32"])
    monkeypatch.setattr(gpu, "_load_nvml", lambda: None)
    assert gpu.count_used_memory_mb() is None
    (result,) = race(cells, threads=1, rounds=1, seconds=0)
    assert result.device_memory_mb is None
    assert "GPU MB" not in report.make_table([result], "lama")
    nvml = FillingNvml()
    monkeypatch.setattr(gpu, "_load_nvml", lambda: nvml)
    (result,) = race(cells, threads=1, rounds=1, seconds=0)
    assert result.device_memory_mb == 100
    assert nvml.open == 0
    header, row = report.make_table([result], "lama").splitlines()
    assert header.split()[-2:] == ["GPU", "MB"]
    assert row.split()[-1] == "100"


def test_a_photos_time_is_split_down_to_a_devices_copies(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = list_cells([subject], [32], [1], engines=["ort-cpu"], precisions=["float32"])
    results = race(cells, threads=1, rounds=1, seconds=0)
    (fastest,) = find_fastest(results)
    plain = measure_split(subject, fastest, threads=1)
    assert plain.engine_ms > 0
    assert (plain.copy_in_ms, plain.compute_ms, plain.copy_out_ms) == (None, None, None)
    assert "compute" not in make_split_rows([plain])[0]
    parts = [RunParts(1.0, 5.0, 2.0), RunParts(3.0, 4.0, 2.5), RunParts(2.0, 6.0, 2.2)]
    monkeypatch.setattr(OrtSession, "time_parts", lambda session, image, mask, num_runs: parts)
    split = measure_split(subject, fastest, threads=1)
    assert (split.copy_in_ms, split.compute_ms, split.copy_out_ms) == (2.0, 5.0, 2.2)
    header, *rows = make_split_rows([plain, split])
    assert header[6:10] == ("of it copy in", "compute", "copy out", "encode ms")
    assert [row[6:9] for row in rows] == [("", "", ""), ("2.0", "5.0", "2.2")]
