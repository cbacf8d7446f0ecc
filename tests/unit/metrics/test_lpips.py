"""LPIPS as a loss, and the sources of its weights. ``tests/golden`` tests its values."""

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

from wavepaint.errors import CheckpointError, ConfigError, TrainingError
from wavepaint.metrics import lpips_weights
from wavepaint.metrics.lpips import LPIPS, NETWORKS, Network, average_and_add, load_lpips
from wavepaint.metrics.lpips_weights import OfficialFile, Source, find_weights


def seeded(network: Network, seed: int = 0) -> LPIPS:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = LPIPS(network)
    for head in module.heads.parameters():
        head.abs_()
    return module


@pytest.fixture(scope="module")
def alexnet() -> LPIPS:
    return seeded("alexnet")


def images(seed: int = 0, *, side: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.rand(2, 2, 3, side, side, generator=generator)
    return a, b


@pytest.mark.parametrize("network", NETWORKS)
def test_only_equal_images_have_no_distance(network: Network) -> None:
    lpips = seeded(network)
    a, b = images()
    assert lpips(a, a).tolist() == [0, 0]
    assert (lpips(a, b) > 0).all()
    assert lpips(a, b).tolist() == pytest.approx(lpips(b, a).tolist(), rel=1e-5)


def test_distances_of_a_batch_equal_those_of_its_images(alexnet: LPIPS) -> None:
    a, b = images()
    singly = [alexnet(a[i : i + 1], b[i : i + 1]).item() for i in range(2)]
    assert alexnet(a, b).tolist() == pytest.approx(singly, rel=1e-5)


def test_only_the_first_image_gets_gradients(alexnet: LPIPS) -> None:
    a, b = (image.requires_grad_() for image in images())
    alexnet.train()(a, b).sum().backward()
    assert a.grad is not None
    assert a.grad.abs().sum() > 0
    assert b.grad is None
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in alexnet.parameters())


def test_gradient_equals_finite_differences() -> None:
    lpips = seeded("alexnet").double()
    a, b = (image[:1, :, :31, :31].double() for image in images())
    direction = images(1)[0][:1, :, :31, :31].double() - 0.5
    a.requires_grad_()
    (gradient,) = torch.autograd.grad(lpips(a, b).sum(), a)
    step = 1e-6
    with torch.no_grad():
        slope = (lpips(a + step * direction, b) - lpips(a - step * direction, b)).sum() / (2 * step)
    assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=1e-5)


def test_gradients_are_finite_where_no_channel_is_active(alexnet: LPIPS) -> None:
    """There the norm of the features is 0, and the derivative of a square root is infinite."""
    a, b = images()
    filled = a.clone()
    filled[..., :40, :] = alexnet.mean[0]  # the trunk sees 0
    filled.requires_grad_()
    lpips = seeded("alexnet")
    for layer in lpips.trunk:
        if isinstance(layer, torch.nn.Conv2d) and layer.bias is not None:
            layer.bias.fill_(-0.2)
    dead = [(layer == 0).all(dim=1) for layer in lpips.features(filled)]
    assert any(layer.any() and not layer.all() for layer in dead)
    lpips(filled, b).sum().backward()
    assert filled.grad is not None
    assert filled.grad.isfinite().all()
    assert filled.grad.abs().sum() > 0

    empty = [torch.zeros_like(layer).requires_grad_() for layer in lpips.features(a)]
    for layer in lpips.compare(empty, lpips.features(b)):
        layer.sum().backward()
    for leaf in empty:
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("network", NETWORKS)
def test_autocast_changes_little(network: Network) -> None:
    lpips = seeded(network)
    a, b = images()
    with torch.autocast("cpu", torch.bfloat16):
        distance = lpips(a, b)
    assert distance.dtype == torch.float32
    assert distance.tolist() == pytest.approx(lpips(a, b).tolist(), rel=0.05)


def test_map_shows_where_images_differ(alexnet: LPIPS) -> None:
    a, _ = images(side=128)
    b = a.clone()
    b[:, :, 16:32, 80:112] = 0.5
    at_pixels = alexnet(a, b, spatial=True)
    assert at_pixels.shape == (2, 1, 128, 128)
    assert at_pixels[:, :, 16:32, 80:112].mean() > 10 * at_pixels[:, :, 96:, :32].mean()
    maps = alexnet.compare(alexnet.features(a), alexnet.features(b))
    assert average_and_add(maps).tolist() == pytest.approx(alexnet(a, b).tolist(), rel=1e-6)


@pytest.mark.parametrize(("network", "side"), [("alexnet", 31), ("vgg16", 16)])
def test_images_too_small_for_the_trunk_are_refused(network: Network, side: int) -> None:
    lpips = LPIPS(network)
    a, b = images(side=side)
    assert lpips(a, b).isfinite().all()
    with pytest.raises(ConfigError, match=f"at least {side} pixels per side"):
        lpips(a[..., 1:], b[..., 1:])


def test_bad_shapes_and_networks_are_refused(alexnet: LPIPS) -> None:
    a, b = images()
    with pytest.raises(ConfigError, match=r"\(2, 3, 64, 64\) and \(1, 3, 64, 64\)"):
        alexnet(a, b[:1])
    with pytest.raises(ConfigError, match=r"expected \(N, 3, H, W\)"):
        alexnet(a[:, :1], b[:, :1])
    with pytest.raises(ConfigError, match="--lpips-network is 'squeezenet': expected one of alexnet, vgg16"):
        LPIPS("squeezenet")  # type: ignore[arg-type]


# Sources of the weights.


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
    a, b = images()
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
    torch.save(head_state(seeded("alexnet", 1)), published / "heads.pth")
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
