"""The contract between export and runtime: a model's tensors, and the manifest and folder of a bundle.

A bundle is a folder that contains ``manifest.json`` and the files it lists. Besides the standard library, this
package needs only msgspec, which checks the manifest's fields against their types.
"""

from wavepaint.contract.bundle import (
    MANIFEST_NAME,
    Bundle,
    Model,
    assets_folder,
    default_bundle_folder,
    describe_files,
    hash_file,
    read_bundle,
)
from wavepaint.contract.manifest import (
    MAX_LABEL_LENGTH,
    MAX_LABELS,
    Artifact,
    FileEntry,
    Kind,
    Manifest,
    PadMode,
    Precision,
    Report,
    find_crop_size,
)
from wavepaint.contract.preprocessing import MAX_SIDE, PRESETS, Interpolation, Preprocessing, PresetName, Resize
from wavepaint.contract.tasks import (
    CLASSIFICATION,
    INPAINTING,
    SEGMENTATION,
    SUPER_RESOLUTION,
    TASKS,
    Task,
    TaskName,
    get_task,
)
from wavepaint.contract.tensors import (
    IMAGE_CHANNELS,
    INPUT_IMAGE,
    INPUT_MASK,
    MASK_THRESHOLD,
    OUTPUT_IMAGE,
    OUTPUT_LOGITS,
    TENSORS,
    IoDtype,
)

__all__ = [
    "CLASSIFICATION",
    "IMAGE_CHANNELS",
    "INPAINTING",
    "INPUT_IMAGE",
    "INPUT_MASK",
    "MANIFEST_NAME",
    "MASK_THRESHOLD",
    "MAX_LABELS",
    "MAX_LABEL_LENGTH",
    "MAX_SIDE",
    "OUTPUT_IMAGE",
    "OUTPUT_LOGITS",
    "PRESETS",
    "SEGMENTATION",
    "SUPER_RESOLUTION",
    "TASKS",
    "TENSORS",
    "Artifact",
    "Bundle",
    "FileEntry",
    "Interpolation",
    "IoDtype",
    "Kind",
    "Manifest",
    "Model",
    "PadMode",
    "Precision",
    "Preprocessing",
    "PresetName",
    "Report",
    "Resize",
    "Task",
    "TaskName",
    "assets_folder",
    "default_bundle_folder",
    "describe_files",
    "find_crop_size",
    "get_task",
    "hash_file",
    "read_bundle",
]
