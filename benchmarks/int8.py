"""Is int8 worth it? The default model with explicit quantize and dequantize nodes, calibrated on photos.

ONNX Runtime's static quantization quantizes the convolutions: weights symmetrically per channel, activations by their
extremes over the calibration photos. One form has all convolutions in int8, the other all except the first and last of
each module, which process the image itself. Each form is compared with the float32 model inside the holes of other
photos, and timed beside float32 and bfloat16. The report, int8.json and int8.md, goes into a new folder.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image

from wavepaint.bench.report import describe_run, make_markdown_table, write_report
from wavepaint.cli.one_line_errors import OneLineErrors
from wavepaint.contract import INPUT_IMAGE, INPUT_MASK, Artifact, Model, Precision, default_bundle_folder, read_bundle
from wavepaint.runtime.engines.comparison import measure_psnr_hole_db
from wavepaint.runtime.engines.engine import EngineName, ExecutionConfig
from wavepaint.runtime.engines.openvino import cpu_precisions
from wavepaint.runtime.engines.registry import open_execution

SIDE, WARMUP_CALLS, CALLS = 256, 2, 10


def load_cases(folder: Path, count: int, seed: int) -> list[tuple[Any, Any]]:
    """Return photos (1, 3, S, S) with masks (1, 1, S, S) of a stroke and a box."""
    rng = np.random.default_rng(seed)
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    if len(paths) < count:
        raise click.UsageError(f"{folder} has {len(paths)} photos: expected {count} or more.")
    cases = []
    for path in paths[:count]:
        with Image.open(path) as photo:
            pixels = np.asarray(photo.convert("RGB").resize((SIDE, SIDE)), np.float32) / np.float32(255)
        mask = np.zeros((1, 1, SIDE, SIDE), np.float32)
        top, left = rng.integers(16, SIDE - 96, 2)
        mask[..., top : top + rng.integers(16, 64), left : left + rng.integers(16, 64)] = 1
        row = rng.integers(8, SIDE - 8)
        mask[..., row - 4 : row + 4, 20:-20] = 1
        cases.append((np.ascontiguousarray(pixels.transpose(2, 0, 1))[None], mask))
    return cases


class Reader(CalibrationDataReader):
    """Gives the cases to the calibration."""

    def __init__(self, cases: list[tuple[Any, Any]]) -> None:
        self.cases: Iterator[tuple[Any, Any]] = iter(cases)

    def get_next(self) -> dict[str, Any] | None:
        case = next(self.cases, None)
        return None if case is None else {INPUT_IMAGE: case[0], INPUT_MASK: case[1]}


def list_edge_layers(path: Path) -> list[str]:
    """Return the convolutions that read the image or write the correction: stem, colours, upsampling."""
    model = onnx.load(path)
    weights = ("conv.0.first", "conv.0.second", "conv.0.composed", "colour", "upsample.conv")
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Conv" and any(part in name for name in node.input for part in weights)
    ]


def quantize(source: Path, target: Path, cases: list[tuple[Any, Any]], excluded: list[str]) -> None:
    quantize_static(
        source,
        target,
        Reader(cases),
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=["Conv", "ConvTranspose"],
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        nodes_to_exclude=excluded,
    )


def describe_psnr(row: dict[str, Any]) -> str:
    if np.isinf(row["min_psnr_db"]):
        return "equal"
    return f"{row['min_psnr_db']:.1f}, {row['median_psnr_db']:.1f} dB"


@click.command(cls=OneLineErrors)
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder for the report.")
@click.option("--calibrate", required=True, type=click.Path(path_type=Path, exists=True), help="Folder of photos.")
@click.option("--judge", required=True, type=click.Path(path_type=Path, exists=True), help="Folder of other photos.")
@click.option("--rounds", type=click.IntRange(min=3), default=5, show_default=True, help="Alternating rounds.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True, help="CPU threads.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier report.")
def main(out: Path, calibrate: Path, judge: Path, rounds: int, threads: int, overwrite: bool) -> None:
    """Measure the quality and the speed of int8."""
    bundle = read_bundle(default_bundle_folder())
    multiple = bundle.manifest.size_multiple
    source = bundle.locate(bundle.find_artifact("onnx", "float32"))
    cases = load_cases(judge, 10, 1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # The calibration needs known shapes and folded constants.
        quant_pre_process(source, folder / "float32.onnx", skip_symbolic_shape=True)
        calibration = load_cases(calibrate, 32, 0)
        quantize(folder / "float32.onnx", folder / "all.onnx", calibration, [])
        quantize(folder / "float32.onnx", folder / "inner.onnx", calibration, list_edge_layers(folder / "float32.onnx"))
        cells: list[tuple[str, str, EngineName, Precision]] = [
            ("float32", "float32.onnx", "ort-cpu", "float32"),
            ("int8, every convolution", "all.onnx", "ort-cpu", "float32"),
            ("int8, inner convolutions", "inner.onnx", "ort-cpu", "float32"),
            ("float32", "float32.onnx", "openvino", "float32"),
            ("bfloat16", "float32.onnx", "openvino", "bfloat16"),
            ("int8, every convolution", "all.onnx", "openvino", "float32"),
            ("int8, inner convolutions", "inner.onnx", "openvino", "float32"),
            ("int8, inner convolutions, rest bfloat16", "inner.onnx", "openvino", "bfloat16"),
        ]
        cells = [cell for cell in cells if cell[2] != "openvino" or cell[3] in cpu_precisions()]
        latencies: dict[int, list[float]] = {index: [] for index in range(len(cells))}
        expected: list[Any] = []
        for round_number in range(rounds):
            for index, (label, file, engine, arithmetic) in enumerate(cells):
                model = Model(folder / file, Artifact(path=file, kind="onnx", precision="float32"), multiple)
                with open_execution(ExecutionConfig(engine, model, arithmetic), threads=threads) as session:
                    if round_number == 0:
                        outputs = [session.run(*case) for case in cases]
                        expected = expected or outputs
                        psnrs = [
                            measure_psnr_hole_db(output, wanted, mask)
                            for output, wanted, (_, mask) in zip(outputs, expected, cases, strict=True)
                        ]
                        rows.append(
                            {
                                "label": label,
                                "engine": session.engine,
                                "min_psnr_db": min(psnrs),
                                "median_psnr_db": float(np.median(psnrs)),
                                "bytes": (folder / file).stat().st_size,
                            }
                        )
                    for call in range(WARMUP_CALLS + CALLS):
                        started = time.perf_counter()
                        session.run(*cases[0])
                        if call >= WARMUP_CALLS:
                            latencies[index].append((time.perf_counter() - started) * 1e3)
    for index, row in enumerate(rows):
        row["p50_ms"] = float(np.median(latencies[index]))
    report = {
        **describe_run("int8"),
        "onnxruntime": onnxruntime.__version__,
        "rows": rows,
    }
    machine = report["machine"]
    lines = [
        "# int8",
        "",
        f"{report['date'][:10]}, default model, {SIDE}x{SIDE} pixels, batch 1, {rounds} alternating rounds of {CALLS} "
        f"calls, {threads} threads, {machine['processor']}, quantized by ONNX Runtime {onnxruntime.__version__} on 32 "
        f"photos, compared with float32 inside the holes of 10 others. Command: `{report['command']}`",
        "",
        *make_markdown_table(
            [
                ("form", "engine", "p50 ms", "PSNR to float32: lowest, median", "MB"),
                *(
                    (
                        row["label"],
                        row["engine"],
                        f"{row['p50_ms']:.1f}",
                        describe_psnr(row),
                        f"{row['bytes'] / 1e6:.1f}",
                    )
                    for row in rows
                ),
            ]
        ),
    ]
    page = "\n".join(lines) + "\n"
    write_report(out, "int8", report, page, overwrite=overwrite)
    click.echo(page)


if __name__ == "__main__":
    main()
