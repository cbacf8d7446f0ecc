"""The sources of LPIPS' weights: files, folders, the cache, and downloads."""

import hashlib
import http.server
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.networks import make_random_lpips
from wavepaint.errors import CheckpointError, TrainingError
from wavepaint.metrics import lpips_weights
from wavepaint.metrics.lpips import LPIPS, NETWORKS, Network, load_lpips
from wavepaint.metrics.lpips_weights import OfficialFile, Source, find_weights


def trunk_state(lpips: LPIPS) -> dict[str, torch.Tensor]:
    """Return the trunk under torchvision's names, with a classifier."""
    state = {f"features.{name}": tensor for name, tensor in lpips.trunk.state_dict().items()}
    return {**state, "classifier.1.weight": torch.ones(3, 4), "classifier.1.bias": torch.ones(3)}


def head_state(lpips: LPIPS) -> dict[str, torch.Tensor]:
    """Return the heads under the authors' names."""
    return {f"lin{index}.model.1.weight": head for index, head in enumerate(lpips.heads.parameters())}


def write_single(lpips: LPIPS, path: Path, dtype: torch.dtype = torch.float32) -> Path:
    state = {**trunk_state(lpips), **head_state(lpips)}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.to(dtype).contiguous() for k, v in state.items() if not k.startswith("classifier")}, path)
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(lpips_weights.ENVIRONMENT_VARIABLE, raising=False)


def assert_equal_weights(a: LPIPS, b: LPIPS) -> None:
    assert a.state_dict().keys() == b.state_dict().keys()
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name]), name


def test_single_file_of_float32_or_float16_is_read(alexnet: LPIPS, tmp_path: Path) -> None:
    loaded = load_lpips("alexnet", write_single(alexnet, tmp_path / "a.safetensors"))
    assert_equal_weights(loaded, alexnet)
    halved = load_lpips("alexnet", write_single(alexnet, tmp_path / "b.safetensors", torch.float16))
    assert {tensor.dtype for tensor in halved.state_dict().values()} == {torch.float32}
    a, b = torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert halved(a, b).tolist() == pytest.approx(alexnet(a, b).tolist(), rel=1e-2)
    assert not any(parameter.requires_grad for parameter in halved.parameters())


def test_folder_cache_and_environment_are_searched(
    alexnet: LPIPS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = write_single(alexnet, tmp_path / "elsewhere" / "lpips_alexnet.safetensors")
    assert find_weights("alexnet", elsewhere.parent).paths == (elsewhere,)
    for place in (elsewhere.parent, elsewhere):
        monkeypatch.setenv(lpips_weights.ENVIRONMENT_VARIABLE, str(place))
        assert find_weights("alexnet").paths == (elsewhere,)
    cached = write_single(alexnet, tmp_path / "cache" / "lpips" / "lpips_alexnet.safetensors")
    assert find_weights("alexnet").paths == (cached,)
    with pytest.raises(TrainingError, match="vgg16"):
        find_weights("vgg16", elsewhere.parent)


@pytest.mark.parametrize("network", NETWORKS)
def test_missing_weights_give_one_line_with_the_command_to_get_them(network: Network, tmp_path: Path) -> None:
    for weights in (None, tmp_path / "nothing.safetensors", tmp_path):
        with pytest.raises(TrainingError) as caught:
            load_lpips(network, weights)
        message = str(caught.value)
        assert "\n" not in message
        assert f"LPIPS ({network})" in message
        assert f"lpips_{network}.safetensors" in message
        assert f"--output-dir {tmp_path / 'cache' / 'lpips'} " in message
        source = lpips_weights.SOURCES[network]
        assert message.endswith(f"{source.trunk.url} {source.heads.url}")
        if weights is not None:
            assert f"{weights} (--lpips-weights)" in message


def test_weights_that_are_damaged_or_of_another_network_are_refused(alexnet: LPIPS, tmp_path: Path) -> None:
    path = write_single(alexnet, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="do not fit LPIPS"):
        load_lpips("vgg16", path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="damaged or cut off"):
        load_lpips("alexnet", path)


@pytest.fixture
def published(alexnet: LPIPS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve the two published files of AlexNet at the addresses that the package uses."""
    folder = tmp_path / "published"
    folder.mkdir()
    torch.save(trunk_state(alexnet), folder / "trunk.pth")
    torch.save(head_state(alexnet), folder / "heads.pth")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    handler = partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setitem(
            lpips_weights.SOURCES,
            "alexnet",
            Source(
                trunk=OfficialFile(url=f"{url}/trunk.pth", sha256=sha256(folder / "trunk.pth")[:8]),
                heads=OfficialFile(url=f"{url}/heads.pth", sha256=sha256(folder / "heads.pth")),
                names=("lpips_alexnet.safetensors",),
            ),
        )
        yield folder
        server.shutdown()


def test_nothing_is_downloaded_without_the_flag(published: Path) -> None:
    with pytest.raises(TrainingError, match="--download-weights"):
        load_lpips("alexnet")


def test_download_is_stored_as_one_file_without_the_classifier(published: Path, alexnet: LPIPS, tmp_path: Path) -> None:
    assert_equal_weights(load_lpips("alexnet", download=True), alexnet)
    (stored,) = (tmp_path / "cache" / "lpips").iterdir()
    assert stored.name == "lpips_alexnet.safetensors"
    assert stored.stat().st_size < 1.01 * sum(4 * tensor.numel() for tensor in alexnet.state_dict().values())
    for path in published.iterdir():
        path.unlink()
    assert_equal_weights(load_lpips("alexnet", download=True), alexnet)


def test_folder_with_the_published_files_is_read_and_checked(published: Path, alexnet: LPIPS) -> None:
    assert_equal_weights(load_lpips("alexnet", published), alexnet)
    torch.save(head_state(make_random_lpips("alexnet", 1)), published / "heads.pth")
    with pytest.raises(TrainingError, match="is not the published heads.pth"):
        load_lpips("alexnet", published)


@pytest.mark.parametrize("name", ["trunk.pth", "heads.pth"])
def test_download_with_another_checksum_is_not_stored(published: Path, name: str, tmp_path: Path) -> None:
    content = bytearray((published / name).read_bytes())
    content[-1] ^= 1
    (published / name).write_bytes(content)
    with pytest.raises(TrainingError, match=f"{name} is not the published {name}: expected a SHA-256 that starts with"):
        load_lpips("alexnet", download=True)
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").rglob("*.*"))


def test_failed_connection_gives_one_line_with_the_address(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/trunk.pth"
        source = lpips_weights.SOURCES["alexnet"]
        broken = Source(trunk=OfficialFile(url=url, sha256="0" * 8), heads=source.heads, names=source.names)
        monkeypatch.setitem(lpips_weights.SOURCES, "alexnet", broken)
        with pytest.raises(TrainingError, match=f"cannot download {url}: .*refused.*--lpips-weights") as caught:
            load_lpips("alexnet", download=True)
    assert "\n" not in str(caught.value)


def test_missing_file_on_the_server_gives_one_line_with_its_answer(published: Path) -> None:
    (published / "heads.pth").unlink()
    with pytest.raises(TrainingError, match="cannot download .*heads.pth: .*[Nn]ot [Ff]ound"):
        load_lpips("alexnet", download=True)
