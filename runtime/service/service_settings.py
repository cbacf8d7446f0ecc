"""The limits and the access rules of a service."""

import ipaddress
import re
from dataclasses import dataclass

from wavepaint.arguments import check_int
from wavepaint.errors import ConfigError, printable

MIB = 1 << 20
MEGAPIXEL = 1_000_000

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
"""Values of the Host header by which a service on the loopback interface is reached."""

ANY_HOST = "*"

MIN_TOKEN_LENGTH = 16


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """The limits and the access rules of a service.

    Attributes:
        hosts: Values of the Host header that are answered, without the port; ``*`` answers all.
        token: Secret that requests must carry as ``Authorization: Bearer``; None asks for none.
        queue: Most requests that are accepted and not answered yet. Further ones are refused with 503.
        timeout_s: Seconds from the end of a request's body to its answer. Later it is refused with 504.
        max_body_bytes: Largest body of a request.
        max_pixels: Most pixels of an image or a mask.
        body_timeout_s: Seconds to wait for a body, and one more for each 128 KiB that arrived. Slower bodies are
            refused with 408.

    Raises:
        ConfigError: A value is out of range.
    """

    hosts: tuple[str, ...] = LOOPBACK_HOSTS
    token: str | None = None
    queue: int = 64
    timeout_s: float = 60.0
    max_body_bytes: int = 32 * MIB
    max_pixels: int = 40 * MEGAPIXEL
    body_timeout_s: float = 20.0

    def __post_init__(self) -> None:
        check_int("queue", self.queue, 1, flag="--queue")
        for name, flag in (("timeout_s", "--timeout"), ("body_timeout_s", "")):
            if not getattr(self, name) > 0:
                hint = f" ({flag})" if flag else ""
                raise ConfigError(f"{name} is {getattr(self, name)}: expected more than 0 seconds{hint}.")
        check_int("max_body_bytes", self.max_body_bytes, 1, unit="bytes", flag="--max-body")
        check_int("max_pixels", self.max_pixels, 1, unit="pixels", flag="--max-megapixels")
        if self.token is not None and not re.fullmatch(rf"[!-~]{{{MIN_TOKEN_LENGTH},}}", self.token):
            raise ConfigError(
                f"the token has {len(self.token)} characters: expected {MIN_TOKEN_LENGTH} or more, ASCII without "
                "spaces (--token). Make one with: python -c 'import secrets; print(secrets.token_urlsafe())'"
            )
        for host in self.hosts:
            if host != ANY_HOST and not re.fullmatch(r"[\w.-]+|\[[0-9A-Fa-f:.]+\]", host):
                raise ConfigError(
                    f"{printable(host)} is not a host: expected a name or an address without scheme and port, as in "
                    "paint.example.org, or * for any (--allow-host)."
                )


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a server that listens on a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def choose_hosts(host: str, allowed: tuple[str, ...], token: str | None) -> tuple[str, ...]:
    """Return the values of the Host header that a server on an address answers.

    Args:
        host: Address that the server listens on.
        allowed: Further values.
        token: The token, which every address except loopback needs.

    Raises:
        ConfigError: The address needs a token, or clients' names for it are unknown.
    """
    if is_loopback(host):
        return (*LOOPBACK_HOSTS, *_name(host), *allowed)
    if token is None:
        raise ConfigError(
            f"{printable(host)} is reached from other machines, which needs a token: set WAVEPAINT_TOKEN, or pass "
            "--token. Without one the service listens only on 127.0.0.1."
        )
    named = _name(host)
    if not named and not allowed:
        raise ConfigError(
            f"{printable(host)} stands for every address of this machine: say under which names clients reach it, as "
            "in --allow-host paint.example.org. --allow-host '*' answers all."
        )
    return (*LOOPBACK_HOSTS, *named, *allowed)


def _name(host: str) -> tuple[str, ...]:
    """Return an address as the Host header has it; nothing for one that stands for all addresses."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return (host,)
    if address.is_unspecified:
        return ()
    return (f"[{address}]" if address.version == 6 else host,)
