"""TensorRT and TensorRT-RTX: how each is imported, builds plans and runs them.

Both have almost the same API. :class:`TensorRtRtxLibrary` overrides what TensorRT-RTX does differently.
"""

import importlib.util
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Literal, get_args

from wavepaint.atomic import write_file
from wavepaint.cache_folder import cache_folder
from wavepaint.errors import ConfigError, EngineError, OutputError, WavePaintWarning
from wavepaint.optional import make_install_command, require
from wavepaint.runtime.engines.gpus import Gpu, find_gpus
from wavepaint.runtime.engines.tensorrt.kernel_cache import KernelCache

Library = Literal["tensorrt", "tensorrt-rtx"]
"""Names of the libraries. Their engines, extras and kinds of plans in the manifest have the same names."""

LIBRARIES: tuple[Library, ...] = get_args(Library)

ANY_GPU, CURRENT_GPU = "any", "current"
"""Targets of TensorRT-RTX besides compute capabilities: every supported GPU from Ampere on, and the GPU of this
machine."""

RTX_CAPABILITIES = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")
"""Compute capabilities that TensorRT-RTX 1.7 names. GPUs that are newer than the last run plans for :data:`ANY_GPU`;
others between them, such as Hopper (sm90), run none."""


class TensorRtLibrary:
    """TensorRT. It builds a plan on the GPU that will run it, where it times kernels.

    Attributes:
        name: Name on the command line.
        label: Human-readable name.
        module: Python module.
        min_major_version: First version with strongly typed networks.
        takes_targets: Whether the library builds for GPUs that are not on this machine.
        captures_graphs: Whether the library captures CUDA graphs itself.
    """

    name: ClassVar[Library] = "tensorrt"
    label: ClassVar[str] = "TensorRT"
    module: ClassVar[str] = "tensorrt"
    min_major_version: ClassVar[int] = 10
    takes_targets: ClassVar[bool] = False
    captures_graphs: ClassVar[bool] = False

    def load(self) -> ModuleType:
        """Import the library.

        Raises:
            EngineError: It is not installed, does not load, or is too old.
        """
        trt = require(self.module, extra=self.name)
        if int(trt.__version__.split(".")[0]) < self.min_major_version:
            raise EngineError(
                f"{self.label} {trt.__version__} has no strongly typed networks; expected {self.min_major_version} or "
                f"newer. Install it with: {make_install_command(self.name)}"
            )
        return trt

    def require_gpu(self) -> Gpu:
        """Return the GPU that plans run on.

        Raises:
            EngineError: There is no driver or no GPU, or the library does not support the GPU.
        """
        gpus = find_gpus()
        if not gpus:
            raise EngineError(
                f"{self.label} runs on NVIDIA GPUs, and no driver or GPU was found here. With a GPU, install its "
                f"driver and: {make_install_command(self.name)}"
            )
        self.require_support(gpus[0].compute_capability)
        return gpus[0]

    def require_support(self, capability: str) -> None:
        """Raise if the library supports no GPU of a compute capability, such as "sm90".

        TensorRT drops only GPUs that are older than its versions, and says so itself.

        Raises:
            EngineError: The message names the supported GPUs, and the engines to use instead.
        """

    def choose_targets(self, targets: tuple[str, ...], gpus: list[str]) -> tuple[str, ...]:
        """Return the GPUs to build a plan for; empty for the GPU of this machine.

        Args:
            targets: The requested targets.
            gpus: Compute capabilities of the GPUs on this machine.

        Raises:
            EngineError: The library can build only for a GPU that is not on this machine.
            ConfigError: The library does not know the targets.
        """
        if targets:
            raise ConfigError("TensorRT builds only for the GPU of this machine; --sm is for --engine tensorrt-rtx.")
        if not gpus:
            raise EngineError(
                "TensorRT needs the NVIDIA GPU it builds for, and no driver or GPU was found here. Build on the "
                "machine that will run the engine, or ahead of time with --engine tensorrt-rtx."
            )
        return ()

    def prepare_build(self, trt: Any, config: Any, targets: tuple[str, ...], timing_cache: Path | None) -> None:
        """Apply the settings of this library to a builder's configuration.

        Raises:
            EngineError: The chosen timing cache cannot be read.
        """
        path = self._locate_timing_cache(trt, timing_cache)
        try:
            cached = path.read_bytes()
        except FileNotFoundError:
            cached = b""
        except OSError as error:
            if timing_cache is not None:
                raise EngineError(f"the timing cache {path} cannot be read: {error.strerror or error}.") from error
            cached = b""  # finish_build warns about a cache folder that cannot be used
        for content in (cached, b""):  # the library refuses timings of another GPU or version
            cache = config.create_timing_cache(content)
            if cache is not None and config.set_timing_cache(cache, False):
                return

    def finish_build(self, trt: Any, config: Any, timing_cache: Path | None) -> None:
        """Save kernel timings for the next build. A failure only warns, because the plan is already built."""
        path = self._locate_timing_cache(trt, timing_cache)
        try:
            with write_file(path, overwrite=True) as temporary:
                temporary.write_bytes(config.get_timing_cache().serialize())
        except OutputError as error:
            warnings.warn(f"the next build will be as slow as this one: {error}", WavePaintWarning, stacklevel=3)

    def _locate_timing_cache(self, trt: Any, chosen: Path | None) -> Path:
        return chosen or cache_folder() / f"tensorrt-{trt.__version__}.timing"

    def configure_run(self, trt: Any, engine: Any, plan: bytes, *, graphs: bool) -> tuple[Any, KernelCache | None]:
        """Return the configuration of execution contexts, and the cache of their kernels; None without a cache.

        Args:
            trt: The library's module.
            engine: The deserialised plan.
            plan: The plan.
            graphs: Whether to capture CUDA graphs, if the library does that itself.
        """
        return trt.ExecutionContextAllocationStrategy.USER_MANAGED, None

    def can_capture(self, context: Any, stream: int) -> bool:
        """Return whether a library that captures CUDA graphs itself can capture what a context runs."""
        return True


