"""Feature networks are recognised by their weights, and only the FID's own Inception gives an FID."""

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from wavepaint.errors import CheckpointError, ConfigError, TrainingError
from wavepaint.metrics import feature_networks
from wavepaint.metrics.feature_networks import FID_WEIGHTS, find_fid_weights, load_feature_network
from wavepaint.metrics.lpips import LPIPS
from wavepaint.metrics.mobilenet import MobileNetV2
from wavepaint.metrics.official_files import OfficialFile


def test_alexnet_of_lpips_gives_the_mean_of_its_last_layer_and_its_name(alexnet: LPIPS, tmp_path: Path) -> None:
    state = {f"features.{name}": tensor for name, tensor in alexnet.trunk.state_dict().items()}
    save_file({**state, "lin0.model.1.weight": torch.zeros(1)}, tmp_path / "alexnet.safetensors")
    network = load_feature_network(tmp_path / "alexnet.safetensors")
    assert (network.title, network.num_features) == ("Frechet distance, AlexNet", 256)
    image = torch.rand(2, 3, 40, 50)
    torch.testing.assert_close(network.extract(image), alexnet.features(image)[-1].mean(dim=(2, 3)))


def test_mobilenet_gets_images_normalised_and_ignores_its_classifier(tmp_path: Path) -> None:
    own = MobileNetV2()
    torch.save({**own.state_dict(), "classifier.1.bias": torch.zeros(2)}, tmp_path / "mobilenet.pth")
    network = load_feature_network(tmp_path / "mobilenet.pth")
    assert (network.title, network.num_features) == ("Frechet distance, MobileNetV2", 1280)
    image = torch.rand(1, 3, 32, 48)
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        torch.testing.assert_close(network.extract(image), own((image - mean) / std))
    with pytest.raises(ConfigError, match="32 pixels"):
        network.extract(image[..., :31])


class StandIn(torch.nn.Module):
    """Takes Inception's place, because only the name is tested: it has one of its layers."""

    def __init__(self) -> None:
        super().__init__()
        pool = torch.nn.ModuleDict({"conv": torch.nn.Conv2d(3, 4, 1, bias=False)})
        self.Mixed_7c = torch.nn.ModuleDict({"branch_pool": pool})

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.mean(dim=(2, 3))


def test_only_the_published_inception_is_named_fid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_networks, "Inception", StandIn)
    path = tmp_path / "inception.pth"
    torch.save({**StandIn().state_dict(), "fc.bias": torch.zeros(1008)}, path)
    assert load_feature_network(path).title == "Frechet distance, Inception of unknown weights"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(feature_networks, "FID_WEIGHTS", OfficialFile(url=FID_WEIGHTS.url, sha256=digest[:8]))
    assert load_feature_network(path).title == "FID"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("Mixed_7c.branch_pool.conv.weight", "AuxLogits.fc.weight"),
            "torchvision's Inception, which is not",
        ),
        (("Mixed_7c.branch_pool.conv.weight",), "do not fit Inception"),
        (("layer1.weight",), "no weights of a feature network: expected the FID's Inception"),
    ],
)
def test_other_weights_are_refused(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    torch.save({name: torch.zeros(1) for name in names}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=message):
        load_feature_network(tmp_path / "other.pth")


def test_fid_weights_are_downloaded_once_and_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVEPAINT_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "weights.pth"
    source.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setattr(feature_networks, "FID_WEIGHTS", OfficialFile(url=source.as_uri(), sha256=digest[:8]))
    with pytest.raises(TrainingError, match="--download-weights .* curl -fL"):
        find_fid_weights()
    path = find_fid_weights(download=True)
    assert path.read_bytes() == b"weights"
    source.unlink()
    assert find_fid_weights() == find_fid_weights(download=True) == path
    path.unlink()
    source.write_bytes(b"others")
    with pytest.raises(TrainingError, match="is not the published weights.pth"):
        find_fid_weights(download=True)
    assert not path.exists()
