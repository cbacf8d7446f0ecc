"""The HTTP service: an API, a page to paint on, and the queue between them and the model.

Nothing outside of this package knows of HTTP. Importing :mod:`wavepaint.runtime.service.app` needs the serve extra.
"""

from wavepaint.optional import require


def require_packages() -> None:
    """Check that the packages of the extra ``serve`` are installed.

    Raises:
        EngineError: One of them is missing.
    """
    for module in ("starlette", "uvicorn", "python_multipart", "prometheus_client"):
        require(module, extra="serve")
