"""Hostile manifests: fields of wrong types and sizes, invalid JSON, and paths that are not files."""

import copy
import json
import os
import random
import socket
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from tests.fakes.bundle import REPORT
from tests.hostile import Case
from wavepaint import Inpainter
from wavepaint.cli import wp
from wavepaint.contract import MANIFEST_NAME, describe_files

Change = Callable[[dict[str, Any]], Any]

_SIDE = 16


def make_model(colour: TensorProto | None = None) -> bytes:
    """Return an ONNX file of a few hundred bytes that fills the hole with one colour."""
    channels_by_name = {"image": 3, "mask": 1, "image_out": 3}
    image, mask, out = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", channels, "H", "W"])
        for name, channels in channels_by_name.items()
    )
    colour = colour or numpy_helper.from_array(np.full((1, 3, 1, 1), 0.5, np.float32), "colour")
    nodes = [
        helper.make_node("Cast", ["mask"], ["hole"], to=TensorProto.BOOL),
        helper.make_node("Where", ["hole", "colour", "image"], ["image_out"]),
    ]
    graph = helper.make_graph(nodes, "colour", [image, mask], [out], [colour])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def write_small_bundle(folder: Path, model: bytes | None = None) -> dict[str, Any]:
    """Write a bundle of a small model and a stand-in for its plan; return the manifest."""
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(make_model() if model is None else model)
    (folder / "model.plan").write_bytes(b"plan")
    files = describe_files(folder)
    plan = {
        "library": "tensorrt", "library_version": "11.0", "compute_capabilities": ["sm90"], "ahead_of_time": False,
        "profiles": [{"min": [1, 8, 8], "opt": [1, 64, 64], "max": [4, 128, 128]}], "workspace_mb": None,
        "optimization_level": None, "onnx": "model.onnx", "onnx_sha256": files["model.onnx"]["sha256"],
    }  # fmt: skip
    manifest: dict[str, Any] = {
        "format": "wavepaint-bundle",
        "format_version": 3,
        "name": "small",
        "task": "inpainting",
        "architecture": "wavepaint",
        "hyper_parameters": {"level": 2},
        "num_parameters": 3,
        "size_multiple": 8,
        "macs_per_pixel": 10.0,
        "activation_bytes_per_pixel": 28.0,
        "artifacts": [
            {"path": "model.onnx", "kind": "onnx", "precision": "float32", "details": {"opset": 18, "fused": True}},
            {"path": "model.plan", "kind": "tensorrt", "precision": "float32", "details": plan},
        ],
        "files": files,
        "source": {"file": "small.pt", "sha256": "0" * 64},
        "versions": {"wavepaint": "0.1.0"},
        "verification": {"model.onnx": [copy.deepcopy(REPORT)], "model.plan": []},
        "padding": "reflect",
        "training": {
            "config": {"recipe": "default", "data": {"crop_size": 64}, "optimization": {"batch_size": 4}},
            "step": 3,
            "seconds": 60.0,
            "device": "cpu",
            "data": {"train": {"num_photos": 2}, "val": {"num_photos": 1}},
        },
    }
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    return manifest


