"""wp bench: time a bundle in the engines of this machine."""

import importlib.util
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from wavepaint import __version__
from wavepaint.atomic import write_file
from wavepaint.contract import Bundle, default_bundle_folder, read_bundle
from wavepaint.errors import EngineError
from wavepaint.runtime.engines import list_best_ways, open_way
from wavepaint.timing import Measurement, describe_machine, measure

NOISY_VARIATION = 0.1


def _parse_sizes(ctx: click.Context, parameter: click.Parameter, text: str) -> list[int]:
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise click.BadParameter(f"{text!r} is not a list of pixels such as 256,512.")
    return sizes


def _measure_torch(bundle: Bundle, threads: int | None, side: int, batch: int, seconds: float) -> Measurement:
    import torch

    from wavepaint.models.registry import build_model

    if threads:
        torch.set_num_threads(threads)
    model = build_model(bundle.manifest.architecture, bundle.manifest.hyper_parameters).eval()

    def run(image: Any, mask: Any) -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(image), torch.from_numpy(mask))

    return measure(
        run,
        engine=f"PyTorch {torch.__version__} eager",
        precision="float32",
        height=side,
        width=side,
        batch=batch,
        min_seconds=seconds,
        note="random weights",
    )


def _table(results: list[Measurement]) -> str:
    header = ("engine", "precision", "size", "batch", "p50 ms", "p90 ms", "p99 ms", "images/s", "peak MB", "")
    rows = [
        (
            r.engine, r.precision, f"{r.width}x{r.height}", str(r.batch), f"{r.p50_ms:.1f}", f"{r.p90_ms:.1f}",
            f"{r.p99_ms:.1f}", f"{r.images_per_s:.1f}", f"{r.peak_memory_mb:.0f}", r.note,
        )
        for r in results
    ]  # fmt: skip
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    left = (0, 1, len(header) - 1)
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    )


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option("--sizes", default="256,512", show_default=True, callback=_parse_sizes, help="Sides in pixels.")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Images a call.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. Default: each engine's choice.")
@click.option(
    "--seconds", type=click.FloatRange(min=0), default=3.0, show_default=True, help="Least time for each row."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write the results to this file as well.")
@click.option("--overwrite", is_flag=True, help="Replace an existing --json file.")
def command(
    bundle: Path | None,
    sizes: list[int],
    batch: int,
    threads: int | None,
    seconds: float,
    json_path: Path | None,
    overwrite: bool,
) -> None:
    """Time BUNDLE (default: the one that ships with the package) in every engine that works here, and in PyTorch.

    Sizes are rounded up to the model's size multiple. One run compares; figures of different runs or machines do not.
    """
    loaded = read_bundle(bundle or default_bundle_folder())
    multiple = loaded.manifest.size_multiple
    sides = [-(-side // multiple) * multiple for side in sizes]
    machine = describe_machine()
    click.echo(
        f"{loaded.manifest.name} ({loaded.manifest.num_parameters / 1e6:.2f} M parameters) on {machine['processor']}, "
        f"{machine['cores']} cores, threads: {threads or 'default'}",
        err=True,
    )
    results: list[Measurement] = []
    told: set[tuple[str, str]] = set()  # one reason is enough for all precisions of an engine
    for way in list_best_ways(loaded):
        try:
            session = open_way(way, loaded.path_of(way.artifact), multiple, threads=threads)
        except EngineError as error:
            if (way.engine, str(error)) not in told:
                click.echo(f"not timed: {way.engine} {way.arithmetic}: {error}", err=True)
            told.add((way.engine, str(error)))
            continue
        with session:
            for side in sides:
                results.append(
                    measure(
                        session.run, engine=session.engine, precision=session.precision, height=side, width=side,
                        batch=batch, min_seconds=seconds, note=way.artifact.path,
                    )
                )  # fmt: skip
    if not results:
        raise EngineError("no engine works here. wp doctor says what is missing.")
    if importlib.util.find_spec("torch"):
        results += [_measure_torch(loaded, threads, side, batch, seconds) for side in sides]
    else:
        click.echo('PyTorch is not installed and not timed: pip install "wavepaint[train]" adds it.', err=True)
    click.echo(_table(results))
    noisy = max(result.variation for result in results)
    if noisy > NOISY_VARIATION:
        click.echo(f"warning: latencies vary by up to {noisy:.0%}; something else is using this machine.", err=True)
    if json_path is not None:
        report = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "wavepaint": __version__,
            "bundle": {"name": loaded.manifest.name, "files": loaded.manifest.files},
            "machine": machine,
            "threads": threads,
            "results": [asdict(result) for result in results],
        }
        with write_file(json_path, overwrite=overwrite) as temporary:
            temporary.write_text(json.dumps(report, indent=2) + "\n")
