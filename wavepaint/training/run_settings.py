"""The configuration of a run: a recipe, changed by a file and by flags, with the network of a checkpoint."""

import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wavepaint.contract import assets_folder
from wavepaint.errors import TrainingError, WavePaintWarning
from wavepaint.training.config import TrainConfig
from wavepaint.training.recipes import FINE_TUNE, FINE_TUNE_WITHOUT_LPIPS, get_recipe

SHIPPED_MODEL = "default"
"""The name of the model that ships, where a checkpoint is expected."""
_SHIPPED_FILE = assets_folder() / "default.pt"


def locate_checkpoint(name: str) -> Path:
    """Return the path of a checkpoint, or that of the model that ships if the name is ``default``.

    A file of that name is reached as ``./default``.
    """
    if name != SHIPPED_MODEL:
        return Path(name)
    if Path(name).is_file():
        warnings.warn(
            "--init-from default means the model that ships. To start from the file of that name, write ./default.",
            WavePaintWarning,
            stacklevel=2,
        )
    return _SHIPPED_FILE


def resolve_settings(
    recipe: str | None,
    file: Mapping[str, Any],
    flags: Mapping[str, Any],
    *,
    init_from: Path | None = None,
    lpips_weights: Path | None = None,
    download: bool = False,
) -> TrainConfig:
    """Return the recipe, changed first by the file and then by the flags.

    The recipe is, in this order, the one named as ``recipe``, the one named in the file, a fine-tuning one if the run
    starts from the model that ships, or ``default``. If nothing names a recipe, or it is a fine-tuning one, the network
    is that of the checkpoint.

    Args:
        recipe: Name of a recipe.
        file: Settings from a file.
        flags: Settings from flags.
        init_from: The checkpoint that the run starts from.
        lpips_weights: Where the LPIPS weights are; None searches the usual places.
        download: Whether missing LPIPS weights will be downloaded.

    Raises:
        ConfigError: A setting or the recipe is unknown, or a value is out of bounds.
        CheckpointError: The checkpoint cannot be read.
    """
    file = dict(file)
    named = recipe or file.get("recipe")
    file.pop("recipe", None)
    takes_network = named in (None, FINE_TUNE, FINE_TUNE_WITHOUT_LPIPS)
    network = _read_network(init_from) if init_from and takes_network else {}

    def build(name: str) -> TrainConfig:
        return dataclasses.replace(get_recipe(name), **network).change(file).change(flags)

    if named is not None or init_from is None or init_from.resolve() != _SHIPPED_FILE.resolve():
        return build(named or "default")
    config = build(FINE_TUNE)
    if not config.loss.needs_lpips or lpips_weights is not None or download:
        return config
    plain = build(FINE_TUNE_WITHOUT_LPIPS)
    if plain.loss.needs_lpips or _has_weights(config.loss.lpips_network):
        return config
    warnings.warn(
        "the weights of LPIPS, the loss that keeps textures sharp, are not on this machine. This run trains without it "
        f"(recipe {FINE_TUNE_WITHOUT_LPIPS}), and its fills become smoother than those of the default model. To train "
        "with it, stop and add --download-weights.",
        WavePaintWarning,
        stacklevel=2,
    )
    return plain


def _read_network(path: Path) -> dict[str, Any]:
    from wavepaint.weights.checkpoint import read_checkpoint

    checkpoint = read_checkpoint(path)
    known = {name: value for name, value in checkpoint.parameters.items() if value is not None}
    return {"architecture": checkpoint.architecture.name, "hyper_parameters": known}


def _has_weights(network: str) -> bool:
    from wavepaint.metrics.lpips_weights import find_weights

    try:
        find_weights(network)
    except TrainingError:
        return False
    return True


def read_settings(out: Path) -> TrainConfig:
    """Return the configuration of the run in a folder.

    Raises:
        CheckpointError: There is no run to resume, or its checkpoint cannot be read.
        ConfigError: A setting has become unknown.
    """
    from wavepaint.training.run_folder import RunFolder

    return RunFolder(out, (), resume=True).read_settings()