def changed(change: Change) -> Callable[[Path], Path]:
    """Return a writer of a small bundle with a changed manifest."""

    def write(folder: Path) -> Path:
        manifest = write_small_bundle(folder)
        change(manifest)
        (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
        return folder

    return write


def replaced(content: bytes) -> Callable[[Path], Path]:
    """Return a writer of a small bundle with these bytes as its manifest."""

    def write(folder: Path) -> Path:
        write_small_bundle(folder)
        (folder / MANIFEST_NAME).write_bytes(content)
        return folder

    return write


def sparse_file(name: str, size: int, declared: int) -> Callable[[Path], Path]:
    """Return a writer of a bundle with a sparse file of one size, declared with another, in bytes."""

    def write(folder: Path) -> Path:
        changed(lambda manifest: manifest["files"][name].update(bytes=declared))(folder)
        os.truncate(folder / name, size)
        return folder

    return write


def no_file(make: Callable[[Path], Any], name: str = MANIFEST_NAME) -> Callable[[Path], Path]:
    """Return a writer of a bundle in which something else replaces a file."""

    def write(folder: Path) -> Path:
        write_small_bundle(folder)
        (folder / name).unlink()
        make(folder / name)
        return folder

    return write


def _bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": [value]}
    return value


_GIB = 1 << 30

_NAMED: dict[str, Callable[[Path], Path]] = {
    "a huge size multiple": changed(lambda m: m.update(size_multiple=10**9)),
    "activations that are NaN": changed(lambda m: m.update(activation_bytes_per_pixel=float("nan"))),
    "activations of 1e300 bytes": changed(lambda m: m.update(activation_bytes_per_pixel=1e300)),
    "activations of 400 digits": changed(lambda m: m.update(activation_bytes_per_pixel=10**400)),
    "reports that are a list": changed(lambda m: m.update(verification=[])),
    "reports that are a number": changed(lambda m: m.update(verification={"model.onnx": 5})),
    "a report that is a number": changed(lambda m: m.update(verification={"model.onnx": [5]})),
    "an empty report": changed(lambda m: m.update(verification={"model.onnx": [{}]})),
    "a report without measurements": changed(lambda m: m["verification"]["model.onnx"][0].pop("num_cases")),
    "a precision that is a list": changed(lambda m: m["artifacts"][0].update(precision=["float32"])),
    "thousands of levels": replaced(b'{"format": ' + b"[" * 100_000),
    "a hundred levels": changed(lambda m: m.update(training=_nested(50))),
    "a crop of 400 digits": changed(lambda m: m["training"]["config"]["data"].update(crop_size=10**400)),
    "a crop that is NaN": changed(lambda m: m["training"]["config"]["data"].update(crop_size=float("nan"))),
    "a negative crop": changed(lambda m: m["training"]["config"]["data"].update(crop_size=-1)),
    "a lone surrogate as name": changed(lambda m: m.update(name="\ud800")),
    "a lone surrogate as key": changed(lambda m: m["hyper_parameters"].update({"\udfff": 1})),
    "a lone surrogate as a file's name": changed(lambda m: m["files"].update({"\ud800": m["files"]["model.onnx"]})),
    "a surrogate under a key of two lines": changed(lambda m: m["training"].update({"a\nb" * 1000: "\ud800"})),
    "a report of a name of two lines": changed(lambda m: m["verification"].update({"a\nb": [{}]})),
    "a version of two lines": changed(lambda m: m.update(format_version="3\n4")),
    "an I/O dtype of two lines": changed(lambda m: m["artifacts"][0].update(edges="a\nb" * 1000)),
    "a number of 5,000 digits": replaced(b'{"format": ' + b"9" * 5000 + b"}"),
    "a quarter of a million values": changed(lambda m: m.update(training={"a": [[]] * 250_000}, size_multiple=0)),
    "more than a mebibyte": changed(lambda m: m["training"].update(values=[[]] * 300_000)),
    "a manifest of 1 TiB": no_file(lambda path: (path.touch(), os.truncate(path, 1 << 40))),
    "a pipe as manifest": no_file(os.mkfifo),
    "a socket as manifest": no_file(_bind),
    "a folder as manifest": no_file(Path.mkdir),
    "a device as manifest": no_file(lambda path: path.symlink_to("/dev/zero")),
    "a link to itself as manifest": no_file(lambda path: path.symlink_to(path.name)),
    "a pipe as model": no_file(os.mkfifo, "model.onnx"),
    "20 GiB that should be 4 kB": sparse_file("model.plan", 20 * _GIB, 4096),
    "20 GiB as declared": sparse_file("model.plan", 20 * _GIB, 20 * _GIB),
    "a model from outside": changed(lambda m: m["artifacts"][0].update(path="../model.onnx")),
    "a listed file from outside": changed(lambda m: m["files"].update({"..": m["files"]["model.onnx"]})),
    "a model in another format": changed(lambda m: m["artifacts"][0].update(path="model.plan")),
    "a plan from another engine": changed(lambda m: m["artifacts"][1].update(kind="coreml")),
    "a plan without details": changed(lambda m: m["artifacts"][1].update(details={})),
    "a plan for numbers": changed(lambda m: m["artifacts"][1]["details"].update(compute_capabilities=[90])),
    "a plan of a model from outside": changed(lambda m: m["artifacts"][1]["details"].update(onnx="../../x")),
    "no model": changed(lambda m: m.update(artifacts=[])),
    "UTF-16": replaced(json.dumps({"format": "wavepaint-bundle"}).encode("utf-16")),
    "an empty file": replaced(b""),
}  # fmt: skip

_VALUES = [
    None, True, -1, 0, 1, 2**63, 10**400, 0.5, float("nan"), float("inf"), "", "x", "\ud800", "\x00", "a\nb", "../x",
    "model.plan", "9" * 5000, [], [[]], {}, {"a": 1}, [1, 2, 3], _nested(40),
]  # fmt: skip


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container of a manifest with each key or index in it."""
    for key in list(value) if isinstance(value, dict) else range(len(value)):
        yield value, key
        if isinstance(value[key], dict | list):
            yield from _places(value[key])


def _mutation(rng: random.Random, index: int) -> Case:
    """Return a manifest with one to three fields replaced or removed, or with damaged text."""
    seed = rng.randrange(2**32)

    def write(folder: Path) -> Path:
        again = random.Random(seed)
        manifest = write_small_bundle(folder)
        if again.random() < 0.2:
            text = bytearray(json.dumps(manifest).encode())
            for _ in range(again.randint(1, 3)):
                text[again.randrange(len(text))] = again.randrange(256)
            (folder / MANIFEST_NAME).write_bytes(text[: again.randrange(len(text))] if again.random() < 0.3 else text)
            return folder
        for _ in range(again.randint(1, 3)):
            container, key = again.choice(list(_places(manifest)))
            if again.random() < 0.2:
                del container[key]
            else:
                container[key] = copy.deepcopy(again.choice(_VALUES))
        (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
        return folder

    return Case(f"mutation {index} of seed {seed}", write)


def make_cases(seed: int, count: int) -> Iterator[Case]:
    """Yield the named cases, then mutations of a small bundle's manifest."""
    rng = random.Random(seed)
    named = (Case(name, write) for name, write in _NAMED.items())
    yield from islice(chain(named, (_mutation(rng, index) for index in range(count))), count)


def read(path: Path) -> None:
    """Open a bundle, fill a hole with it, and show it."""
    image = np.zeros((_SIDE, _SIDE, 3), np.uint8)
    hole = np.eye(_SIDE, dtype=bool)
    with Inpainter(path) as inpainter:
        filled = inpainter.fill_array(image, hole)
    assert not filled[~hole].any()
    for arguments in (["info", "--json", str(path)], ["info", str(path)]):
        CliRunner().invoke(wp, arguments, catch_exceptions=False, standalone_mode=False)
