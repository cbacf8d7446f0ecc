"""The device and the arithmetic precision of a run."""

import torch

from wavepaint.errors import ConfigError
from wavepaint.training.distributed import DistributedContext


def pick_precision(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the autocast dtype; None means plain float32.

    Raises:
        ConfigError: float16 on a CPU.
    """
    if precision == "float32":
        return None
    if precision == "fp16":
        if device.type != "cuda":
            raise ConfigError("--precision fp16 trains only on GPUs: expected bf16 or float32 on a CPU.")
        return torch.float16
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported()
    else:
        capabilities = torch.cpu.get_capabilities()
        fast = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))
    return torch.bfloat16 if fast or precision == "bf16" else None


def pick_device(name: str | None, context: DistributedContext) -> torch.device:
    """Return the named device; None picks a GPU if there is one.

    Raises:
        ConfigError: This machine has no such device.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", context.local_rank)
        torch.empty(1, device=device)
        # All crops of a run have the same size, so it pays to try cuDNN's algorithms. It concerns GPUs only.
        torch.backends.cudnn.benchmark = True
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"--device {name} is not usable here ({str(error).splitlines()[0]}): expected cpu, or cuda with a GPU."
        ) from error
    return device
