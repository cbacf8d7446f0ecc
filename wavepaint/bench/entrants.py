"""What is raced: bundles with trained weights, and baselines with random ones, which say all about speed.

A baseline is exported once, as any checkpoint is (fused, verified against PyTorch), and kept in the cache folder.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wavepaint import __version__
from wavepaint.atomic import write_folder
from wavepaint.bench.classical import METHODS, Classical
from wavepaint.cache import cache_folder
from wavepaint.contract import Bundle, default_bundle_folder, read_bundle
from wavepaint.errors import BundleError, ConfigError
from wavepaint.optional import require

if TYPE_CHECKING:
    from torch import nn

DEFAULT = "default"

BASELINES: dict[str, tuple[str, dict[str, Any]]] = {
    "wavepaint": (
        "wavepaint",
        {"num_modules": 4, "blocks_per_module": 4, "final_dim": 128, "mult": 2, "ff_channel": 128, "level": 1},
    ),
    "wavepaint-large": (
        "wavepaint",
        {"num_modules": 8, "blocks_per_module": 4, "final_dim": 128, "mult": 4, "ff_channel": 128, "level": 1},
    ),
    "lama": ("lama", {"num_blocks": 9}),
    "big-lama": ("lama", {"num_blocks": 18}),
    "lama-spectral": ("lama", {"num_blocks": 9, "spectral_l2g": True}),
    "cnn": ("unet", {}),
    "wavemix-inpainting": (
        "wavepaint",
        {"num_modules": 1, "blocks_per_module": 7, "final_dim": 256, "mult": 2, "ff_channel": 128, "level": 3},
    ),
}
"""Architecture and hyper-parameters by name. How the last one's were found is told in benchmarks/table1.py."""


@dataclass(frozen=True)
class Subject:
    """One model of a race.

    Attributes:
        name: For tables.
        bundle: Its exports.
        is_trained: Whether its weights mean anything; those of baselines are random.
    """

    name: str
    bundle: Bundle
    is_trained: bool

    def build_network(self) -> "nn.Module":
        """Build the network in PyTorch, with random weights: speed does not depend on them."""
        from wavepaint.models.registry import build_model

        return build_model(self.bundle.manifest.architecture, self.bundle.manifest.hyper_parameters).eval()


Entrant = Subject | Classical


def open_entrant(name: str, *, on_stage: Callable[[str], None] = lambda stage: None) -> Entrant:
    """Return a method of OpenCV by its name, or open a model as :func:`open_subject` does, with its errors."""
    return Classical(name) if name in METHODS else open_subject(name, on_stage=on_stage)


def open_subject(name: str, *, on_stage: Callable[[str], None] = lambda stage: None) -> Subject:
    """Open a model by the name of a baseline, as ``default``, or as a bundle's folder.

    Args:
        name: What to open.
        on_stage: Told of each stage where a baseline has to be exported first.

    Raises:
        ConfigError: No such baseline, and no folder of that name.
        EngineError: A baseline must be exported, and PyTorch is not installed.
        BundleError: The folder is no bundle.
    """
    if name == DEFAULT:
        return Subject(name, read_bundle(default_bundle_folder()), True)
    if name in BASELINES:
        return Subject(name, _open_baseline(name, on_stage), False)
    if not Path(name).exists():
        raise ConfigError(
            f"unknown model {name!r}: expected {', '.join((DEFAULT, *BASELINES, *METHODS))}, or a bundle's folder "
            "(--models)."
        )
    bundle = read_bundle(Path(name))
    return Subject(bundle.manifest.name, bundle, bool(bundle.manifest.training))


def _open_baseline(name: str, on_stage: Callable[[str], None]) -> Bundle:
    architecture, parameters = BASELINES[name]
    recipe = json.dumps([architecture, parameters, __version__], sort_keys=True)
    folder = cache_folder() / "bench" / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if folder.exists():
        try:
            return read_bundle(folder)
        except BundleError:  # damaged, or of another version
            shutil.rmtree(folder, ignore_errors=True)
    require("torch", extra="train")
    import torch

    from wavepaint.export.bundle import ExportOptions, write_bundle
    from wavepaint.models.registry import build_model
    from wavepaint.weights.checkpoint import read_checkpoint, save_checkpoint

    with torch.random.fork_rng(), write_folder(folder.with_name(f"{folder.name}-weights"), overwrite=True) as work:
        torch.manual_seed(0)
        network = build_model(architecture, parameters)
        save_checkpoint(work / f"{name}.pt", network, architecture=architecture, parameters=parameters)
        checkpoint = read_checkpoint(work / f"{name}.pt")
        return write_bundle(
            checkpoint,
            folder,
            name=name,
            options=ExportOptions(precisions=("float16",)),
            overwrite=True,
            on_stage=lambda stage: on_stage(f"{name} (random weights, once): {stage}"),
        )
