"""``wp infer`` on one photo: files and streams in and out, and refused arguments."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Wp, assert_refused
from tests.conftest import REPOSITORY
from tests.image_files import read_pixels
from wavepaint.contract import Bundle
from wavepaint.runtime.filling.morphology import grow_hole
from wavepaint.runtime.images.encode import write_photo
from wavepaint.runtime.images.photo import Photo
from wavepaint.runtime.images.read import read_photo

Files = tuple[Path, Path]


def test_a_photo_is_filled_with_the_model_that_ships(
    wp: Wp, photo_files: Files, photo: np.ndarray, hole: np.ndarray
) -> None:
    image, mask = photo_files
    result = wp("infer", image, mask)
    assert result.returncode == 0, result.stderr.decode()
    assert result.stdout == b""
    filled = read_pixels(image.with_name("photo_filled.png"))
    assert np.array_equal(filled[~hole], photo[~hole])
    assert (filled[hole] != photo[hole]).any()
    report = result.stderr.decode()
    assert "OpenVINO" in report  # the fastest engine of the development install
    assert "451x300 px" in report
    assert " s (" in report


def test_bundle_output_and_threads_can_be_chosen(
    wp_here: Wp, photo_files: Files, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    for option in ("--bundle", "--model"):
        out = tmp_path / option / "result.webp"
        result = wp_here("infer", *photo_files, "-o", out, option, tiny_bundle.folder, "--threads", 1)
        assert result.returncode == 0, result.stderr.decode()
        assert tiny_bundle.manifest.name in result.stderr.decode()
        assert read_pixels(out).shape == (300, 451, 3)


def test_photo_or_mask_may_come_from_standard_input_and_the_result_go_to_standard_output(
    wp_here: Wp, photo_files: Files, photo: np.ndarray, hole: np.ndarray, tiny_bundle: Bundle
) -> None:
    image, mask = photo_files
    model = ("--bundle", tiny_bundle.folder, "--engine", "ort-cpu")
    from_stdin = wp_here("infer", "-", mask, *model, stdin=image.read_bytes())
    assert from_stdin.returncode == 0, from_stdin.stderr.decode()
    assert from_stdin.stderr.startswith(b"stdout: filled ")
    filled = np.asarray(Image.open(io.BytesIO(from_stdin.stdout)))
    assert np.array_equal(filled[~hole], photo[~hole])
    mask_from_stdin = wp_here("infer", image, "-", "-o", "-", *model, stdin=mask.read_bytes())
    assert mask_from_stdin.stdout == from_stdin.stdout
    assert_refused(wp_here("infer", "-", "-"), "Only one of IMAGE and MASK", status=2)


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell closes the streams")
@pytest.mark.parametrize(
    ("redirections", "words", "status"),
    [
        ("<&-", "standard input is closed", 1),
        ("0>unreadable", "standard input cannot be read: Bad file descriptor", 1),
        ("<photo.png >/dev/full", "cannot be written to standard output: No space left", 1),
        ("<photo.png >&-", "cannot be written to standard output: it is closed", 1),
        ("<photo.png 2>&- >out.png", "", 0),
    ],
)
def test_closed_or_broken_streams_are_reported(photo_files: Files, redirections: str, words: str, status: int) -> None:
    result = subprocess.run(
        ["sh", "-c", f'"$0" -m wavepaint infer - mask.png --engine ort-cpu {redirections}', sys.executable],
        cwd=photo_files[0].parent, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, check=False,
    )  # fmt: skip
    assert result.returncode == status, result.stderr.decode()
    assert words in result.stderr.decode()
    assert result.stderr.decode().count("\n") == (status == 1)
    if status == 0:
        assert read_pixels(photo_files[0].with_name("out.png")).shape == (300, 451, 3)


@pytest.mark.usefixtures("fake_model")
def test_an_image_is_neither_written_to_a_terminal_nor_read_from_one(
    wp_here: Wp, photo_files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    image, mask = photo_files
    monkeypatch.setattr(io, "TextIOWrapper", Terminal)
    for arguments in ((image, mask, "-o", "-"), ("-", mask)):
        refused = wp_here("infer", *arguments, stdin=image.read_bytes())
        assert_refused(refused, "standard output is a terminal", "--out", "> result.png", status=2)
    assert_refused(wp_here("infer", "-", mask, "-o", image.with_name("a.png")), "pipe a file in", status=2)
    assert sorted(path.name for path in image.parent.iterdir()) == ["mask.png", "photo.png"]


@pytest.mark.usefixtures("fake_model")
def test_results_are_never_overwritten_by_accident(wp_here: Wp, photo_files: Files, tmp_path: Path) -> None:
    image, mask = photo_files
    before = image.read_bytes(), mask.read_bytes()
    out = tmp_path / "out.png"
    out.write_bytes(b"mine")
    assert_refused(wp_here("infer", image, mask, "-o", out), "out.png exists already", "--overwrite")
    assert_refused(wp_here("infer", image, mask, "-o", tmp_path), "is a folder")
    assert wp_here("infer", image, mask, "-o", out, "--resume").stderr.startswith(b"0 filled, 1 skipped of 1 in ")
    assert out.read_bytes() == b"mine"
    assert (image.read_bytes(), mask.read_bytes()) == before
    assert wp_here("infer", image, mask, "-o", out, "--overwrite").returncode == 0
    assert read_pixels(out).shape == (300, 451, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mask.png", "out.png", "photo.png"]


def test_an_output_of_an_impossible_format_is_refused_before_the_work(
    wp_here: Wp, photo_files: Files, tmp_path: Path
) -> None:
    image, mask = photo_files
    before = {path.name for path in tmp_path.iterdir()}
    no_model = ("--bundle", tmp_path / "none")  # refused later
    assert_refused(wp_here("infer", image, mask, "-o", tmp_path / "x.xyz", *no_model), "not a known image suffix")
    assert_refused(wp_here("infer", image, mask, "-o", tmp_path / "x.gif", *no_model), "256 colours")
    for option in ("--compare", "--save-overlay"):
        refused = wp_here("infer", image, mask, "-o", tmp_path / "x.png", option, tmp_path / "y.xyz", *no_model)
        assert_refused(refused, "y.xyz: .xyz is not a known image suffix")
    assert_refused(wp_here("infer", image, mask, "--feather", 4), "feather is 4 pixels", "--dilate")
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.usefixtures("fake_model")
def test_a_gif_is_filled_under_another_name(wp_here: Wp, photo_files: Files) -> None:
    image, mask = photo_files
    with Image.open(image) as photo:
        photo.save(image.with_name("drawing.gif"))
    result = wp_here("infer", image.with_name("drawing.gif"), mask)
    assert result.returncode == 0, result.stderr.decode()
    assert read_pixels(image.with_name("drawing_filled.png")).shape == (300, 451, 3)


def test_an_empty_mask_is_a_warning_and_a_full_one_an_error(
    wp_here: Wp, photo_files: Files, photo: np.ndarray, tmp_path: Path, tiny_bundle: Bundle
) -> None:
    image, mask = photo_files
    Image.new("L", (451, 300), 0).save(mask)
    model = ("--bundle", tiny_bundle.folder, "--engine", "ort-cpu")
    result = wp_here("infer", image, mask, "-o", tmp_path / "out.png", *model)
    assert result.returncode == 0
    assert f"warning: the mask of {image} is empty" in result.stderr.decode()
    assert np.array_equal(read_pixels(tmp_path / "out.png"), photo)
    assert_refused(wp_here("infer", image, mask, "--invert-mask", *model), "covers all of", "photo.png")


@pytest.mark.usefixtures("fake_model")
@pytest.mark.parametrize(
    ("content", "word"),
    [(None, "does not exist"), (b"", "is empty"), (b"just some text", "not an image"), ("cut", "damaged or cut off")],
)
@pytest.mark.parametrize("broken", ["image", "mask"])
def test_a_broken_file_is_refused(
    wp_here: Wp, photo_files: Files, broken: str, content: bytes | str | None, word: str
) -> None:
    path = photo_files[broken == "mask"]
    if content is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content == "cut" else content)
    before = sorted(p.name for p in path.parent.iterdir())
    assert_refused(wp_here("infer", *photo_files), path.name, word)
    assert sorted(p.name for p in path.parent.iterdir()) == before


@pytest.mark.usefixtures("fake_model")
def test_wrong_arguments_are_refused(wp_here: Wp, photo_files: Files, tmp_path: Path) -> None:
    image, mask = photo_files
    assert_refused(wp_here("infer", tmp_path, mask), "--out FOLDER", status=2)
    assert_refused(wp_here("infer", image, tmp_path), "is a folder")
    Image.new("L", (20, 10)).save(tmp_path / "small.png")
    assert_refused(wp_here("infer", image, tmp_path / "small.png"), "451x300", "20x10", "--resize-mask")
    assert_refused(wp_here("infer", image, mask, "-o", image / "a.png"), "is a file, not a folder")
    assert_refused(wp_here("infer", image, mask, "-o", "/proc/none/a.png"), "cannot write /proc/none/a.png")
    assert_refused(wp_here("infer", image, mask, "--mask-threshold", 0), "--mask-threshold", status=2)
    assert_refused(wp_here("infer", image), "Missing argument", status=2)


def test_a_full_disk_leaves_nothing(photo_files: Files, tmp_path: Path) -> None:
    """A limit on the size of files makes a write fail halfway, as a full disk does."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); "
        "from wavepaint.cli import main; sys.argv[0] = 'wp'; main()"
    )
    out = tmp_path / "out" / "a.png"
    result = subprocess.run(
        [sys.executable, "-c", code, "infer", *map(str, photo_files), "-o", str(out)], capture_output=True, check=False
    )
    assert_refused(result, "cannot write", "File too large")
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("damage", "word"),
    [("byte", "was altered or is damaged"), ("manifest", "is damaged"), ("gone", "does not exist")],
)
def test_a_broken_bundle_is_refused(
    wp_here: Wp, photo_files: Files, tiny_bundle: Bundle, tmp_path: Path, damage: str, word: str
) -> None:
    bundle = tmp_path / "bundle"
    if damage != "gone":
        shutil.copytree(tiny_bundle.folder, bundle)
        target = bundle / ("model.onnx" if damage == "byte" else "manifest.json")
        target.write_bytes(target.read_bytes()[:-1] + b"x")
    assert_refused(wp_here("infer", *photo_files, "--bundle", bundle), word)


