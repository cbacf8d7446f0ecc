"""Which exact form of the block's upsampling, a ConvTranspose 4x4 of stride 2, is fastest?

Each form is timed with its surroundings in a network: a 1x1 convolution before it, and the residual sum and the next
block's 1x1 reduction after it. The report, upsampling.json and upsampling.md, goes into a new folder.

* transposed: the ConvTranspose itself;
* sub-pixel: one 2x2 convolution to four times the channels on the padded grid, pixel shuffle and crop;
* phases, interleaved: four 2x2 convolutions, one for each phase of the output grid, and a pixel shuffle;
* phases, apart: the same without the pixel shuffle;
* Winograd, rows: each phase's 2-tap filter over rows by F(2, 2), with 3 products instead of 4;
* Winograd, both: over rows and columns, with 9 products instead of 16.

Source of the last two: A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), section 4.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavepaint.bench.report import describe_run, make_markdown_table, write_report
from wavepaint.cli.one_line_errors import OneLineErrors
from wavepaint.export.fusion.upsampling import PhaseConvs, PhaseUpsample, SubPixelUpsample, make_conv
from wavepaint.export.to_onnx import OPSET

WARMUP_CALLS, CALLS = 3, 10
ENGINES = ("ONNX Runtime float32", "OpenVINO float32", "OpenVINO bfloat16")

# F(2, 2): outputs m0 + m1 and m1 - m2 of inputs d0, d1, d2 and filter g0, g1, with m = ((d0 - d1) g0, d1 (g0 + g1),
# (d1 - d2) g1). The two phases of an axis read d0..d2 and d1..d3 of one padded axis and share a difference.
_FILTER = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
_SOURCES = ((0, 1, 2), (2, 3, 4))


def _transform(x_NCHW: Tensor, axis: int) -> list[Tensor]:
    """Return the five inputs of both phases' products along an axis that is padded by one on each side."""
    stop = x_NCHW.shape[axis] - 3
    d = [x_NCHW.narrow(axis, k, stop)[(slice(None),) * axis + (slice(None, None, 2),)] for k in range(4)]
    return [d[0] - d[1], d[1], d[1] - d[2], d[2], d[2] - d[3]]


def _list_phases(up: nn.ConvTranspose2d) -> list[nn.Conv2d]:
    return [conv for conv in PhaseConvs(up).convs if isinstance(conv, nn.Conv2d)]


