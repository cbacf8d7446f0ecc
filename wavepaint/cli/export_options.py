"""What the options of ``wp export`` ask for: profiles, engines and a model for Triton."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import click

from wavepaint.contract import MAX_SIDE, Precision
from wavepaint.errors import ConfigError
from wavepaint.export.plans import EngineRequest
from wavepaint.export.triton_repository import Backend, TritonRequest
from wavepaint.runtime.engines.tensorrt.libraries import ANY_GPU, LIBRARIES, Library
from wavepaint.runtime.engines.tensorrt.profiles import PlanOptions, Profile

AUTO, NONE = "auto", "none"
DEFAULT_SHAPES, DEFAULT_BATCHES = "64,512,1024", "1,1,4"


def _parse_triple(text: str, option: str, parse: Callable[[str], Any]) -> tuple[Any, Any, Any]:
    try:
        low, best, high = (parse(part.strip()) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not min,opt,max, such as {DEFAULT_SHAPES if option == '--shapes' else DEFAULT_BATCHES}",
            param_hint=option,
        ) from None
    return low, best, high


def _parse_size(text: str) -> tuple[int, int]:
    """Parse SIDE or WIDTHxHEIGHT; return (height, width)."""
    width, _, height = text.partition("x")
    return int(height or width), int(width)


def parse_image_size(text: str | None) -> tuple[int, int] | None:
    """Return (height, width) of --image-size; None if it is not given."""
    if text is None:
        return None
    try:
        height, width = _parse_size(text)
    except ValueError:
        height = width = 0
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise click.BadParameter(
            f"{text!r} is not a size in pixels such as 224 or 2048x1024, up to {MAX_SIDE}.", param_hint="--image-size"
        )
    return height, width


def parse_profiles(shapes: tuple[str, ...], batches: tuple[str, ...]) -> tuple[Profile, ...]:
    shapes, batches = shapes or (DEFAULT_SHAPES,), batches or (DEFAULT_BATCHES,)
    if len(batches) not in (1, len(shapes)):
        raise ConfigError(
            f"there are {len(shapes)} --shapes and {len(batches)} --batches: expected one --batches, or one for each."
        )
    if len(batches) == 1:
        batches *= len(shapes)
    profiles = []
    for shape, batch in zip(shapes, batches, strict=True):
        sizes = _parse_triple(shape, "--shapes", _parse_size)
        low, best, high = ((n, *size) for n, size in zip(_parse_triple(batch, "--batches", int), sizes, strict=True))
        profiles.append(Profile(min=low, opt=best, max=high))
    return tuple(profiles)


def _parse_targets(groups: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    def parse(part: str) -> str:
        return part if part == ANY_GPU else f"sm{part.removeprefix('sm')}"

    return tuple(tuple(parse(part.strip()) for part in group.split(",")) for group in groups) or ((),)


def request_engines(
    engines: tuple[str, ...], is_auto: bool, sm: tuple[str, ...], options: PlanOptions, *, has_options: bool
) -> EngineRequest | None:
    """Return the engines to build, if any; without --engine, ``is_auto`` requests those that this machine can build."""
    if len(engines) > 1 and (AUTO in engines or NONE in engines):
        raise ConfigError(
            f"--engine {AUTO} and --engine {NONE} cannot be combined with other engines. Name the libraries instead."
        )
    if engines == (NONE,) or (not engines and not is_auto):
        if has_options:
            raise ConfigError(
                "--shapes, --batches, --sm, --workspace, --optimization-level and --timing-cache need an --engine."
            )
        return None
    explicit = tuple(cast(Library, engine) for engine in dict.fromkeys(engines) if engine != AUTO)
    return EngineRequest(
        libraries=explicit or LIBRARIES, required=bool(explicit), target_groups=_parse_targets(sm), options=options
    )


def request_triton(
    repository: Path, name: str, engines: tuple[str, ...], precisions: tuple[Precision, ...], *, has_out: bool
) -> TritonRequest:
    """Return the model to add to a Triton repository. Triton runs TensorRT's plans, and ONNX models otherwise."""
    others = set(engines) - {NONE, "tensorrt"}
    if others and not has_out:
        raise ConfigError(
            f"--engine {', '.join(sorted(others))} builds engines that Triton does not run. Give a folder for a bundle "
            "with them (-o), or choose --engine tensorrt."
        )
    backend: Backend = "tensorrt" if "tensorrt" in engines else "onnxruntime"
    return TritonRequest(repository=repository, name=name, backend=backend, precisions=precisions)
