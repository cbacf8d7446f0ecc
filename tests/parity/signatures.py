"""Compare the calls of mocks with the signatures in the docstrings of the real classes."""

import re
from typing import Any
from unittest.mock import NonCallableMock


def accepts(method: Any, count: int) -> bool:
    """Return whether one of a method's signatures takes this number of arguments."""
    signature = rf"^(?:\d+\. )?{method.__name__}\(self: [^,)]*(?:, (.*))?\) ->"
    for parameters in re.findall(signature, method.__doc__, re.M):
        names = re.findall(r"(\w+): ", parameters or "")
        required = [name for name in names if not re.search(rf"\b{name}: [^,]*=", parameters)]
        if len(required) <= count <= len(names):
            return True
    return False


def find_wrong_calls(*mocks: tuple[NonCallableMock, type]) -> list[str]:
    """Return the calls of each mock that the real class does not accept."""
    return [
        f"{kind.__name__}.{name}{arguments}"
        for mock, kind in mocks
        for name, arguments, _ in mock.method_calls
        if "." not in name and not accepts(getattr(kind, name), len(arguments))
    ]
