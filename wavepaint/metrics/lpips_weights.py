"""Finding, downloading and reading the weights of LPIPS.

The weights come in two forms:

- published: torchvision's file of the trunk (BSD-3-Clause) and the authors' file of the heads (BSD-2-Clause);
- combined: one ``.safetensors`` file with both (``features.N.weight`` and ``.bias`` in torchvision's numbering,
  ``linK.model.1.weight``; float32 or float16). Downloads are stored in this form, without the classifier, which LPIPS
  does not use and which makes up nine tenths of VGG16.
"""

import os
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from wavepaint.atomic import write_file
from wavepaint.cache_folder import cache_folder
from wavepaint.contract import hash_file
from wavepaint.errors import TrainingError
from wavepaint.metrics.official_files import OfficialFile, download_file, explain_altered
from wavepaint.weights.reading import read_state

ENVIRONMENT_VARIABLE = "WAVEPAINT_LPIPS"
_HINT = "Download the trunk and the heads on a machine with a connection, and pass their folder as --lpips-weights."
_HEADS = (
    "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/082bb24f84c091ea94de2867d34c4544f68e0963/"
    "lpips/weights/v0.1"
)
_TRUNKS = "https://download.pytorch.org/models"


@dataclass(frozen=True, kw_only=True)
class Source:
    """The published files of a network.

    Attributes:
        trunk: torchvision's classifier.
        heads: The authors' 1x1 convolutions.
        names: Names of combined files. Downloads are stored under the first.
    """

    trunk: OfficialFile
    heads: OfficialFile
    names: tuple[str, ...]


SOURCES: dict[str, Source] = {
    "alexnet": Source(
        trunk=OfficialFile(url=f"{_TRUNKS}/alexnet-owt-7be5be79.pth", sha256="7be5be79"),
        heads=OfficialFile(
            url=f"{_HEADS}/alex.pth", sha256="df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"
        ),
        names=("lpips_alexnet.safetensors", "lpips_alexnet_fp16.safetensors"),
    ),
    "vgg16": Source(
        trunk=OfficialFile(url=f"{_TRUNKS}/vgg16-397923af.pth", sha256="397923af"),
        heads=OfficialFile(
            url=f"{_HEADS}/vgg.pth", sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"
        ),
        names=("lpips_vgg16.safetensors", "lpips_vgg16_fp16.safetensors"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class WeightFiles:
    """The files with the weights of a network: a combined one, or the published trunk and heads."""

    network: str
    paths: tuple[Path, ...]


def locate_cache() -> Path:
    """Return the folder that stores downloads and is searched first."""
    return cache_folder() / "lpips"


def _search(path: Path, network: str) -> WeightFiles | None:
    """Return the weights in a folder, or a file itself; None if there are none."""
    if path.is_file():
        return WeightFiles(network=network, paths=(path,))
    source = SOURCES[network]
    for name in source.names:
        if (path / name).is_file():
            return WeightFiles(network=network, paths=(path / name,))
    published = (path / source.trunk.name, path / source.heads.name)
    return WeightFiles(network=network, paths=published) if all(file.is_file() for file in published) else None


def find_weights(network: str, weights: Path | None = None, *, download: bool = False) -> WeightFiles:
    """Find the weights of a network without reading them, so that a run without weights fails at once.

    Args:
        network: "alexnet" or "vgg16".
        weights: A file with trunk and heads, or a folder with such a file or the two published ones. None searches
            the cache folder, then the file or folder in the environment variable ``WAVEPAINT_LPIPS``.
        download: Download missing weights, check them and store them in the cache folder.

    Raises:
        TrainingError: There are no weights, or the download failed. The message has the command to get them.
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if weights is not None:
        found, places = _search(weights, network), f"at {weights} (--lpips-weights)"
    else:
        cache = locate_cache()
        found, places = _search(cache, network), f"in {cache}"
        if found is None and named:
            found, places = _search(Path(named), network), f"{places} nor at {named} ({ENVIRONMENT_VARIABLE})"
        if found is None and download:
            return _download(network)
    if found is None:
        raise _explain_missing(network, places)
    return found


def _explain_missing(network: str, places: str) -> TrainingError:
    source, folder = SOURCES[network], shlex.quote(str(locate_cache()))
    return TrainingError(
        f"the weights of LPIPS ({network}) are missing: neither {source.names[0]} nor {source.trunk.name} with "
        f"{source.heads.name} was found {places}. Pass --download-weights, or download them with: "
        f"curl -fL --create-dirs --output-dir {folder} --remote-name-all {source.trunk.url} {source.heads.url}"
    )


def read_weights(files: WeightFiles) -> dict[str, Tensor]:
    """Read the weights under the names of :class:`wavepaint.metrics.lpips.LPIPS`.

    Raises:
        TrainingError: A published file was altered.
        CheckpointError: A file cannot be read as weights.
    """
    source = SOURCES[files.network]
    state: dict[str, Tensor] = {}
    for path, official in zip(files.paths, (source.trunk, source.heads), strict=False):
        if len(files.paths) > 1 and not hash_file(path).startswith(official.sha256):
            raise explain_altered(official, str(path))
        state.update(read_state(path))
    return {_translate_name(name): tensor for name, tensor in state.items() if not name.startswith("classifier.")}


def _translate_name(name: str) -> str:
    if name.startswith("features."):
        return "trunk." + name.removeprefix("features.")
    if name.startswith("lin"):
        return "heads." + name.removeprefix("lin").replace(".model.1.", ".")
    return name


def _download(network: str) -> WeightFiles:
    """Download both files, check them, and store what LPIPS needs as one file in the cache folder."""
    from safetensors.torch import save_file

    source, target = SOURCES[network], locate_cache() / SOURCES[network].names[0]
    with tempfile.TemporaryDirectory(prefix="wavepaint-lpips-") as name:
        state: dict[str, Tensor] = {}
        for official in (source.trunk, source.heads):
            state.update(read_state(download_file(official, Path(name), _HINT)))
        needed = {key: tensor.contiguous() for key, tensor in state.items() if not key.startswith("classifier.")}
        with write_file(target, overwrite=True) as temporary:
            save_file(needed, temporary, {"source": f"{source.trunk.url} {source.heads.url}"})
    return WeightFiles(network=network, paths=(target,))
