"""benchmarks/peers.py: the race against other programs, with stand-ins that copy, fail, hang and take memory."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click.testing
import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.peers import SCRIPT, main, parse_tasks
from wavepaint.bench import peer_habits, peer_inputs
from wavepaint.bench.peer_inputs import Pair
from wavepaint.bench.peer_process import Limits, Program, run_command
from wavepaint.bench.peer_race import TASKS, Cell, Setup, compare_fills
from wavepaint.bench.peer_report import find_ratio, make_rows
from wavepaint.bench.peer_targets import judge_targets
from wavepaint.bench.peer_weights import write_big_lama
from wavepaint.bench.peers import REFERENCE, Contender, list_contenders, list_peers, make_environment
from wavepaint.models.registry import build_model
from wavepaint.weights.checkpoint import read_checkpoint


@pytest.fixture
def folder(tmp_path: Path, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one photo; large photos are small."""
    monkeypatch.setattr(peer_inputs, "SIZES", {"2mp": (160, 120), "12mp": (320, 240)})
    monkeypatch.setattr(peer_inputs, "_CELL", (160, 120))
    (tmp_path / "photos").mkdir()
    Image.fromarray(photo).save(tmp_path / "photos" / "a.png")
    return tmp_path / "photos"


def run(*arguments: object) -> click.testing.Result:
    return click.testing.CliRunner().invoke(main, [str(one) for one in arguments])


def test_a_run_measures_every_contender_in_every_task_and_a_second_one_goes_on(folder: Path, tmp_path: Path) -> None:
    options = [folder, "--work", tmp_path / "work", "--dry-run", "--rounds", 1, "--num-photos", 2]
    first = run(*options, "-o", tmp_path / "first", "--tasks", "512,12mp-large,folder", "--no-habits")
    assert first.exit_code == 0, first.output
    assert {path.name for path in (tmp_path / "first").iterdir()} == {
        "peers.json", "peers.md", "peers.png", "fills.jpg",
    }  # fmt: skip
    cells = {
        (cell["task"], cell["contender"]): cell
        for cell in json.loads((tmp_path / "first/peers.json").read_text())["cells"]
    }
    assert set(cells) == {
        (task, name) for task in ("512", "12mp-large", "folder") for name in (REFERENCE, "a copy", "a failure")
    }
    copied = cells["512", "a copy"]
    assert len(copied["seconds"]) == 1
    assert copied["peak_mb"] > 1
    assert copied["difference"] == copied["num_changed"] == 0
    assert cells["folder", REFERENCE]["num_photos"] == 2
    assert cells["512", "a failure"]["problem"] == "RuntimeError: no paint"
    assert not cells["512", "a failure"]["seconds"]
    page = (tmp_path / "first" / "peers.md").read_text()
    assert "| a failure | RuntimeError: no paint |" in page
    assert f"| {REFERENCE} | as with the small hole: it computes the whole photo |" in page

    second = run(*options, "-o", tmp_path / "second", "--tasks", "512,cold,folder")
    assert second.exit_code == 0, second.output
    assert "512: opening" not in second.output
    assert "cold: a copy, run 1 of 1" in second.output
    report = json.loads((tmp_path / "second" / "peers.json").read_text())
    assert [cell for cell in report["cells"] if cell["task"] == "512"] == [
        cell for (task, _), cell in cells.items() if task == "512"
    ]
    assert ["alpha", "kept"] in report["habits"]


def test_what_nobody_can_race_is_refused_with_a_line(folder: Path, tmp_path: Path) -> None:
    options = [folder, "-o", tmp_path / "out", "--work", tmp_path / "work"]
    tasks = run(*options, "--tasks", "13mp")
    assert tasks.exit_code == 2
    assert "'13mp': expected 512, 2mp, 12mp, 48mp, folder, cold" in tasks.output
    peers = run(*options, "--peers", "photoshop")
    assert peers.exit_code == 2
    assert "'photoshop': expected simple-lama, iopaint, opencv, wavepaint" in peers.output
    (tmp_path / "work").mkdir(exist_ok=True)
    (tmp_path / "work" / "cells.json").write_text("[]")
    record = run(*options, "--dry-run")
    assert record.exit_code == 1
    assert "cells.json is not a record of this race" in record.output
    (folder / "a.png").unlink()
    empty = run(*options, "--dry-run")
    assert empty.exit_code == 2
    assert "has no JPEG or PNG photo" in empty.output
    assert not (tmp_path / "out").exists()