class TensorRtRtxLibrary(TensorRtLibrary):
    """TensorRT-RTX. It builds plans without a GPU, compiles their kernels when they first run, and captures graphs."""

    name = "tensorrt-rtx"
    label = "TensorRT-RTX"
    module = "tensorrt_rtx"
    min_major_version = 1
    takes_targets = True
    captures_graphs = True

    def require_support(self, capability: str) -> None:
        known = self._list_capabilities()
        if capability in known or _get_number(capability) > max(map(_get_number, known)):
            return
        names = ", ".join(map(_format_capability, known))
        raise EngineError(
            f"{self.label} does not support the GPU here, which has compute capability {_format_capability(capability)}"
            f"; it supports {names} and newer. Use another engine: tensorrt or ort-cuda."
        )

    def _list_capabilities(self) -> tuple[str, ...]:
        """Return the compute capabilities that the library names; those of version 1.7 if it is not installed."""
        if importlib.util.find_spec(self.module) is None:
            return RTX_CAPABILITIES
        return tuple(name.lower() for name in vars(self.load().ComputeCapability) if name.startswith("SM"))

    def choose_targets(self, targets: tuple[str, ...], gpus: list[str]) -> tuple[str, ...]:
        known = self._list_capabilities()
        if targets in ((ANY_GPU,), (CURRENT_GPU,)):
            return targets
        for target in targets:
            if target.lower() not in known:
                raise ConfigError(
                    f"unknown target {target!r}: TensorRT-RTX builds for {', '.join(name[2:] for name in known)}, or "
                    f"for {ANY_GPU} by itself (--sm)."
                )
        if targets or not gpus:
            return targets or (ANY_GPU,)
        try:
            self.require_support(gpus[0])
        except EngineError as error:
            raise EngineError(f"{error} To build for other machines, add --sm {ANY_GPU}.") from error
        return (CURRENT_GPU,) if gpus[0] in known else (ANY_GPU,)

    def prepare_build(self, trt: Any, config: Any, targets: tuple[str, ...], timing_cache: Path | None) -> None:
        if targets != (ANY_GPU,):  # the library's default
            config.num_compute_capabilities = len(targets)
            for index, target in enumerate(targets):
                config.set_compute_capability(getattr(trt.ComputeCapability, target.upper()), index)
        # Sessions provide the scratch memory. A layer that allocated its own could not be captured.
        config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)

    def finish_build(self, trt: Any, config: Any, timing_cache: Path | None) -> None:
        pass  # it times no kernels

    def configure_run(self, trt: Any, engine: Any, plan: bytes, *, graphs: bool) -> tuple[Any, KernelCache | None]:
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        # By default it runs generic kernels until those for the shape are compiled, and only the latter were verified.
        config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        strategies = trt.CudaGraphStrategy
        config.cuda_graph_strategy = strategies.WHOLE_GRAPH_CAPTURE if graphs else strategies.DISABLED
        return config, KernelCache(config, plan, trt.__version__)

    def can_capture(self, context: Any, stream: int) -> bool:
        return bool(context.is_stream_capturable(stream))


def _get_number(capability: str) -> int:
    """Return ten times a compute capability: 90 for "sm90"."""
    return int(capability.removeprefix("sm"))


def _format_capability(capability: str) -> str:
    """Return NVIDIA's spelling: "9.0" for "sm90"."""
    major, minor = divmod(_get_number(capability), 10)
    return f"{major}.{minor}"


_BY_NAME: dict[Library, TensorRtLibrary] = {
    library.name: library for library in (TensorRtLibrary(), TensorRtRtxLibrary())
}


def get_library(name: Library) -> TensorRtLibrary:
    """Return a library by its name."""
    return _BY_NAME[name]
