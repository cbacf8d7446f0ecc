"""How good are the fills of bundles, compared with classical methods, on sets of photographs and holes?

Photos are scaled so that their shorter side is --size, and cropped in the middle. wavepaint/bench/quality_sets.py
describes the sets; thin, medium and thick are the fixed validation masks of ``wp train``. PSNR, SSIM and L1 are means
over the photos inside the hole. LPIPS (AlexNet, with the authors' weights) is measured inside the hole, in the 16
pixels around it, where seams show, and over the whole image. "Lines joined" is the share of straight edges through the
hole that the fill continues (wavepaint/metrics/lines.py). "Repetition" is the share of the hole that is a visible copy,
unless the photograph repeats as much there (wavepaint/metrics/repetition.py).

The report, quality.json, quality.md and pictures, goes into a new folder. For each set, NAME.jpg shows ten photos at
random, NAME-worst-lpips.jpg and NAME-worst-repetition.jpg the ten worst fills of the first bundle.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click
import cv2
import numpy as np
import torch
from PIL import Image

from wavepaint import Inpainter
from wavepaint.bench.classical import METHODS, Classical, Pixels
from wavepaint.bench.exemplar import NAMES, open_exemplar
from wavepaint.bench.fill_scores import score_fill
from wavepaint.bench.quality_report import Results, Run, describe_results, draw_pictures, make_page
from wavepaint.bench.quality_sets import SETS, describe_set, load_set
from wavepaint.bench.report import describe_run, write_report
from wavepaint.cli.one_line_errors import OneLineErrors
from wavepaint.cli.progress import print_line
from wavepaint.data.sources import PhotoSource, open_source
from wavepaint.errors import EngineError
from wavepaint.evaluation.perceptual import to_tensor
from wavepaint.evaluation.photo_cases import Case
from wavepaint.metrics.lpips import LPIPS, load_lpips
from wavepaint.models.wavepaint import WavePaint, WavePaintConfig

Method = Callable[[Pixels, Pixels], Pixels]

PREFILL_LEVELS = 8
TITLES = {
    "telea": "OpenCV Telea",
    "navier-stokes": "OpenCV Navier-Stokes",
    "patchmatch": "PatchMatch",
    "shift-map": "OpenCV shift map",
    "fsr-fast": "OpenCV FSR fast",
    "fsr-best": "OpenCV FSR best",
    "initial-fill": "initial fill",
    "borrowed": "initial fill and borrowed detail",
}
"""Names of the baselines in the report."""
DEFAULT_BASELINES = tuple(name for name in TITLES if name != "fsr-best")
SLOW = tuple(name for name in NAMES if name != "patchmatch")


def fill_with(inpainter: Inpainter, image: Pixels, mask: Pixels) -> Pixels:
    return np.asarray(inpainter.fill(image, mask > 0))


def untrained(*, borrow: bool) -> Method:
    """Return the method of an untrained network: the initial fill, with or without borrowed detail."""
    network = WavePaint(WavePaintConfig(prefill_levels=PREFILL_LEVELS, borrow=borrow)).eval()
    network.start_from_initial_fill()

    @torch.inference_mode()
    def fill(image: Pixels, mask: Pixels) -> Pixels:
        filled = network(to_tensor(image), torch.from_numpy(mask)[None, None].float()).clamp(0, 1)
        pixels: Pixels = np.round(filled[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        return pixels

    return fill


def open_baseline(name: str) -> Method:
    """Open a baseline.

    Raises:
        EngineError: Its package is not installed.
    """
    if name in METHODS:
        fill, _ = Classical(name).open()
        return lambda image, mask: fill(image[None], mask[None, ..., None])[0]
    return open_exemplar(name) if name in NAMES else untrained(borrow=name == "borrowed")


def open_baselines(names: Sequence[str], *, given: bool) -> dict[str, Method]:
    """Open baselines by name. Those whose package is missing are reported, unless the user named them."""
    methods = {}
    for name in names:
        try:
            methods[TITLES[name]] = open_baseline(name)
        except EngineError as error:
            if given:
                raise
            print_line(f"without {name}: {error}")
    return methods


def run_method(method: Method, cases: Sequence[Case], lpips: LPIPS | None) -> Run:
    run = Run()
    for case in cases:
        hidden = np.where(case.mask[..., None] > 0, np.uint8(0), case.photo)  # no method may see the original
        started = time.perf_counter()
        run.outputs.append(method(hidden, case.mask))
        run.seconds += time.perf_counter() - started
        run.scores.append(score_fill(run.outputs[-1], case, lpips))
    return run


def parse_names(known: Sequence[str]) -> Callable[[click.Context, click.Parameter, str | None], tuple[str, ...] | None]:
    """Return a callback that splits a list at its commas and refuses unknown names."""

    def parse(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[str, ...] | None:
        if text is None:
            return None
        names = tuple(name for name in text.split(",") if name)
        for name in names:
            if name not in known:
                raise click.BadParameter(f"there is no {name!r}: expected some of {', '.join(known)}.")
        return names

    return parse


def parse_sizes(context: click.Context, parameter: click.Parameter, text: str) -> tuple[int, ...]:
    sizes = text.split(",")
    if not all(size.isascii() and size.isdigit() and 16 <= int(size) <= 4096 for size in sizes):
        raise click.BadParameter(f"{text!r} is not a list of sides from 16 to 4096 pixels, as in 256,512.")
    return tuple(map(int, sizes))


def measure_set(
    methods: dict[str, Method], cases: Sequence[Case], lpips: LPIPS | None, slow_photos: int
) -> dict[str, Run]:
    slow = {TITLES[name] for name in SLOW}
    return {
        name: run_method(method, cases[:slow_photos] if name in slow else cases, lpips)
        for name, method in methods.items()
    }


@click.command(cls=OneLineErrors)
@click.argument("photos", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder for the report.")
@click.option(
    "--bundle",
    "bundles",
    multiple=True,
    metavar="[NAME=]FOLDER",
    help="Bundle to measure; repeatable. Default: the one that ships with the package.",
)
@click.option(
    "--sizes", "--size", callback=parse_sizes, default="256", show_default=True, help="Sides in pixels, with commas."
)
@click.option("--sets", callback=parse_names(SETS), help="Sets, with commas. Default: all.")
@click.option("--limit", type=click.IntRange(min=1), help="Largest number of photos per set. Default: all.")
@click.option(
    "--baselines",
    callback=parse_names(tuple(TITLES)),
    help='Methods to compare with, with commas; "" for none. Default: all that are installed, but fsr-best.',
)
@click.option(
    "--slow-photos",
    type=click.IntRange(min=1),
    default=6,
    show_default=True,
    help="Fills per set by the shift map and FSR, which take seconds.",
)
@click.option(
    "--silhouettes",
    type=click.Path(path_type=Path),
    help="Folder of cut-outs. Default: drawn people, animals and trees.",
)
@click.option(
    "--mask-scale",
    type=click.IntRange(min=1),
    help="Enlarge the holes; divides --size. Default: size / 256.",
)
@click.option(
    "--lpips-weights", type=click.Path(path_type=Path), help="The weights of LPIPS. Default: LPIPS is not measured."
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier report.")
def main(
    photos: Path,
    out: Path,
    bundles: tuple[str, ...],
    sizes: tuple[int, ...],
    sets: tuple[str, ...] | None,
    limit: int | None,
    baselines: tuple[str, ...] | None,
    slow_photos: int,
    silhouettes: Path | None,
    mask_scale: int | None,
    lpips_weights: Path | None,
    overwrite: bool,
) -> None:
    """Compare bundles with classical methods on PHOTOS: a folder, a tar or zip archive, or an STL-10 binary file."""
    for size in sizes:
        if mask_scale and size % mask_scale:
            raise click.BadParameter(f"{size} is not a multiple of {mask_scale}", param_hint="--mask-scale")
    source: PhotoSource = open_source(photos)
    lpips = load_lpips("alexnet", lpips_weights) if lpips_weights else None
    names = {(name if len(sizes) == 1 else f"{name}-{size}"): (name, size) for size in sizes for name in sets or SETS}
    results: Results = {}
    pictures: dict[str, Image.Image] = {}
    with ExitStack() as stack:
        inpainters: dict[str, Inpainter] = {}
        for text in bundles or ("",):
            name, _, folder = text.rpartition("=")
            inpainter = stack.enter_context(Inpainter(Path(folder) if folder else None))
            inpainters[name or inpainter.bundle.manifest.name] = inpainter
        methods: dict[str, Method] = {name: partial(fill_with, inpainter) for name, inpainter in inpainters.items()}
        wanted = DEFAULT_BASELINES if baselines is None else baselines
        methods |= open_baselines(wanted, given=baselines is not None)
        for key, (name, size) in names.items():
            cases = load_set(source, name, size=size, mask_scale=mask_scale, limit=limit, silhouettes=silhouettes)
            results[key] = measure_set(methods, cases, lpips, slow_photos)
            pictures |= draw_pictures(results[key], cases, key, size)
            for run in results[key].values():
                run.outputs.clear()
            print_line(f"{key}: done")
        report = {
            **describe_run("quality"),
            "opencv": cv2.__version__,
            "models": {
                name: {
                    "engine": inpainter.engine,
                    "sha256": inpainter.bundle.manifest.files["model.onnx"]["sha256"],
                }
                for name, inpainter in inpainters.items()
            },
            "num_photos": len(source.names),
            "masks": {key: describe_set(name, silhouettes) for key, (name, _) in names.items()},
            **describe_results(results, list(inpainters)),
        }
    page = make_page(report)
    write_report(out, "quality", report, page, overwrite=overwrite, pictures=pictures)
    click.echo(page)


if __name__ == "__main__":
    main()
