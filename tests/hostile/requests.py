"""Hostile requests: raw bytes for a service, with odd headers, forms, fields and files."""

import base64
import json
import random
import re
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

from tests.conftest import REPOSITORY
from tests.hostile import images
from tests.hostile.mutations import add_garbage, cut_off, erase, flip_bits, repeat, swap

BOUNDARY = b"----x7d1b"
_PATHS = (*["/v1/fill"] * 3, "/v1/images/edits", "/api/v1/inpaint", "/v1/models", "/v1/photo", "/", "/page/")
_METHODS = ("POST", "POST", "POST", "POST", "GET", "PUT", "HEAD", "BREW")
_WORDS = (
    "", "0", "-1", "1e9", "NaN", "true", "\0", "../../etc/passwd", "\u202e", "x" * 70_000, "{}", "[]", "9" * 5000,
    "png", "jpeg", "gif", "alpha", "auto", "tile", "whole", "64", "luminance",
)  # fmt: skip
_FIELDS = (
    "image", "mask", "dilate", "feather", "strategy", "mask_from", "format", "invert_mask", "mask_threshold",
    "resize_mask", "model", "n", "size", "prompt", "stream", "image[]", "", "\xe9", 'a"b', "x" * 300,
)  # fmt: skip
_BREAKS = (flip_bits, cut_off, erase, repeat, swap, add_garbage)


@cache
def list_files() -> dict[str, bytes]:
    """Return small images and masks of all formats."""
    return images.make_files()


def make_requests(seed: int, count: int) -> Iterator[bytes]:
    """Yield raw requests. The same arguments give the same requests."""
    for number in range(count):
        rng = random.Random(f"{seed} {number}")
        make: Callable[[random.Random, int], bytes] = rng.choice([_make_form, _make_form, _make_json, _make_anything])
        yield make(rng, number)


def _pick_image(rng: random.Random, number: int) -> bytes:
    files = list_files()
    return images.mutate(number, files)[1] if rng.random() < 0.4 else files[rng.choice(sorted(files))]


def _pick_mask(rng: random.Random, number: int) -> bytes:
    if rng.random() < 0.3:
        return _pick_image(rng, number + 1)
    hole = np.zeros((48, 64), bool)
    hole[10:20, 10 : rng.randrange(11, 60)] = True
    return images.encoded(images.Image.fromarray(hole), "PNG")


def _make_form(rng: random.Random, number: int) -> bytes:
    fields = [("image", _pick_image(rng, number)), ("mask", _pick_mask(rng, number))]
    fields += [(rng.choice(_FIELDS), rng.choice(_WORDS).encode()) for _ in range(rng.choice([0, 0, 1, 2, 8, 70]))]
    if rng.random() < 0.2:
        rng.shuffle(fields)
        fields.pop()
    body = b""
    for name, data in fields:
        is_file = name in ("image", "mask") or rng.random() < 0.1
        filename = b'; filename="../../../etc/passwd"' if is_file else b""
        body += b'--%s\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (
            BOUNDARY, name.encode(), filename, data,
        )  # fmt: skip
    body += b"--%s--\r\n" % BOUNDARY
    return _finish(rng, b"multipart/form-data; boundary=" + BOUNDARY, body)


def _make_json(rng: random.Random, number: int) -> bytes:
    def encode(data: bytes) -> str:
        return base64.b64encode(data).decode()

    content = {"image": encode(_pick_image(rng, number)), "mask": encode(_pick_mask(rng, number))}
    odd = [None, 1, 1e308, True, [], {}, "data:,", *_WORDS]
    changes = {rng.choice(_FIELDS): rng.choice(odd) for _ in range(rng.choice([0, 1, 2]))}
    return _finish(rng, b"application/json", json.dumps({**content, **changes}).encode(), "/api/v1/inpaint")


def _make_anything(rng: random.Random, number: int) -> bytes:
    body = rng.randbytes(rng.choice([0, 10, 1000, 100_000]))
    kinds = (b"", b"text/plain", b"multipart/form-data", b"multipart/form-data; boundary=" + bytes(range(33, 127)))
    return _finish(rng, rng.choice(kinds), body)


def _finish(rng: random.Random, kind: bytes, body: bytes, path: str | None = None) -> bytes:
    """Return a request with headers. Some have broken bodies, and some break HTTP itself."""
    data = bytearray(body)
    if data and rng.random() < 0.2:
        rng.choice(_BREAKS)(data, rng)
    method = "POST" if rng.random() < 0.8 else rng.choice(_METHODS)
    target = path if path and rng.random() < 0.9 else rng.choice(_PATHS) + rng.choice(["", "", "?a=b", "/..%2f", "%00"])
    lines = [f"{method} {target} HTTP/1.1".encode(), b"Connection: close"]
    lines.append(b"Host: " + rng.choice([b"localhost"] * 60 + [b"evil.org", b"\xff", b"[", b"localhost:x"]))
    if kind:
        lines.append(b"Content-Type: " + kind)
    if rng.random() < 0.1:
        lines.append(b"Origin: " + rng.choice([b"null", b"http://evil.org", b"http://localhost", b"\xe9"]))
    if rng.random() < 0.1:
        lines.append(b"Authorization: " + rng.choice([b"Bearer x", b"\xe9", b"Bearer", b"x" * 2000]))
    if rng.random() < 0.15:
        lines.append(b"Transfer-Encoding: chunked")
        data = bytearray(b"%x\r\n%s\r\n0\r\n\r\n" % (len(data), bytes(data)))
    else:
        lines.append(b"Content-Length: %d" % max(len(data) + rng.choice([0] * 20 + [-1, 5, 1 << 40]), 0))
    head = bytearray(b"\r\n".join(lines) + b"\r\n\r\n")
    if rng.random() < 0.05:
        rng.choice(_BREAKS)(head, rng)
    return bytes(head + data)


def check_answer(answer: bytes) -> int:
    """Return the status of an answer; 0 if the connection ended without one.

    Raises:
        AssertionError: It is a 500, or a refusal of a route that is not the service's JSON.
    """
    if not answer:
        return 0
    head, _, body = answer.partition(b"\r\n\r\n")
    found = re.match(rb"HTTP/1\.1 (\d{3})", head)
    assert found, answer[:200]
    status = int(found[1])
    assert status != 500, body
    if status >= 400 and body:
        error = json.loads(body)["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert "Traceback" not in error["message"]
        assert "site-packages" not in error["message"]
        assert str(REPOSITORY) not in error["message"]
    return status
