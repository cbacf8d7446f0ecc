"""wp info: describe a bundle."""

import json
from collections.abc import Iterator
from pathlib import Path

import click

from wavepaint.cli.completion import FOLDER
from wavepaint.cli.grouped_help import GroupedCommand
from wavepaint.contract import TASKS, Manifest, default_bundle_folder, read_bundle
from wavepaint.errors import BundleError, printable
from wavepaint.export.verify import describe_report
from wavepaint.training.measures import MEASURES


def _make_rows(manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield "name", manifest.name
    yield "network", f"{manifest.architecture}, {manifest.num_parameters / 1e6:.2f} M parameters, for {manifest.task}"
    yield "", ", ".join(f"{key} {value}" for key, value in manifest.hyper_parameters.items())
    command = TASKS[manifest.task].command
    yield "sizes", _describe_sizes(manifest, command)
    yield from _make_class_rows(manifest)
    for artifact in manifest.artifacts:
        entry = manifest.files[artifact.path]
        yield (
            "model",
            f"{artifact.path}: {artifact.kind} {artifact.precision}, {artifact.io_dtype} I/O, "
            f"{entry['bytes'] / 1e6:.1f} MB",
        )
        details = ", ".join(f"{key} {value}" for key, value in artifact.details.items() if value not in ([], None))
        if details:
            yield "", details
        reports = manifest.verification.get(artifact.path, [])
        for report in reports:
            yield "", describe_report(report)
        if not reports:
            yield "", "not verified yet: no engine could run it (wp verify --store adds a report)"
    yield "source", f"{manifest.source['file']}, sha256 {manifest.source['sha256'][:16]}"
    yield from _make_training_rows(manifest)
    yield "made with", ", ".join(f"{name} {version}" for name, version in manifest.versions.items())


def _describe_sizes(manifest: Manifest, command: str) -> str:
    multiple = f"height and width multiples of {manifest.size_multiple} ({command} pads for you)"
    if manifest.sizes is None:
        return f"any batch; {multiple}"
    (batch, height, width), (most, highest, widest) = manifest.sizes
    batches = f"batch {batch}" if batch == most else f"batches of {batch} to {most}"
    if (height, width) == (highest, widest):
        return f"{batches}; {width}x{height} pixels ({command} cuts and pads for you)"
    return f"{batches}; {width}x{height} to {widest}x{highest} pixels, {multiple}"


def _make_class_rows(manifest: Manifest) -> Iterator[tuple[str, str]]:
    labels, preprocessing = manifest.labels, manifest.preprocessing
    if labels is None or preprocessing is None:
        return
    names = ", ".join(map(printable, labels[:5]))
    yield "classes", f"{len(labels)}: {names}{', ...' if len(labels) > 5 else ''}"
    size = "as they are"
    if preprocessing.size is not None:
        height, width = preprocessing.size
        how = "cropped to the centre" if preprocessing.resize == "crop" else "stretched"
        size = f"scaled to {width}x{height} pixels ({how}, {preprocessing.interpolation})"
    yield "images", f"{size}; the model subtracts {_list(preprocessing.mean)} and divides by {_list(preprocessing.std)}"


def _list(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _make_training_rows(manifest: Manifest) -> Iterator[tuple[str, str]]:
    training = manifest.training
    if not training:
        yield "training", "unknown: the network was imported" if manifest.is_imported else "no record in the checkpoint"
        return
    config, data = training["config"], training["data"]
    has_sections = "optimization" in config  # the first configs had none
    settings = {**config["data"], **config["optimization"]} if has_sections else config
    yield (
        "training",
        f"recipe {config['recipe']}, {training['step']} steps of {settings['batch_size']} crops of "
        f"{manifest.crop_size} px, {training['seconds'] / 60:.0f} min on {training['device']}",
    )
    yield "", f"{data['train']['num_photos']} photos, validated on {data['val']['num_photos']}"
    if training.get("begun_from"):
        yield "", f"started from {training['begun_from']['file']}, sha256 {training['begun_from']['sha256'][:16]}"
    blend = training.get("blended_with")
    if blend:
        share = blend["share_of_this"]
        yield "", f"{share:.0%} of it and {1 - share:.0%} of {blend['file']}, sha256 {blend['sha256'][:16]}"
    scores = training.get("validation") or {}
    if manifest.labels is not None:
        measured = [one for one in MEASURES.values() if scores.get(one.field) is not None]
        if measured:
            yield "", ", ".join(f"{one.title} {one.describe(scores[one.field])}" for one in measured)
    elif scores:
        kinds = settings["val_masks"]
        holes = kinds if isinstance(kinds, str) else ", ".join(kinds)
        lpips = "" if scores.get("lpips_hole") is None else f", LPIPS {scores['lpips_hole']:.4f}"
        yield "", f"{scores['psnr_hole_db']:.2f} dB, SSIM {scores['ssim_hole']:.4f}{lpips} inside {holes} holes"


@click.command(
    cls=GroupedCommand,
    examples=[
        ("wp info", "Describe the model that ships with the package:"),
        ("wp info bundles/mine", "Describe a model of your own:"),
        ("wp info bundles/mine --json", "Print its manifest, for a program:"),
    ],
)
@click.argument("bundle", type=FOLDER, required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def command(bundle: Path | None, as_json: bool) -> None:
    """Describe BUNDLE, and check that it is complete.

    BUNDLE is a model folder; by default the one that ships with the package.
    """
    manifest = read_bundle(bundle or default_bundle_folder()).manifest
    if as_json:
        click.echo(json.dumps(json.loads(manifest.to_json()), indent=2))
        return
    try:
        rows = list(_make_rows(manifest))
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise BundleError(
            f"the manifest is damaged or written by hand ({error!r}). wp info --json prints it unchanged; wp export "
            "makes a new one."
        ) from error
    for label, text in rows:
        click.echo(f"{label:10} {printable(text)}")