def test_a_size_names_its_three_tasks() -> None:
    assert parse_tasks("cold,12mp") == ["12mp-small", "12mp-medium", "12mp-large", "cold"]
    assert len(TASKS) == 12


@pytest.fixture
def open_copy(tmp_path: Path) -> Iterator[object]:
    programs = []

    def start(*options: str, seconds: float = 20.0, memory_mb: float = 1e3) -> Program:
        command = [sys.executable, "-P", str(SCRIPT), "copy", *options]
        program = Program(command, {}, Limits(seconds=seconds, memory_mb=memory_mb), tmp_path / "log.txt")
        programs.append(program)
        return program

    yield start
    for program in programs:
        program.close()


def test_programs_beyond_a_limit_are_ended_and_say_which(open_copy, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"photo")
    paths = tmp_path / "a.png", tmp_path / "mask.png", tmp_path / "out.png"
    fine = open_copy().fill(*paths)
    assert fine.seconds is not None
    assert (tmp_path / "out.png").read_bytes() == b"photo"
    greedy = open_copy("megabytes=300", "hang=1", memory_mb=200)
    assert greedy.fill(*paths).problem == "more than 0.2 GB of memory"
    assert greedy.peak_mb > 200
    assert greedy.fill(*paths).problem  # it stays ended
    assert open_copy("hang=60", seconds=0.3).fill(*paths).problem == "more than 0.3 s"
    assert open_copy("nonsense=1").loading.problem.startswith("exit status 1: TypeError")
    measured, _ = run_command(["false"], {}, Limits(seconds=5, memory_mb=100), tmp_path / "log.txt")
    assert measured.problem == "exit status 1: no message"


