"""How well does a bundle fill, against OpenCV's Telea and Navier-Stokes?

Photos are scaled so that their shorter side is --size and cropped in the middle; masks are the fixed validation masks
of ``wp train``. PSNR, SSIM and L1 are means over the photos, inside the hole only. Writes quality.json, quality.md
and one picture a mask kind into a new folder.
"""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from wavepaint.training.data import find_photos, load_validation, to_tensor

from wavepaint import Inpainter, __version__, metrics
from wavepaint.atomic import write_folder
from wavepaint.grid import make_grid, mark_hole
from wavepaint.ops.pyramid import pyramid_fill
from wavepaint.timing import describe_machine
from wavepaint.training.config import get_recipe
from wavepaint.training.masks import MASK_KINDS

Pixels = NDArray[np.uint8]
Method = Callable[[Pixels, Pixels], Pixels]

TELEA_RADIUS = 3
PREFILL_LEVELS = 8
ROWS = 10


def opencv(flag: int) -> Method:
    return lambda image, mask: np.asarray(cv2.inpaint(image, mask, TELEA_RADIUS, flag), np.uint8)


def prefill(image: Pixels, mask: Pixels) -> Pixels:
    fill = pyramid_fill(to_tensor(image)[None], torch.from_numpy(mask)[None, None].float(), PREFILL_LEVELS)
    return np.round(fill[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)


def score(method: Method, pairs: list[tuple[Pixels, Pixels]]) -> tuple[dict[str, float], list[Pixels]]:
    outputs: list[Pixels] = []
    seconds = 0.0
    for image, mask in pairs:
        hidden = np.where(mask[..., None] > 0, np.uint8(0), image)  # no method may see what it has to guess
        started = time.perf_counter()
        outputs.append(method(hidden, mask))
        seconds += time.perf_counter() - started
    cases = [(output / 255, image / 255, mask) for output, (image, mask) in zip(outputs, pairs, strict=True)]
    return {
        "psnr_hole_db": float(np.mean([metrics.psnr(*case) for case in cases])),
        "ssim_hole": float(np.mean([metrics.ssim(*case) for case in cases])),
        "l1_hole": float(np.mean([metrics.masked_l1(*case) for case in cases])),
        "ms_per_image": seconds / len(pairs) * 1e3,
    }, outputs


def markdown(report: dict[str, Any]) -> str:
    lines = ["| masks | method | PSNR in the hole | SSIM in the hole | L1 in the hole |", "|---|---|---|---|---|"]
    for kind, rows in report["results"].items():
        for name, row in rows.items():
            lines.append(
                f"| {kind} | {name} | {row['psnr_hole_db']:.2f} dB | {row['ssim_hole']:.4f} | {row['l1_hole']:.4f} |"
            )
    return "\n".join(lines) + "\n"


@click.command()
@click.argument("photos", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="New folder for the report.")
@click.option("--bundle", type=click.Path(path_type=Path), help="Default: the one that ships with the package.")
@click.option("--size", type=click.IntRange(min=16), default=256, show_default=True, help="Side in pixels.")
@click.option("--overwrite", is_flag=True, help="Replace a former report.")
def main(photos: Path, out: Path, bundle: Path | None, size: int, overwrite: bool) -> None:
    """Compare a bundle with OpenCV on the photos below PHOTOS."""
    results: dict[str, Any] = {}
    pictures: dict[str, Image.Image] = {}
    paths = find_photos(photos)
    with Inpainter(bundle) as inpainter:
        methods: dict[str, Method] = {
            inpainter.bundle.manifest.name: lambda image, mask: np.asarray(inpainter.fill(image, mask > 0)),
            "OpenCV Telea": opencv(cv2.INPAINT_TELEA),
            "OpenCV Navier-Stokes": opencv(cv2.INPAINT_NS),
            "pyramid prefill alone": prefill,
        }
        for kind in MASK_KINDS:
            pairs = load_validation(paths, replace(get_recipe("default"), val_size=size, val_masks=kind))
            scored = {name: score(method, pairs) for name, method in methods.items()}
            results[kind] = {name: row for name, (row, _) in scored.items()}
            grid = [
                (mark_hole(image, mask), *(outputs[i] for _, outputs in scored.values()), image)
                for i, (image, mask) in enumerate(pairs[:ROWS])
            ]
            pictures[kind] = make_grid(grid, ("hole", *scored, "original"))
            click.echo(f"{kind}: done", err=True)
        report = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": f"python benchmarks/quality.py PHOTOS --size {size}",
            "wavepaint": __version__,
            "opencv": cv2.__version__,
            "engine": inpainter.engine,
            "model_sha256": inpainter.bundle.manifest.files["model.onnx"]["sha256"],
            "machine": describe_machine(),
            "num_photos": len(paths),
            "results": results,
        }
    with write_folder(out, overwrite=overwrite) as folder:
        (folder / "quality.json").write_text(json.dumps(report, indent=2) + "\n")
        (folder / "quality.md").write_text(markdown(report))
        for kind, picture in pictures.items():
            picture.save(folder / f"{kind}.jpg", quality=88)
    click.echo(markdown(report))


if __name__ == "__main__":
    main()
