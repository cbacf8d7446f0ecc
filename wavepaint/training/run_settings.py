"""The configuration of a run: a recipe, changed by a file and by flags, with the network of a checkpoint."""

import dataclasses
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wavepaint.contract import assets_folder, get_task
from wavepaint.errors import ConfigError, TrainingError, WavePaintWarning
from wavepaint.training.class_recipes import CLASS_RECIPES
from wavepaint.training.config import RUN_KINDS, ClassTrainConfig, RunConfig, RunKind, TrainConfig
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
    task: RunKind | None = None,
    init_from: Path | None = None,
    lpips_weights: Path | None = None,
    download: bool = False,
) -> RunConfig:
    """Return the recipe, changed first by the file and then by the flags.

    The recipe is, in this order, the one named as ``recipe``, the one named in the file, that of the task for a run
    with classes, a fine-tuning one if the run starts from the model that ships, or ``default``. If nothing names a
    recipe, or it is a fine-tuning one, the network is that of the checkpoint.

    Args:
        recipe: Name of a recipe.
        file: Settings from a file.
        flags: Settings from flags.
        task: What to train; None takes that of the file or of the recipe, and inpainting if there is neither.
        init_from: The checkpoint that the run starts from.
        lpips_weights: Where the LPIPS weights are; None searches the usual places.
        download: Whether missing LPIPS weights will be downloaded.

    Raises:
        ConfigError: A setting or the recipe is unknown, belongs to another task, or a value is out of bounds.
        CheckpointError: The checkpoint cannot be read.
    """
    file = dict(file)
    named = recipe or file.pop("recipe", None)
    file.pop("recipe", None)
    kind = _choose_kind(task, file.pop("task", None), named)
    if kind != "inpaint":
        return _resolve_classes(CLASS_RECIPES[named or kind](), named, file, flags, init_from)
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


def _choose_kind(task: RunKind | None, task_of_file: Any, recipe: Any) -> RunKind:
    """Return what a run trains.

    Raises:
        ConfigError: Flag, file and recipe contradict each other, or one of them is unknown.
    """
    if task_of_file not in (None, *RUN_KINDS):
        raise ConfigError(f"task is {task_of_file!r}: expected {', '.join(RUN_KINDS)} (--task).")
    if recipe is None:
        task_of_recipe = None
    elif isinstance(recipe, str) and recipe in CLASS_RECIPES:
        task_of_recipe = CLASS_RECIPES[recipe]().kind
    else:
        task_of_recipe = get_recipe(recipe).kind
    chosen: RunKind = task or task_of_file or task_of_recipe or "inpaint"
    for given, other in ((f"recipe {recipe} (--recipe)", task_of_recipe), ("the file (--config)", task_of_file)):
        if other not in (None, chosen):
            raise ConfigError(f"{given} is for --task {other}, not for --task {chosen}: leave one of the two out.")
    return chosen


def _resolve_classes(
    config: ClassTrainConfig,
    recipe: str | None,
    file: Mapping[str, Any],
    flags: Mapping[str, Any],
    init_from: Path | None,
) -> ClassTrainConfig:
    """Return a recipe with classes, changed by the checkpoint's network unless ``recipe`` is named, file and flags."""
    if init_from is None or recipe is not None:
        return config.change(file).change(flags)
    network = _read_class_network(init_from, config)
    unknown = [name for name, value in network["hyper_parameters"].items() if value is None]
    config = config.change(network).change(file).change(flags)
    for name in unknown:
        if config.hyper_parameters.get(name, 0) is None:
            raise ConfigError(
                f"the weights in {init_from} do not show the {name} of their network: add the one they were trained "
                f"with (--hyper-parameter {name}=NUMBER)."
            )
    return config


def _read_class_network(path: Path, config: ClassTrainConfig) -> dict[str, Any]:
    """Return the network of a checkpoint, without its head, and its normalisation if a run has recorded it.

    Classifier and segmenter have the same stem and blocks, so that one can start from the other. Their defaults differ,
    so all hyper-parameters are named. None is one that the weights do not show.
    """
    from wavepaint.weights.checkpoint import read_checkpoint

    checkpoint = read_checkpoint(path)
    if not get_task(checkpoint.architecture.task).has_classes:
        raise ConfigError(
            f"{path} is a {checkpoint.architecture.name} network: expected a classifier or a segmenter with --task "
            f"{config.task} (--init-from)."
        )
    known = {name: value for name, value in checkpoint.parameters.items() if value is not None}
    network = dataclasses.asdict(checkpoint.architecture.make_config(known)) | checkpoint.parameters
    for name in ("num_classes", "head_dim"):
        network.pop(name, None)
    changes: dict[str, Any] = {"hyper_parameters": network}
    recorded = checkpoint.training.get("config", {})
    if isinstance(recorded, Mapping) and isinstance(recorded.get("classes"), Mapping):
        changes["classes"] = {"preprocessing": recorded["classes"].get("preprocessing", "imagenet")}
    return changes


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


def read_settings(out: Path) -> RunConfig:
    """Return the configuration of the run in a folder.

    Raises:
        CheckpointError: There is no run to resume, or its checkpoint cannot be read.
        ConfigError: A setting has become unknown.
    """
    from wavepaint.training.run_folder import RunFolder

    return RunFolder(out, (), resume=True).read_settings()
