"""Each hostile manifest is read, or refused with one line, soon."""

import json
import warnings
from pathlib import Path

import pytest

from tests.fakes.machine import Machine
from tests.hostile import Case, count_examples, manifests, try_case
from wavepaint.contract import MANIFEST_NAME, read_bundle
from wavepaint.errors import BundleError, WavePaintWarning
from wavepaint.runtime.engines.registry import open_session

ACCEPTED = {
    "a crop of 400 digits",
    "a crop that is NaN",
    "a negative crop",
    "a plan from another engine",
    "a plan without details",
    "a plan for numbers",
    "a plan of a model from outside",
}
"""Damage to parts that no model needs: these bundles are read and fill holes."""

CASES = list(manifests.make_cases(seed=15, count=count_examples(120)))


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_hostile_manifest_is_read_or_refused_with_one_line(case: Case) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", WavePaintWarning)
        outcome = try_case(case, manifests.read)
    if not case.name.startswith("mutation"):
        assert (outcome == "accepted") == (case.name in ACCEPTED), outcome


def test_the_bundle_is_valid_before_its_manifest_is_broken(tmp_path: Path) -> None:
    manifests.write_small_bundle(tmp_path)
    manifests.read(tmp_path)


def test_a_damaged_field_is_named_by_its_json_path(tmp_path: Path) -> None:
    manifest = manifests.write_small_bundle(tmp_path)
    manifest["artifacts"][0]["precision"] = ["float32"]
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(manifest))
    with pytest.raises(
        BundleError, match=r"is damaged: Expected `str`, got `array` - at `\$.artifacts\[0\].precision`"
    ):
        read_bundle(tmp_path)


def test_a_plan_whose_entry_is_damaged_is_left_out_with_a_warning(tmp_path: Path) -> None:
    manifest = manifests.write_small_bundle(tmp_path)
    manifest["artifacts"][1]["details"]["profiles"] = "all"
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(manifest))
    with pytest.warns(WavePaintWarning, match=r"damaged entry.*left out.*`\$.artifacts\[1\].details.profiles`"):
        bundle = read_bundle(tmp_path)
    assert [artifact.path for artifact in bundle.manifest.artifacts] == ["model.onnx"]


def test_auto_skips_a_plan_with_invalid_profiles(machine: Machine, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    manifest = manifests.write_small_bundle(folder)
    manifest["artifacts"][1]["details"] |= {
        "library_version": "9.0",
        "profiles": [{"min": [9, 8, 8], "opt": [1, 8, 8], "max": [1, 8, 8]}],
    }
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    with open_session(read_bundle(folder)) as session:
        assert "CPU" in session.engine


def test_unknown_fields_of_later_versions_are_ignored(tmp_path: Path) -> None:
    manifest = manifests.write_small_bundle(tmp_path)
    (tmp_path / MANIFEST_NAME).write_text(json.dumps({**manifest, "yet_to_come": 1}))
    assert read_bundle(tmp_path).manifest.name == "small"


def test_manifests_without_padding_mean_reflect(tmp_path: Path) -> None:
    manifest = manifests.write_small_bundle(tmp_path)
    del manifest["padding"]
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(manifest))
    assert read_bundle(tmp_path).manifest.padding == "reflect"
