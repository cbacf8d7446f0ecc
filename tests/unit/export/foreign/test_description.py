"""Descriptions: where they come from, and refusals that name the one that would fit."""

from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
import pytest

from tests.fakes import foreign as networks
from tests.fakes.foreign import WRITERS, change_model
from wavepaint.contract import Bundle
from wavepaint.errors import ConfigError, ForeignModelError
from wavepaint.export.foreign.description import PRESETS, make_description, read_description
from wavepaint.export.foreign.importing import import_network
from wavepaint.export.foreign.inspection import read_foreign
from wavepaint.export.foreign.matching import bind, find_problem, suggest


@pytest.mark.parametrize(
    ("preset", "fields", "message"),
    [
        ("lama", {"result_range": (0, 1)}, r"the known pixels differ .* they agree with --result-range 0,255"),
        ("lama", {"mask_values": (1, 0)}, r"The mask is inverted: --mask-values 0,1"),
        ("migan", {"mask_values": (0, 255)}, r"The mask is inverted: --mask-values 255,0"),
        ("lama-4-channels", {"result_range": (0, 255)}, r"says 0 to 255; --result-range 0,1 would fit"),
        ("lama-4-channels", {"composition": "inside"}, r"needs --composition outside"),
        ("migan-generator", {"result_range": (0, 1)}, r"says 0 to 1; --result-range -1,1 would fit"),
    ],
)
def test_a_result_that_contradicts_the_description_is_refused(
    tmp_path: Path, preset: str, fields: dict[str, Any], message: str
) -> None:
    foreign = read_foreign(WRITERS[preset](tmp_path / "net.onnx"))
    with pytest.raises(ForeignModelError, match=message):
        import_network(foreign, make_description(preset, fields), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("preset", PRESETS)
def test_a_file_with_other_names_is_described_with_options_that_fit(tmp_path: Path, preset: str) -> None:
    path = WRITERS[preset](tmp_path / "net.onnx")
    foreign = read_foreign(path)
    assert f"--preset {preset}" in suggest(foreign)

    def rename(model: onnx.ModelProto) -> None:
        graph = onnx.compose.add_prefix(model, "net.", rename_nodes=False).graph
        model.graph.CopyFrom(graph)

    foreign = read_foreign(change_model(path, rename))
    assert "it has no input" in find_problem(foreign, PRESETS[preset])
    image = "net.input" if "image" not in PRESETS[preset].image else "net.image"
    with pytest.raises(
        ForeignModelError, match=rf"net.onnx takes {image} .*it has no input.*--preset {preset} --image {image}"
    ):
        bind(foreign, PRESETS[preset])


@pytest.mark.parametrize(
    ("preset", "fields", "message"),
    [
        ("lama", {"height": 128, "width": 128}, "its height is fixed at 64, and the description says 128 (--size)"),
        ("lama", {"multiple": 48}, "its height is 64, no multiple of 48 (--multiple)"),
        ("lama", {"layout": "NHWC"}, "'image' has 64 channels in the layout NHWC, expected 3 (--layout)"),
        ("lama", {"inputs": {"z": 1.0}}, "it has no input 'z' (--input)"),
        ("lama", {"mask": "image"}, "nothing says what the input 'mask' gets (--input)"),
        ("lama", {"result": "filled"}, "it has no output 'filled' (--result)"),
        ("comodgan", {"inputs": {}}, "nothing says what the input 'z' gets (--input)"),
        (
            "migan",
            {"image_range": (0, 1)},
            "its image has bytes, and the description says 0 to 1 (--image-range 0,255)",
        ),
    ],
)
def test_a_description_that_does_not_fit_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, preset: str, fields: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(ort, "InferenceSession", lambda *arguments, **options: pytest.fail("it ran"))
    foreign = read_foreign(WRITERS[preset](tmp_path / "net.onnx"))
    with pytest.raises(ForeignModelError) as refused:
        import_network(foreign, make_description(preset, fields), tmp_path / "bundle")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_description_is_read_from_toml_or_from_an_imported_bundle(tmp_path: Path, only_ort: None) -> None:
    file = tmp_path / "net.toml"
    file.write_text('image_range = [-1, 1]\ncomposition = "inside"\n[inputs]\nz = "noise:3"\npsi = 1\n')
    described = make_description("lama", read_description(file))
    assert described.image_range == (-1.0, 1.0)
    assert described.inputs == {"z": "noise:3", "psi": 1.0}
    assert described.result_range == (0.0, 255.0)
    assert make_description("lama-4-channels", {"hole": "keep"}).hole is None
    assert make_description("lama-4-channels", {}).hole == 0
    foreign = read_foreign(networks.write_comodgan(tmp_path / "comodgan.onnx"))
    bundle = import_network(foreign, PRESETS["comodgan"], tmp_path / "comodgan")
    assert make_description(None, read_description(bundle.folder)) == PRESETS["comodgan"]
    suggested = f"wp import {tmp_path}/comodgan.onnx -o comodgan-float16 --fp16 --description {bundle.folder}"
    assert bundle.suggest_export("float16") == suggested


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rang": 1}, r"a description has no 'rang': expected image, mask"),
        ({"image_range": [1, 0]}, r"black is 1 and white is 0.*--image-range"),
        ({"image_range": "0..1"}, r"the description's image_range: Expected `array`"),
        ({"result_range": [0, float("nan")]}, "not a finite number"),
        ({"mask_values": [1, 1]}, r"are both 1 in the mask.*--mask-values"),
        ({"layout": "HWC"}, r"layout.*NCHW"),
        ({"inputs": {"z": "random"}}, r"the input 'z' would be 'random': expected a number, noise, or noise:SEED"),
        ({"multiple": 0}, r"multiple is 0: expected 1 to 4096 \(--multiple\)"),
        ({"height": -1}, r"height is -1.*--size"),
    ],
)
def test_a_wrong_description_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_description(None, fields)


def test_a_description_that_is_no_toml_is_refused(tmp_path: Path, full_bundle: Bundle) -> None:
    (tmp_path / "net.toml").write_text("image: input")
    for path, message in (
        (tmp_path / "net.toml", "cannot be read as TOML"),
        (tmp_path / "absent.toml", "cannot be read as TOML .*No such file"),
        (full_bundle.folder, "was exported, not imported"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_description(path)