@pytest.mark.parametrize("strategy", ["auto", "whole", "crop", "tile"])
def test_every_strategy_keeps_16_bits_alpha_and_known_pixels(
    wp_here: Wp, tmp_path: Path, tiny_bundle: Bundle, strategy: str
) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 65536, (420, 700, 4), dtype=np.uint16)
    hole = np.zeros((420, 700), bool)
    hole[100:300, 50:600] = True
    write_photo(Photo(pixels), tmp_path / "deep.png")
    Image.fromarray(hole).save(tmp_path / "mask.png")
    arguments = ["infer", tmp_path / "deep.png", tmp_path / "mask.png", "--bundle", tiny_bundle.folder]
    options = ["--strategy", strategy, "--dilate", 5, "--feather", 4, "-o"]
    result = wp_here(*arguments, *options, tmp_path / "out.tif")
    assert result.returncode == 0, result.stderr.decode()
    filled = read_photo(tmp_path / "out.tif").pixels
    known = ~grow_hole(hole, 5)
    assert filled.dtype == np.uint16
    assert np.array_equal(filled[known], pixels[known])
    assert np.array_equal(filled[..., 3], pixels[..., 3])
    assert (filled[hole][:, :3] != pixels[hole][:, :3]).any(axis=1).mean() > 0.99
    ring = grow_hole(hole, 5) & ~hole
    assert (filled[ring][:, :3] != pixels[ring][:, :3]).any(axis=1).mean() > 0.9
    if strategy == "auto":
        refused = wp_here(*arguments, *options, tmp_path / "out.jpg")
        assert_refused(refused, "out.jpg cannot be written as JPEG, which does not hold 16 bits")


