"""The page of a reader study in a real browser: keys, taps, undo, a reload, the CSV and its score."""

import csv
import io
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.browser.driver import Browser
from wavepaint.runtime.images.photo import Photo
from wavepaint.study.page_file import StudyOptions, write_study
from wavepaint.study.scores import read_answers, score_answers
from wavepaint.study.trials import Trial

pytestmark = pytest.mark.browser

NUM_TRIALS = 6
LEFT, RIGHT, BACK = "\ue012", "\ue014", "\ue003"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study whose A is dark and whose B is bright."""
    hole = np.zeros((20, 30), np.bool_)
    hole[5:10, 5:10] = True
    trials = []
    for index in range(NUM_TRIALS):
        photos = [Photo(np.full((20, 30, 3), level + index, np.uint8)) for level in (100, 20, 220)]
        trials.append(Trial(f'{index},"x".png', photos[0], hole, (photos[1], photos[2])))
    path = tmp_path / "study.html"
    write_study(path, trials, StudyOptions(methods=("dark", "bright")))
    return path


class Reader:
    """A participant in front of the page."""

    def __init__(self, browser: Browser, page: Path, code: str) -> None:
        self.browser = browser
        browser.open(page.as_uri())
        browser.run("localStorage.clear();")
        browser.read_log("browser")
        browser.list_requests()
        browser.open(f"{page.as_uri()}?fresh")
        browser.run("document.querySelector('#participant').value = args[0];", code)
        browser.click("#start")
        self.wait_for("1 of")

    def wait_for(self, text: str) -> None:
        self.browser.wait(
            "!document.querySelector('.chosen') && !document.querySelector('#trial').hidden && "
            f"document.querySelector('#count').textContent.startsWith({text!r})"
        )
        time.sleep(0.26)  # sooner answers are taken for a bouncing key

    def read_levels(self) -> dict[str, int]:
        levels: dict[str, int] = self.browser.run(
            "const canvas = document.createElement('canvas').getContext('2d'); const levels = {};"
            "for (const side of ['left', 'right']) {"
            "canvas.drawImage(document.querySelector(`#${side} img`), 0, 0);"
            "levels[side] = canvas.getImageData(0, 0, 1, 1).data[0]; } return levels;"
        )
        return levels

    def read_answers(self) -> list[dict[str, str]]:
        self.browser.click("#save")
        path = next(iter(self.wait_for_files()))
        rows = list(csv.DictReader(io.StringIO(path.read_text("utf-8"), newline="")))
        self.path = path
        return rows

    def wait_for_files(self) -> list[Path]:
        for _ in range(200):
            if found := sorted(self.browser.downloads.glob("answers-*.csv"), key=lambda path: path.stat().st_mtime):
                return found[::-1]
            time.sleep(0.05)
        raise AssertionError("nothing was downloaded")


@pytest.fixture(autouse=True)
def without_downloads(browser: Browser) -> None:
    for path in browser.downloads.glob("answers-*"):
        path.unlink()


def test_answers_say_what_was_chosen_and_survive_a_reload(browser: Browser, study: Path) -> None:
    reader = Reader(browser, study, "anna")
    chosen = []
    for index in range(3):
        levels = reader.read_levels()
        side, key = (("left", LEFT), ("right", RIGHT))[index % 2]
        chosen.append("A" if levels[side] < 100 else "B")
        browser.press(key)
        reader.wait_for(f"{index + 2} of")
    browser.open(f"{study.as_uri()}?reloaded")
    assert browser.run("return document.querySelector('#participant').value;") == "anna"
    browser.click("#start")
    reader.wait_for("4 of")
    for index in range(3, NUM_TRIALS):
        chosen.append("A" if reader.read_levels()["right"] < 100 else "B")
        browser.click("#right")
        if index < NUM_TRIALS - 1:
            reader.wait_for(f"{index + 2} of")
    browser.wait("!document.querySelector('#done').hidden")
    rows = reader.read_answers()
    assert [row["choice"] for row in rows] == chosen
    assert [row["choice"] == row["left"] for row in rows] == [True, False, True, False, False, False]
    assert Counter(row["left"] for row in rows) == {"A": 3, "B": 3}
    assert {row["image"] for row in rows} == {f'{index},"x".png' for index in range(NUM_TRIALS)}
    assert score_answers(read_answers([reader.path]))["prefers_a"] == chosen.count("A")
    assert [url for url in browser.list_requests() if not url.startswith(("file:", "data:", "blob:"))] == []
    assert [entry["message"] for entry in browser.read_log("browser") if entry["level"] == "SEVERE"] == []


def test_undo_goes_back_to_the_same_picture_and_a_bouncing_key_answers_once(browser: Browser, study: Path) -> None:
    reader = Reader(browser, study, "ben")
    first = reader.read_levels()
    browser.press(LEFT)
    browser.press(LEFT)
    reader.wait_for("2 of")
    second = reader.read_levels()
    browser.press(LEFT)
    reader.wait_for("3 of")
    browser.press(BACK)
    reader.wait_for("2 of")
    assert reader.read_levels() == second
    browser.press("Control", "z")
    reader.wait_for("1 of")
    assert reader.read_levels() == first
    assert browser.run("return document.querySelector('#undo').disabled;")
    browser.press(RIGHT)
    reader.wait_for("2 of")
    (row,) = reader.read_answers()
    assert row["choice"] == ("A" if first["right"] < 100 else "B")


def test_participants_have_orders_of_their_own_and_keep_them(browser: Browser, study: Path) -> None:
    def read_sides(code: str) -> list[int]:
        reader = Reader(browser, study, code)
        seen = []
        for index in range(3):
            seen.append(reader.read_levels()["left"])
            browser.press(LEFT)
            reader.wait_for(f"{index + 2} of")
        browser.run("localStorage.clear();")
        return seen

    anna = read_sides("anna")
    assert read_sides("anna") == anna
    assert read_sides("carla") != anna


def test_zoom_shows_the_hole_in_all_pictures(browser: Browser, study: Path) -> None:
    Reader(browser, study, "dora")
    browser.press("z")
    transforms = browser.run("return [...document.querySelectorAll('.frame img')].map((each) => each.style.transform);")
    assert len(set(transforms)) == 1
    assert transforms[0].startswith("scale(2.5)")
    assert browser.run("return document.querySelector('#zoom').getAttribute('aria-pressed');") == "true"
