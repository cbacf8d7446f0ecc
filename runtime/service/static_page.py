"""The page as files: what it consists of, and a copy for web hosts that only hand out files."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from wavepaint.atomic import write_folder
from wavepaint.contract import INPAINTING, Bundle, Manifest
from wavepaint.errors import BundleError, OutputError, printable

PAGE_FOLDER = Path(__file__).parent / "page"

INDEX = "index.html"

MODEL_NAME = "model.fp16.uint8.onnx"
"""The file of a bundle that browsers run."""

MODEL_MISSING = f"has no {MODEL_NAME}, which browsers run. Export its checkpoint with --fp16 --io uint8."

_SERVED, _STATIC = '<meta name="wavepaint" content="server">', '<meta name="wavepaint" content="static">'
_MODELS = "models.json"
_DEFAULT_CROP_SIZE = 256


def describe_model(manifest: Manifest) -> Mapping[str, object]:
    """Return what the page has to know of a model: its name, the multiple of its sides, the side of its crops."""
    return {
        "id": manifest.name,
        "size_multiple": manifest.size_multiple,
        "crop_size": manifest.crop_size or _DEFAULT_CROP_SIZE,
    }


def write_page(out: Path, bundle: Bundle, *, overwrite: bool = False) -> int:
    """Write the page with a model into a folder. It fills in the browser only.

    Args:
        out: The folder, which appears complete or not at all.
        bundle: The model.
        overwrite: Replace an earlier page.

    Returns:
        The number of bytes written.

    Raises:
        BundleError: The bundle has no model for browsers, or is of another task.
        OutputError: The folder exists and is no earlier page, or it cannot be written.
    """
    bundle.require_task(INPAINTING)
    if bundle.manifest.has_largest_size:
        raise BundleError(
            f"{printable(bundle.folder)} takes images of some sizes only, and the page sends larger ones. Run it with "
            "wp serve."
        )
    if MODEL_NAME not in bundle.manifest.files:
        raise BundleError(f"{printable(bundle.folder)} {MODEL_MISSING}")
    if overwrite and out.is_dir() and any(out.iterdir()) and not _is_page(out):
        raise OutputError(f"{printable(out)} is not a page of wp page, so it is not replaced. Choose another folder.")
    with write_folder(out, overwrite=overwrite) as folder:
        shutil.copytree(PAGE_FOLDER, folder / "page", ignore=shutil.ignore_patterns(INDEX))
        index = (PAGE_FOLDER / INDEX).read_text(encoding="utf-8").replace(_SERVED, _STATIC)
        (folder / INDEX).write_text(index, encoding="utf-8")
        models = {"object": "list", "data": [describe_model(bundle.manifest)]}
        (folder / _MODELS).write_text(json.dumps(models), encoding="utf-8")
        shutil.copyfile(bundle.folder / MODEL_NAME, folder / "model.onnx")
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _is_page(folder: Path) -> bool:
    index = folder / INDEX
    return index.is_file() and (folder / _MODELS).is_file() and _STATIC in index.read_text("utf-8", "replace")
