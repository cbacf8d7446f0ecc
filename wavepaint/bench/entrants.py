"""The competitors: bundles with trained weights, baselines with random weights, and OpenCV's methods.

Random weights are as fast as trained ones. A baseline is exported once, fused and verified like any checkpoint, and
cached.
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
from wavepaint.cache_folder import cache_folder
from wavepaint.contract import Bundle, assets_folder, default_bundle_folder, read_bundle
from wavepaint.errors import BundleError, ConfigError, printable
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
    "comodgan": ("comodgan", {"resolution": 512}),
    "comodgan-256": ("comodgan", {"resolution": 256, "base_channels": 128}),
    "cnn": ("unet", {}),
    "wavemix-inpainting": (
        "wavepaint",
        {"num_modules": 1, "blocks_per_module": 7, "final_dim": 256, "mult": 2, "ff_channel": 128, "level": 3},
    ),
}
"""Architecture and hyper-parameters by name. docs/models.md explains those of the last one."""

NAMES = (DEFAULT, *BASELINES, *METHODS)
"""What a model is called that is not a bundle's folder."""

_SEED = 0


@dataclass(frozen=True)
class Subject:
    """One model.

    Attributes:
        name: Its name in tables.
        bundle: Its exports.
        is_trained: Whether its weights are trained; those of baselines are random, and imported ones count as trained.
    """

    name: str
    bundle: Bundle
    is_trained: bool

    @property
    def has_network(self) -> bool:
        """Whether :meth:`build_network` returns the weights of the bundle."""
        return self.name == DEFAULT or self.name in BASELINES

    def build_network(self) -> "nn.Module":
        """Build the PyTorch network, with random weights if it is neither the default model nor a baseline."""
        from wavepaint.weights.checkpoint import read_checkpoint

        if self.name == DEFAULT:
            return read_checkpoint(assets_folder() / "default.pt").build().eval()
        manifest = self.bundle.manifest
        network = _build_random(manifest.architecture, manifest.hyper_parameters)
        if manifest.preprocessing is None:
            return network
        from wavepaint.models.normalized_network import NormalizedNetwork

        return NormalizedNetwork(network, manifest.preprocessing).eval()


Entrant = Subject | Classical


def open_entrant(name: str, *, on_stage: Callable[[str], None] = lambda stage: None) -> Entrant:
    """Return the OpenCV method of that name, or open a model; see :func:`open_subject`."""
    return Classical(name) if name in METHODS else open_subject(name, on_stage=on_stage)


def open_subject(name: str, *, on_stage: Callable[[str], None] = lambda stage: None) -> Subject:
    """Open a model.

    Args:
        name: The name of a baseline, ``default``, or a bundle's folder.
        on_stage: Called with each stage of exporting a baseline.

    Raises:
        ConfigError: No such baseline or folder.
        EngineError: A baseline must be exported, and PyTorch is not installed.
        BundleError: The folder is not a bundle.
    """
    if name == DEFAULT:
        return Subject(name, read_bundle(default_bundle_folder()), True)
    if name in BASELINES:
        return Subject(name, _open_baseline(name, on_stage), False)
    if not Path(name).exists():
        raise ConfigError(f"unknown model {name!r}: expected {', '.join(NAMES)}, or a bundle's folder (--models).")
    bundle = read_bundle(Path(name))
    is_trained = bool(bundle.manifest.training) or bundle.manifest.is_imported
    return Subject(printable(bundle.manifest.name), bundle, is_trained)


def _open_baseline(name: str, on_stage: Callable[[str], None]) -> Bundle:
    architecture, parameters = BASELINES[name]
    recipe = json.dumps([architecture, parameters, __version__], sort_keys=True)
    folder = cache_folder() / "bench" / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if folder.exists():
        try:
            return read_bundle(folder)
        except BundleError:  # damaged, or written by another version
            shutil.rmtree(folder, ignore_errors=True)
    require("torch", extra="train")
    from wavepaint.export.bundle import ExportOptions, write_bundle
    from wavepaint.weights.checkpoint import read_checkpoint, save_checkpoint

    with write_folder(folder.with_name(f"{folder.name}-weights"), overwrite=True) as work:
        network = _build_random(architecture, parameters)
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


def _build_random(architecture: str, parameters: dict[str, Any]) -> "nn.Module":
    """Build a network whose weights depend only on the seed, so that it equals its export."""
    import torch

    from wavepaint.models.registry import build_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return build_model(architecture, parameters).eval()
