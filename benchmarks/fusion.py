"""What does exact fusion save? Unfused and fused exports of the same weights, in ONNX Runtime, in one run.

Rounds alternate (A B A B ...), so that a drift of the machine's speed hits both alike; only one session is open at a
time, since the idle threads of another would spin on its cores. Weights are random: speed does not depend on them.
Writes fusion.json and fusion.md into a new folder.
"""

import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from wavepaint import __version__
from wavepaint.atomic import write_folder
from wavepaint.export.fusion import fuse
from wavepaint.export.to_onnx import export_onnx
from wavepaint.models.registry import HyperParameters, build_model, get_architecture
from wavepaint.runtime.ort_session import OrtSession
from wavepaint.timing import describe_machine, make_batch
from wavepaint.training.config import get_recipe

NETWORKS: dict[str, HyperParameters] = {
    "WavePaint 4x4x128, mult 2": {
        "num_modules": 4,
        "blocks_per_module": 4,
        "mult": 2,
        "final_dim": 128,
        "ff_channel": 128,
    },
    "default": get_recipe("default").hyper_parameters,
}

WARMUP_CALLS, CALLS = 3, 10


def gmac(network: torch.nn.Module, side: int) -> float:
    """Count the multiply-accumulates, in thousand millions, of one image."""
    network = network.to("meta")
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(torch.zeros(1, 3, side, side, device="meta"), torch.zeros(1, 1, side, side, device="meta"))
    return float(counter.get_total_flops() / 2e9)


def race(parameters: HyperParameters, side: int, rounds: int, threads: int | None) -> dict[str, Any]:
    torch.manual_seed(0)
    network = build_model("wavepaint", parameters).eval()
    variants = {"unfused": network, "fused": fuse(network)}
    multiple = get_architecture("wavepaint").size_multiple(parameters)
    image, mask = make_batch(1, side, side)
    latencies: dict[str, list[float]] = {name: [] for name in variants}
    outputs: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, variant in variants.items():
            export_onnx(variant, multiple, Path(folder) / f"{name}.onnx")
        for _ in range(rounds):
            for name in variants:
                with OrtSession(Path(folder) / f"{name}.onnx", size_multiple=multiple, threads=threads) as session:
                    outputs[name] = [session.run(image, mask) for _ in range(WARMUP_CALLS)][-1]
                    for _ in range(CALLS):
                        started = time.perf_counter()
                        session.run(image, mask)
                        latencies[name].append((time.perf_counter() - started) * 1e3)
    rows = {
        name: {
            "p50_ms": float(np.median(times)),
            "p10_ms": float(np.percentile(times, 10)),
            "p90_ms": float(np.percentile(times, 90)),
        }
        for name, times in latencies.items()
    }
    per_round = {name: np.median(np.reshape(times, (rounds, CALLS)), axis=1) for name, times in latencies.items()}
    ratios = per_round["unfused"] / per_round["fused"]
    for name, variant in variants.items():
        rows[name]["gmac"] = gmac(variant, side)
    return {
        "max_error": float(np.abs(outputs["fused"] - outputs["unfused"]).max()),
        "median_ratio": float(np.median(ratios)),
        "variants": rows,
    }


def markdown(report: dict[str, Any]) -> str:
    lines = [
        "| network | export | GMAC | p50 (p10 to p90) ms | images/s | times as fast | largest difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for network, result in report["results"].items():
        for name, row in result["variants"].items():
            last = f"{result['median_ratio']:.2f} | {result['max_error']:.1e}" if name == "fused" else "1 | "
            lines.append(
                f"| {network} | {name} | {row['gmac']:.1f} | {row['p50_ms']:.1f} ({row['p10_ms']:.1f} to "
                f"{row['p90_ms']:.1f}) | {1e3 / row['p50_ms']:.1f} | {last} |"
            )
    machine = report["machine"]
    facts = (
        f"{report['date'][:10]}, {report['engine']}, float32, batch 1, {report['side']}x{report['side']} pixels, "
        f"{report['rounds']} alternating rounds of {CALLS} calls, {machine['processor']}, {machine['cores']} cores, "
        f"threads {report['threads'] or 'default'}. Command: `{report['command']}`"
    )
    return "# Exact fusion\n\n" + facts + "\n\n" + "\n".join(lines) + "\n"


@click.command()
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder for the report.")
@click.option("--size", "side", type=click.IntRange(min=16), default=256, show_default=True, help="Side in pixels.")
@click.option("--rounds", type=click.IntRange(min=3), default=7, show_default=True, help="Alternating rounds.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. Default: all cores.")
@click.option("--overwrite", is_flag=True, help="Replace a former report.")
def main(out: Path, side: int, rounds: int, threads: int | None, overwrite: bool) -> None:
    """Time unfused against fused exports."""
    import onnxruntime

    results = {name: race(parameters, side, rounds, threads) for name, parameters in NETWORKS.items()}
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": f"python benchmarks/fusion.py -o DIR --size {side} --rounds {rounds}"
        + (f" --threads {threads}" if threads else ""),
        "wavepaint": __version__,
        "engine": f"ONNX Runtime {onnxruntime.__version__} CPU",
        "torch": str(torch.__version__),
        "machine": describe_machine(),
        "threads": threads,
        "side": side,
        "rounds": rounds,
        "results": results,
    }
    with write_folder(out, overwrite=overwrite) as folder:
        (folder / "fusion.json").write_text(json.dumps(report, indent=2) + "\n")
        (folder / "fusion.md").write_text(markdown(report))
    click.echo(markdown(report))


if __name__ == "__main__":
    main()
