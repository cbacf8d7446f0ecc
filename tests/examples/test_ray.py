"""The Ray examples on a cluster of two nodes, both on this machine."""

import io
import runpy
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image

from wavepaint import Inpainter

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[serve,data]' python-multipart")

EXAMPLES = Path(__file__).parents[2] / "examples"
PHOTO, MASK = EXAMPLES / "portrait.jpg", EXAMPLES / "portrait_mask.png"


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, runtime_env={"env_vars": {"PYTHONPATH": f"{EXAMPLES.parent}:{EXAMPLES}"}})
    assert len([node for node in ray.nodes() if node["Alive"]]) == 2
    yield
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    with Inpainter(threads=1) as inpainter:
        return np.asarray(inpainter.fill(PHOTO, MASK))


def post(url: str, **files: bytes) -> tuple[int, bytes]:
    """Send files as multipart/form-data; return status and body."""
    boundary = uuid.uuid4().hex
    body = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n\r\n'.encode()
        + content
        + b"\r\n"
        for name, content in files.items()
    )
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    request = Request(url, body + f"--{boundary}--\r\n".encode(), headers)
    try:
        with urlopen(request, timeout=120) as response:
            return response.status, response.read()
    except HTTPError as error:
        return error.code, error.read()


def test_the_service_answers_as_the_library_and_refuses_bad_files_and_what_is_too_much(
    monkeypatch: pytest.MonkeyPatch, expected: np.ndarray
) -> None:
    from ray import serve

    monkeypatch.syspath_prepend(str(EXAMPLES))
    import ray_serve

    serve.start(http_options={"port": 18123})
    serve.run(ray_serve.app)
    try:
        url = "http://127.0.0.1:18123/"
        status, body = post(url, image=PHOTO.read_bytes(), mask=MASK.read_bytes())
        assert status == 200, body
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(body))), expected)
        status, body = post(url, image=PHOTO.read_bytes(), mask=b"noise")
        assert (status, b"Traceback" in body) == (400, False)
        assert post(url, image=PHOTO.read_bytes())[0] == 400
        with ThreadPoolExecutor(48) as pool:
            answers = pool.map(lambda _: post(url, image=PHOTO.read_bytes(), mask=MASK.read_bytes())[0], range(48))
        assert set(answers) == {200, 503}
    finally:
        serve.shutdown()


def test_a_folder_is_filled_on_the_cluster_and_bad_photos_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: np.ndarray
) -> None:
    photos, masks, out = (tmp_path / name for name in ("photos", "masks", "filled"))
    photos.mkdir()
    masks.mkdir()
    for index in range(4):
        (photos / f"{index}.jpg").write_bytes(PHOTO.read_bytes())
        (masks / f"{index}.png").write_bytes(MASK.read_bytes())
    (photos / "broken.jpg").write_bytes(b"noise")
    (photos / "maskless.jpg").write_bytes(PHOTO.read_bytes())
    (masks / "broken.png").write_bytes(MASK.read_bytes())
    monkeypatch.setattr(sys, "argv", ["ray_data.py", str(photos), str(masks), str(out)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(EXAMPLES / "ray_data.py"), run_name="__main__")
    lines = str(stop.value.code).splitlines()
    assert sorted(Path(line.split(":")[0]).name for line in lines) == ["broken.jpg", "maskless.jpg"]
    assert sorted(path.name for path in out.iterdir()) == ["0.png", "1.png", "2.png", "3.png"]
    assert np.array_equal(np.asarray(Image.open(out / "3.png")), expected)