def test_torchscript_file_of_the_released_layout_gives_back_its_weights(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_model("lama", {"num_blocks": 1, "base_channels": 4, "num_downsampling": 2, "global_channels": 8})
    write_big_lama(tmp_path / "big-lama.pt", network.eval())
    checkpoint = read_checkpoint(tmp_path / "big-lama.pt")
    assert checkpoint.architecture.name == "lama"
    assert checkpoint.parameters["num_blocks"] == 1
    scripted = torch.jit.load(tmp_path / "big-lama.pt")
    assert next(iter(scripted.state_dict())) == "model.generator.model.1.ffc.convl2l.weight"
    image, mask = torch.rand(1, 3, 96, 120), (torch.rand(1, 1, 96, 120) > 0.7) * 1  # another size than the traced one
    with torch.inference_mode():
        torch.testing.assert_close(scripted(image, mask), checkpoint.build()(image, mask.float()))


def test_every_program_finds_the_weights(tmp_path: Path) -> None:
    (tmp_path / "mine.pt").write_bytes(b"weights")
    environment = make_environment(tmp_path / "mine.pt", tmp_path / "work")
    assert environment["LAMA_MODEL"] == str(tmp_path / "mine.pt")
    assert (Path(environment["TORCH_HOME"]) / "hub/checkpoints/big-lama.pt").read_bytes() == b"weights"
    contenders = {one.name: one for one in list_contenders(tmp_path / "bundle", ["float32", "bfloat16"])}
    assert {one.peer for one in contenders.values()} == set(list_peers(tmp_path))
    ours = contenders["WavePaint, the same LaMa, openvino bfloat16"]
    assert ours.single[-6:] == ("--bundle", str(tmp_path / "bundle"), "--engine", "openvino", "--precision", "bfloat16")
    assert ours.tasks == ("whole",)
    assert "--bundle" not in contenders["WavePaint, its default model"].single


def test_fills_are_compared_in_the_hole_and_outside_it(tmp_path: Path) -> None:
    photo, hole = np.full((20, 20, 3), 100, np.uint8), np.zeros((20, 20), np.uint8)
    hole[5:10, 5:10] = 255
    pair = Pair(tmp_path / "a.png", tmp_path / "mask.png")
    Image.fromarray(photo).save(pair.image)
    Image.fromarray(hole).save(pair.mask)
    contenders = [
        Contender(name=name, peer="", program=(), model=model)
        for name, model in ((REFERENCE, "big-lama"), ("ours", "big-lama"), ("other", ""))
    ]
    setup = Setup(
        pythons={}, script=SCRIPT, environment={}, limits=Limits(seconds=1, memory_mb=1), rounds=1, slow_s=1,
        results=tmp_path / "fills",
    )  # fmt: skip
    for contender, level in zip(contenders, (50, 53, 110), strict=True):
        fill = np.where(hole[..., None] > 0, np.uint8(level), photo)
        if contender.name == "ours":
            fill[0, :7] += 1
        if contender.name == REFERENCE:
            fill = np.pad(fill, ((0, 4), (0, 4), (0, 0)))  # it keeps its padding
        Image.fromarray(fill).save(setup.make_folder("512", contender) / "a.png")
    cells = [Cell(task="512", contender=one.name) for one in contenders]
    compare_fills(cells, contenders, [pair], setup)
    assert [cell.difference for cell in cells] == [0, 3, None]
    assert [cell.num_changed for cell in cells] == [0, 7, 0]
    assert cells[0].psnr_db is None
    assert cells[2].psnr_db == pytest.approx(-20 * np.log10(10 / 255))


def test_ratios_are_medians_over_common_rounds() -> None:
    rival = Cell(task="512", contender=REFERENCE, seconds=[4.0, 9.0, 8.0], cpu_seconds=[1.0] * 3)
    ours = Cell(task="512", contender="ours", seconds=[2.0, 3.0, 2.0], cpu_seconds=[1.0] * 3)
    once = Cell(task="512", contender="once", seconds=[16.0], cpu_seconds=[1.0])
    assert find_ratio(ours, [rival, ours], REFERENCE) == 3.0
    assert find_ratio(once, [rival, once], REFERENCE) == 0.5
    assert find_ratio(rival, [rival, ours], REFERENCE) is None
    assert make_rows([rival, ours])[2][:6] == ["ours", "2", "3", "1", "0", "3.00"]


def test_habits_show_what_is_lost(tmp_path: Path, photo: np.ndarray) -> None:
    Image.fromarray(photo).save(tmp_path / "photo.png")
    questions = peer_habits.make_questions(tmp_path / "photo.png", tmp_path)
    answers = {}
    for question in questions[:-1]:
        with Image.open(question.pair.image) as source:
            source.load()
            plain = Image.fromarray(np.asarray(source.convert("RGB")))  # all that numpy and Pillow keep by themselves
            padded = Image.fromarray(np.pad(np.asarray(plain), ((0, 3), (0, 5), (0, 0))))
            answers |= dict(zip(question.titles, question.look(source, padded), strict=True))
    assert answers == {
        "size of 331x253 pixels": "becomes 336x256",
        "known pixels": "unchanged",
        "pixels of level 100 in the mask": "not filled",
        "alpha": "lost",
        "16 bits": "becomes 8-bit RGB",
        "format for a JPEG photo": "",
        "camera in EXIF": "lost",
        "photo taken upside down": "shown upside down",
        "ICC profile": "lost",
        "JPEG quality": "no JPEG",
    }


def test_targets_say_by_how_much_they_are_missed() -> None:
    def cell(task: str, contender: str, seconds: float, peak_mb: float) -> Cell:
        return Cell(task=task, contender=contender, seconds=[seconds], cpu_seconds=[seconds], peak_mb=peak_mb)

    lama, default = "WavePaint, the same LaMa", "WavePaint, its default model"
    cells = [
        cell("12mp-small", REFERENCE, 80.0, 12000), cell("12mp-small", lama, 2.0, 4000),
        cell("512", REFERENCE, 3.0, 900), cell("512", "IOPaint", 3.0, 900), cell("512", default, 0.2, 100),
        cell("512", lama, 1.0, 100), cell("2mp-large", "IOPaint", 1.0, 900), cell("2mp-large", lama, 1.0, 100),
    ]  # fmt: skip
    rows = judge_targets(cells)
    verdicts = {(row[0], row[1]): row[2:] for row in rows[1:]}
    assert verdicts[f"{lama}: time, 12mp-small", REFERENCE] == ["10 times", "40.00", "40.00", "met"]
    assert verdicts[f"{lama}: memory, 12mp-small", REFERENCE] == ["4 times", "3.00", "", "missed by 25%"]
    assert verdicts[f"{lama}: time, every photo", "IOPaint"] == [
        "2 times", "3.00 (512), 1.00 (2mp-large)", "3.00 (512), 1.00 (2mp-large)", "missed by 50%",
    ]  # fmt: skip
    assert verdicts[f"{default}: time, 512", REFERENCE] == ["20 times", "15.00", "15.00", "missed by 25%"]
    assert verdicts[f"{lama}, openvino bfloat16: time, 512", REFERENCE] == ["3 times", "", "", "not measured"]
