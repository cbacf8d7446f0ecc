"""Hostile checkpoints: dangerous pickles, invalid tensors, invalid records, and broken files of each kind.

``RAN`` is not empty if reading a file ran code from it.
"""

import io
import json
import pickle
import random
import struct
import types
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from tests.conftest import FULL, randomise
from tests.hostile import Case
from tests.hostile.mutations import GENERAL
from tests.hostile.writing import Write, mix_cases, write, write_pipe, write_sparse
from wavepaint.models.registry import build_model
from wavepaint.weights.checkpoint import FORMAT, read_checkpoint

RAN: list[object] = []


def read(path: Path) -> None:
    """Read a checkpoint, build its network, and check that no code of the file ran."""
    try:
        read_checkpoint(path).build()
    finally:
        assert not RAN, f"{path} ran code"


def run(*arguments: object) -> dict[str, object]:
    """Must never be called by reading a file."""
    RAN.append(arguments)
    return {}


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class Storage:
    """Pickles as a storage of an archive, with any fields."""

    def __init__(self, *identity: Any) -> None:
        self.identity = identity


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return obj.identity if isinstance(obj, Storage) else None


def pickled(content: Any) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, protocol=2).dump(content)
    return stream.getvalue()


def archive(
    data: bytes, *, storages: Mapping[str, bytes] | None = None, scripted: bool = False, compression: int = 0
) -> bytes:
    """Return an archive in PyTorch's layout, with any pickle and any storages."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as file:
        records = {"data.pkl": data, "version": b"3\n", "byteorder": b"little"}
        if scripted:
            records["constants.pkl"] = pickled(())
        records |= {f"data/{key}": content for key, content in (storages or {"0": bytes(64)}).items()}
        for name, content in records.items():
            file.writestr(zipfile.ZipInfo(f"archive/{name}"), content, compression)  # without a timestamp
    return stream.getvalue()


def tensor(
    length: Any = 16,
    offset: Any = 0,
    size: Any = (4, 4),
    stride: Any = (4, 1),
    *,
    kind: Any = torch.FloatStorage,
    key: Any = "0",
) -> Call:
    """Return a call that rebuilds a tensor from a storage of 64 bytes."""
    storage = Storage("storage", kind, key, "cpu", length)
    return Call(torch._utils._rebuild_tensor_v2, storage, offset, size, stride, False, OrderedDict())


def other_objects(content: Any) -> dict[str, Any]:
    """Return content with an object that ``torch.load`` refuses, so that the archive is read without the object."""
    return {"callbacks": Call(types.SimpleNamespace), "state_dict": content}


def nested(depth: int) -> bytes:
    """Return the pickle of an object in an object in an object ..."""
    make = b"ctypes\nSimpleNamespace\n)R}X\1\0\0\0a"
    return b"\x80\x02" + make * depth + b"K\0" + b"sb" * depth + b"."


def in_itself() -> bytes:
    return b"\x80\x02ctypes\nSimpleNamespace\n)Rq\0}X\1\0\0\0ah\0sb."


def ever_more_paths(depth: int) -> bytes:
    """Return the pickle of an object with two references to an object with two references to an object ..."""
    content: Any = types.SimpleNamespace()
    for _ in range(depth):
        content = types.SimpleNamespace(a=content, b=content)
    return pickled(content)


def saved(content: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


@cache
def tiny_state() -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in randomise(build_model("wavepaint", FULL)).state_dict().items()}


def own(parameters: Any, **entries: Any) -> dict[str, Any]:
    """Return the content of this project's own checkpoint."""
    record = {"name": "wavepaint", "hyper_parameters": parameters}
    return {"format": FORMAT, "architecture": record, "model": tiny_state(), "training": {}, "resume": {}, **entries}