class WinogradRows(nn.Module):
    """Phases by F(2, 2) over rows, directly over columns."""

    def __init__(self, up: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.products = nn.ModuleList()
        for phase in _list_phases(up):
            filters = torch.einsum("ay,oiyx->aoix", _FILTER, phase.weight.detach().double())
            for row in range(3):
                bias = phase.bias if row == 1 else None
                self.products.append(make_conv(filters[row][:, :, None], bias, phase.weight))

    def forward(self, x_NCHW: Tensor) -> list[Tensor]:
        inputs = _transform(F.pad(x_NCHW, (0, 0, 1, 1)), 2)
        outputs = []
        for phase in range(4):
            pad = (1 - phase % 2, phase % 2, 0, 0)
            m = [
                self.products[3 * phase + row](F.pad(inputs[source], pad))
                for row, source in enumerate(_SOURCES[phase // 2])
            ]
            outputs.append(torch.stack([m[0] + m[1], m[1] - m[2]], dim=3).flatten(2, 3))
        return outputs


class WinogradBoth(nn.Module):
    """Phases by F(2x2, 2x2)."""

    def __init__(self, up: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.products = nn.ModuleList()
        for phase in _list_phases(up):
            filters = torch.einsum("ay,bx,oiyx->aboi", _FILTER, _FILTER, phase.weight.detach().double())
            for row in range(3):
                for column in range(3):
                    bias = phase.bias if row == column == 1 else None
                    self.products.append(make_conv(filters[row, column][:, :, None, None], bias, phase.weight))

    def forward(self, x_NCHW: Tensor) -> list[Tensor]:
        grid = [_transform(row, 3) for row in _transform(F.pad(x_NCHW, (1, 1, 1, 1)), 2)]
        outputs = []
        for phase in range(4):
            m = [
                [
                    self.products[9 * phase + 3 * row + column](grid[y][x])
                    for column, x in enumerate(_SOURCES[phase % 2])
                ]
                for row, y in enumerate(_SOURCES[phase // 2])
            ]
            rows = [[m[0][c] + m[1][c] for c in range(3)], [m[1][c] - m[2][c] for c in range(3)]]
            tiles = [tile for r in rows for tile in (r[0] + r[1], r[1] - r[2])]
            outputs.append(F.pixel_shuffle(torch.stack(tiles, dim=2).flatten(1, 2), 2))
        return outputs


class Surrounded(nn.Module):
    """An upsampling with a 1x1 convolution before it, and a residual sum and a 1x1 reduction after it."""

    def __init__(self, upsampling: nn.Module, before: nn.Conv2d, reduction: nn.Conv2d) -> None:
        super().__init__()
        self.upsampling, self.before, self.reduction = upsampling, before, reduction

    def forward(self, x_NCHW: Tensor, residuals: list[Tensor]) -> tuple[Tensor, ...]:
        up = self.upsampling(self.before(x_NCHW))
        outputs = up if isinstance(up, list) else [up]
        sums = [output + residual for output, residual in zip(outputs, residuals, strict=True)]
        return (*sums, *(self.reduction(output) for output in sums))


def make_forms(channels: int) -> tuple[dict[str, nn.Module], Tensor, Tensor]:
    """Return the forms, an input (1, 2C, S, S), and a residual (1, C, 2S, 2S), which also serves as phases."""
    torch.manual_seed(0)
    up = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1)
    assert up.bias is not None
    before, reduction = nn.Conv2d(2 * channels, channels, 1), nn.Conv2d(channels, channels // 4, 1)
    forms: dict[str, nn.Module] = {
        "transposed": up,
        "sub-pixel": SubPixelUpsample(up.weight.detach(), up.bias.detach(), up.weight),
        "phases, interleaved": PhaseUpsample(up),
        "phases, apart": PhaseConvs(up),
        "Winograd, rows": WinogradRows(up),
        "Winograd, both": WinogradBoth(up),
    }
    return (
        {name: Surrounded(form, before, reduction).eval() for name, form in forms.items()},
        torch.rand(1, 2 * channels, 64, 64),
        torch.rand(1, channels, 128, 128),
    )


def _split(grid: Tensor) -> list[Tensor]:
    return [grid[:, :, y::2, x::2].contiguous() for y in (0, 1) for x in (0, 1)]


def open_engine(engine: str, path: Path, threads: int) -> Callable[[dict[str, Any]], Sequence[Any]]:
    if engine.startswith("ONNX"):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return lambda feed: session.run(None, feed)
    import openvino

    hint = "bf16" if engine.endswith("bfloat16") else "f32"
    config = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": str(threads), "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(path, "CPU", config).create_infer_request()
    return lambda feed: list(request.infer(feed).values())


def race(channels: int, rounds: int, threads: int) -> dict[str, dict[str, Any]]:
    forms, x, grid = make_forms(channels)
    exact = forms["transposed"](x, [grid])[0].detach()
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        feeds: dict[str, Any] = {}
        paths: dict[str, Path] = {}
        for name, form in forms.items():
            apart = not isinstance(form.upsampling, nn.ConvTranspose2d | SubPixelUpsample | PhaseUpsample)
            residuals = _split(grid) if apart else [grid]
            outputs = form(x, residuals)
            expected = _split(exact) if apart else [exact]
            error = max(float((o - e).abs().max()) for o, e in zip(outputs, expected, strict=False))
            rows[name] = {"max_error": error}
            paths[name] = Path(folder) / f"{len(paths)}.onnx"
            names = ["x", *(f"residual_{n}" for n in range(len(residuals)))]
            program = torch.onnx.export(
                form, (x, residuals), dynamo=True, opset_version=OPSET, input_names=names, verbose=False
            )
            assert program is not None
            program.save(paths[name])
            feeds[name] = {key: value.numpy() for key, value in zip(names, (x, *residuals), strict=True)}
        for engine in ENGINES:
            latencies: dict[str, list[float]] = {name: [] for name in forms}
            for _ in range(rounds):
                for name in forms:
                    run = open_engine(engine, paths[name], threads)
                    for _ in range(WARMUP_CALLS):
                        run(feeds[name])
                    for _ in range(CALLS):
                        started = time.perf_counter()
                        run(feeds[name])
                        latencies[name].append((time.perf_counter() - started) * 1e3)
            for name, times in latencies.items():
                rows[name][engine] = float(np.median(times))
    return rows


def markdown(report: dict[str, Any]) -> str:
    machine, rows = report["machine"], report["rows"]
    lines = [
        "# Forms of the block's upsampling",
        "",
        f"{report['date'][:10]}, {report['channels']} channels, 64x64 to 128x128 pixels, {report['rounds']} "
        f"alternating rounds of {CALLS} calls, {report['threads']} threads, {machine['processor']}. Milliseconds, and "
        f"the speed relative to the ConvTranspose. Command: `{report['command']}`",
        "",
    ]
    table = [["form", *ENGINES, "largest difference"]]
    for name, row in rows.items():
        cells = [f"{row[engine]:.2f} ({rows['transposed'][engine] / row[engine]:.2f})" for engine in ENGINES]
        table.append([name, *cells, f"{row['max_error']:.1e}"])
    return "\n".join([*lines, *make_markdown_table(table)]) + "\n"


@click.command(cls=OneLineErrors)
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder for the report.")
@click.option("--channels", type=click.IntRange(min=4), default=128, show_default=True, help="Feature channels.")
@click.option("--rounds", type=click.IntRange(min=3), default=5, show_default=True, help="Alternating rounds.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True, help="CPU threads.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier report.")
def main(out: Path, channels: int, rounds: int, threads: int, overwrite: bool) -> None:
    """Time the forms of the upsampling in ONNX Runtime and OpenVINO."""
    report = {
        **describe_run("upsampling"),
        "channels": channels,
        "rounds": rounds,
        "threads": threads,
        "rows": race(channels, rounds, threads),
    }
    page = markdown(report)
    write_report(out, "upsampling", report, page, overwrite=overwrite)
    click.echo(page)


if __name__ == "__main__":
    main()
