"""Parse the text of ``manifest.json`` into a checked :class:`Manifest`."""

import json
import warnings
from collections.abc import Mapping
from typing import Any

import msgspec

from wavepaint.contract.manifest import (
    FILE_NAME,
    FORMAT,
    FORMAT_VERSION,
    MEASURED_KEYS,
    SHA256,
    Artifact,
    Manifest,
    OnnxDetails,
    PlanDetails,
    find_crop_size,
    rename_key,
)
from wavepaint.contract.tasks import TASKS
from wavepaint.errors import BundleError, WavePaintWarning

MAX_LEVELS = 64
"""Deepest nesting of a manifest."""

MAX_BUNDLE_BYTES = 8 << 30
"""Largest total size of a bundle's files, in bytes."""

_MEANINGS = {FILE_NAME: "a file name without any folder", SHA256: "64 hexadecimal digits"}


def parse_manifest(data: bytes, name: object) -> Manifest:
    """Return the manifest in the bytes of a file.

    Args:
        data: Content of the file.
        name: Path of the file, for messages.

    Warns:
        WavePaintWarning: The entry of a plan is damaged; the manifest is returned without it.

    Raises:
        BundleError: Not a manifest, damaged, or of another format version.
    """
    try:
        return _check(json.loads(data.decode()), name)
    except RecursionError:
        raise BundleError(f"{name} is damaged (its values nest too deep). Export the checkpoint again.") from None
    except ValueError as error:
        raise BundleError(f"{name} is damaged: {_one_line(error)}. Export the checkpoint again.") from error


def _check(content: Any, name: object) -> Manifest:
    """Return a manifest from parsed JSON; raise ValueError if a field is damaged."""
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise BundleError(f"{name} is not the manifest of a WavePaint bundle. Make one with wp export.")
    version = content.get("format_version")
    if version != FORMAT_VERSION:
        raise BundleError(
            f"{name} has format version {json.dumps(version)[:20]}; this program reads {FORMAT_VERSION}. Export the "
            "checkpoint again, or update WavePaint."
        )
    _check_values(content)
    if isinstance(content.get("artifacts"), list):
        content = {**content, "artifacts": _prepare_artifacts(content["artifacts"], name)}
    if "crop_size" not in content:  # an earlier bundle
        content = {**content, "crop_size": find_crop_size(content.get("training"))}
    # Unknown fields, of a later program with the same format version, are ignored.
    manifest: Manifest = _convert(content, Manifest)
    _check_artifacts(manifest, name)
    if TASKS[manifest.task].has_classes and (manifest.labels is None or manifest.preprocessing is None):
        missing = "labels" if manifest.labels is None else "preprocessing"
        raise ValueError(f"Object missing required field `{missing}` - at `$`")
    for path, reports in manifest.verification.items():
        for index, report in enumerate(reports):
            absent = MEASURED_KEYS[manifest.task] - report.keys()
            if absent and "error" not in report:
                raise ValueError(f"Object missing required field `{min(absent)}` - at `$.verification.{path}[{index}]`")
    if manifest.sizes is not None:
        _check_sizes(manifest)
    if sum(entry["bytes"] for entry in manifest.files.values()) > MAX_BUNDLE_BYTES:
        raise ValueError(f"Expected at most {MAX_BUNDLE_BYTES >> 30} GiB in all files together - at `$.files`")
    return manifest


def _check_sizes(manifest: Manifest) -> None:
    """Raise ValueError if no size lies within the limits."""
    assert manifest.sizes is not None
    least, most = manifest.sizes
    multiple = manifest.size_multiple
    if least[0] > most[0] or any(
        -(-low // multiple) * multiple > high for low, high in zip(least[1:], most[1:], strict=True)
    ):
        raise ValueError(f"Expected sizes in order, with a multiple of {multiple} between them - at `$.sizes`")


def _check_values(value: Any, where: str = "$", level: int = 0) -> None:
    """Raise ValueError for valid JSON that no manifest needs: deep nesting, and text that is not Unicode."""
    if level > MAX_LEVELS:
        raise ValueError(f"more than {MAX_LEVELS} levels of nesting - at `{where}`")
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"a lone surrogate in {value[:80]!a} - at `{where}`") from None
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_values(key, f"key in {where}", level)
            _check_values(item, f"{where}.{key}", level + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_values(item, f"{where}[{index}]", level + 1)


def _prepare_artifacts(entries: list[Any], name: object) -> list[Any]:
    """Return the artifacts' entries with today's keys. Damaged plans are left out, because ONNX files still run."""
    prepared = []
    for index, entry in enumerate(entries):
        if isinstance(entry, Mapping):
            entry = rename_key(entry, "edges", "io_dtype")
            if entry.get("kind") != "onnx":
                try:
                    plan = _convert(entry, Artifact, f"$.artifacts[{index}]")
                    _convert(plan.details, PlanDetails, f"$.artifacts[{index}].details")
                except ValueError as error:
                    warnings.warn(
                        f"{name} has a damaged entry, which is left out: {_one_line(error)}. Export the checkpoint "
                        "again.",
                        WavePaintWarning,
                        stacklevel=5,
                    )
                    continue
        prepared.append(entry)
    return prepared


def _check_artifacts(manifest: Manifest, name: object) -> None:
    """Check the details of ONNX files, and that every file that an artifact names is listed."""
    for index, artifact in enumerate(manifest.artifacts):
        named = [artifact.path]
        if artifact.kind == "onnx":
            _convert(artifact.details, OnnxDetails, f"$.artifacts[{index}].details")
            if not artifact.path.endswith(".onnx"):  # engines read other formats by other suffixes
                raise ValueError(f"Expected a name that ends in .onnx - at `$.artifacts[{index}].path`")
        if "float_edges" in artifact.details:
            named.append(artifact.details["float_edges"])
        for file in named:
            if file not in manifest.files:
                raise BundleError(f"{name} names {file!r}, which is not a listed file of the bundle's own folder.")


def _convert(value: Any, wanted: Any, where: str = "$") -> Any:
    """Convert a value to a type, or raise a ValueError that names the problem and its JSON path."""
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        wrong, at, place = str(error).rpartition(" - at ")
        for pattern, meaning in _MEANINGS.items():
            wrong = wrong.replace(f"`str` matching regex {pattern!r}", meaning)
        place = place.replace("$", where, 1).replace(".io_dtype", ".edges") if at else f"`{where}`"
        raise ValueError(f"{wrong[:200] or error} - at {place}") from error


def _one_line(error: Exception) -> str:
    """Return an error's message on one line, although names and values in the file may contain line breaks."""
    return " ".join(str(error).split())[:500]
