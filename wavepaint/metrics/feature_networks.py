"""Networks whose features the Frechet distance compares. The figure is named after the network.

"FID" is the name of the distance with the features of one Inception network and no other. Weights are recognised by
their names and shapes, and the FID's by their hash, too.
"""

import shlex
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from wavepaint.atomic import write_file
from wavepaint.cache_folder import cache_folder
from wavepaint.contract import hash_file
from wavepaint.errors import CheckpointError, ConfigError, TrainingError
from wavepaint.metrics.inception import Inception
from wavepaint.metrics.lpips import LPIPS, Network
from wavepaint.metrics.mobilenet import MobileNetV2
from wavepaint.metrics.official_files import OfficialFile, download_file
from wavepaint.weights.loading import load_strictly
from wavepaint.weights.reading import read_state

FID_WEIGHTS = OfficialFile(
    url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    sha256="6726825d",
)
"""pytorch-fid's copy of the original weights (Apache-2.0)."""

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_MIN_SIDE = 32
_TRUNKS: tuple[tuple[Network, str, str], ...] = (
    ("vgg16", "VGG16", "features.28.weight"),
    ("alexnet", "AlexNet", "features.10.weight"),
)
"""Name in LPIPS, title and last layer."""


class FeatureNetwork:
    """A network that makes one vector of an image.

    Attributes:
        title: Name of the Frechet distance with these features.
        num_features: Length of a vector.
        sha256: Hash of the weights' file.
    """

    def __init__(self, module: nn.Module, title: str, sha256: str, device: torch.device | str) -> None:
        self._module = module.to(device).requires_grad_(False).eval()
        self._device = device
        self.title, self.sha256 = title, sha256
        self.num_features = self.extract(torch.zeros(1, 3, 64, 64)).shape[1]

    @torch.inference_mode()
    def extract(self, image_N3HW: Tensor) -> Tensor:
        """Return the features (N, D) in float32, on the CPU, of images in [0, 1].

        Raises:
            ConfigError: The images are too small for the network.
        """
        features: Tensor = self._module(image_N3HW.to(self._device))
        return features.float().cpu()


class _Trunk(nn.Module):
    """The last feature maps of a trunk of LPIPS, averaged over the image."""

    def __init__(self, lpips: LPIPS) -> None:
        super().__init__()
        self.lpips = lpips

    def forward(self, image_N3HW: Tensor) -> Tensor:
        return self.lpips.features(image_N3HW)[-1].mean(dim=(2, 3))


class _Normalised(nn.Module):
    """MobileNetV2 with ImageNet's normalisation."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(_MEAN).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(_STD).reshape(1, 3, 1, 1))

    def forward(self, image_N3HW: Tensor) -> Tensor:
        if min(image_N3HW.shape[2:]) < _MIN_SIDE:
            raise ConfigError(
                f"MobileNetV2 takes images of at least {_MIN_SIDE} pixels a side: leave the distance out."
            )
        features: Tensor = self.network((image_N3HW - self.mean) / self.std)
        return features


def find_fid_weights(*, download: bool = False) -> Path:
    """Return the weights of the FID in the cache folder.

    Args:
        download: Download them if they are missing.

    Raises:
        TrainingError: They are missing, or the download failed.
    """
    path = cache_folder() / "fid" / FID_WEIGHTS.name
    command = f"curl -fL --create-dirs --output-dir {shlex.quote(str(path.parent))} -O {FID_WEIGHTS.url}"
    if path.is_file():
        return path
    if not download:
        raise TrainingError(
            f"the weights of the FID's Inception are missing: there is no {path}. Pass --download-weights (91 MB), "
            f"name a file with --frechet-weights, or download them with: {command}"
        )
    with tempfile.TemporaryDirectory(prefix="wavepaint-fid-") as folder:
        hint = "Download it on a machine with a connection, and pass it as --frechet-weights."
        downloaded = download_file(FID_WEIGHTS, Path(folder), hint)
        with write_file(path, overwrite=True) as temporary:
            shutil.copyfile(downloaded, temporary)
    return path


def load_feature_network(path: Path, device: torch.device | str = "cpu") -> FeatureNetwork:
    """Load a network by its weights: pytorch-fid's Inception, MobileNetV2, AlexNet or VGG16.

    Args:
        path: Their file, with the names of layers that torchvision, pytorch-fid or LPIPS gives them.
        device: The device to compute on.

    Raises:
        CheckpointError: The file cannot be read, or belongs to no such network.
    """
    state, digest = read_state(path), hash_file(path)
    module, title = _build(state, path)
    if title == "Inception":
        title = "FID" if digest.startswith(FID_WEIGHTS.sha256) else "Frechet distance, Inception of unknown weights"
    else:
        title = f"Frechet distance, {title}"
    return FeatureNetwork(module, title, digest, device)


def _build(state: Mapping[str, Tensor], path: Path) -> tuple[nn.Module, str]:
    """Return the network of these weights, and its name."""
    if "Mixed_7c.branch_pool.conv.weight" in state:
        if any(name.startswith("AuxLogits.") for name in state):
            raise CheckpointError(
                f"{path} is torchvision's Inception, which is not the FID's. Give the FID's weights: {FID_WEIGHTS.url}"
            )
        network: nn.Module = Inception()
        load_strictly(network, {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}, path)
        return network, "Inception"
    if "features.18.0.weight" in state:
        network = MobileNetV2()
        load_strictly(network, {name: t for name, t in state.items() if not name.startswith("classifier.")}, path)
        return _Normalised(network), "MobileNetV2"
    for name, title, last in _TRUNKS:
        if {last, "features.0.bias"} <= state.keys():
            lpips = LPIPS(name)
            prefix = "features."
            trunk = {key.removeprefix(prefix): tensor for key, tensor in state.items() if key.startswith(prefix)}
            load_strictly(lpips.trunk, trunk, path)
            return _Trunk(lpips), title
    raise CheckpointError(
        f"{path} has no weights of a feature network: expected the FID's Inception ({FID_WEIGHTS.name}), or "
        "MobileNetV2, AlexNet or VGG16 with the names of layers of torchvision or LPIPS."
    )
