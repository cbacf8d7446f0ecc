"""wp verify: run a bundle's models here, and compare them with a reference."""

import dataclasses
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wavepaint.atomic import check_target, write_file
from wavepaint.cli.completion import FILE, FOLDER
from wavepaint.cli.grouped_help import GroupedCommand
from wavepaint.cli.progress import Progress
from wavepaint.contract import (
    MANIFEST_NAME,
    SUPER_RESOLUTION,
    Artifact,
    Bundle,
    Report,
    Task,
    default_bundle_folder,
    read_bundle,
)
from wavepaint.errors import CheckpointError, EngineError, WavePaintWarning, printable
from wavepaint.export.verify import describe_precision, list_cases, merge_reports, summarise, verify_bundle
from wavepaint.outputs import check_outputs
from wavepaint.runtime.engines.comparison import describe_failure
from wavepaint.runtime.engines.registry import find_obstacle

if TYPE_CHECKING:
    from torch import nn

    from wavepaint.export.layers import LayerComparison

_HEADER = (
    "model", "engine", "precision", "cases", "max error", "mean error", "PSNR dB", "SSIM", "NaN/Inf", "known pixels",
    "verdict",
)  # fmt: skip

_SHOWN = ("noise 1", "gradient, box", "gradient 1", "chelsea", "coffee")
"""Beginnings of the names of the cases that layers are compared in."""

_CLASS_HEADER = (
    "model", "engine", "precision", "cases", "max error", "mean error", "of range", "same class", "NaN/Inf", "verdict",
)  # fmt: skip


_IMAGE_HEADER = (
    "model", "engine", "precision", "cases", "max error", "mean error", "PSNR dB", "NaN/Inf", "verdict",
)  # fmt: skip


def _choose_header(task: Task) -> tuple[str, ...]:
    if task.has_classes:
        return _CLASS_HEADER
    return _IMAGE_HEADER if task is SUPER_RESOLUTION else _HEADER


def _make_rows(bundle: Bundle, reports: dict[str, list[Report]]) -> Iterator[tuple[str, ...]]:
    header = _choose_header(bundle.task)
    yield header
    for artifact in bundle.manifest.artifacts:
        for report in reports[artifact.path]:
            measured = _format_measurements(report, len(header) - 3)
            yield (artifact.path, report["engine"], describe_precision(report), *measured)
        if not reports[artifact.path]:
            obstacle = find_obstacle(bundle.get_model(artifact))
            why, verdict = (obstacle, "not run") if obstacle else ("the others are compared with it", "reference")
            yield (artifact.path, f"({why})", *("",) * (len(header) - 3), verdict)


def _format_measurements(report: Report, num_cells: int) -> tuple[str, ...]:
    """Return the cells after the precision."""
    if "error" in report:
        return (*("",) * (num_cells - 1), "FAILED to run")

    def number(name: str, form: str, missing: str) -> str:
        value = report.get(name)
        return missing if value is None else format(value, form)

    if "max_relative_error" in report:
        own = [number("max_relative_error", ".1e", "-"), number("class_agreement", ".3%", "-")]
        own.append(str(report["num_not_finite"]))
    elif "min_psnr_db" in report:
        own = [number("min_psnr_db", ".1f", "equal"), str(report["num_not_finite"])]
    else:
        own = [number("min_psnr_hole_db", ".1f", "equal"), number("min_ssim_hole", ".4f", "-")]
        own += [str(report["num_not_finite"]), "identical" if report["known_identical"] else "CHANGED"]
    return (
        str(report["num_cases"]),
        number("max_error", ".1e", "-"),
        number("mean_error", ".1e", "-"),
        *own,
        "passed" if report["passed"] else "FAILED" if report["required"] else "not precise enough",
    )