def safetensors(header: bytes, content: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + content


@cache
def whole_files() -> dict[str, bytes]:
    """Return valid files of every kind that is read."""
    state = tiny_state()
    metadata = {"architecture": json.dumps({"name": "wavepaint", "hyper_parameters": FULL})}
    module = torch.nn.Module()
    module.weight = torch.nn.Parameter(torch.ones(3))
    scripted = torch.jit.script(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)))
    stream = io.BytesIO()
    torch.jit.save(scripted, stream)
    return {
        "bare.pth": saved(state),
        "own.pt": saved(own(FULL)),
        "old.pth": saved(state, _use_new_zipfile_serialization=False),
        "lightning.ckpt": saved(other_objects(state)),
        "script.pt": stream.getvalue(),
        "model.safetensors": save(state, metadata),
    }


ODD_FIELDS: tuple[Any, ...] = (
    -1, 0, 1, 2**31, 2**63 - 1, 2**63, -(2**63), 10**30, 1.5, float("nan"), "16", "", None, True, [], (), (0,), (1, 1),
    (-1, 4), (2**40, 2**40), (4, "a"), (10**10,), (0, 0), (2**62, 2**62), {}, b"16", torch.float32
)  # fmt: skip


def _odd_entries(rng: random.Random) -> dict[str, Any]:
    """Return a state dict with one invalid entry."""
    name = rng.choice([name for name, value in tiny_state().items() if value.ndim])
    weight = tiny_state()[name].float()
    quantized = torch.quantize_per_tensor(weight, 0.1, 0, torch.quint8)
    some = weight.flatten()[:1]
    odd: dict[str, Callable[[], Any]] = {
        "float8": lambda: weight.to(rng.choice([torch.float8_e4m3fn, torch.float8_e5m2])),
        "quantized": lambda: quantized,
        "meta": lambda: weight.to("meta"),
        "expanded": lambda: some.expand(rng.choice([8, 10**6, 10**10]), *weight.shape[1:]),
        "expanded to its shape": lambda: some.expand(weight.shape),
        "complex": lambda: weight.to(torch.complex64),
        "sparse": lambda: weight.to_sparse(),
        "empty": lambda: weight[:0],
        "uint16": lambda: weight.to(torch.uint16),
        "transposed": lambda: weight.T.contiguous().T if weight.ndim == 2 else weight,
        "scalar": lambda: torch.tensor(3.0),
        "NaN": lambda: weight * float("nan"),
        "a number": lambda: 3,
    }
    chosen = rng.choice(sorted(odd))
    return {**tiny_state(), name: odd[chosen]()}


def _odd_names(rng: random.Random) -> dict[str, Any]:
    name = rng.choice(["a\nb", "a\u2028b", "\udcff", "", "module.", "generator.", "x" * 100_000, "a\0b", "\x1b[2J"])
    return {**tiny_state(), name: torch.ones(2)}


def _odd_record(rng: random.Random) -> dict[str, Any]:
    """Return this project's own checkpoint with an invalid record."""
    value = rng.choice([*ODD_FIELDS, 10**5, 10**9, 10**400, "x\ny", "x" * 10**6, torch.ones(3), {"a": {}}, [[]] * 9])
    parameters: dict[Any, Any] = {**FULL, rng.choice([*sorted(FULL), "wavelet", "dropout", "borrow", "z", 3]): value}
    return rng.choice(
        [
            own(parameters),
            own(parameters),
            own(FULL, training=value),
            own(FULL, resume=value),
            own(FULL, format=value),
            own(FULL, architecture=value),
            own(FULL, architecture={"name": value, "hyper_parameters": FULL}),
            own(FULL, model=value),
        ]
    )


