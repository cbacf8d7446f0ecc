"""The ranges of shapes that a plan serves, and the options of its build."""

from dataclasses import dataclass
from pathlib import Path

from wavepaint.errors import ConfigError
from wavepaint.runtime.sizes import Size, SizeRange

MAX_OPTIMIZATION_LEVEL = 5
LARGEST_SIDE = 16_384


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A range of sizes (batch, height, width) that a plan serves, and the size it is optimised for.

    Raises:
        ConfigError: The sizes are not in order or not positive, or a side is too large.
    """

    min: Size = (1, 64, 64)
    opt: Size = (1, 512, 512)
    max: Size = (4, 1024, 1024)

    def __post_init__(self) -> None:
        for name, low, best, high in zip(("batch", "height", "width"), self.min, self.opt, self.max, strict=True):
            if not 1 <= low <= best <= high:
                raise ConfigError(
                    f"a profile's {name} is {low}, {best}, {high}: expected min <= opt <= max, all 1 or more "
                    "(--shapes, --batches)."
                )
        if max(self.max[1:]) > LARGEST_SIDE:
            raise ConfigError(
                f"a profile reaches {max(self.max[1:])} pixels: expected {LARGEST_SIDE} at most (--shapes)."
            )

    @property
    def sizes(self) -> SizeRange:
        """The range of sizes."""
        return SizeRange(self.min, self.max)

    def clamp(self, sizes: SizeRange, size_multiple: int) -> "Profile":
        """Return the nearest profile within the sizes that a model takes."""
        if sizes == SizeRange():
            return self
        return Profile(**{name: sizes.clamp(getattr(self, name), size_multiple) for name in ("min", "opt", "max")})

    def require_multiple(self, size_multiple: int) -> None:
        """Raise unless every side is a multiple of ``size_multiple``.

        Raises:
            ConfigError: A side is not. The message names the nearest multiples.
        """
        for side in (*self.min[1:], *self.opt[1:], *self.max[1:]):
            if side % size_multiple:
                lower = side // size_multiple * size_multiple
                raise ConfigError(
                    f"a profile's side is {side}, and this model takes multiples of {size_multiple}, such as "
                    f"{f'{lower} or ' if lower else ''}{lower + size_multiple} (--shapes)."
                )


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """How to build a plan.

    Attributes:
        profiles: Ranges of sizes, one or more.
        targets: GPUs to build for, for TensorRT-RTX: compute capabilities such as "sm86", or
            :data:`wavepaint.runtime.engines.tensorrt.libraries.ANY_GPU`. If empty, the library chooses.
        workspace_mb: Most scratch memory of a layer on the GPU, in MiB; None leaves it to the library.
        optimization_level: 0 (fast build) to 5 (fast engine); None leaves it to the library.
        timing_cache: File in which TensorRT keeps kernel timings between builds; None for one file for each version of
            TensorRT in the cache folder.

    Raises:
        ConfigError: A value is out of range.
    """

    profiles: tuple[Profile, ...] = (Profile(),)
    targets: tuple[str, ...] = ()
    workspace_mb: int | None = None
    optimization_level: int | None = None
    timing_cache: Path | None = None

    def __post_init__(self) -> None:
        if not self.profiles:
            raise ConfigError("a plan needs at least one profile (--shapes).")
        if len(set(self.targets)) != len(self.targets):
            raise ConfigError(f"the targets {', '.join(self.targets)} name one twice (--sm).")
        if self.workspace_mb is not None and self.workspace_mb < 1:
            raise ConfigError(f"the workspace is {self.workspace_mb} MiB: expected 1 or more (--workspace).")
        if self.optimization_level is not None and not 0 <= self.optimization_level <= MAX_OPTIMIZATION_LEVEL:
            raise ConfigError(
                f"the optimization level is {self.optimization_level}: expected 0 to {MAX_OPTIMIZATION_LEVEL} "
                "(--optimization-level)."
            )
