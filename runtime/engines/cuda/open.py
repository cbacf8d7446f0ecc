"""Open the GPU with an installed Python package for CUDA."""

from collections.abc import Callable
from typing import Literal, get_args

from wavepaint.errors import EngineError
from wavepaint.runtime.engines.cuda.cuda_bindings import CudaDevice
from wavepaint.runtime.engines.cuda.device import Device
from wavepaint.runtime.engines.cuda.pycuda import PycudaDevice

DevicePackage = Literal["cuda-bindings", "pycuda"]

_DEVICES: dict[DevicePackage, Callable[[], Device]] = {"cuda-bindings": CudaDevice, "pycuda": PycudaDevice}


def open_device(package: DevicePackage | Literal["auto"] = "auto") -> Device:
    """Open the first GPU.

    Args:
        package: Python package for CUDA; ``auto`` uses cuda-bindings, else pycuda.

    Raises:
        EngineError: No package is installed, or the driver or the GPU fails. The message lists each reason.
    """
    packages: tuple[DevicePackage, ...] = get_args(DevicePackage) if package == "auto" else (package,)
    reasons = []
    for name in packages:
        try:
            return _DEVICES[name]()
        except EngineError as error:
            reasons.append(str(error))
    raise EngineError(" ".join(reasons))
