"""Finding, fetching and reading the weights of LPIPS.

They come in two forms: one ``.safetensors`` file with trunk and heads (``features.N.weight`` and ``.bias`` in
torchvision's numbering, ``linK.model.1.weight``; float32 or float16), or, as published, the trunk's file of torchvision
(BSD-3-Clause) beside that of the heads (BSD-2-Clause). What is fetched is the second and is kept as the first: the
classifier's layers, nine tenths of VGG16's file, are of no use here.
"""

import hashlib
import http.client
import os
import shlex
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from wavepaint.atomic import write_file
from wavepaint.cache import cache_folder
from wavepaint.contract import hash_file
from wavepaint.errors import TrainingError
from wavepaint.weights.reading import read_state

ENVIRONMENT_VARIABLE = "WAVEPAINT_LPIPS"
TIMEOUT_S = 60
_HEADS = (
    "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/082bb24f84c091ea94de2867d34c4544f68e0963/"
    "lpips/weights/v0.1"
)
_TRUNKS = "https://download.pytorch.org/models"


@dataclass(frozen=True, kw_only=True)
class OfficialFile:
    """A published file.

    Attributes:
        url: Where it is published.
        sha256: Its hash, or the first digits of it. Of torchvision's files the name carries the first eight, and
            they are all that is published.
    """

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True, kw_only=True)
class Source:
    """What makes up the weights of one network.

    Attributes:
        trunk: Torchvision's classifier.
        heads: The authors' 1x1 convolutions.
        names: Names of files with both, the one that is written first.
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
    """Where the weights of one network are: one file, or the trunk's and the heads' as published."""

    network: str
    paths: tuple[Path, ...]


def lpips_cache_folder() -> Path:
    """Return the folder in which weights are looked for first, and in which fetched ones are kept."""
    return cache_folder() / "lpips"


def _look_into(folder: Path, network: str) -> WeightFiles | None:
    source = SOURCES[network]
    for name in source.names:
        if (folder / name).is_file():
            return WeightFiles(network=network, paths=(folder / name,))
    published = (folder / source.trunk.name, folder / source.heads.name)
    return WeightFiles(network=network, paths=published) if all(path.is_file() for path in published) else None


def _look_at(path: Path, network: str) -> WeightFiles | None:
    if path.is_dir():
        return _look_into(path, network)
    return WeightFiles(network=network, paths=(path,)) if path.is_file() else None


def find_weights(network: str, weights: Path | None = None, *, download: bool = False) -> WeightFiles:
    """Find the weights of a network without reading them, so that a run can be refused at once.

    Args:
        network: "alexnet" or "vgg16".
        weights: A file with trunk and heads, or a folder with such a file or the two published ones. None looks in
            the cache folder, then where the environment variable ``WAVEPAINT_LPIPS``, such a path, points.
        download: Fetch what is in neither place, check it and keep it in the cache folder.

    Raises:
        TrainingError: They are not there, with the command that fetches them; or fetching failed.
    """
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if weights is not None:
        found, places = _look_at(weights, network), f"at {weights} (--lpips-weights)"
    else:
        cache = lpips_cache_folder()
        found, places = _look_into(cache, network), f"in {cache}"
        if found is None and named:
            found, places = _look_at(Path(named), network), f"{places} nor at {named} ({ENVIRONMENT_VARIABLE})"
        if found is None and download:
            return _fetch(network)
    if found is None:
        raise _missing(network, places)
    return found


def _missing(network: str, places: str) -> TrainingError:
    source, folder = SOURCES[network], shlex.quote(str(lpips_cache_folder()))
    return TrainingError(
        f"this training needs the weights of LPIPS ({network}): found neither {source.names[0]} nor "
        f"{source.trunk.name} with {source.heads.name} {places}. Pass --download-weights, or fetch them with: "
        f"curl -fL --create-dirs --output-dir {folder} --remote-name-all {source.trunk.url} {source.heads.url}"
    )


def read_weights(files: WeightFiles) -> dict[str, Tensor]:
    """Read the weights under the names that :class:`wavepaint.metrics.lpips.LPIPS` has for them.

    Raises:
        TrainingError: A published file differs from what was published.
        CheckpointError: Not readable as weights.
    """
    source = SOURCES[files.network]
    state: dict[str, Tensor] = {}
    for path, official in zip(files.paths, (source.trunk, source.heads), strict=False):
        if len(files.paths) > 1:
            _check_hash(official, hash_file(path), str(path))
        state.update(read_state(path))
    return {_own_name(name): tensor for name, tensor in state.items() if not name.startswith("classifier.")}


def _own_name(name: str) -> str:
    if name.startswith("features."):
        return "trunk." + name.removeprefix("features.")
    if name.startswith("lin"):
        return "heads." + name.removeprefix("lin").replace(".model.1.", ".")
    return name


def _check_hash(official: OfficialFile, sha256: str, where: str) -> None:
    if not sha256.startswith(official.sha256):
        raise TrainingError(
            f"{where} is not the published {official.name}: its SHA-256 is {sha256[: len(official.sha256)]}, expected "
            f"{official.sha256}. It is damaged or was altered on the way; remove it and fetch it again from "
            f"{official.url}"
        )


def _fetch(network: str) -> WeightFiles:
    """Fetch both files, check them, and keep what is needed of them as one in the cache folder."""
    from safetensors.torch import save_file

    source, target = SOURCES[network], lpips_cache_folder() / SOURCES[network].names[0]
    with tempfile.TemporaryDirectory(prefix="wavepaint-lpips-") as name:
        state: dict[str, Tensor] = {}
        for official in (source.trunk, source.heads):
            state.update(read_state(_fetch_file(official, Path(name))))
        kept = {key: tensor.contiguous() for key, tensor in state.items() if not key.startswith("classifier.")}
        with write_file(target, overwrite=True) as temporary:
            save_file(kept, temporary, {"source": f"{source.trunk.url} {source.heads.url}"})
    return WeightFiles(network=network, paths=(target,))


def _fetch_file(official: OfficialFile, folder: Path) -> Path:
    path, digest = folder / official.name, hashlib.sha256()
    try:
        with urllib.request.urlopen(official.url, timeout=TIMEOUT_S) as response, path.open("wb") as stream:
            while block := response.read(1 << 20):
                digest.update(block)
                stream.write(block)
    except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
        reason = getattr(error, "reason", None) or error
        raise TrainingError(
            f"cannot fetch {official.url}: {reason}. Fetch it on a machine with a connection and pass the folder that "
            "it and its partner are in as --lpips-weights."
        ) from error
    _check_hash(official, digest.hexdigest(), official.url)
    return path
