"""Files that others publish: their addresses and hashes, and how they are downloaded."""

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from wavepaint.errors import TrainingError

TIMEOUT_S = 60


@dataclass(frozen=True, kw_only=True)
class OfficialFile:
    """A published file.

    Attributes:
        url: Its address.
        sha256: Its hash, or the first digits of it. torchvision publishes only the first eight, in the file's name.
    """

    url: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.url.rsplit("/", 1)[1]


def explain_altered(official: OfficialFile, where: str) -> TrainingError:
    """Return the error for a file whose hash is not the published one."""
    return TrainingError(
        f"{where} is not the published {official.name}: expected a SHA-256 that starts with {official.sha256}. It is "
        f"damaged or was altered on the way: remove it and download it again from {official.url}"
    )


@contextmanager
def _socket_timeout() -> Iterator[None]:
    """Limit the time that new connections wait. ``torch.hub`` would wait for ever."""
    former = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(former)


def download_file(official: OfficialFile, folder: Path, hint: str) -> Path:
    """Download a file into a folder and check its hash.

    Args:
        official: The file.
        folder: An existing folder.
        hint: A sentence for machines without a connection.

    Raises:
        TrainingError: The download failed, or the file was altered.
    """
    path = folder / official.name
    try:
        with _socket_timeout():
            torch.hub.download_url_to_file(official.url, str(path), official.sha256, progress=False)
    except RuntimeError as error:
        if "hash" not in str(error):
            raise
        raise explain_altered(official, official.url) from error
    except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
        reason = getattr(error, "reason", None) or error
        raise TrainingError(f"cannot download {official.url}: {reason}. {hint}") from error
    return path
