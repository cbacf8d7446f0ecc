"""Results and reports with made-up numbers."""

from typing import Any

from wavepaint.bench.cells import Result


def make_result(model: str, p50_ms: float, **changes: Any) -> Result:
    """Return a timed result."""
    values: dict[str, Any] = {
        "model": model, "weights": "random", "engine": "ort-cpu", "label": "an engine", "precision": "float32",
        "height": 256, "width": 256, "batch": 1, "num_parameters": 1, "gmac": 1.0, "file_bytes": 1, "num_calls": 1,
        "p50_ms": p50_ms, "p90_ms": p50_ms * 1.2, "p99_ms": p50_ms * 2, "images_per_s": 1e3 / p50_ms, "variation": 0.0,
    }  # fmt: skip
    return Result(**{**values, **changes})


def make_report() -> dict[str, Any]:
    """Return what a page needs of the JSON file's content."""
    return {
        "date": "2026-01-01", "machine": {"processor": "P", "cores": 2}, "threads": 2, "rounds": 1,
        "copy_gb_per_s": 1.0, "command": "wp bench", "hole_share": 1 / 9, "num_photos": 2, "masks": "a generator",
        "runs": [],
    }  # fmt: skip
