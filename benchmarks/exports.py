"""Which form of an export is fastest? Unfused and both fused forms, in every precision and CPU engine, in one run.

Every export is compared with PyTorch before it is timed. Rounds alternate (A B A B ...), so that a drift of the
machine's speed affects all forms alike. Only one session is open at a time, because the idle threads of another would
spin on its cores. Weights are random, which are as fast as trained ones. The report, exports.json and exports.md, goes
into a new folder.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from wavepaint.bench.report import describe_run, make_markdown_table, write_report
from wavepaint.cli.one_line_errors import OneLineErrors
from wavepaint.cli.progress import print_line
from wavepaint.contract import Artifact, Model, Precision, Report
from wavepaint.errors import VerificationError
from wavepaint.export.bundle import torch_suite
from wavepaint.export.fusion.fuse import fuse
from wavepaint.export.precision import to_half
from wavepaint.export.to_onnx import BFLOAT16_OPSET, OPSET, export_onnx
from wavepaint.export.verify import describe_report, verify_session
from wavepaint.models.registry import HyperParameters, build_model, get_architecture
from wavepaint.runtime.engines.comparison import choose_budget, make_report
from wavepaint.runtime.engines.engine import ExecutionConfig
from wavepaint.runtime.engines.registry import find_runnable, open_execution
from wavepaint.runtime.engines.session import Session, make_batch
from wavepaint.training.recipes import get_recipe

NETWORKS: dict[str, HyperParameters] = {
    "WavePaint 4x4x128, mult 2": {
        "num_modules": 4,
        "blocks_per_module": 4,
        "mult": 2,
        "final_dim": 128,
        "ff_channel": 128,
    },
    "default": get_recipe("default-textures").hyper_parameters,
}
FORMS = ("unfused", "transposed", "phases")
DTYPES: dict[Precision, torch.dtype | None] = {"float32": None, "float16": torch.float16, "bfloat16": torch.bfloat16}
WARMUP_CALLS, CALLS = 2, 5


@dataclass
class Cell:
    """One export in one engine."""

    form: str
    execution: ExecutionConfig
    engine_name: str = ""
    latencies_ms: list[float] = field(default_factory=list)
    report: Report | None = None

    def open(self, threads: int | None) -> Session:
        return open_execution(self.execution, threads=threads)


def count_gmac(network: torch.nn.Module, side: int) -> float:
    """Return the billions of multiply-accumulates for one image."""
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), torch.no_grad(), counter:
        network.to("meta")(torch.zeros(1, 3, side, side), torch.zeros(1, 1, side, side))
    return float(counter.get_total_flops() / 2e9)


def export_cells(network: torch.nn.Module, multiple: int, folder: Path, cases: Any) -> Iterator[Cell]:
    """Export every form in every precision, and yield a cell for each engine that runs it."""
    for form in FORMS:
        shaped = network if form == "unfused" else fuse(network, upsampling=form)  # type: ignore[arg-type]
        for precision, dtype in DTYPES.items():
            artifact = Artifact(path=f"{form}.{precision}.onnx", kind="onnx", precision=precision)
            print_line(f"  exporting {artifact.path} ...")
            try:
                exported = shaped if dtype is None else to_half(shaped, cases, dtype=dtype).network
            except VerificationError as error:
                print_line(f"  {error}")
                continue
            opset = BFLOAT16_OPSET if precision == "bfloat16" else OPSET
            export_onnx(exported, multiple, folder / artifact.path, opset=opset)
            for execution in find_runnable(Model(folder / artifact.path, artifact, multiple)):
                yield Cell(form, execution)


def race(parameters: HyperParameters, side: int, rounds: int, threads: int | None) -> dict[str, Any]:
    torch.manual_seed(0)
    network = build_model("wavepaint", parameters).eval()
    multiple = get_architecture("wavepaint").size_multiple(parameters)
    suite = torch_suite(network, multiple)
    image, mask = make_batch(1, side, side)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cells = list(export_cells(network, multiple, folder, suite.cases))
        for cell in cells:
            budget = choose_budget(cell.execution.artifact, cell.execution.arithmetic)
            with cell.open(threads) as session:
                cell.engine_name = session.engine
                report = make_report(verify_session(session, suite, budget), budget, suite.reference, session)
            cell.report = report
            if not report["passed"]:
                print_line(f"  {describe_report(report)}")
        for number in range(rounds):
            print_line(f"  round {number + 1} of {rounds} ...")
            for cell in cells:
                with cell.open(threads) as session:
                    for _ in range(WARMUP_CALLS):
                        session.run(image, mask)
                    for _ in range(CALLS):
                        started = time.perf_counter()
                        session.run(image, mask)
                        cell.latencies_ms.append((time.perf_counter() - started) * 1e3)
    counts = {form: count_gmac(fuse(network, upsampling=form), side) for form in FORMS[1:]}  # type: ignore[arg-type]
    counts["unfused"] = count_gmac(network, side)
    return {"rows": [summarise(cell, cells, rounds) for cell in cells], "gmac": counts}


def summarise(cell: Cell, cells: list[Cell], rounds: int) -> dict[str, Any]:
    """Return a cell's row of the report; ratios are medians over the rounds."""

    def per_round(other: Cell) -> Any:
        return np.median(np.reshape(other.latencies_ms, (rounds, CALLS)), axis=1)

    def find_kind(other: Cell) -> tuple[str, ...]:
        return other.execution.artifact.precision, other.execution.engine, other.execution.arithmetic

    twins = [other for other in cells if find_kind(other) == find_kind(cell) and other.form == "unfused"]
    return {
        "form": cell.form,
        "file": cell.execution.artifact.precision,
        "engine": cell.engine_name,
        "arithmetic": cell.execution.arithmetic,
        "p50_ms": float(np.median(cell.latencies_ms)),
        "p10_ms": float(np.percentile(cell.latencies_ms, 10)),
        "p90_ms": float(np.percentile(cell.latencies_ms, 90)),
        "ratio_to_unfused": float(np.median(per_round(twins[0]) / per_round(cell))) if twins else None,
        "ratio_to_first": float(np.median(per_round(cells[0]) / per_round(cell))),
        "max_error": cell.report["max_error"] if cell.report else None,
        "min_psnr_hole_db": cell.report["min_psnr_hole_db"] if cell.report else None,
    }