def _make_table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _load_source(bundle: Bundle, path: Path, *, is_required: bool) -> "nn.Module":
    from wavepaint.weights.checkpoint import read_checkpoint

    manifest = bundle.manifest
    checkpoint = read_checkpoint(path)
    for name, value in manifest.hyper_parameters.items():
        if name in checkpoint.parameters and checkpoint.parameters[name] is None:
            checkpoint.parameters[name] = value  # the file does not show it
    if (checkpoint.architecture.name, checkpoint.parameters) != (manifest.architecture, manifest.hyper_parameters):
        raise CheckpointError(
            f"{path} is a {checkpoint.architecture.name} network that differs in architecture or hyper-parameters from "
            f"{printable(manifest.source['file'])}, the source of {bundle.folder}. Give that checkpoint with --against."
        )
    if checkpoint.sha256 != manifest.source["sha256"]:
        problem = (
            f"{path} is not the source of {bundle.folder} ({printable(manifest.source['file'])} has another sha256)"
        )
        if is_required:
            raise CheckpointError(f"{problem}, so the report cannot be stored. Give that file, or leave out --store.")
        warnings.warn(f"{problem}.", WavePaintWarning, stacklevel=2)
    network = checkpoint.build().eval()
    if manifest.preprocessing is None:
        return network
    from wavepaint.models.normalized_network import NormalizedNetwork

    return NormalizedNetwork(network, manifest.preprocessing).eval()


def _compare_layers(bundle: Bundle, network: "nn.Module | None", artifact: Artifact) -> "list[LayerComparison]":
    from wavepaint.export.layers import MIN_SNR_DB, compare_layers, onnx_layers, torch_layers

    if network is not None:
        from wavepaint.export.fusion.fuse import fuse

        details = artifact.details
        fused = fuse(network, upsampling=details["upsampling"]) if details["fused"] else network
        reference = torch_layers(fused, bundle.task)
    else:
        source = bundle.find_artifact("onnx", "float32")
        reference = onnx_layers(bundle.locate(source), source, bundle.task)
    cases = list_cases(bundle.task, bundle.manifest.size_multiple, bundle.manifest.sizes)
    shown = [case for case in cases if case[0].startswith(_SHOWN)]
    candidate = onnx_layers(bundle.locate(artifact), artifact, bundle.task)
    return compare_layers(candidate, reference, shown, MIN_SNR_DB[artifact.precision])


def _show_layers(
    bundle: Bundle, network: "nn.Module | None", reports: dict[str, list[Report]]
) -> dict[str, list[dict[str, Any]]]:
    """Print the comparison of each model's layers, and return it as plain values."""
    shown: dict[str, list[dict[str, Any]]] = {}
    for artifact in bundle.manifest.artifacts:
        if artifact.kind != "onnx" or artifact.io_dtype != "float32" or not reports[artifact.path]:
            continue
        if network is None and artifact.precision == "float32":
            continue  # the float32 model is the reference
        try:
            layers = _compare_layers(bundle, network, artifact)
        except EngineError as error:
            click.echo(f"\n{artifact.path}: {error}")
            continue
        click.echo(f"\n{artifact.path}: {len(layers)} layers in common with the reference")
        for layer in layers:
            snr = "equal" if layer.snr_db is None and not layer.num_not_finite else f"{layer.snr_db or 0:.1f} dB"
            verdict = "" if layer.passed else "  EXCEEDS ITS BUDGET"
            click.echo(f"  {layer.layer:<60} {snr:>9}  largest error {layer.max_error:.1e}{verdict}")
        first = next((layer.layer for layer in layers if not layer.passed), None)
        click.echo(f"  first layer to exceed its budget: {first or 'none'}")
        shown[artifact.path] = [dataclasses.asdict(layer) for layer in layers]
    return shown


