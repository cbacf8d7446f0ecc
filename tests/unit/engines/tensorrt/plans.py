"""Plan entries of a manifest, and sessions that are opened from them."""

from dataclasses import replace
from typing import Any

import numpy as np

from tests.fakes.bundle import make_model
from wavepaint.contract import Artifact, Bundle
from wavepaint.runtime.engines.ort import OrtSession
from wavepaint.runtime.engines.tensorrt.libraries import Library, get_library
from wavepaint.runtime.engines.tensorrt.plan_cache import open_plan

PROFILE = {"min": [1, 8, 8], "opt": [1, 64, 64], "max": [2, 256, 256]}


def make_plan_artifact(bundle: Bundle, **changes: Any) -> Artifact:
    artifact = bundle.manifest.artifacts[-1]
    return replace(artifact, details={**artifact.details, **changes})


def open_artifact(
    bundle: Bundle, artifact: Artifact | None = None, *, library: Library = "tensorrt", **how: Any
) -> Any:
    artifact = artifact or bundle.manifest.artifacts[-1]
    return open_plan(bundle.get_model(artifact), get_library(library), **how)


def assert_matches_onnx_runtime(session: Any, bundle: Bundle) -> None:
    image = np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)
    mask = np.zeros((1, 1, 64, 64), dtype=np.float32)
    mask[..., 20:40, 20:40] = 1
    with OrtSession(make_model(bundle.folder / "model.onnx"), threads=1) as expected:
        np.testing.assert_array_equal(session.run(image, mask), expected.run(image, mask))