def test_pictures_show_the_hole_and_the_result(
    wp_here: Wp, photo_files: Files, photo: np.ndarray, hole: np.ndarray, tiny_bundle: Bundle
) -> None:
    image, mask = photo_files
    overlay, comparison = image.with_name("overlay.png"), image.with_name("side.png")
    arguments = ["infer", image, mask, "--bundle", tiny_bundle.folder]
    arguments += ["--save-overlay", overlay, "--compare", comparison]
    result = wp_here(*arguments, "-o", image.with_name("a.png"))
    assert result.returncode == 0, result.stderr.decode()
    tinted = read_pixels(overlay)
    assert np.array_equal(tinted[~hole], photo[~hole])
    assert (tinted[hole][:, 0].astype(int) > tinted[hole][:, 1].astype(int) + 80).mean() > 0.9
    side = read_pixels(comparison)
    assert side.shape[1] > 3 * 451
    assert np.array_equal(side[-300:, :451], photo)
    assert np.array_equal(side[-300:, -451:], read_pixels(image.with_name("a.png")))
    assert_refused(wp_here(*arguments, "-o", image.with_name("b.png")), "exist already")
    assert not image.with_name("b.png").exists()


def test_the_runtime_never_imports_torch(photo_files: Files) -> None:
    code = (
        "import sys, warnings; from wavepaint import Inpainter; "
        f"Inpainter().fill({str(photo_files[0])!r}, {str(photo_files[1])!r}); "
        "import wavepaint.cli.infer; "
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'onnx', 'pywt', 'safetensors'}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert result.stdout.strip() == "[]"
