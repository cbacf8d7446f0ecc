"""``wp eval``: its tables and report, what training held out, and one line for every error."""

import csv
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.cli.conftest import Wp, assert_refused
from tests.fakes.bundle import write_bundle
from tests.networks import make_random_lpips
from wavepaint.data.sources import open_source
from wavepaint.data.split import SPLIT, split_names, write_split
from wavepaint.evaluation import evaluate
from wavepaint.metrics import discriminability, frechet, lpips

SMALL = ("--size", 32, "--engine", "ort-cpu", "--device", "cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(5):
        pixels = np.random.default_rng(seed).integers(60, 200, (36, 44, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundle") / "own").folder


@pytest.fixture(scope="module")
def trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of an AlexNet."""
    state = make_random_lpips("alexnet").trunk.state_dict()
    path = tmp_path_factory.mktemp("trunk") / "alexnet.pth"
    torch.save({f"features.{name}": tensor for name, tensor in state.items()}, path)
    return path


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("WAVEPAINT_LPIPS", raising=False)


def write_run(folder: Path, photos: Path, checkpoint: Path) -> Path:
    """Write the folder of a run that held out 40 % of the photos, with an untrained network."""
    source = open_source(photos)
    split = split_names(source.names, seed=0, val_fraction=0.2, test_fraction=0.4)
    folder.mkdir()
    write_split(folder / SPLIT, split)
    content = torch.load(checkpoint, weights_only=True)
    content["training"] = {"data": {"test": source.describe(split.test)}}
    torch.save(content, folder / "best.pt")
    return folder


def test_report_has_tables_csv_json_and_pictures_and_repeats(
    wp_here: Wp, photos: Path, bundle: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    command = ("eval", bundle, "--data", photos, "--masks", "boxes,squares", "--against", tiny_checkpoint, *SMALL)
    result = wp_here(*command, "-o", tmp_path / "report")
    assert result.returncode == 0, result.stderr
    assert f"{bundle} minus {tiny_checkpoint}, in the hole" in result.stdout.decode()
    assert "without LPIPS: the weights of LPIPS (alexnet) are missing" in result.stderr.decode()
    out = tmp_path / "report"
    assert {path.name for path in out.iterdir()} == {"eval.json", "fills.csv", "boxes.png", "squares.png"}
    report = json.loads((out / "eval.json").read_text())
    assert list(report["results"]) == ["boxes", "squares", "all"]
    assert report["subjects"][str(bundle)]["engine"].startswith("ONNX Runtime")
    assert report["cases"]["size"] == 32
    with (out / "fills.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 2 * 5
    mean = np.mean([float(row["l1_hole"]) for row in rows if (row["subject"], row["set"]) == (str(bundle), "boxes")])
    own = report["results"]["boxes"][str(bundle)]["l1_hole"]
    assert own["mean"] == pytest.approx(mean)
    assert own["low"] < own["mean"] < own["high"]
    with Image.open(out / "boxes.png") as picture:
        assert picture.size == (4 * 36 - 4, 18 + 3 * (18 + 36) - 4)
    again = wp_here(*command, "-o", tmp_path / "again")
    assert again.stdout == result.stdout
    assert (tmp_path / "again" / "fills.csv").read_bytes() == (out / "fills.csv").read_bytes()


def test_existing_report_is_replaced_only_when_asked(wp_here: Wp, photos: Path, bundle: Path, tmp_path: Path) -> None:
    command = ("eval", bundle, "--data", photos, "--masks", "boxes", *SMALL, "-o", tmp_path / "report")
    assert wp_here(*command).returncode == 0
    assert_refused(wp_here(*command), "exists already", "--overwrite")
    assert wp_here(*command, "--overwrite").returncode == 0
    (tmp_path / "report" / "eval.json").unlink()
    assert_refused(wp_here(*command, "--overwrite"), "is not a report")
    assert (tmp_path / "report" / "fills.csv").exists()


def test_results_of_wp_infer_have_the_figures_of_their_bundle(
    wp_here: Wp, photos: Path, bundle: Path, tmp_path: Path
) -> None:
    kinds = ("boxes", "squares")
    assert wp_here("masks", photos, "-o", tmp_path / "set", "--kinds", ",".join(kinds), "--size", 32).returncode == 0
    filled = wp_here("infer", tmp_path / "set", "-o", tmp_path / "filled", "--bundle", bundle, "--engine", "ort-cpu")
    assert filled.returncode == 0, filled.stderr
    reports = []
    for subject, options in (
        (tmp_path / "filled", ("--data", tmp_path / "set", "--mask-folder", tmp_path / "set")),
        (bundle, ("--data", photos, "--masks", ",".join(kinds), *SMALL)),
    ):
        out = tmp_path / f"report of {subject.name}"
        result = wp_here("eval", subject, *options, "-o", out)
        assert result.returncode == 0, result.stderr
        found = json.loads((out / "eval.json").read_text())["results"]
        reports.append({name: found[name][str(subject)] for name in kinds})
    assert reports[0] == reports[1]


def test_lpips_and_frechet_distance_bear_the_names_of_their_networks(
    wp_here: Wp, photos: Path, bundle: Path, trunk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lpips, "load_lpips", lambda *arguments, **options: make_random_lpips("alexnet"))
    refused = wp_here("eval", bundle, "--data", photos, *SMALL, "--frechet-weights", trunk)
    assert_refused(refused, "Frechet distance, AlexNet needs more photos", "256, and there are 5")
    for module in (frechet, evaluate, discriminability):
        monkeypatch.setattr(module, "check_num_samples", lambda *arguments: None)
    options = ("--masks", "boxes", "--frechet-weights", trunk, "--ids")
    result = wp_here("eval", bundle, "--data", photos, *SMALL, *options)
    assert result.returncode == 0, result.stderr
    text = result.stdout.decode()
    assert "LPIPS" in text
    assert "Frechet distance, AlexNet" in text
    assert "FID" not in text
    assert text.count("U-IDS  P-IDS") == 1


def test_held_out_photos_of_a_run_are_evaluated(
    wp_here: Wp, photos: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run", photos, tiny_checkpoint)
    command = ("eval", run, "--data", photos, "--held-out", run, "--masks", "boxes", *SMALL)
    result = wp_here(*command, "-o", run / "test")
    assert result.returncode == 0, result.stderr
    with (run / "test" / "fills.csv").open() as stream:
        found = [row["photo"] for row in csv.DictReader(stream)]
    test = split_names(open_source(photos).names, seed=0, val_fraction=0.2, test_fraction=0.4).test
    assert found == list(test)
    assert 0 < len(test) < 5
    assert "trained on photos" not in result.stderr.decode()
    everything = wp_here("eval", run, "--data", photos, "--masks", "boxes", *SMALL)
    assert f"warning: {run} trained on photos with the names of 2 of these" in everything.stderr.decode()


def test_held_out_photos_that_changed_are_refused(
    wp_here: Wp, photos: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "photos"
    copy.mkdir()
    for path in photos.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    run = write_run(tmp_path / "run", copy, tiny_checkpoint)
    command = ("eval", run, "--data", copy, "--held-out", run, *SMALL)
    test = split_names(open_source(copy).names, seed=0, val_fraction=0.2, test_fraction=0.4).test
    Image.new("RGB", (40, 40)).save(copy / test[0])
    assert_refused(wp_here(*command), "are not those of the training: their files have other sizes")
    (copy / test[0]).unlink()
    assert_refused(wp_here(*command), "are not those the run began with", test[0])
    plain = asdict(split_names(open_source(copy).names, seed=0, val_fraction=0.2))
    (run / SPLIT).write_text(json.dumps(plain))
    assert_refused(wp_here(*command), "held out no photos: train with --test-fraction")
    (run / SPLIT).unlink()
    assert_refused(wp_here(*command), "is not the folder of a training run")


@pytest.mark.parametrize(
    ("subject", "options", "words"),
    [
        ("NONE", (), ("does not exist: expected a bundle's folder",)),
        ("PHOTOS", (), ("is a folder of results", "--mask-folder")),
        ("BUNDLE", ("--fid",), ("weights of the FID's Inception are missing", "--download-weights")),
        ("BUNDLE", ("--frechet-weights", "NONE"), ("does not exist",)),
        ("BUNDLE", ("--lpips-weights", "NONE"), ("weights of LPIPS (alexnet) are missing", "--lpips-weights")),
        ("BUNDLE", ("--masks", "round"), ("'round' masks",)),
        ("BUNDLE", ("--masks", "silhouettes"), ("--silhouettes",)),
        ("BUNDLE", ("--data", "NONE"), ("does not exist",)),
        ("BUNDLE", ("--against", "NONE"), ("does not exist",)),
        ("BUNDLE", ("-o", "PHOTOS/report"), ("lies in", "choose another")),
        ("BUNDLE", ("--device", "abacus"), ("--device abacus is not usable here",)),
    ],
)
def test_evaluation_that_cannot_start_is_refused_before_the_work(
    wp_here: Wp, photos: Path, bundle: Path, tmp_path: Path, subject: str, options: tuple[str, ...], words: tuple[str]
) -> None:
    places = {"NONE": tmp_path / "none", "PHOTOS": photos, "BUNDLE": bundle, "PHOTOS/report": photos / "report"}
    out = () if "-o" in options else ("-o", tmp_path / "report")
    result = wp_here("eval", places[subject], "--data", photos, *(places.get(o, o) for o in options), *out)
    assert_refused(result, *words)
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--mask-folder", "m", "--size", "64"), "--size is for holes that are drawn"),
        (("--mask-folder", "m", "--held-out", "r"), "--held-out is for holes that are drawn"),
        (("--fid", "--frechet-weights", "w"), "each choose a network"),
        (("--ids",), "--ids needs the features of a network"),
        (("--against", "default"), "--against names SUBJECT itself"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    wp_here: Wp, photos: Path, options: tuple[str, ...], words: str
) -> None:
    assert_refused(wp_here("eval", "default", "--data", photos, *options), words, status=2)
