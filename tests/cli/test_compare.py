"""``wp compare``: from results or bundles to a page, and from answers to a score."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import Wp, assert_refused
from wavepaint.contract import Bundle

SIZE = (40, 30)


def write_picture(path: Path, seed: int, size: tuple[int, int] = SIZE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Three images with masks, and the results of two methods."""
    for seed, name in enumerate(("a", "deep/b", "deep/c")):
        write_picture(tmp_path / "images" / f"{name}.png", seed)
        mask = Image.new("L", SIZE)
        mask.paste(255, (10, 6, 20, 12))
        mask.save(tmp_path / "images" / f"{name}_mask000.png")
        write_picture(tmp_path / "ours" / f"{name}.png", 10 + seed)
        write_picture(tmp_path / "lama" / f"{name}_mask000.png", 20 + seed)
    return tmp_path


def read_study(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="study">(.*?)</script>', page.read_text(), flags=re.S)
    assert found
    study: dict[str, Any] = json.loads(found[1])
    return study


def read_picture(url: str) -> np.ndarray:
    kind, _, data = url.partition(",")
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_page_has_originals_and_results_exactly(wp_here: Wp, scenes: Path) -> None:
    page = scenes / "study.html"
    result = wp_here("compare", scenes / "ours", scenes / "lama", "--images", scenes / "images", "-o", page)
    assert result.returncode == 0, result.stderr
    assert b"3 images, A is ours, B is lama" in result.stderr
    study = read_study(page)
    assert study["methods"] == ["ours", "lama"]
    assert [trial["image"] for trial in study["trials"]] == ["a.png", "deep/b.png", "deep/c.png"]
    trial = study["trials"][1]
    assert trial["hole"] == [0.25, 0.2, 0.25, 0.2]
    np.testing.assert_array_equal(read_picture(trial["A"]), np.asarray(Image.open(scenes / "ours/deep/b.png")))
    np.testing.assert_array_equal(read_picture(trial["B"]), np.asarray(Image.open(scenes / "lama/deep/b_mask000.png")))
    original, marked = np.asarray(Image.open(scenes / "images/deep/b.png")), read_picture(trial["original"])
    changed = (original != marked).any(axis=2)
    assert changed[6:12, 10:20].all()
    assert changed.sum() == 60


def test_page_asks_for_nothing_outside_itself(wp_here: Wp, scenes: Path) -> None:
    (scenes / "images" / "a.png").rename(scenes / "images" / "<b>&'\".png")
    (scenes / "images" / "a_mask000.png").rename(scenes / "images" / "<b>&'\"_mask000.png")
    for seed, folder in enumerate(("ours", "lama"), 30):
        write_picture(scenes / folder / "<b>&'\".png", seed)
        write_picture(scenes / folder / "no image of this name.png", seed)
    page = scenes / "study.html"
    arguments = ("--images", scenes / "images", "--question", "</title><script>alert(1)</script>", "--names", "<i>,B")
    result = wp_here("compare", scenes / "lama", scenes / "ours", *arguments, "-o", page)
    assert result.returncode == 0, result.stderr
    text = page.read_text()
    assert len(re.findall("<script", text)) == 2
    assert not re.search(r"""(?:src|href)=["']|https?://|url\(|@import""", text)
    assert "default-src 'none'; img-src data:; style-src 'sha256-" in text
    assert read_study(page)["methods"] == ["<i>", "B"]


def test_bundles_fill_the_images(wp_here: Wp, scenes: Path, full_bundle: Bundle) -> None:
    filled = wp_here("infer", scenes / "images", "-o", scenes / "filled", "--bundle", full_bundle.folder)
    assert filled.returncode == 0, filled.stderr
    arguments = ("--images", scenes / "images", "-o", scenes / "study.html", "--names", "mine,ours", "--count", 2)
    result = wp_here("compare", full_bundle.folder, scenes / "ours", *arguments)
    assert result.returncode == 0, result.stderr
    trials = read_study(scenes / "study.html")["trials"]
    assert len(trials) == 2
    for trial in trials:
        expected = np.asarray(Image.open(scenes / "filled" / trial["image"]))
        np.testing.assert_array_equal(read_picture(trial["A"]), expected)


def test_masks_may_be_in_a_folder_and_large_pictures_are_scaled(wp_here: Wp, tmp_path: Path) -> None:
    for seed, folder in enumerate(("images", "ours", "lama")):
        write_picture(tmp_path / folder / "a.jpg", seed, (300, 200))
    (tmp_path / "masks").mkdir()
    Image.new("L", (300, 200), 0).save(tmp_path / "masks" / "a.png")
    arguments = ("--images", tmp_path / "images", "--masks", tmp_path / "masks", "--max-side", 90)
    page = tmp_path / "study.html"
    result = wp_here("compare", tmp_path / "ours", tmp_path / "lama", *arguments, "-o", page)
    assert_refused(result, "a.jpg is left out: its mask is empty", "nothing to compare")
    mask = Image.new("L", (300, 200), 0)
    mask.paste(255, (0, 0, 20, 20))
    mask.save(tmp_path / "masks" / "a.png")
    assert wp_here("compare", tmp_path / "ours", tmp_path / "lama", *arguments, "-o", page).returncode == 0
    (trial,) = read_study(page)["trials"]
    assert trial["size"] == [300, 200]
    assert read_picture(trial["A"]).shape == (60, 90, 3)


def test_equal_fills_are_left_out(wp_here: Wp, scenes: Path) -> None:
    (scenes / "lama" / "a_mask000.png").write_bytes((scenes / "ours" / "a.png").read_bytes())
    arguments = ("--images", scenes / "images", "-o", scenes / "study.html")
    result = wp_here("compare", scenes / "ours", scenes / "lama", *arguments)
    assert result.returncode == 0
    assert b"a.png is left out: both fills are the same" in result.stderr
    assert len(read_study(scenes / "study.html")["trials"]) == 2


def test_inputs_that_do_not_belong_together_are_refused(wp_here: Wp, scenes: Path) -> None:
    ours, lama, images, page = (scenes / name for name in ("ours", "lama", "images", "study.html"))

    def refuse(a: Path, b: Path, *words: str, options: tuple[object, ...] = ()) -> None:
        assert_refused(wp_here("compare", a, b, "--images", images, "-o", page, *options), *words)
        assert not page.exists()

    refuse(ours, scenes / "none", "none is neither a folder of results nor a bundle")
    refuse(ours, ours, "A and B are the same")
    refuse(ours, lama, "--count is 4: expected 1 to 3", options=("--count", 4))
    refuse(ours, lama, "--names is 'x'", "two different names", options=("--names", "x"))
    write_picture(lama / "deep" / "c_mask000.jpg", 1)
    refuse(ours, lama, "c_mask000.jpg and", "could both be the result")
    (lama / "deep" / "c_mask000.jpg").unlink()
    write_picture(ours / "a.png", 1, (41, 30))
    refuse(ours, lama, "a.png has 41x30 pixels: expected 40x30")
    (ours / "a.png").write_bytes(b"noise")
    refuse(ours, lama, "ours/a.png")
    (ours / "a.png").unlink()
    (ours / "deep" / "c.png").unlink()
    refuse(ours, lama, "2 of 3 images have no result in", ": a.png, deep/c.png.")
    (images / "a_mask000.png").unlink()
    refuse(ours, lama, "1 of 3 images has no mask in", "images/a.png")


def test_images_are_a_folder(wp_here: Wp, scenes: Path) -> None:
    for place in (scenes / "none", scenes / "images" / "a.png"):
        result = wp_here("compare", scenes / "ours", scenes / "lama", "--images", place, "-o", scenes / "study.html")
        assert_refused(result, "is not a folder of images", "--images")


def test_the_page_is_a_new_html_file(wp_here: Wp, scenes: Path) -> None:
    arguments = ("compare", scenes / "ours", scenes / "lama", "--images", scenes / "images")
    assert_refused(wp_here(*arguments, "-o", scenes / "study.csv"), "ends in .html")
    (scenes / "study.html").write_text("kept")
    assert_refused(wp_here(*arguments, "-o", scenes / "study.html"), "exists already")
    assert (scenes / "study.html").read_text() == "kept"
    assert wp_here(*arguments, "-o", scenes / "study.html", "--overwrite").returncode == 0
    assert_refused(wp_here(*arguments), "needs --images", status=2)
    assert_refused(wp_here("compare", scenes / "ours", "--images", scenes, "-o", "x.html"), "two methods", status=2)


def test_answers_are_scored_and_written_as_json(wp_here: Wp, tmp_path: Path) -> None:
    header = "study,participant,trial,image,left,choice,seconds,answered,method_a,method_b"
    answers = tmp_path / "answers.csv"
    answers.write_text(f"{header}\n" + "".join(f"s,anna,{n},{n}.png,A,{'AAAB'[n]},2,now,ours,lama\n" for n in range(4)))
    out = tmp_path / "score.json"
    result = wp_here("compare", "--score", answers, "-o", out)
    assert result.returncode == 0, result.stderr
    assert b"prefer A         75.0% (3 of 4)" in result.stdout
    assert json.loads(out.read_text())["p_value"] == 0.625
    assert_refused(wp_here("compare", "--score", answers, "-o", answers, "--overwrite"), "one of the inputs")
    assert_refused(wp_here("compare", "--score", answers, "--count", 3), "--count belongs to a study", status=2)
    answers.write_text(answers.read_text().replace("A,B", "A,tie"))
    assert_refused(wp_here("compare", "--score", answers), "line 5 of", "no ties")
