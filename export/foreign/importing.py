"""Import an ONNX file of another project as a bundle, complete or not at all."""

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from wavepaint import __version__, contract
from wavepaint.atomic import write_folder
from wavepaint.contract import IMPORTED, INPAINTING, Artifact, Bundle, IoDtype, Manifest, Model, PadMode, Report
from wavepaint.errors import ForeignModelError, printable
from wavepaint.export.byte_io import add_byte_io
from wavepaint.export.cost import measure_cost
from wavepaint.export.foreign.description import Description, make_description
from wavepaint.export.foreign.half_precision import to_half
from wavepaint.export.foreign.inspection import ForeignModel, read_foreign
from wavepaint.export.foreign.matching import Binding, bind
from wavepaint.export.foreign.reference import Reference, check_result
from wavepaint.export.foreign.wrapping import prepare, wrap
from wavepaint.export.verify import Suite, require_passed, summarise, verify_model
from wavepaint.runtime.engines.registry import find_engine

OnStage = Callable[[str], None]

PADDING: PadMode = "symmetric"
"""Mode for padding patches, as the evaluation of LaMa pads images."""

_SEARCHED_CASES = 2
"""Number of the last cases, photographs, by which the operators that need float32 are found."""


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Contents of an imported bundle beside the float32 model.

    Attributes:
        fp16: Add a float16 model.
        io_dtypes: "uint8" adds models with uint8 inputs and outputs (:mod:`wavepaint.export.byte_io`).
    """

    fp16: bool = False
    io_dtypes: tuple[IoDtype, ...] = ()


class _BundleWriter:
    """Writes models into an unfinished folder, and collects the manifest's entries."""

    def __init__(self, folder: Path, binding: Binding, suite: Suite, options: ImportOptions, on_stage: OnStage) -> None:
        self.folder, self.binding, self.suite, self.options, self.on_stage = folder, binding, suite, options, on_stage
        self.artifacts: list[Artifact] = []
        self.reports: dict[str, list[Report]] = {}

    def add(self, artifact: Artifact, model: onnx.ModelProto) -> None:
        """Write a model with every I/O dtype, and verify each.

        Raises:
            VerificationError: A model differs from the file by more than its budget in ONNX Runtime.
        """
        onnx.save(model, self.folder / artifact.path)
        self._verify(artifact)
        if "uint8" in self.options.io_dtypes:
            name = artifact.path.replace(".onnx", ".uint8.onnx")
            multiple, least = self.binding.multiple, self.binding.limits[0][1:]
            onnx.save(add_byte_io(model, multiple, PADDING, least), self.folder / name)
            details = {**artifact.details, "float_edges": artifact.path}
            self._verify(replace(artifact, path=name, io_dtype="uint8", details=details))

    def _verify(self, artifact: Artifact) -> None:
        """Verify a model. An engine other than ONNX Runtime may fail: ``auto`` will not choose it."""
        self.on_stage(f"verifying {artifact.path}")
        path, limits = self.folder / artifact.path, self.binding.limits
        reports = verify_model(Model(path, artifact, self.binding.multiple, PADDING, INPAINTING, limits), self.suite)
        for report in reports:
            if find_engine(report) == "ort-cpu":
                require_passed(report)
        self.reports[artifact.path] = summarise(reports)
        self.artifacts.append(artifact)


def import_network(
    foreign: ForeignModel,
    description: Description,
    out: Path,
    *,
    name: str | None = None,
    options: ImportOptions | None = None,
    overwrite: bool = False,
    on_stage: OnStage = lambda stage: None,
) -> Bundle:
    """Wrap, verify and pack a network.

    Args:
        foreign: A checked file.
        description: What its network takes and returns.
        out: The bundle's folder.
        name: The bundle's short name; the folder's name by default.
        options: Contents of the bundle.
        overwrite: Replace an existing bundle, once the new one is complete.
        on_stage: Called with a description of each stage.

    Raises:
        ForeignModelError: The description does not fit the file, or contradicts its result.
        VerificationError: A model differs from the untouched file by more than its budget.
        EngineError: ONNX Runtime fails to load or run the file.
        OutputError: ``out`` exists, or cannot be written.
    """
    options = options or ImportOptions()
    binding = bind(foreign, description)
    on_stage(f"running {foreign.path.name}")
    reference = Reference(foreign, binding)
    check_result(reference, binding)
    suite = reference.make_suite()
    network = prepare(foreign.model)
    wrapped = wrap(network, binding)
    details: dict[str, Any] = {"opset": wrapped.opset_import[0].version, "fused": False}
    if binding.result.dtype == "uint8":
        details["rounded"] = True
    with write_folder(out, overwrite=overwrite) as folder:
        writer = _BundleWriter(folder, binding, suite, options, on_stage)
        writer.add(Artifact(path="model.onnx", kind="onnx", precision="float32", details=details), wrapped)
        if options.fp16:
            chosen = slice(-_SEARCHED_CASES, None)
            inputs = [case[1:] for case in suite.cases[chosen]]
            half = to_half(network, binding, inputs, suite.expected[chosen], on_stage)
            kept = {**details, "kept_float32": half.kept_float32}
            writer.add(Artifact(path="model.fp16.onnx", kind="onnx", precision="float16", details=kept), half.model)
        manifest = Manifest(
            name=name or out.name,
            task=INPAINTING.name,
            architecture=IMPORTED,
            hyper_parameters=asdict(description),
            num_parameters=_count_numbers(network),
            size_multiple=binding.multiple,
            padding=PADDING,
            crop_size=description.crop_size,
            **asdict(measure_cost(folder / "model.onnx", binding.multiple, binding.limits)),
            artifacts=writer.artifacts,
            files=contract.describe_files(folder),
            source={"file": foreign.path.name, "sha256": foreign.sha256},
            versions={
                "wavepaint": __version__,
                "python": platform.python_version(),
                "onnx": onnx.__version__,
                "onnxruntime": onnxruntime.__version__,
                "numpy": np.__version__,
            },
            verification=writer.reports,
            sizes=binding.limits,
        )
        (folder / contract.MANIFEST_NAME).write_text(manifest.to_json(), "utf-8")
    return Bundle(out, manifest)


def _count_numbers(network: onnx.ModelProto) -> int:
    """Count the floating-point numbers that a file stores: its weights, and constants that cannot be told from them."""
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE)
    return sum(int(np.prod(one.dims)) for one in network.graph.initializer if one.data_type in floats)


def make_source_suite(bundle: Bundle, path: Path) -> Suite:
    """Run the untouched file that a bundle was imported from; its results are the reference.

    Raises:
        ForeignModelError: The file is not the bundle's source.
        EngineError: ONNX Runtime fails to load or run it.
    """
    foreign = read_foreign(path)
    if foreign.sha256 != bundle.manifest.source["sha256"]:
        raise ForeignModelError(
            f"{printable(path)} is not the source of {printable(bundle.folder)}: "
            f"{printable(bundle.manifest.source['file'])} has another sha256. Give that file with --against."
        )
    description = make_description(None, bundle.manifest.hyper_parameters)
    return Reference(foreign, bind(foreign, description)).make_suite()
