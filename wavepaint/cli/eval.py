"""wp eval: measure how good fills are, or how well classes are recognised, against ground truth."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wavepaint.bench.report import describe_run
from wavepaint.cli import model_options
from wavepaint.cli.completion import FILE, FOLDER, PATH, complete_names, complete_path_or, refuse_stream
from wavepaint.cli.eval_classes import evaluate_classes, list_versions, print_tables, refuse_options_for_holes
from wavepaint.cli.grouped_help import GroupedCommand, option_group
from wavepaint.cli.pillow_warnings import silence_pillow
from wavepaint.cli.progress import Progress, print_line
from wavepaint.contract import Precision
from wavepaint.data.masks import ALL_KINDS
from wavepaint.data.sources import open_source
from wavepaint.data.split import SPLIT
from wavepaint.errors import TrainingError
from wavepaint.evaluation.evaluate import check_frechet, evaluate
from wavepaint.evaluation.held_out import find_held_out, warn_of_training_photos
from wavepaint.evaluation.photo_cases import Cases, DrawnCases, FolderCases
from wavepaint.evaluation.recognition.recognisers import find_task
from wavepaint.evaluation.report_folder import check_report, write_report_folder
from wavepaint.evaluation.subjects import EngineChoice, open_subject
from wavepaint.evaluation.summary import summarise
from wavepaint.evaluation.tables import make_tables
from wavepaint.optional import describe_missing, require
from wavepaint.runtime.engines.engine import Auto, EngineName

if TYPE_CHECKING:
    from wavepaint.metrics.feature_networks import FeatureNetwork
    from wavepaint.metrics.lpips import LPIPS

_SIZE = 256
_MASKS = "thin,medium,thick"


def _open_cases(
    data: Path,
    subjects: tuple[str, ...],
    *,
    mask_folder: Path | None,
    masks: str | None,
    size: int | None,
    seed: int,
    silhouettes: Path | None,
    held_out: Path | None,
) -> Cases:
    """Return the photos and holes that the options choose."""
    if mask_folder is not None:
        drawing = {"--masks": masks, "--size": size, "--silhouettes": silhouettes, "--held-out": held_out}
        for flag, value in drawing.items():
            if value is not None:
                raise click.UsageError(f"{flag} is for holes that are drawn: leave it or --mask-folder out.")
        return FolderCases(data, mask_folder, [Path(name) for name in subjects if Path(name).is_dir()])
    source = open_source(data)
    return DrawnCases(
        source,
        [kind.strip() for kind in (masks or _MASKS).split(",")],
        size=size or _SIZE,
        seed=seed,
        names=find_held_out(held_out, source) if held_out is not None else None,
        silhouettes=silhouettes,
    )


def _load_lpips(weights: Path | None, device: str, *, download: bool) -> "LPIPS | None":
    """Load the weights that the options name or that are on this machine; else report what is left out."""
    try:
        from wavepaint.metrics.lpips import load_lpips

        return load_lpips("alexnet", weights, device, download=download)
    except (TrainingError, ModuleNotFoundError) as error:
        if weights is not None or download:
            raise
        if isinstance(error, ModuleNotFoundError):
            print_line(f"without LPIPS: {describe_missing(error.name or 'torch', extra='train')}")
        else:
            print_line(f"without LPIPS: {error}")
        return None


def _load_network(weights: Path | None, device: str, *, fid: bool, download: bool) -> "FeatureNetwork | None":
    if weights is None and not fid:
        return None
    from wavepaint.metrics.feature_networks import find_fid_weights, load_feature_network

    return load_feature_network(weights or find_fid_weights(download=download), device)


def _pick_device(name: str | None) -> str:
    """Return the device of PyTorch; without PyTorch the name has no effect."""
    try:
        from wavepaint.training.distributed import DistributedContext
        from wavepaint.training.hardware import pick_device
    except ModuleNotFoundError:
        return name or "cpu"
    return str(pick_device(name, DistributedContext()))


@click.command(
    cls=GroupedCommand,
    examples=[
        ("wp eval default --data photos/ -o report/", "Measure the model that ships on your photos:"),
        ("wp eval bundles/mine --data photos/ --against default", "Compare a bundle with it, photo by photo:"),
        ("wp eval runs/mine --data photos/ --held-out runs/mine", "Measure a run on the photos it held out:"),
        ("wp eval filled/ --data photos/ --mask-folder masks/", "Measure results that another program made:"),
        ("wp eval bundles/pets --data pets/", "Measure a classifier on folders of classes:"),
    ],
)
@click.argument("subject", shell_complete=complete_path_or("default"), callback=refuse_stream)
@option_group(
    "Photos and holes",
    click.option(
        "--data",
        type=PATH,
        required=True,
        help="Ground truth: a folder of photos, an archive, or an STL-10 binary file; with --mask-folder a folder. "
        "For a classifier or a segmenter: images with labels, as wp train --task takes them.",
    ),
    click.option(
        "--masks",
        metavar="KINDS",
        shell_complete=complete_names(*ALL_KINDS),
        help=f"Kinds of holes to draw, with commas between; each is a set. wp masks has them, too.  "
        f"[default: {_MASKS}]",
    ),
    click.option(
        "--mask-folder",
        type=FOLDER,
        help="Take the holes from this folder instead, white on black, named like the photos or name_mask. The photos "
        "keep their sizes.",
    ),
    click.option(
        "--size",
        type=click.IntRange(16, 4096),
        metavar="PIXELS",
        help=f"Side to which photos are scaled and cropped before holes are drawn.  [default: {_SIZE}]",
    ),
    click.option("--silhouettes", type=FOLDER, help="Folder of cut-outs for the mask kind silhouettes."),
    click.option(
        "--held-out",
        type=FOLDER,
        metavar="RUN",
        help="Take only the photos that the training in this folder held out (wp train --test-fraction). --data names "
        "all photos of the run, which must not have changed.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        metavar="NUMBER",
        help="Start of the random choices: holes and intervals. The same seed gives the same figures.",
    ),
)
@option_group(
    "Figures",
    click.option(
        "--against",
        shell_complete=complete_path_or("default"),
        callback=refuse_stream,
        metavar="SUBJECT",
        help="A second subject, to compare fill by fill, or image by image.",
    ),
    click.option(
        "--lpips-weights",
        type=PATH,
        help="File or folder with the weights of LPIPS (AlexNet). Default: the cache folder, then the variable "
        "WAVEPAINT_LPIPS; without weights LPIPS is left out.",
    ),
    click.option("--fid", is_flag=True, help="Measure the FID with the weights of its Inception in the cache folder."),
    click.option(
        "--frechet-weights",
        type=FILE,
        help="Measure the Frechet distance with the network of this file: the FID's Inception, MobileNetV2, AlexNet or "
        "VGG16. The figure is named after it.",
    ),
    click.option(
        "--ids",
        is_flag=True,
        help="Also measure U-IDS and P-IDS with the features of --fid or --frechet-weights (ids extra).",
    ),
    click.option(
        "--download-weights",
        "download",
        is_flag=True,
        help="Download missing weights of LPIPS and, with --fid, of its Inception.",
    ),
)
@option_group(
    "Report",
    click.option(
        "-o",
        "--out",
        type=FOLDER,
        help="Folder for the report: eval.json, fills.csv with a row per fill, and a picture of the best, median and "
        "worst fill of each set. Classes have images.csv and one picture. Default: only the tables on the terminal.",
    ),
    click.option("--overwrite", is_flag=True, help="Replace an earlier report."),
)
@option_group(
    "Engine",
    model_options.ENGINE,
    model_options.PRECISION,
    model_options.THREADS,
    click.option(
        "--device",
        shell_complete=complete_names("cpu", "cuda"),
        metavar="NAME",
        help="Where PyTorch runs checkpoints, LPIPS and feature networks. Default: a GPU if there is one.",
    ),
)
def command(
    subject: str,
    data: Path,
    masks: str | None,
    mask_folder: Path | None,
    size: int | None,
    silhouettes: Path | None,
    held_out: Path | None,
    seed: int,
    against: str | None,
    lpips_weights: Path | None,
    fid: bool,
    frechet_weights: Path | None,
    ids: bool,
    download: bool,
    out: Path | None,
    overwrite: bool,
    engine: EngineName | Auto,
    precision: Precision | Auto,
    threads: int | None,
    device: str | None,
) -> None:
    """Measure the fills of SUBJECT against ground truth.

    SUBJECT is a bundle, a checkpoint, the folder of a training run (its best.pt), "default" for the model that ships,
    or a folder of results with the names that wp infer gives them. L1, L2, PSNR, SSIM and LPIPS are measured inside the
    hole and over the whole image, for each set of holes and by the hole's share of the image. Brackets contain 95 %
    confidence intervals.

    A SUBJECT that is a classifier or a segmenter gets its accuracy or the overlap of its regions instead.
    """
    silence_pillow()
    titles = (subject, against) if against is not None else (subject,)
    _check_options(titles, fid=fid, frechet_weights=frechet_weights, ids=ids)
    task = find_task(subject)
    if task is not None and task.has_classes:
        refuse_options_for_holes(task)
        choice = EngineChoice(engine=engine, precision=precision, threads=threads, device=_pick_device(device))
        evaluate_classes(titles, task, choice, data, held_out=held_out, seed=seed, out=out, overwrite=overwrite)
        return
    if out is not None:
        read = [data, *map(Path, titles), *filter(None, (mask_folder, silhouettes, held_out, lpips_weights))]
        check_report(out, [*read, *([frechet_weights] if frechet_weights else [])], overwrite=overwrite)
    cases = _open_cases(
        data, titles, mask_folder=mask_folder, masks=masks, size=size, seed=seed, silhouettes=silhouettes,
        held_out=held_out,
    )  # fmt: skip
    for title in titles:
        if (Path(title) / SPLIT).is_file():
            warn_of_training_photos(Path(title), {key.photo for key in cases.keys})
    place = _pick_device(device)
    network = _load_network(frechet_weights, place, fid=fid, download=download)
    if network is not None:
        check_frechet(cases, network)
    lpips = _load_lpips(lpips_weights, place, download=download)
    choice = EngineChoice(engine=engine, precision=precision, threads=threads, device=place)
    with ExitStack() as stack:
        opened = [open_subject(title, cases, choice) for title in titles]
        for one in opened:
            stack.callback(one.close)
        with Progress(len(cases.keys), unit="fill") as progress:
            evaluation = evaluate(cases, opened, lpips=lpips, network=network, ids=ids, on_case=progress.advance)
        summary = summarise(evaluation, seed=seed, distance=network.title if network else "")
        report: dict[str, Any] = {
            **describe_run(),
            "versions": list_versions(),
            "subjects": {one.title: one.describe() for one in opened},
            "cases": cases.describe(),
            "lpips": None if lpips is None else "AlexNet, version 0.1",
            "frechet_weights_sha256": network.sha256 if network else None,
            **summary,
        }
        if out is not None:
            write_report_folder(out, report, evaluation, cases, opened, overwrite=overwrite)
    print_tables(make_tables(summary))


def _check_options(titles: tuple[str, ...], *, fid: bool, frechet_weights: Path | None, ids: bool) -> None:
    if len(set(titles)) < len(titles):
        raise click.UsageError("--against names SUBJECT itself: name another one.")
    if fid and frechet_weights is not None:
        raise click.UsageError("--fid and --frechet-weights each choose a network: give one of them.")
    if ids and not fid and frechet_weights is None:
        raise click.UsageError("--ids needs the features of a network: add --fid or --frechet-weights FILE.")
    if ids:
        require("sklearn.svm", extra="ids")
