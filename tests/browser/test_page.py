"""The page in a real browser: paint, fill on the server and in the browser, undo, save."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image, ImageCms

from tests.browser.conftest import Page, host_page
from tests.browser.driver import Browser
from wavepaint.contract import Bundle, default_bundle_folder, read_bundle
from wavepaint.runtime.filling.morphology import grow_hole
from wavepaint.runtime.filling.options import FillOptions
from wavepaint.runtime.filling.regions import find_regions, measure_thickness
from wavepaint.runtime.inpainter import Inpainter

pytestmark = pytest.mark.browser


@pytest.fixture(scope="session")
def picture(photo: np.ndarray) -> np.ndarray:
    """A part of the photo, (160, 240, 3) uint8: less to send."""
    return photo[:160, :240].copy()


@pytest.fixture
def photo_file(tmp_path: Path, picture: np.ndarray) -> Path:
    path = tmp_path / "cat.png"
    Image.fromarray(picture).save(path)
    return path


EDGE = FillOptions(dilate=6, feather=4)


def set_edge(page: Page, options: FillOptions) -> None:
    page.browser.run(
        "for (const [id, value] of args[0]) { const input = document.getElementById(id);"
        "input.value = value; input.dispatchEvent(new Event('input')); }",
        [["dilate", options.dilate], ["feather", options.feather]],
    )


def test_server_fills_as_the_library_does(page: Page, inpainter: Inpainter, photo_file: Path) -> None:
    page.open(photo_file)
    page.mark(100, 80, 150, 120)
    hole = page.read_hole()
    assert 1900 <= hole.sum() <= 2100
    set_edge(page, EDGE)
    page.fill()
    expected = np.asarray(inpainter.fill(photo_file, hole, EDGE))
    np.testing.assert_array_equal(page.read_photo(), expected)
    assert not page.read_hole().any()


def test_browser_fills_as_the_graph_does_in_python(
    page: Page, full_bundle: Bundle, inpainter: Inpainter, photo_file: Path
) -> None:
    page.open(photo_file)
    page.mark(100, 80, 150, 120)
    hole, before = page.read_hole(), page.read_photo()
    page.browser.click("input[value=browser]")
    page.fill()
    (region,) = find_regions(hole, full_bundle.manifest.size_multiple)
    session = onnxruntime.InferenceSession(full_bundle.folder / "model.fp16.uint8.onnx")
    (filled,) = session.run(
        None,
        {
            "image": before[region.slices][None],
            "mask": hole[region.slices][None, ..., None].astype(np.uint8) * 255,
        },
    )
    expected = before.copy()
    expected[region.slices] = filled[0]
    np.testing.assert_array_equal(page.read_photo(), expected)
    assert (expected != before).any(axis=2)[hole].mean() > 0.9
    page.mark(40, 100, 60, 130)
    hole = page.read_hole()
    set_edge(page, EDGE)
    page.fill()
    soft = np.asarray(inpainter.fill(Image.fromarray(expected), hole, EDGE))
    assert np.abs(page.read_photo().astype(int) - soft).max() <= 1
    assert not [url for url in page.browser.list_requests() if "/v1/fill" in url]


def test_the_model_that_ships_fills_in_the_browser_as_in_python(
    browser: Browser, photo_file: Path, tmp_path: Path
) -> None:
    """WebAssembly adds in another order, and the search for matches may decide a near tie differently."""
    bundle = read_bundle(default_bundle_folder())
    with host_page(bundle, tmp_path / "site") as address:
        page = Page(browser, address)
        page.open(photo_file)
        page.mark(100, 80, 150, 120)
        hole, before = page.read_hole(), page.read_photo()
        page.fill()
        found = page.read_photo()
    with Inpainter(bundle.folder, engine="ort-cpu", precision="float16") as model:
        expected = np.asarray(model.fill(Image.fromarray(before), hole))
    difference = np.abs(found.astype(int) - expected)
    assert not difference[~hole].any()
    assert (difference[hole] > 1).mean() < 0.01
    assert (found != before)[hole].mean() > 0.9


def test_strokes_and_fills_are_undone_and_done_again(page: Page, photo_file: Path) -> None:
    page.open(photo_file)
    original = page.read_photo()
    page.browser.press("b")
    page.browser.drag(page.place((60, 60), (90, 80), (120, 60)))
    stroke = page.read_hole()
    page.mark(200, 100, 230, 130)
    both = page.read_hole()
    assert stroke.any()
    assert both.sum() > stroke.sum()
    page.fill()
    filled = page.read_photo()
    for photo, hole in ((original, both), (original, stroke), (original, np.zeros_like(both))):
        page.browser.press("Control", "z")
        np.testing.assert_array_equal(page.read_photo(), photo)
        np.testing.assert_array_equal(page.read_hole(), hole)
    for hole in (stroke, both):
        page.browser.press("Control", "Shift", "z")
        np.testing.assert_array_equal(page.read_hole(), hole)
    page.browser.press("Control", "Shift", "z")
    np.testing.assert_array_equal(page.read_photo(), filled)


def test_a_click_marks_a_dot_and_the_eraser_removes_it(page: Page, photo_file: Path) -> None:
    page.open(photo_file)
    page.browser.drag(page.place((60, 60), (60, 60)))
    assert page.read_hole()[60, 60]
    page.browser.press("e")
    page.browser.drag(page.place((40, 60), (80, 60)))
    assert not page.read_hole().any()


def test_result_keeps_pixels_profile_exif_and_alpha(page: Page, tmp_path: Path, picture: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    alpha = np.linspace(0, 255, picture.shape[1]).astype(np.uint8)
    pixels = np.dstack([picture, np.broadcast_to(alpha, picture.shape[:2])])
    Image.fromarray(pixels).save(tmp_path / "kept.png", icc_profile=profile)
    page.open(tmp_path / "kept.png")
    page.mark(100, 80, 130, 110)
    hole = page.read_hole()
    page.fill()
    page.browser.press("Control", "s")
    page.browser.click("#download")
    with Image.open(page.download("kept_filled.png")) as saved:
        assert saved.info["icc_profile"] == profile
        result = np.asarray(saved)
    np.testing.assert_array_equal(result[~hole], pixels[~hole])
    np.testing.assert_array_equal(result[..., 3], pixels[..., 3])
    assert (result[hole] != pixels[hole]).any()
    Image.fromarray(picture).save(tmp_path / "turned.jpg", exif=exif, icc_profile=profile, dpi=(300, 300))
    page.open(tmp_path / "turned.jpg")
    page.browser.press("Control", "s")
    page.browser.click("#download")
    with Image.open(page.download("turned_filled.jpg")) as saved:
        assert saved.format == "JPEG"
        assert saved.size == (picture.shape[0], picture.shape[1])
        assert saved.info["icc_profile"] == profile
        assert saved.info["dpi"] == (300, 300)
        assert (saved.getexif()[0x0112], saved.getexif()[0x010F]) == (1, "Maker")


def send_file(page: Page, event: str, path: Path) -> None:
    """Drop or paste a file, as the browser would."""
    page.browser.run(
        "const bytes = Uint8Array.from(args[1]); const transfer = new DataTransfer();"
        "transfer.items.add(new File([bytes], args[2]));"
        "dispatchEvent(args[0] === 'drop' ? new DragEvent('drop', { dataTransfer: transfer, cancelable: true })"
        " : new ClipboardEvent('paste', { clipboardData: transfer }));",
        event,
        list(path.read_bytes()),
        path.name,
    )


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_photos_are_dropped_and_pasted(page: Page, tmp_path: Path, picture: np.ndarray, event: str) -> None:
    path = tmp_path / f"{event}.png"
    Image.fromarray(picture[:40, :50]).save(path)
    send_file(page, event, path)
    page.wait_for(path.name)
    np.testing.assert_array_equal(page.read_photo(), picture[:40, :50])


def test_fingers_paint_and_pinch(page: Page, photo_file: Path) -> None:
    page.open(photo_file)
    page.browser.drag(page.place((60, 60), (100, 60), (140, 60)), kind="touch")
    painted = page.read_hole()
    assert painted[60, 100]
    before = page.place((0, 0), (100, 0))
    (x, y), _ = page.place((120, 80), (0, 0))
    page.browser.drag([(x - 40, y), (x - 120, y)], [(x + 40, y), (x + 120, y)], kind="touch")
    after = page.place((0, 0), (100, 0))
    assert after[1][0] - after[0][0] > 2 * (before[1][0] - before[0][0])
    np.testing.assert_array_equal(page.read_hole(), painted)


def test_a_photo_that_browsers_do_not_show_is_converted(page: Page, tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(picture[:60, :80]).save(tmp_path / "scan.tif")
    page.browser.choose_file("#file", tmp_path / "scan.tif")
    page.wait_for("scan.png")
    np.testing.assert_array_equal(page.read_photo(), picture[:60, :80])


def test_errors_are_in_the_words_of_the_library(page: Page, tmp_path: Path, picture: np.ndarray) -> None:
    Image.fromarray(picture).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:4000])
    page.browser.choose_file("#file", tmp_path / "cut.jpg")
    page.browser.wait("document.querySelector('.notice.error')")
    (message,) = page.read_errors()
    assert "damaged or cut off" in message
    assert page.browser.run("return document.querySelector('#stage').classList.contains('empty');")


def test_a_mask_over_everything_is_refused(page: Page, tmp_path: Path, picture: np.ndarray) -> None:
    path = tmp_path / "small.png"
    Image.fromarray(picture[:40, :50]).save(path)
    page.open(path)
    page.mark(-2, -2, 60, 50)
    page.browser.click("#fill")
    page.browser.wait("document.querySelector('.notice.error')")
    assert "covers all of the photo" in page.read_errors()[0]
    np.testing.assert_array_equal(page.read_photo(), picture[:40, :50])


@pytest.mark.parametrize("kind", ["served", "static"])
def test_page_asks_no_other_host_and_breaks_no_rule_of_its_policy(
    browser: Browser, photo_file: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    page = Page(browser, request.getfixturevalue(kind))
    page.open(photo_file)
    page.mark(100, 80, 150, 120)
    if kind == "served":
        browser.click("input[value=browser]")
    page.fill()
    requests = browser.list_requests()
    assert any(url.endswith("model.onnx") for url in requests)
    assert [url for url in requests if not url.startswith((page.address, "blob:" + page.address, "data:"))] == []
    assert [entry["message"] for entry in browser.read_log("browser") if entry["level"] == "SEVERE"] == []


def test_regions_and_edges_are_those_of_the_library(page: Page) -> None:
    rng = np.random.default_rng(0)
    for multiple, dilate in ((8, 3), (32, 0), (64, 7)):
        hole = np.zeros((700, 900), np.bool_)
        for _ in range(6):
            y, x, height, width = (int(rng.integers(*bounds)) for bounds in ((0, 680), (0, 880), (1, 60), (1, 90)))
            hole[y : y + height, x : x + width] = True
        grown = grow_hole(hole, dilate)
        regions, indices, thickness = page.browser.run(
            "const { findRegions, growHole, measureThickness } = await import('/page/regions.mjs');"
            "const bits = new Uint8Array(args[0] * args[1]); for (const at of args[2]) bits[at] = 1;"
            "const hole = growHole({ width: args[0], height: args[1], bits }, args[4]);"
            "const marked = []; hole.bits.forEach((bit, at) => bit && marked.push(at));"
            "return [findRegions(hole, args[3]), marked, measureThickness(hole)];",
            900, 700, np.flatnonzero(hole).tolist(), multiple, dilate,
        )  # fmt: skip
        np.testing.assert_array_equal(indices, np.flatnonzero(grown))
        expected = [[each.left, each.top, each.width, each.height] for each in find_regions(grown, multiple)]
        found = [[each["left"], each["top"], each["width"], each["height"]] for each in regions]
        assert sorted(found) == sorted(expected)
        assert thickness == measure_thickness(grown)