def _made(rng: random.Random) -> Iterator[tuple[str, Write]]:
    def pth(make: Callable[[], bytes]) -> Write:
        return partial(write, "weights.pth", make)

    # One wrong field of a tensor, read by torch.load, without other objects, and as TorchScript.
    field, value = rng.choice(["length", "offset", "size", "stride", "kind", "key"]), rng.choice(ODD_FIELDS)
    odd = {"weight": tensor(**{field: value})}
    yield f"{field} {value!r:.40}", pth(partial(archive, pickled(odd)))
    yield f"{field} {value!r:.40} beside other objects", pth(partial(archive, pickled(other_objects(odd))))
    scripted = pickled(Call(types.SimpleNamespace, tensor(**{field: value})))
    yield f"{field} {value!r:.40} in TorchScript", pth(partial(archive, scripted, scripted=True))
    depth, is_script = rng.choice([10, 100, 3000, 20_000]), rng.random() < 0.7
    yield f"{depth} objects deep, {is_script=}", pth(partial(archive, nested(depth), scripted=is_script))
    yield "object in itself", pth(partial(archive, in_itself(), scripted=True))
    yield "ever more paths", pth(partial(archive, ever_more_paths(rng.randrange(20, 60)), scripted=True))
    place = rng.choice([2**20, 2**31 - 1, 2**32 - 1])
    memo = b"\x80\x02ctypes\nSimpleNamespace\n)Rr" + struct.pack("<I", place) + b"."
    yield f"place {place} in the memo", pth(partial(archive, memo, scripted=True))
    bomb = partial(archive, pickled({"w": tensor(2**25)}), storages={"0": bytes(2**27)}, compression=8)
    yield "zip bomb", pth(bomb)
    yield "code to run", pth(partial(archive, pickled(Call(run, 1)), scripted=rng.random() < 0.5))
    yield "code to run beside tensors", pth(partial(archive, pickled({"w": tensor(), "x": Call(run, 2)})))
    yield "code to run in an old file", pth(partial(saved, {"x": Call(run, 3)}, _use_new_zipfile_serialization=False))
    levels = rng.choice([10, 1000, 100_000])
    deep = {"architecture": "[" * levels + "]" * rng.choice([levels, 0]), "other": "[" * 9}
    header = json.dumps({"__metadata__": deep, "w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})
    yield (
        f"JSON of {levels} levels",
        partial(write, "weights.safetensors", partial(safetensors, header.encode(), bytes(4))),
    )
    dtype = rng.choice(["F8_E4M3", "F8_E5M2", "F4", "C64", "U16", "BF16", "F64", "I8", "BOOL", "X", ""])
    shape, offsets = rng.choice([[1], [-1], [2**62, 4], [], [0], "a", [1.5]]), rng.choice([[0, 8], [8, 0], [0, 2**60]])
    odd_header = json.dumps({"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}})
    yield (
        f"safetensors {dtype} {shape} {offsets}",
        partial(write, "weights.safetensors", partial(safetensors, odd_header.encode(), bytes(8))),
    )
    length = rng.choice([0, 2**20, 2**40, 2**63, 2**64 - 1])
    yield (
        f"safetensors with a header of {length} bytes",
        partial(write, "weights.safetensors", lambda: struct.pack("<Q", length) + b"{}"),
    )
    for make in (_odd_entries, _odd_names, _odd_record, _odd_entries, _odd_record):
        content = make(rng)
        yield f"{make.__name__} {rng.random()}", pth(partial(saved, content))
    yield "pipe without a writer", partial(write_pipe, "weights.pth")
    name, data = rng.choice(sorted(whole_files().items()))
    yield f"sparse {name}", partial(write_sparse, name, data[: rng.randrange(len(data))], rng.randrange(2**30, 2**36))


def _break(name: str, rng: random.Random) -> bytes:
    """Break a valid file, or only its pickle. The archive is then written again with correct checksums."""
    data = whole_files()[name]
    mutator = rng.choice(GENERAL)
    if name.endswith(".safetensors") or name == "old.pth" or rng.random() < 0.3:
        broken = bytearray(data)
        mutator(broken, rng)
        return bytes(broken)
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(stream, "w") as target:
        for record in source.infolist():
            content = bytearray(source.read(record))
            if record.filename.endswith("/data.pkl"):
                mutator(content, rng)
            target.writestr(zipfile.ZipInfo(record.filename), bytes(content))
    return stream.getvalue()


def _break_one(number: int, rng: random.Random) -> tuple[str, str, bytes]:
    name = rng.choice(sorted(whole_files()))
    return f"{number} broken {name}", name, _break(name, rng)


def make_cases(seed: int, count: int) -> Iterator[Case]:
    """Yield made-up files and broken copies of valid ones in turn."""
    return mix_cases(random.Random(seed), count, _made, _break_one)
