"""A bundle in the cache of the Hugging Face Hub, where every file is a link to a blob without a suffix."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.bundle import write_bundle
from wavepaint.contract import hash_file, read_bundle
from wavepaint.errors import BundleError
from wavepaint.export.triton_repository import TritonRequest, write_triton_model
from wavepaint.runtime.engines.engine import EngineName
from wavepaint.runtime.inpainter import Inpainter

IMAGE = np.full((40, 50, 3), 90, np.uint8)
HOLE = np.zeros((40, 50), bool)
HOLE[10:20, 10:20] = True


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    """The folder that ``huggingface_hub.snapshot_download`` returns, with the card that every repository has."""
    source = write_bundle(tmp_path / "source", precisions=("float32",), with_uint8=True).folder
    (source / "README.md").write_text("---\nlicense: mit\n---\n")
    repository = tmp_path / "hub" / "models--someone--restoration"
    snapshot = repository / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    for folder in (repository / "blobs", repository / "refs", snapshot):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text(snapshot.name)
    for file in source.iterdir():
        blob = repository / "blobs" / hash_file(file)
        file.rename(blob)
        try:
            (snapshot / file.name).symlink_to(Path("..", "..", "blobs", blob.name))
        except OSError:
            pytest.skip("links are not allowed here; the cache then has copies")
    source.rmdir()
    return snapshot


def test_the_bundle_is_read_and_checked(snapshot: Path) -> None:
    assert read_bundle(snapshot).manifest.name == "convolution"
    blob = (snapshot / "model.onnx").resolve()
    blob.write_bytes(blob.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match="altered or is damaged"):
        read_bundle(snapshot)


@pytest.mark.parametrize("engine", ["ort-cpu", "openvino"])
def test_engines_open_its_models(snapshot: Path, engine: EngineName) -> None:
    if engine == "openvino":
        pytest.importorskip("openvino")
    with Inpainter(snapshot, engine=engine, precision="float32") as inpainter:
        filled = inpainter.fill_array(IMAGE, HOLE)
    assert np.array_equal(filled[~HOLE], IMAGE[~HOLE])
    assert not np.array_equal(filled[HOLE], IMAGE[HOLE])


def test_copies_have_the_content_and_not_the_links(snapshot: Path, tmp_path: Path) -> None:
    model = write_triton_model(read_bundle(snapshot), TritonRequest(repository=tmp_path / "models", name="mine"))
    shutil.rmtree(tmp_path / "hub")
    copy = model.folder / "1" / "model.onnx"
    assert not copy.is_symlink()
    assert copy.stat().st_size > 1000
