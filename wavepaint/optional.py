"""Optional dependencies: import one, or raise an error with the command that installs it."""

import importlib
from types import ModuleType

from wavepaint.errors import EngineError


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional module.

    Args:
        module: Dotted import name, for example ``"onnxruntime"``.
        extra: The extra of this package that installs the module, for example ``"cpu"``.

    Raises:
        EngineError: The module is not installed, or does not load.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise EngineError(
            f"{error.name or module} is not installed, and this needs it. Install it with: "
            f'pip install "wavepaint[{extra}]"'
        ) from error
    except (ImportError, OSError) as error:
        raise EngineError(
            f"{module} is installed but does not load ({error}). Reinstall it with: "
            f'pip install --force-reinstall "wavepaint[{extra}]"'
        ) from error