def _store(bundle: Bundle, reports: dict[str, list[Report]]) -> None:
    """Merge the reports into the manifest; see :func:`wavepaint.export.verify.merge_reports`."""
    manifest = bundle.manifest
    merged = {
        path: merge_reports(manifest.verification.get(path, []), summarise(made), manifest.files[path]["sha256"])
        for path, made in reports.items()
    }
    manifest = dataclasses.replace(manifest, verification=manifest.verification | merged)
    with write_file(bundle.folder / MANIFEST_NAME, overwrite=True) as temporary:
        temporary.write_text(manifest.to_json(), "utf-8")


@click.command(
    cls=GroupedCommand,
    examples=[
        ("wp verify bundles/mine", "Compare a bundle's models with its own float32 model:"),
        ("wp verify bundles/mine --against runs/mine/best.pt --layers", "Compare with PyTorch, layer by layer:"),
        ("wp verify bundles/mine --store", "Add the report to the manifest, which wp infer reads:"),
    ],
)
@click.argument("bundle", type=FOLDER, required=False)
@click.option(
    "--against",
    type=FILE,
    help="Checkpoint to run in PyTorch as the reference, or the ONNX file that the bundle was imported from. Default: "
    "the bundle's float32 model.",
)
@click.option(
    "--layers", "with_layers", is_flag=True, help="Compare layer by layer, and name the first that exceeds its budget."
)
@click.option(
    "--store/--no-store",
    default=False,
    show_default=True,
    help="Add the report to the bundle's manifest, which wp infer reads to choose an engine.",
)
@click.option("--json", "json_path", type=FILE, help="Also write the report to this JSON file.")
@click.option("--overwrite", is_flag=True, help="Replace an existing --json file.")
def command(
    bundle: Path | None, against: Path | None, with_layers: bool, json_path: Path | None, store: bool, overwrite: bool
) -> None:
    """Run every model of BUNDLE in every engine of this machine, and compare the outputs with a reference.

    BUNDLE is a model folder; by default the one that ships with the package. The reference is the checkpoint given with
    --against, run in PyTorch, or else the bundle's float32 model in ONNX Runtime. The exit status is 1 if any model
    fails. An engine that lowers the precision by itself and misses the budget is reported as "not precise enough"; with
    --store, wp infer no longer chooses it. --store keeps the reports of other engines and GPUs. It replaces a
    comparison with the checkpoint only by another one.
    """
    if store and bundle is None:
        raise click.UsageError("--store needs BUNDLE: the bundle that ships with the package cannot be changed.")
    if json_path is not None:
        read = [*(bundle or default_bundle_folder()).glob("*"), *([against] if against is not None else [])]
        check_outputs(read, [json_path])
        check_target(json_path, overwrite)
    loaded = read_bundle(bundle or default_bundle_folder())
    network, suite = None, None
    if against is not None and loaded.manifest.is_imported:
        from wavepaint.export.foreign.importing import make_source_suite

        suite = make_source_suite(loaded, against)
    elif against is not None:
        from wavepaint.export.bundle import torch_suite

        network = _load_source(loaded, against, is_required=store)
        suite = torch_suite(network, loaded.manifest.size_multiple, loaded.task, loaded.manifest.sizes)
    with Progress(None) as progress:
        reports = verify_bundle(
            loaded, suite, on_artifact=lambda artifact: progress.print_line(f"verifying {artifact.path} ...")
        )
    click.echo(_make_table(list(_make_rows(loaded, reports))))
    failures = [
        f"{path}: {report.get('error') or describe_failure(report)}"
        for path, found in reports.items()
        for report in found
        if report["required"] and not report["passed"]
    ]
    layers = _show_layers(loaded, network, reports) if with_layers else {}
    if json_path is not None:
        content: dict[str, Any] = {"bundle": loaded.manifest.name, "verification": reports}
        with write_file(json_path, overwrite=overwrite) as temporary:
            temporary.write_text(json.dumps({**content, **({"layers": layers} if layers else {})}, indent=2) + "\n")
    if store:
        _store(loaded, reports)
    for failure in failures:
        click.echo(f"error: {failure}", err=True)
    if failures:
        sys.exit(1)
