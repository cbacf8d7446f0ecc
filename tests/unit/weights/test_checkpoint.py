"""Reading weights: every accepted kind of file, and a clear error for every other."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import FULL, randomise
from tests.hostile.checkpoints import (
    archive,
    ever_more_paths,
    in_itself,
    nested,
    other_objects,
    own,
    pickled,
    tensor,
    whole_files,
)
from wavepaint.errors import CheckpointError, ConfigError
from wavepaint.models.registry import build_model
from wavepaint.weights.checkpoint import read_checkpoint, save_checkpoint
from wavepaint.weights.loading import load_strictly

MODEL = randomise(build_model("wavepaint", FULL))
STATE = {name: tensor.clone() for name, tensor in MODEL.state_dict().items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s},
        lambda s: {"model": s, "epoch": 3},
        lambda s: {"params_ema": s},
        lambda s: {"model": {"state_dict": s}},
        lambda s: {"module." + k: v for k, v in s.items()},
        lambda s: {"state_dict": {"module." + k: v for k, v in s.items()}},
    ],
)
def test_wrappers_and_prefixes_are_removed(tmp_path: Path, wrap: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    torch.save(wrap(STATE), tmp_path / "w.pth")
    checkpoint = read_checkpoint(tmp_path / "w.pth")
    assert {key: checkpoint.parameters[key] for key in FULL} == FULL
    for name, weight in checkpoint.build().state_dict().items():
        assert torch.equal(weight, STATE[name])


def test_own_checkpoint_records_hyper_parameters_that_names_and_shapes_do_not_show(tmp_path: Path) -> None:
    parameters = {**FULL, "wavelet": "db2"}
    model = randomise(build_model("wavepaint", parameters))
    save_checkpoint(tmp_path / "w.pt", model, architecture="wavepaint", parameters=parameters, training={"step": 7})
    checkpoint = read_checkpoint(tmp_path / "w.pt")
    assert checkpoint.parameters == parameters
    assert checkpoint.training == {"step": 7}
    image, mask = torch.rand(1, 3, 16, 16), torch.ones(1, 1, 16, 16)
    mask[..., :8] = 0
    with torch.no_grad():
        assert torch.equal(checkpoint.build()(image, mask), model(image, mask))


def without(name: str) -> dict[str, torch.Tensor]:
    return {key: value for key, value in STATE.items() if key != name}


def with_nan() -> dict[str, torch.Tensor]:
    state = {key: value.clone() for key, value in STATE.items()}
    state["wavemodules.0.decoder2.0.bias"][1] = float("nan")
    return state


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (without("wavemodules.0.decoder2.0.bias"), r"1 missing \(wavemodules.0.decoder2.0.bias\)"),
        ({**STATE, "extra": torch.ones(1)}, r"1 unexpected \(extra\)"),
        ({**STATE, "wavemodules.0.decoder2.0.bias": torch.ones(3)}, r"wavemodules.0.decoder2.0.bias has shape \(3,\)"),
        (with_nan(), r"wavemodules.0.decoder2.0.bias contains NaN"),
        ({"fc.weight": torch.ones(2, 2)}, "not a state dict of a known architecture"),
        ({}, "contains no weights"),
        ([1, 2], "contains list, expected a state dict"),
        ({"epoch": 3}, "contains no weights.*found 'epoch'"),
    ],
)
def test_error_names_the_weights_that_do_not_fit(tmp_path: Path, content: Any, message: str) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / "w.pth").build()


def test_pickled_model_is_refused(tmp_path: Path) -> None:
    torch.save(MODEL, tmp_path / "whole_model.pth")
    with pytest.raises(CheckpointError, match="contains more than weights"):
        read_checkpoint(tmp_path / "whole_model.pth")


def test_torchscript_without_named_weights_is_refused(tmp_path: Path) -> None:
    class Doubling(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 2

    torch.jit.script(Doubling()).save(str(tmp_path / "script.pt"))
    with pytest.raises(CheckpointError, match="TorchScript file"):
        read_checkpoint(tmp_path / "script.pt")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_broken_files_are_refused(tmp_path: Path, suffix: str) -> None:
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".pth":
        torch.save(STATE, whole)
    else:
        save_file(STATE, whole)
    data = whole.read_bytes()
    for name, content, message in (
        ("empty", b"", "is empty"),
        ("noise", b"not a checkpoint at all", "is not a (PyTorch checkpoint|safetensors)"),
        ("cut", data[: len(data) // 2], "damaged or cut off"),
    ):
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=message):
            read_checkpoint(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        read_checkpoint(tmp_path / "none.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        read_checkpoint(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipe_without_a_writer_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="is a pipe or a device"):
        read_checkpoint(tmp_path / "w.pth")


def test_file_larger_than_any_checkpoint_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(whole_files()["bare.pth"])
    os.truncate(tmp_path / "w.pth", 20 * 2**30)
    with pytest.raises(CheckpointError, match="has 20 GiB: expected a checkpoint of at most 8"):
        read_checkpoint(tmp_path / "w.pth")


FIRST = "wavemodules.0.conv.0.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.to(torch.float8_e4m3fn), r"is not a plain tensor \(torch.float8_e4m3fn"),
        (lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.quint8), r"is not a plain tensor \(torch.quint8"),
        (lambda w: w.to("meta"), r"is not a plain tensor \(torch.float32, torch.strided, meta"),
        (lambda w: w.to_sparse(), r"is not a plain tensor \(torch.float32, torch.sparse_coo"),
        (lambda w: w[:1, :1, :1, :1].expand(10**7, *w.shape[1:]), "far more than the file"),
    ],
    ids=["float8", "quantized", "meta", "sparse", "expanded"],
)
def test_error_names_a_tensor_of_a_special_kind(
    tmp_path: Path, change: Callable[[torch.Tensor], torch.Tensor], message: str
) -> None:
    torch.save({**STATE, FIRST: change(STATE[FIRST])}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / "w.pth").build()


def test_small_weight_may_repeat_one_value(tmp_path: Path) -> None:
    repeated = STATE[FIRST][:1, :1, :1, :1].expand(STATE[FIRST].shape)
    torch.save({**STATE, FIRST: repeated}, tmp_path / "w.pth")
    assert torch.equal(read_checkpoint(tmp_path / "w.pth").build().state_dict()[FIRST], repeated)


@pytest.mark.parametrize("field", [{"length": -16}, {"length": "16"}, {"size": (-1, 4)}, {"offset": "0"}], ids=str)
@pytest.mark.parametrize("wrap", [lambda s: s, other_objects], ids=["only tensors", "beside other objects"])
def test_storage_of_impossible_size_is_refused(
    tmp_path: Path, field: dict[str, Any], wrap: Callable[[object], object]
) -> None:
    (tmp_path / "w.pth").write_bytes(archive(pickled(wrap({"w": tensor(**field)}))))
    with pytest.raises(CheckpointError, match="damaged or cut off"):
        read_checkpoint(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (in_itself(), "nested more than 64 deep"),
        (nested(5000), "nested more than 64 deep"),
        (ever_more_paths(40), "more than 100000 attributes"),
    ],
    ids=["in itself", "5000 deep", "ever more paths"],
)
def test_endlessly_nested_torchscript_modules_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "w.pth").write_bytes(archive(content, scripted=True))
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(tmp_path / "w.pth")


def test_deeply_nested_json_in_safetensors_is_refused(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "w.safetensors", {"architecture": "[" * 100_000})
    with pytest.raises(CheckpointError, match="is not a safetensors file, or is damaged.*recursion"):
        read_checkpoint(tmp_path / "w.safetensors")


def test_zip_bomb_is_refused(tmp_path: Path) -> None:
    bomb = archive(
        pickled({"w": tensor(2**25)}), storages={"0": bytes(2**26 + 2**22)}, compression=zipfile.ZIP_DEFLATED
    )
    (tmp_path / "w.pth").write_bytes(bomb)
    with pytest.raises(CheckpointError, match="unpacks to 68 MiB, far more than the file has"):
        read_checkpoint(tmp_path / "w.pth")


@pytest.mark.parametrize("parameters", [{"num_modules": 10**9}, {"final_dim": 10**6}])
def test_network_of_more_weights_than_the_file_has_is_not_built(tmp_path: Path, parameters: dict[str, int]) -> None:
    torch.save(own({**FULL, **parameters}), tmp_path / "w.pth")
    with pytest.raises((CheckpointError, ConfigError), match="many more weights than the file|cannot be built"):
        read_checkpoint(tmp_path / "w.pth").build()


@pytest.mark.parametrize("value", [10**400, [1], torch.ones(2), "x" * 1000], ids=lambda value: type(value).__name__)
def test_record_of_impossible_hyper_parameters_is_refused(tmp_path: Path, value: object) -> None:
    torch.save(own({**FULL, "level": value}), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="its record of hyper-parameters is damaged"):
        read_checkpoint(tmp_path / "w.pth")


def test_control_characters_in_names_are_escaped_in_errors(tmp_path: Path) -> None:
    torch.save({**STATE, "a\nb": torch.ones(1)}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"one of its entries is named 'a\\nb'"):
        read_checkpoint(tmp_path / "w.pth")


def test_damaged_record_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "whole.pt", build_model("wavepaint", {}), architecture="wavepaint", parameters={})
    content = torch.load(tmp_path / "whole.pt", weights_only=True)
    for key in ("training", "resume"):
        torch.save({**content, key: 3}, tmp_path / "damaged.pt")
        with pytest.raises(CheckpointError, match=f"damaged.pt is damaged: its '{key}' is int"):
            read_checkpoint(tmp_path / "damaged.pt")


def test_bare_weights_contain_the_wavelet_and_older_checkpoints_without_it_still_open(tmp_path: Path) -> None:
    parameters = {**FULL, "wavelet": "db2"}
    model = randomise(build_model("wavepaint", parameters))
    torch.save(model.state_dict(), tmp_path / "bare.pth")
    assert read_checkpoint(tmp_path / "bare.pth").parameters["wavelet"] == "db2"
    with pytest.raises(CheckpointError, match="wavelet is given as 'haar', and the file has 'db2'"):
        read_checkpoint(tmp_path / "bare.pth", {"wavelet": "haar"})
    state = {name: tensor for name, tensor in model.state_dict().items() if name != "wavelet_name"}
    record = {"name": "wavepaint", "hyper_parameters": parameters}
    torch.save({"architecture": record, "model": state}, tmp_path / "older.pt")
    torch.save(state, tmp_path / "older.pth")
    image, mask = torch.rand(1, 3, 16, 16), torch.ones(1, 1, 16, 16)
    for checkpoint in (
        read_checkpoint(tmp_path / "bare.pth"),
        read_checkpoint(tmp_path / "older.pt"),
        read_checkpoint(tmp_path / "older.pth", {"wavelet": "db2"}),
    ):
        with torch.no_grad():
            assert torch.equal(checkpoint.build()(image, mask), model(image, mask))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("prefill_levels", 3, "its prefill_num_levels is 5, and this network's is 3"),
        ("wavelet", "sym2", r"its wavelet_name is \[100, 98, 50\], and this network's is"),
    ],
)
def test_weights_with_other_settings_are_not_loaded(tmp_path: Path, name: str, value: Any, message: str) -> None:
    state = build_model("wavepaint", {**FULL, "wavelet": "db2"}).state_dict()
    model = build_model("wavepaint", {**FULL, "wavelet": "db2", name: value})
    with pytest.raises(CheckpointError, match=message):
        load_strictly(model, state, tmp_path / "w.pt")


def test_entries_of_impossible_shapes_are_refused(tmp_path: Path) -> None:
    for name in ("wavemodules.0.layers.0.reduction.weight", "prefill_num_levels"):
        torch.save({**STATE, name: torch.ones(0)}, tmp_path / "w.pth")
        with pytest.raises(CheckpointError, match="not a state dict of a known architecture"):
            read_checkpoint(tmp_path / "w.pth")
