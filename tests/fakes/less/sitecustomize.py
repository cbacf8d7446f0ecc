"""Take things away from a Python: packages that are installed, or bfloat16, which the processor has.

Python imports a module of this name when it starts. Put this folder in PYTHONPATH, and write what is missing into
WAVEPAINT_WITHOUT, separated by spaces: names of top-level modules, and ``bfloat16``. Processes started by this one
inherit both. With bfloat16, also set ONEDNN_MAX_CPU_ISA=AVX2: OpenVINO then computes without it, but still reports it.
"""

import os
import sys
from typing import Any

MISSING = frozenset(os.environ.get("WAVEPAINT_WITHOUT", "").split())


class Without:
    """A finder that finds everything that another one finds, except for what is missing."""

    def __init__(self, finder: Any) -> None:
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)

    def find_spec(self, name: str, *rest: Any) -> Any:
        if name.partition(".")[0] in MISSING:
            return None
        spec = self._finder.find_spec(name, *rest)
        if spec is not None and name == "openvino" and "bfloat16" in MISSING:
            hide_bfloat16(spec.loader)
        return spec


def hide_bfloat16(loader: Any) -> None:
    """Let OpenVINO, once loaded, report every capability of the processor but bfloat16."""
    execute = loader.exec_module

    def exec_module(module: Any) -> None:
        execute(module)
        query = module.Core.get_property

        def get_property(self: Any, *arguments: Any) -> Any:
            found = query(self, *arguments)
            is_list = arguments[-1:] == ("OPTIMIZATION_CAPABILITIES",)
            return [one for one in found if one != "BF16"] if is_list else found

        module.Core.get_property = get_property

    loader.exec_module = exec_module


sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
