"""Models for NVIDIA's Triton Inference Server, made from a bundle. Needs neither torch nor onnx.

Triton serves the graph alone: the models with uint8 inputs and outputs take any size, pad, round and compose, so that
a client sends the bytes of an image and a mask. Crops, metadata and colour profiles stay the client's work.
"""

import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from wavepaint import __version__
from wavepaint.atomic import write_folder
from wavepaint.contract import (
    IMAGE_CHANNELS,
    INPAINTING,
    INPUT_IMAGE,
    INPUT_MASK,
    OUTPUT_IMAGE,
    Artifact,
    Bundle,
    Kind,
    Precision,
)
from wavepaint.errors import BundleError, ConfigError, printable
from wavepaint.runtime.engines.tensorrt.profiles import Profile
from wavepaint.runtime.sizes import SizeRange

Backend = Literal["onnxruntime", "tensorrt"]

CONFIG_NAME = "config.pbtxt"

MAX_BATCH_SIZE = 8
"""Most requests in a batch. A plan for smaller batches lowers it."""

MAX_QUEUE_SIZE = 64
"""Most requests that wait. Triton refuses others at once."""

QUEUE_TIMEOUT_S = 30
"""Longest time in the queue. Triton refuses a request that waited longer."""

_WARM_UP_SIDE = 512
_CAPABILITY = re.compile(r"sm\d{2,3}")
_KINDS: dict[Backend, Kind] = {"onnxruntime": "onnx", "tensorrt": "tensorrt"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

_PREFERRED: dict[Backend, tuple[Precision, ...]] = {
    "onnxruntime": ("float32", "float16"),
    "tensorrt": ("float16", "bfloat16", "float32"),
}
"""Precisions that a back end computes, the default first."""

_ON_CPUS = """\
# KIND_AUTO: one instance on each GPU, or one on the CPU, with a thread for each core. On a CPU, as many instances as
# cores with one thread each fill more photos a second. For four cores:
#   instance_group [ { kind: KIND_CPU count: 4 } ]
#   parameters { key: "intra_op_thread_count" value { string_value: "1" } }
"""


@dataclass(frozen=True, kw_only=True)
class TritonRequest:
    """A model to add to a Triton model repository.

    Attributes:
        repository: Folder of the model repository. The model becomes a folder in it.
        name: Name of the model, and of its folder.
        backend: Triton's back end that runs it.
        precisions: Acceptable precisions. The back end's first one of these is taken; if empty, of all.

    Raises:
        ConfigError: A name that Triton's clients could not send, or no precision that the back end computes.
    """

    repository: Path
    name: str
    backend: Backend = "onnxruntime"
    precisions: tuple[Precision, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"{self.name!r} cannot name a Triton model: expected up to 100 letters, digits, dots, dashes "
                "and underscores, a letter or digit first (--name)."
            )
        if not self.candidates:
            raise ConfigError(
                f"Triton's ONNX Runtime back end computes no {' and no '.join(self.precisions)}. Choose another "
                "precision (--fp16), or TensorRT (--engine tensorrt)."
            )

    @property
    def folder(self) -> Path:
        """The model's folder in the repository."""
        return self.repository / self.name

    @property
    def candidates(self) -> tuple[Precision, ...]:
        """Precisions to look for, the best first."""
        return tuple(found for found in _PREFERRED[self.backend] if found in (self.precisions or (found,)))


@dataclass(frozen=True)
class TritonModel:
    """A model in a Triton model repository.

    Attributes:
        folder: The model's folder.
        backend: Triton's back end that runs it.
        artifacts: The bundle's models that it was made from: one ONNX file, or a plan for each GPU generation.
        max_batch_size: Most images in a batch.
    """

    folder: Path
    backend: Backend
    artifacts: list[Artifact]
    max_batch_size: int


def write_triton_model(bundle: Bundle, request: TritonRequest, *, overwrite: bool = False) -> TritonModel:
    """Add a bundle's model to a Triton model repository, completely or not at all.

    Args:
        bundle: A checked bundle.
        request: Where to, and which of the bundle's models.
        overwrite: Replace the model's folder, with all its versions.

    Raises:
        BundleError: The bundle has no such model with uint8 inputs and outputs, or plans that Triton cannot serve.
        OutputError: The model's folder exists, or cannot be written.
    """
    artifacts = find_artifacts(bundle, request)
    profiles = [_read_profiles(artifact) for artifact in artifacts if artifact.kind != "onnx"]
    largest = min((profile.max[0] for group in profiles for profile in group), default=MAX_BATCH_SIZE)
    largest = min(MAX_BATCH_SIZE, largest, SizeRange.from_limits(bundle.manifest.sizes).most[0])
    model = TritonModel(request.folder, request.backend, artifacts, largest)
    names = [_name_file(artifact) for artifact in artifacts]
    with write_folder(model.folder, overwrite=overwrite) as folder:
        version = folder / "1"
        version.mkdir()
        for artifact, name in zip(artifacts, names, strict=True):
            shutil.copyfile(bundle.locate(artifact), version / name)
        (folder / CONFIG_NAME).write_text(_write_config(request.name, model, profiles), "utf-8")
    return model


def find_artifacts(bundle: Bundle, request: TritonRequest, kind: Kind | None = None) -> list[Artifact]:
    """Return the bundle's model for a request: one ONNX file, or the plans in one precision.

    Args:
        bundle: A checked bundle.
        request: Which model.
        kind: "onnx" or "tensorrt"; None for the kind that the back end runs.

    Raises:
        BundleError: The bundle has none, and the message says how to make it; or the bundle is of another task.
    """
    bundle.require_task(INPAINTING)
    if bundle.manifest.has_largest_size:
        raise BundleError(
            f"{bundle.folder} takes images of some sizes only, and Triton's clients send any. Run it with wp serve."
        )
    kind = kind or _KINDS[request.backend]
    found = [a for a in bundle.manifest.artifacts if (a.kind, a.io_dtype) == (kind, "uint8")]
    for precision in request.candidates:
        chosen = [artifact for artifact in found if artifact.precision == precision]
        if chosen:
            return chosen if kind == "tensorrt" else chosen[:1]
    if kind == "onnx":
        wanted, advice = "ONNX model", bundle.suggest_export(request.candidates[0], io_dtype="uint8")
    else:
        command = ["wp", "export", bundle.folder, "-o", "NEW", "--engine", kind, "--triton", request.repository]
        wanted, advice = "TensorRT plan", shlex.join(map(printable, command))
    raise BundleError(
        f"{bundle.folder} has no {wanted} with bytes in and out in {' or '.join(request.candidates)}, which Triton "
        f"needs. Make one: {advice}"
    )


def _read_profiles(plan: Artifact) -> list[Profile]:
    """Return a plan's profiles.

    Raises:
        BundleError: The plan is for no known GPU, or takes no single image, which Triton sends when one request waits.
    """
    shapes, capabilities = plan.details["profiles"], plan.details["compute_capabilities"]
    if not shapes or not capabilities or not all(map(_CAPABILITY.fullmatch, capabilities)):
        raise BundleError(
            f"{plan.path} names no GPU generation or no sizes, which Triton needs. Build the plan again with wp export."
        )
    profiles = [Profile(**{name: tuple(shape[name]) for name in ("min", "opt", "max")}) for shape in shapes]
    for profile in profiles:
        if profile.min[0] > 1:
            raise BundleError(
                f"{plan.path} takes {profile.min[0]} images or more, and Triton also sends one. Build the plan again "
                "with 1 as the smallest batch (--batches 1,1,4)."
            )
    return profiles


def _name_file(artifact: Artifact) -> str:
    return "model.onnx" if artifact.kind == "onnx" else f"{'-'.join(artifact.details['compute_capabilities'])}.plan"


def _write_config(name: str, model: TritonModel, profiles: Sequence[Sequence[Profile]]) -> str:
    """Return the text of ``config.pbtxt``, whose fields are those of Triton's ``model_config.proto``.

    The batch is Triton's own dimension, so ``dims`` begin with the height. Triton batches requests of one size only.
    """
    is_plan = model.backend == "tensorrt"
    height, width = profiles[0][0].opt[1:] if is_plan else (_WARM_UP_SIDE, _WARM_UP_SIDE)
    instances = "kind: KIND_AUTO count: 1"
    num_profiles = min(map(len, profiles), default=1)
    if num_profiles > 1:
        names = ", ".join(f'"{index}"' for index in range(num_profiles))
        instances += f" profile: [ {names} ]"
    tensors = '{{ name: "{}" data_type: TYPE_UINT8 dims: [ -1, -1, {} ] }}'.format
    return f"""\
# Written by wp export --triton, WavePaint {__version__}, from {", ".join(a.path for a in model.artifacts)}.
name: "{name}"
backend: "{model.backend}"
{_list_plans(model.artifacts) if is_plan else 'default_model_filename: "model.onnx"'}
max_batch_size: {model.max_batch_size}

# Height, width and channels. In the mask, 128 to 255 is the hole and 0 to 127 is known.
input [
  {tensors(INPUT_IMAGE, IMAGE_CHANNELS)},
  {tensors(INPUT_MASK, 1)}
]
output [
  {tensors(OUTPUT_IMAGE, IMAGE_CHANNELS)}
]

# An instance that is free takes what waits, if it is of one size. A full queue and a long wait are refused.
dynamic_batching {{
  default_queue_policy {{
    max_queue_size: {MAX_QUEUE_SIZE}
    timeout_action: REJECT
    default_timeout_microseconds: {QUEUE_TIMEOUT_S * 1_000_000}
    allow_timeout_override: true
  }}
}}

{"" if is_plan else _ON_CPUS}instance_group [ {{ {instances} }} ]

# The model is ready only when it has run once.
model_warmup [
  {{
    name: "one image"
    batch_size: 1
    inputs {{
      key: "{INPUT_IMAGE}"
      value {{ data_type: TYPE_UINT8 dims: [ {height}, {width}, {IMAGE_CHANNELS} ] random_data: true }}
    }}
    inputs {{
      key: "{INPUT_MASK}"
      value {{ data_type: TYPE_UINT8 dims: [ {height}, {width}, 1 ] random_data: true }}
    }}
  }}
]
"""


def _list_plans(plans: Sequence[Artifact]) -> str:
    """Return Triton's table of compute capabilities, such as 8.6, and the plan for each."""
    lines = [
        f'  {{ key: "{capability[2:-1]}.{capability[-1]}" value: "{_name_file(plan)}" }}'
        for plan in plans
        for capability in plan.details["compute_capabilities"]
    ]
    return "cc_model_filenames [\n" + ",\n".join(lines) + "\n]"
