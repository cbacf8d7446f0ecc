"""Time the stages of filling one photo: decoding, cutting and pasting, the engine, encoding."""

import io
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
from PIL import Image

from wavepaint.bench.cells import TORCH_ENGINES, Result
from wavepaint.bench.classical import OPENCV
from wavepaint.bench.entrants import Subject
from wavepaint.contract import Precision, assets_folder
from wavepaint.runtime.engines.engine import EngineName
from wavepaint.runtime.engines.session import RunParts, Tensor
from wavepaint.runtime.filling.options import FillOptions
from wavepaint.runtime.images.encode import encode_photo
from wavepaint.runtime.images.read import read_mask, read_photo
from wavepaint.runtime.inpainter import Inpainter

CALLS = 5


@dataclass(frozen=True, kw_only=True)
class StageTimes:
    """Median milliseconds for one JPEG photo and its PNG mask, filled in one piece.

    Attributes:
        model: The subject's name.
        engine: Name on the command line.
        precision: Arithmetic precision.
        side: Height and width in pixels.
        decode_ms: From the files' bytes to pixels.
        prepare_ms: From pixels to the engine's tensors, and from its output into the photo.
        engine_ms: The engine, including copies to the device and back.
        copy_in_ms: The part of ``engine_ms`` that copies to the device; None without a device.
        compute_ms: The part that computes; None if the engine does not measure it.
        copy_out_ms: The part that copies back.
        encode_ms: From pixels to a JPEG's bytes.
    """

    model: str
    engine: str
    precision: str
    side: int
    decode_ms: float
    prepare_ms: float
    engine_ms: float
    copy_in_ms: float | None = None
    compute_ms: float | None = None
    copy_out_ms: float | None = None
    encode_ms: float

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def find_fastest(results: Sequence[Result]) -> list[Result]:
    """Return the fastest result with batch 1 for each model and size, without PyTorch and OpenCV."""
    fastest: dict[tuple[str, int], Result] = {}
    for result in results:
        if result.p50_ms is not None and result.batch == 1 and result.engine not in (*TORCH_ENGINES, OPENCV):
            key = (result.model, result.height)
            if key not in fastest or result.p50_ms < (fastest[key].p50_ms or 0):
                fastest[key] = result
    return list(fastest.values())


def measure_stages(subject: Subject, result: Result, *, threads: int | None = None) -> StageTimes:
    """Fill a photo several times at a result's size, in its engine and precision, and time the stages."""
    photo_bytes, mask_bytes = _make_files(result.height)
    spent: dict[str, list[float]] = {"decode": [], "fill": [], "engine": [], "encode": []}
    batches: list[tuple[Tensor, ...]] = []
    with Inpainter(
        subject.bundle.folder,
        engine=cast(EngineName, result.engine),
        precision=cast(Precision, result.precision),
        threads=threads,
        max_memory_mb=1 << 20,
    ) as inpainter:
        session = inpainter._session
        run = session.run
        in_engine = 0.0

        def timed(*tensors: Tensor) -> Tensor:
            nonlocal in_engine
            batches[:] = [tensors]
            started = time.perf_counter()
            output = run(*tensors)
            in_engine += time.perf_counter() - started
            return output

        session.run = timed  # type: ignore[method-assign]
        for _ in range(CALLS + 1):
            in_engine = 0.0
            photo = _clock(spent["decode"], read_photo, photo_bytes)
            hole = _clock(spent["decode"], read_mask, mask_bytes)
            filled = _clock(spent["fill"], inpainter.fill_photo, photo, hole, FillOptions(strategy="whole"))
            spent["engine"].append(in_engine)
            _clock(spent["encode"], encode_photo, filled)
        parts = session.time_parts(*batches[0], num_runs=CALLS)
    spent["decode"] = [sum(pair) for pair in zip(spent["decode"][::2], spent["decode"][1::2], strict=True)]
    decode, fill, engine, encode = (statistics.median(times[1:]) * 1e3 for times in spent.values())
    return StageTimes(
        model=result.model,
        engine=result.engine,
        precision=result.precision,
        side=result.height,
        decode_ms=decode,
        prepare_ms=max(fill - engine, 0.0),
        engine_ms=engine,
        **dict(zip(RunParts._fields, map(statistics.median, zip(*parts, strict=True)), strict=False)),
        encode_ms=encode,
    )


def _clock(spent: list[float], work: Callable[..., Any], *arguments: Any) -> Any:
    started = time.perf_counter()
    done = work(*arguments)
    spent.append(time.perf_counter() - started)
    return done


def _make_files(side: int) -> tuple[bytes, bytes]:
    photo, mask = io.BytesIO(), io.BytesIO()
    with Image.open(assets_folder() / "verification" / "coffee.jpg") as image:
        image.resize((side, side)).save(photo, "JPEG", quality=92)
    hole = np.zeros((side, side), np.uint8)
    hole[side // 3 : -(-2 * side // 3), side // 3 : -(-2 * side // 3)] = 255
    Image.fromarray(hole).save(mask, "PNG")
    return photo.getvalue(), mask.getvalue()


def make_stage_rows(times: Sequence[StageTimes]) -> list[tuple[str, ...]]:
    """Return the rows of a table, the header first, without empty columns."""
    titles = {
        "decode ms": "decode_ms",
        "cut and paste ms": "prepare_ms",
        "engine ms": "engine_ms",
        "of it copy in": "copy_in_ms",
        "compute": "compute_ms",
        "copy out": "copy_out_ms",
        "encode ms": "encode_ms",
    }
    columns = {title: name for title, name in titles.items() if any(getattr(t, name) is not None for t in times)}
    rows = [("model", "fastest engine", "size", *columns)]
    for t in times:
        values = (getattr(t, name) for name in columns.values())
        texts = ("" if value is None else f"{value:.1f}" for value in values)
        rows.append((t.model, f"{t.engine} {t.precision}", f"{t.side}x{t.side}", *texts))
    return rows
