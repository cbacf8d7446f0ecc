"""How good are the fills of bundles, compared with OpenCV's Telea and Navier-Stokes methods?

Photos are scaled so that their shorter side is --size, and cropped in the middle. Masks are the fixed validation masks
of ``wp train``. With --mask-scale, masks of a smaller size are enlarged, because large photos have large holes. PSNR,
SSIM and L1 are means over the photos inside the hole. LPIPS (AlexNet, with the authors' weights) is measured inside the
hole, in the 16 pixels around it, where seams show, and over the whole image. The report, quality.json, quality.md and a
picture for each mask kind, goes into a new folder.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wavepaint import Inpainter
from wavepaint.bench.classical import Classical, Pixels
from wavepaint.bench.report import describe_run, make_markdown_table, write_report
from wavepaint.cli.progress import print_line
from wavepaint.data.masks import MASK_KINDS, MaskSampler, describe_kind
from wavepaint.data.sources import PhotoSource, open_source
from wavepaint.data.validation_set import load_validation
from wavepaint.metrics import image_quality
from wavepaint.metrics.lpips import LPIPS, load_lpips
from wavepaint.models.wavepaint import WavePaint, WavePaintConfig
from wavepaint.picture_grid import make_grid, mark_hole
from wavepaint.training.losses.objective import HOLE_MARGIN
from wavepaint.training.losses.reconstruction import dilate_mask

Method = Callable[[Pixels, Pixels], Pixels]

PREFILL_LEVELS = 8
MAX_ROWS, PICTURE_PIXELS = 10, 27 * 256 * 256
"""Rows of a picture, and pixels of a column."""
METRICS = {
    "psnr_hole_db": ("PSNR in the hole", "{:.2f} dB"),
    "ssim_hole": ("SSIM in the hole", "{:.4f}"),
    "l1_hole": ("L1 in the hole", "{:.4f}"),
    "lpips_hole": ("LPIPS in the hole", "{:.4f}"),
    "lpips_around": ("around it", "{:.4f}"),
    "lpips": ("LPIPS", "{:.4f}"),
}


def open_opencv(name: str) -> Method:
    fill, _ = Classical(name).open()
    return lambda image, mask: fill(image[None], mask[None, ..., None])[0]


def fill_with(inpainter: Inpainter, image: Pixels, mask: Pixels) -> Pixels:
    return np.asarray(inpainter.fill(image, mask > 0))


def to_tensor(image: Pixels) -> Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255


def load_pairs(source: PhotoSource, size: int, kind: str, mask_scale: int) -> list[tuple[Pixels, Pixels]]:
    """Return photos (size, size, 3) and masks (size, size), 1 in the hole."""
    pairs = load_validation(source, source.names, size=size, masks=MaskSampler((kind,)))
    if mask_scale == 1:
        return pairs
    drawn = load_validation(source, source.names, size=size // mask_scale, masks=MaskSampler((kind,)))
    block = np.ones((mask_scale, mask_scale), np.uint8)
    return [(image, np.kron(mask, block)) for (image, _), (_, mask) in zip(pairs, drawn, strict=True)]


def untrained(*, borrow: bool) -> Method:
    """Return the method of an untrained network: the initial fill, with or without borrowed detail."""
    network = WavePaint(WavePaintConfig(prefill_levels=PREFILL_LEVELS, borrow=borrow)).eval()
    network.start_from_initial_fill()

    @torch.inference_mode()
    def fill(image: Pixels, mask: Pixels) -> Pixels:
        filled: Tensor = network(to_tensor(image), torch.from_numpy(mask)[None, None].float()).clamp(0, 1)
        pixels: Pixels = np.round(filled[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
        return pixels

    return fill


@torch.inference_mode()
def measure_lpips(lpips: LPIPS, output: Pixels, image: Pixels, mask: Pixels) -> tuple[float, float, float]:
    """Return LPIPS inside the hole, in the ring around it, and over the whole image."""
    hole = torch.from_numpy(mask)[None, None].float()
    ring = dilate_mask(hole, HOLE_MARGIN) - hole
    at_pixels = lpips(to_tensor(output), to_tensor(image), spatial=True)
    whole = lpips(to_tensor(output), to_tensor(image))
    inside, around = ((at_pixels * region).sum() / region.sum().clamp_min(1) for region in (hole, ring))
    return float(inside), float(around), float(whole)


def score(
    method: Method, pairs: Sequence[tuple[Pixels, Pixels]], lpips: LPIPS | None
) -> tuple[dict[str, float], list[Pixels]]:
    outputs: list[Pixels] = []
    seconds = 0.0
    for image, mask in pairs:
        hidden = np.where(mask[..., None] > 0, np.uint8(0), image)  # no method may see the original
        started = time.perf_counter()
        outputs.append(method(hidden, mask))
        seconds += time.perf_counter() - started
    cases = [(output / 255, image / 255, mask) for output, (image, mask) in zip(outputs, pairs, strict=True)]
    scores = {
        "psnr_hole_db": float(np.mean([image_quality.psnr(*case) for case in cases])),
        "ssim_hole": float(np.mean([image_quality.ssim(*case) for case in cases])),
        "l1_hole": float(np.mean([image_quality.masked_l1(*case) for case in cases])),
        "ms_per_image": seconds / len(pairs) * 1e3,
    }
    if lpips:
        rows = [measure_lpips(lpips, output, *pair) for output, pair in zip(outputs, pairs, strict=True)]
        scores |= dict(zip(("lpips_hole", "lpips_around", "lpips"), map(float, np.mean(rows, axis=0)), strict=True))
    return scores, outputs


def markdown(report: dict[str, Any]) -> str:
    shown = [
        name for name in METRICS if all(name in row for rows in report["results"].values() for row in rows.values())
    ]
    table = [["masks", "method", *(METRICS[name][0] for name in shown)]]
    for kind, rows in report["results"].items():
        for method, row in rows.items():
            table.append([kind, method, *(METRICS[name][1].format(row[name]) for name in shown)])
    lines = [*make_markdown_table(table), ""]
    lines += [f"- {kind} masks: {generator}" for kind, generator in report["masks"].items()]
    return "\n".join(lines) + "\n"


@click.command()
@click.argument("photos", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder for the report.")
@click.option(
    "--bundle",
    "bundles",
    multiple=True,
    metavar="[NAME=]FOLDER",
    help="Bundle to measure; repeatable. Default: the one that ships with the package.",
)
@click.option("--size", type=click.IntRange(min=16), default=256, show_default=True, help="Side in pixels.")
@click.option(
    "--mask-scale", type=click.IntRange(min=1), default=1, show_default=True, help="Enlarge the holes; divides --size."
)
@click.option(
    "--lpips-weights", type=click.Path(path_type=Path), help="The weights of LPIPS. Default: LPIPS is not measured."
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier report.")
def main(
    photos: Path,
    out: Path,
    bundles: tuple[str, ...],
    size: int,
    mask_scale: int,
    lpips_weights: Path | None,
    overwrite: bool,
) -> None:
    """Compare bundles with OpenCV on PHOTOS: a folder, a tar or zip archive, or an STL-10 binary file."""
    if size % mask_scale:
        raise click.BadParameter(f"{size} is not a multiple of {mask_scale}", param_hint="--mask-scale")
    results: dict[str, Any] = {}
    pictures: dict[str, Image.Image] = {}
    source = open_source(photos)
    lpips = load_lpips("alexnet", lpips_weights) if lpips_weights else None
    with ExitStack() as stack:
        inpainters: dict[str, Inpainter] = {}
        for text in bundles or ("",):
            name, _, folder = text.rpartition("=")
            inpainter = stack.enter_context(Inpainter(Path(folder) if folder else None))
            inpainters[name or inpainter.bundle.manifest.name] = inpainter
        methods: dict[str, Method] = {}
        for name, inpainter in inpainters.items():
            methods[name] = partial(fill_with, inpainter)
        methods["OpenCV Telea"] = open_opencv("telea")
        methods["OpenCV Navier-Stokes"] = open_opencv("navier-stokes")
        methods["initial fill"] = untrained(borrow=False)
        methods["initial fill and borrowed detail"] = untrained(borrow=True)
        for kind in MASK_KINDS:
            pairs = load_pairs(source, size, kind, mask_scale)
            scored = {name: score(method, pairs, lpips) for name, method in methods.items()}
            results[kind] = {name: row for name, (row, _) in scored.items()}
            grid = [
                (mark_hole(image, mask), *(outputs[i] for _, outputs in scored.values()), image)
                for i, (image, mask) in enumerate(pairs[: min(MAX_ROWS, max(PICTURE_PIXELS // size**2, 1))])
            ]
            pictures[kind] = make_grid(grid, ("hole", *scored, "original"))
            print_line(f"{kind}: done")
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
            "masks": {kind: describe_kind(kind) for kind in MASK_KINDS},
            "results": results,
        }
    page = markdown(report)
    write_report(out, "quality", report, page, overwrite=overwrite, pictures=pictures)
    click.echo(page)


if __name__ == "__main__":
    main()
