"""``wp infer`` on a batch of photos: complete files only, and a broken photo does not stop the others."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Wp, assert_refused
from tests.image_files import chunk, encoded, heic, png, read_pixels
from wavepaint.contract import Bundle
from wavepaint.errors import EngineError, WavePaintWarning
from wavepaint.runtime.batch import fill_jobs
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.inpainter import Inpainter
from wavepaint.runtime.jobs import Job
from wavepaint.runtime.pairing import find_jobs


@pytest.fixture
def folders(tmp_path: Path, photo: np.ndarray, hole: np.ndarray) -> Path:
    """Six photos in a tree, with masks; one photo and one mask are broken."""
    for number in range(6):
        place = "deep/er" if number % 2 else "."
        for kind, pixels in (("images", np.roll(photo, number * 7, axis=1)), ("masks", hole)):
            (tmp_path / kind / place).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / kind / place / f"p{number}.png", compress_level=1)
    (tmp_path / "images" / "p4.png").write_bytes(b"noise")
    (tmp_path / "masks" / "deep" / "er" / "p5.png").write_bytes(b"")
    return tmp_path


def test_a_tree_is_filled_except_for_broken_files(
    wp_here: Wp, folders: Path, tiny_bundle: Bundle, photo: np.ndarray, hole: np.ndarray
) -> None:
    arguments = [folders / "images", folders / "masks", "-o", folders / "out", "--bundle", tiny_bundle.folder]
    result = wp_here("infer", *arguments, "--report", folders / "report.json")
    message = result.stderr.decode()
    assert result.returncode == 1
    assert "Traceback" not in message
    assert "4 filled, 2 failed of 6" in message
    assert message.count("error: ") == 2
    written = sorted(path.relative_to(folders / "out").as_posix() for path in (folders / "out").rglob("*.*"))
    assert written == ["deep/er/p1.png", "deep/er/p3.png", "p0.png", "p2.png"]
    assert np.array_equal(read_pixels(folders / "out" / "p0.png")[~hole], photo[~hole])
    report = json.loads((folders / "report.json").read_text())
    assert (report["filled"], report["failed"], report["skipped"]) == (4, 2, 0)
    assert [Path(row["image"]).stem for row in report["images"] if row["status"] == "failed"] == ["p5", "p4"]
    assert all(row["hole"] == pytest.approx(hole.mean(), abs=1e-6) for row in report["images"] if not row["error"])


def test_every_error_and_warning_names_its_photo(
    wp_here: Wp, full_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    part = np.zeros((24, 32, 1), np.uint8)
    part[4:9, 5:9] = 255
    good, mask, narrow, jpeg = png(photo), png(part), slice(0, 16), Image.fromarray(photo)
    sideways = Image.Exif()
    sideways[0x0112] = 13
    files: dict[str, tuple[bytes | None, bytes | None, str]] = {
        "broken.png": (b"noise", mask, "IMAGE is not an image"),
        "cut.png": (good[:-90], mask, "IMAGE is damaged or cut off"),
        "link.png": (None, mask, "IMAGE does not exist"),
        "unmasked.png": (good, None, "IMAGE has no mask"),
        "scribble.png": (good, b"noise", "IMAGE: MASK is not an image"),
        "small.png": (good, png(part[:9]), "IMAGE with MASK: the image is 32x24 pixels"),
        "covered.png": (good, png(np.full_like(part, 255)), "IMAGE with MASK: the mask covers all"),
        "stumble.png": (png(photo[:, narrow]), png(part[:, narrow]), "IMAGE with MASK: it stumbled"),
        "sideways.jpg": (encoded(jpeg, "JPEG", exif=sideways), mask, "IMAGE: its EXIF orientation"),
        "tags.jpg": (encoded(jpeg, "JPEG", exif=b"Exif\0\0MM\0*" + bytes(12)), mask, "IMAGE: its EXIF cannot be read"),
        "colours.png": (png(photo, chunk(b"iCCP", b"x\0\0not zlib")), mask, "IMAGE: its ICC profile"),
        "unmarked.png": (good, png(np.zeros_like(part)), "the mask of IMAGE is empty"),
    }
    expected = {}
    for kind in ("images", "masks", "out"):
        (tmp_path / kind).mkdir()
    for name, (data, own_mask, words) in files.items():
        image, drawn = tmp_path / "images" / name, (tmp_path / "masks" / name).with_suffix(".png")
        if data is None:
            image.symlink_to("nowhere")
        else:
            image.write_bytes(data)
        if own_mask is not None:
            drawn.write_bytes(own_mask)
        expected[image] = words.replace("IMAGE", str(image)).replace("MASK", str(drawn))
    run = OrtSession.run

    def stumble(session: OrtSession, images: np.ndarray, masks: np.ndarray) -> np.ndarray:
        if images.shape[3] < 24:
            raise EngineError("it stumbled.")
        return run(session, images, masks)

    monkeypatch.setattr(OrtSession, "run", stumble)
    arguments = [tmp_path / "images", tmp_path / "masks", "-o", tmp_path / "out", "--bundle", full_bundle.folder]
    result = wp_here("infer", *arguments, "--engine", "ort-cpu", "--strategy", "whole", "--report", tmp_path / "r.json")
    lines = result.stderr.decode().splitlines()
    for image, words in expected.items():
        assert [line for line in lines if line.partition(": ")[2].startswith(words)], (image, lines)
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    rows = json.loads((tmp_path / "r.json").read_text())["images"]
    assert [row["error"] for row in rows if row["error"]] == errors
    assert len(errors) == 8
    assert "4 filled, 8 failed of 12" in lines[-1]


def test_heic_photos_of_a_folder_become_png(wp_here: Wp, tmp_path: Path, full_bundle: Bundle) -> None:
    pytest.importorskip("pillow_heif", reason="needs the heif extra")
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "IMG_1.HEIC").write_bytes(heic(pixels))
    hole = np.zeros((48, 64), bool)
    hole[10:20, 20:30] = True
    Image.fromarray(hole).save(tmp_path / "mask.png")
    model = ("--bundle", full_bundle.folder, "--engine", "ort-cpu")
    result = wp_here("infer", tmp_path / "images", tmp_path / "mask.png", "-o", tmp_path / "out", *model)
    assert result.returncode == 0, result.stderr.decode()
    filled = read_pixels(tmp_path / "out" / "IMG_1.png")
    assert np.array_equal(filled[~hole], pixels[~hole])
    assert (filled[hole] != pixels[hole]).any()
    single = wp_here("infer", tmp_path / "images" / "IMG_1.HEIC", tmp_path / "mask.png", *model)
    assert single.returncode == 0, single.stderr.decode()
    assert np.array_equal(read_pixels(tmp_path / "images" / "IMG_1_filled.png"), filled)


def test_results_equal_those_of_single_calls(folders: Path, tiny_bundle: Bundle) -> None:
    with Inpainter(tiny_bundle.folder, engine="ort-cpu") as inpainter:
        jobs = find_jobs(str(folders / "images"), str(folders / "masks"), folders / "out")
        for result in fill_jobs(inpainter, jobs):
            if result.status == "filled" and result.job.mask is not None:
                single = inpainter.fill(*result.job.inputs)
                assert np.array_equal(read_pixels(result.job.outputs[0]), np.asarray(single))


@pytest.mark.usefixtures("fake_model")
def test_existing_results_are_kept_skipped_or_replaced(wp_here: Wp, folders: Path) -> None:
    (folders / "images" / "p4.png").unlink()
    (folders / "images" / "deep" / "er" / "p5.png").unlink()
    arguments = ["infer", folders / "images", folders / "masks", "-o", folders / "out"]
    (folders / "out").mkdir()
    (folders / "out" / "p0.png").write_text("mine")
    assert_refused(wp_here(*arguments), "1 of 4 results exist already", "--resume", "--overwrite")
    resumed = wp_here(*arguments, "--resume")
    assert resumed.returncode == 0, resumed.stderr.decode()
    assert "3 filled, 1 skipped of 4" in resumed.stderr.decode()
    assert (folders / "out" / "p0.png").read_text() == "mine"
    assert wp_here(*arguments, "--overwrite").returncode == 0
    assert read_pixels(folders / "out" / "p0.png").ndim == 3


@pytest.mark.usefixtures("fake_model")
def test_one_mask_may_serve_a_pattern(wp_here: Wp, folders: Path) -> None:
    pattern, mask = folders / "images" / "**" / "p[123].png", folders / "masks" / "p0.png"
    result = wp_here("infer", pattern, mask, "-o", folders / "out")
    assert result.returncode == 0, result.stderr.decode()
    assert "3 filled of 3" in result.stderr.decode()


@pytest.mark.usefixtures("fake_model")
def test_pictures_of_a_batch_keep_the_tree(wp_here: Wp, folders: Path) -> None:
    arguments = ["infer", folders / "images", folders / "masks", "-o", folders / "out"]
    arguments += ["--save-overlay", folders / "overlays", "--compare", folders / "sides"]
    assert wp_here(*arguments).returncode == 1
    for kind in ("overlays", "sides"):
        written = sorted(path.relative_to(folders / kind).as_posix() for path in (folders / kind).rglob("*.*"))
        assert written == ["deep/er/p1.png.png", "deep/er/p3.png.png", "p0.png.png", "p2.png.png"]
    (folders / "out" / "p0.png").unlink()
    resumed = wp_here(*arguments, "--resume")
    assert "1 filled, 3 skipped, 2 failed" in resumed.stderr.decode()
    assert_refused(wp_here(*arguments[:-1], folders / "out", "--overwrite"), "different folders")


def test_a_folder_that_cannot_be_read_is_skipped_with_a_warning(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.warns(WavePaintWarning, match="deep cannot be read.*Permission denied.*skipped"):
        jobs = find_jobs(str(folders / "images"), str(folders / "masks"), folders / "out")
    assert [job.inputs[0].name for job in jobs] == ["p0.png", "p2.png", "p4.png"]


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        (("IMAGES", "MASKS"), ("--out FOLDER",), 2),
        (("IMAGES", "MASKS", "-o", "OUT", "--resume", "--overwrite"), ("contradict each other",), 2),
        (("IMAGES/p0.png",), ("Missing argument 'MASK'",), 2),
        (("IMAGES/p0.png", "MASKS/p0.png", "--resume", "--overwrite"), ("contradict each other",), 2),
        (("IMAGES", "NOTHING", "-o", "OUT"), ("neither a mask nor a folder",), 1),
        (("list.csv", "MASKS", "-o", "OUT"), ("names its masks itself", "leave MASK"), 1),
        (("OUT/*.png", "MASKS", "-o", "OUT"), ("contains no image to fill",), 1),
    ],
)
def test_wrong_arguments_are_refused(
    wp_here: Wp, folders: Path, arguments: tuple[str, ...], words: tuple[str, ...], status: int
) -> None:
    places = {"IMAGES": "images", "MASKS": "masks", "OUT": "out", "NOTHING": "nothing"}
    shown = [
        str(folders / places[head]) + argument.removeprefix(head)
        if (head := argument.split("/")[0]) in places
        else argument
        for argument in arguments
    ]
    assert_refused(wp_here("infer", *shown), *words, status=status)
    assert not (folders / "out").exists()


def test_a_failure_of_the_engine_affects_only_its_photo(
    folders: Path, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Inpainter(tiny_bundle.folder, engine="ort-cpu") as inpainter:
        run, calls = inpainter._session.run, []

        def fail_once(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
            calls.append(1)
            if len(calls) == 2:
                raise EngineError("the engine stumbled")
            return run(image, mask)

        monkeypatch.setattr(inpainter._session, "run", fail_once)
        jobs = find_jobs(str(folders / "images"), str(folders / "masks"), folders / "out")
        results = list(fill_jobs(inpainter, jobs))
    assert [result.job for result in results] == jobs
    assert sum("stumbled" in result.error for result in results) == 1
    assert sum(result.status == "filled" for result in results) == 3


def test_closing_the_results_early_leaves_complete_files_and_no_threads(folders: Path, tiny_bundle: Bundle) -> None:
    jobs = [
        Job(folders / "images" / "p0.png", folders / "masks" / "p0.png", folders / "out" / f"{n}.png")
        for n in range(40)
    ]
    with Inpainter(tiny_bundle.folder, engine="ort-cpu") as inpainter:
        results = fill_jobs(inpainter, jobs)
        next(results)
        results.close()  # type: ignore[attr-defined]
    written = list((folders / "out").iterdir())
    assert 1 <= len(written) <= 4
    assert all(read_pixels(path).shape == (300, 451, 3) for path in written)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fill")]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_ctrl_c_leaves_complete_files_and_resume_continues(wp_here: Wp, folders: Path, tiny_bundle: Bundle) -> None:
    rows = [{"image": "images/p0.png", "mask": "masks/p0.png", "out": f"{n}.png"} for n in range(300)]
    (folders / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    arguments = ["infer", folders / "list.jsonl", "-o", folders / "out", "--bundle", tiny_bundle.folder]
    arguments += ["--engine", "ort-cpu", "--report", folders / "report.json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "wavepaint", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        # A background job of a shell ignores Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not (folders / "out" / "5.png").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130, message
    assert "interrupted. Every file that was written is complete" in message
    assert "Traceback" not in message
    written = list((folders / "out").iterdir())
    assert all(read_pixels(path).shape == (300, 451, 3) for path in written)
    report = json.loads((folders / "report.json").read_text())
    assert {row["out"] for row in report["images"]} == {*map(str, written)}  # including those finished while it stopped
    assert report["interrupted"]
    (folders / "list.jsonl").write_text("\n".join(map(json.dumps, rows[: len(written) + 2])))
    resumed = wp_here(*arguments, "--resume")
    assert resumed.returncode == 0
    assert "skipped" in resumed.stderr.decode()