def markdown(report: dict[str, Any]) -> str:
    machine = report["machine"]
    lines = [
        "# Forms of an export",
        "",
        f"{report['date'][:10]}, batch 1, {report['side']}x{report['side']} pixels, {report['rounds']} alternating "
        f"rounds of {CALLS} calls, {machine['processor']}, {machine['cores']} cores, threads "
        f"{report['threads'] or 'default'}, PyTorch {report['torch']}. Command: `{report['command']}`",
        "",
        "`unfused` is the network as the authors wrote it, `transposed` and `phases` are the two exact fusions "
        "([export/fusion/fuse.py](../../../export/fusion/fuse.py)). Each row was compared with PyTorch float32 "
        "in 10 cases before it was timed: largest error, lowest PSNR inside the hole.",
    ]
    for network, result in report["results"].items():
        counts = ", ".join(f"{form} {result['gmac'][form]:.1f}" for form in FORMS)
        lines += [
            "",
            f"## {network}",
            "",
            f"GMAC for one image: {counts}.",
            "",
        ]
        header = ("engine", "arithmetic", "file", "form", "p50 (p10 to p90) ms", "images/s", "to unfused")
        rows: list[tuple[str, ...]] = [(*header, "to the first row", "largest error", "PSNR dB")]
        for row in sorted(result["rows"], key=lambda r: (r["engine"] != "", r["engine"], r["arithmetic"], r["file"])):
            ratio = "-" if row["ratio_to_unfused"] is None else f"{row['ratio_to_unfused']:.2f}"
            times = f"{row['p50_ms']:.1f} ({row['p10_ms']:.1f} to {row['p90_ms']:.1f})"
            names = (row["engine"], row["arithmetic"], row["file"], row["form"])
            values = (f"{row['ratio_to_first']:.2f}", f"{row['max_error']:.1e}", f"{row['min_psnr_hole_db']:.1f}")
            rows.append((*names, times, f"{1e3 / row['p50_ms']:.1f}", ratio, *values))
        lines += make_markdown_table(rows)
    return "\n".join(lines) + "\n"


@click.command(cls=OneLineErrors)
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder for the report.")
@click.option("--size", "side", type=click.IntRange(min=16), default=256, show_default=True, help="Side in pixels.")
@click.option("--rounds", type=click.IntRange(min=3), default=5, show_default=True, help="Alternating rounds.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. Default: each engine's choice.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier report.")
def main(out: Path, side: int, rounds: int, threads: int | None, overwrite: bool) -> None:
    """Time unfused and fused exports in every precision and CPU engine."""
    results = {}
    for name, parameters in NETWORKS.items():
        print_line(name)
        results[name] = race(parameters, side, rounds, threads)
    report = {
        **describe_run("exports"),
        "torch": str(torch.__version__),
        "threads": threads,
        "side": side,
        "rounds": rounds,
        "results": results,
    }
    page = markdown(report)
    write_report(out, "exports", report, page, overwrite=overwrite)
    click.echo(page)


if __name__ == "__main__":
    main()
