"""A bundle is complete and unaltered, or refused. Its manifest survives the file."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.bundle import REPORT, write_bundle
from tests.fakes.class_bundle import LABELS, write_class_bundle
from wavepaint.contract import CLASSIFICATION, MANIFEST_NAME, PRESETS, Bundle, Preprocessing, read_bundle
from wavepaint.errors import BundleError


@pytest.fixture(scope="module")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_bundle(tmp_path_factory.mktemp("small") / "bundle")


@pytest.fixture
def folder(small_bundle: Bundle, tmp_path: Path) -> Path:
    """A copy that the test may damage."""
    return Path(shutil.copytree(small_bundle.folder, tmp_path / "copy"))


def altered(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def alter(folder: Path) -> None:
        path = folder / MANIFEST_NAME
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest))

    return alter


def flip_a_byte(folder: Path) -> None:
    data = bytearray((folder / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.onnx").write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_a_byte, "was altered or is damaged"),
        (lambda f: (f / "model.onnx").write_bytes(b""), "was altered or is damaged"),
        (lambda f: (f / "model.onnx").unlink(), "lacks model.onnx"),
        (lambda f: (f / MANIFEST_NAME).unlink(), "has no manifest.json"),
        (lambda f: (f / MANIFEST_NAME).write_text("{"), "is damaged"),
        (lambda f: (f / MANIFEST_NAME).write_text("[]"), "not the manifest of a WavePaint bundle"),
        (altered(lambda m: m.update(format_version=9)), "format version 9; this program reads 3"),
        (altered(lambda m: m.pop("size_multiple")), "is damaged"),
        (altered(lambda m: m.update(size_multiple=0)), "is damaged"),
        (altered(lambda m: m.update(crop_size=0)), r"`int` >= 1 - at `\$.crop_size`"),
        (altered(lambda m: m.update(crop_size=16385)), r"`int` <= 16384 - at `\$.crop_size`"),
        (altered(lambda m: m.update(crop_size="192")), r"Expected `int \| null`, got `str` - at `\$.crop_size`"),
        (altered(lambda m: m.update(files={})), "not a listed file"),
        (
            altered(lambda m: m["files"].update({"../x": {"sha256": "", "bytes": 0}})),
            "Expected a file name without any folder - at `key` in `..files`",
        ),
        (altered(lambda m: m["files"].update({"model.onnx": {}})), "is damaged"),
        (
            altered(lambda m: m["artifacts"][0]["details"].update(float_edges="../x")),
            r"at `..artifacts.0..details.float_edges`",
        ),
    ],
)
def test_altered_bundles_are_refused(folder: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folder)
    with pytest.raises(BundleError, match=message):
        read_bundle(folder)


def test_a_file_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="is not a folder"):
        read_bundle(tmp_path / "file")
    with pytest.raises(BundleError, match="does not exist"):
        read_bundle(tmp_path / "none")


@pytest.mark.parametrize("crop_size", [None, 192])
def test_the_crop_size_survives_the_file(tmp_path: Path, crop_size: int | None) -> None:
    bundle = write_bundle(tmp_path, crop_size=crop_size)
    assert json.loads((tmp_path / MANIFEST_NAME).read_text())["crop_size"] == crop_size
    assert bundle.manifest.crop_size == crop_size


@pytest.mark.parametrize(
    ("training", "crop_size"),
    [
        ({"config": {"data": {"crop_size": 96}}}, 96),
        ({"config": {"crop_size": 80}}, 80),
        ({}, None),
        ({"config": 3}, None),
        ({"config": {"data": {}}}, None),
        *(({"config": {"data": {"crop_size": value}}}, None) for value in ("x", True, -5, 96.0, 10**400, float("nan"))),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_earlier_manifests_give_the_crop_size_in_the_training_record(
    folder: Path, training: dict[str, Any], crop_size: int | None
) -> None:
    altered(lambda manifest: (manifest.pop("crop_size"), manifest.update(training=training)))(folder)
    assert read_bundle(folder).manifest.crop_size == crop_size


def test_the_crop_size_field_wins_over_the_training_record(folder: Path) -> None:
    altered(lambda m: m.update(crop_size=None, training={"config": {"data": {"crop_size": 96}}}))(folder)
    assert read_bundle(folder).manifest.crop_size is None


def test_manifests_store_the_io_dtype_as_edges(folder: Path, small_bundle: Bundle) -> None:
    content = json.loads((folder / MANIFEST_NAME).read_text())
    assert [artifact["edges"] for artifact in content["artifacts"]] == ["float32", "float32"]
    assert not any("io_dtype" in artifact for artifact in content["artifacts"])
    altered(lambda m: m["artifacts"][1].update(edges="uint8"))(folder)
    assert [artifact.io_dtype for artifact in read_bundle(folder).manifest.artifacts] == ["float32", "uint8"]
    altered(lambda m: [artifact.pop("edges") for artifact in m["artifacts"]])(folder)
    assert read_bundle(folder).manifest == small_bundle.manifest


@pytest.fixture(scope="module")
def class_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    preprocessing = Preprocessing(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), size=(64, 96), resize="crop")
    return write_class_bundle(tmp_path_factory.mktemp("class") / "b", CLASSIFICATION, preprocessing=preprocessing)


def test_labels_and_preprocessing_survive_the_file(class_bundle: Bundle) -> None:
    manifest = read_bundle(class_bundle.folder).manifest
    assert manifest.labels == LABELS
    assert manifest.preprocessing == Preprocessing(
        mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4), size=(64, 96), resize="crop"
    )
    assert read_bundle(class_bundle.folder).task is CLASSIFICATION


def test_the_manifest_of_an_inpainting_network_has_no_classes(small_bundle: Bundle) -> None:
    assert not {"labels", "preprocessing"} & json.loads((small_bundle.folder / MANIFEST_NAME).read_text()).keys()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (altered(lambda m: m.pop("labels")), "missing required field `labels`"),
        (altered(lambda m: m.pop("preprocessing")), "missing required field `preprocessing`"),
        (altered(lambda m: m.update(labels=[])), r"at `\$.labels`"),
        (altered(lambda m: m.update(labels=[1, 2, 3])), r"at `\$.labels\[0\]`"),
        (altered(lambda m: m["preprocessing"].update(std=[0.2, 0, 0.2])), r"at `\$.preprocessing.std\[1\]`"),
        (altered(lambda m: m["preprocessing"].update(mean=[0.2, 0.2])), r"at `\$.preprocessing.mean`"),
        (altered(lambda m: m["preprocessing"].update(size=[0, 64])), r"at `\$.preprocessing.size"),
        (altered(lambda m: m["preprocessing"].update(size=[64, 16385])), r"at `\$.preprocessing.size"),
        (altered(lambda m: m["preprocessing"].update(resize="melt")), r"at `\$.preprocessing.resize`"),
        (altered(lambda m: m.update(task="poetry")), r"Invalid enum value 'poetry' - at `\$.task`"),
        (altered(lambda m: m["verification"].update({"model.onnx": [REPORT]})), "missing required field `class_agr"),
    ],
)
def test_a_damaged_bundle_of_a_classifier_is_refused(
    class_bundle: Bundle, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    folder = Path(shutil.copytree(class_bundle.folder, tmp_path / "copy"))
    damage(folder)
    with pytest.raises(BundleError, match=message):
        read_bundle(folder)


def test_a_suggested_export_repeats_the_options_for_classes(class_bundle: Bundle, tmp_path: Path) -> None:
    command = class_bundle.suggest_export("float16")
    assert "--preprocessing NAME --image-size 96x64 --labels LABELS" in command
    fields = {"labels": ["0", "1", "2"], "hyper_parameters": {"initial_conv": "strided", "stride": 1}}
    known = write_class_bundle(tmp_path / "b", CLASSIFICATION, preprocessing=PRESETS["imagenet"], **fields)
    assert "--preprocessing imagenet --image-size 224x224 --stride 1" in known.suggest_export("float16")
    assert "--labels" not in known.suggest_export("float16")


def test_the_sizes_that_a_network_takes_survive_the_file(folder: Path, small_bundle: Bundle) -> None:
    assert "sizes" not in json.loads((folder / "manifest.json").read_text())
    assert small_bundle.manifest.sizes is None
    manifest = replace(small_bundle.manifest, sizes=((1, 512, 512), (1, 512, 512)))
    (folder / "manifest.json").write_text(manifest.to_json())
    bundle = read_bundle(folder)
    assert bundle.manifest.sizes == manifest.sizes
    assert bundle.get_model(bundle.manifest.artifacts[0]).sizes == manifest.sizes
    assert bundle.manifest.has_largest_size


@pytest.mark.parametrize(
    "sizes", [[[1, 512, 512], [1, 512, 500]], [[2, 8, 8], [1, 8, 8]], [[1, 9, 9], [1, 15, 15]], [[0, 8, 8], [1, 8, 8]]]
)
def test_sizes_that_no_image_has_are_refused(folder: Path, sizes: list[list[int]]) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**content, "sizes": sizes}))
    with pytest.raises(BundleError, match=r"is damaged: .*sizes"):
        read_bundle(folder)
