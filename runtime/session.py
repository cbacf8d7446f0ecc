"""The one protocol every engine is behind, and the factory that opens one."""

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from wavepaint.contract import IMAGE_CHANNELS, INPUT_IMAGE, INPUT_MASK, Bundle
from wavepaint.errors import EngineError

Tensor = NDArray[np.float32]


class Session(Protocol):
    """A loaded model in one engine.

    Attributes:
        engine: What really runs, for people: engine, version and device.
        precision: Arithmetic inside.
        size_multiple: Height and width must be multiples of this.
    """

    engine: str
    precision: str
    size_multiple: int

    def run(self, image_NCHW: Tensor, mask_N1HW: Tensor) -> Tensor:
        """Fill the holes of a batch.

        Args:
            image_NCHW: (N, 3, H, W) float32 in [0, 1].
            mask_N1HW: (N, 1, H, W) float32, 1 = hole, 0 = known.

        Returns:
            (N, 3, H, W) float32 in [0, 1].

        Raises:
            EngineError: Tensors that break the contract, a closed session, or a failure of the engine.
        """
        ...

    def close(self) -> None:
        """Free the engine. A second call does nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


def check_inputs(image_NCHW: Tensor, mask_N1HW: Tensor, size_multiple: int) -> None:
    """Check a batch against the contract, values left aside.

    Raises:
        EngineError: Naming the tensor, what it is and what was expected.
    """
    for name, tensor, channels in ((INPUT_IMAGE, image_NCHW, IMAGE_CHANNELS), (INPUT_MASK, mask_N1HW, 1)):
        if tensor.dtype != np.float32:
            raise EngineError(f"{name} has dtype {tensor.dtype}, expected float32.")
        if tensor.ndim != 4 or tensor.shape[1] != channels or 0 in tensor.shape:
            raise EngineError(f"{name} has shape {tensor.shape}, expected (N, {channels}, H, W), none of them 0.")
    if (image_NCHW.shape[0], *image_NCHW.shape[2:]) != (mask_N1HW.shape[0], *mask_N1HW.shape[2:]):
        raise EngineError(
            f"{INPUT_IMAGE} {image_NCHW.shape} and {INPUT_MASK} {mask_N1HW.shape} differ in batch, height or width."
        )
    height, width = image_NCHW.shape[2:]
    if height % size_multiple or width % size_multiple:
        raise EngineError(f"height {height} and width {width} must be multiples of {size_multiple}; pad first.")


def open_session(bundle: Bundle, *, threads: int | None = None) -> Session:
    """Open a bundle in the engine that serves it.

    Args:
        bundle: A checked bundle.
        threads: CPU threads; None leaves the choice to the engine.

    Raises:
        EngineError: The engine is not installed or refuses the model.
        BundleError: The bundle has no model for the engine.
    """
    from wavepaint.runtime.ort_session import OrtSession

    artifact = bundle.find_artifact("onnx")
    return OrtSession(
        Path(bundle.path_of(artifact)), bundle.manifest.size_multiple, precision=artifact.precision, threads=threads
    )
