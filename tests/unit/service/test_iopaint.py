"""POST /api/v1/inpaint: IOPaint's request."""

import base64
from typing import Any

import numpy as np
import pytest

from tests.running_service import Service, read_pixels
from wavepaint import FillOptions, Inpainter


def encode_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_white_is_filled_and_the_answer_is_the_picture(
    service: Service, inpainter: Inpainter, photo_file: bytes, mask_file: bytes
) -> None:
    content = {
        "image": f"data:image/png;base64,{encode_base64(photo_file)}",
        "mask": encode_base64(mask_file),
        "ldm_steps": 20,
        "hd_strategy": "Crop",
        "prompt": "",
        "use_croper": False,
        "dilate": 2,
    }
    answer = service.client.post("/api/v1/inpaint", json=content)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    expected = inpainter.fill(photo_file, mask_file, FillOptions(dilate=2))
    assert np.array_equal(read_pixels(answer.content), np.asarray(expected))


@pytest.mark.parametrize(
    ("changes", "param", "words"),
    [
        ({"image": None}, "image", "missing"),
        ({"mask": None}, "mask", "missing"),
        ({"image": 3}, "image", "a JSON number: expected a file in base64"),
        ({"image": ["a"]}, "image", "a JSON array"),
        ({"image": "%%%%"}, "image", "not base64"),
        ({"mask": "é"}, "mask", "not base64"),
        ({"image": "AAAA"}, "image", "is not an image"),
        ({"use_extender": True}, "use_extender", "expected false"),
        ({"dilate": "3"}, "dilate", "expected a whole number"),
        ({"dilate": 1e300}, "dilate", "expected a whole number"),
        ({"invert_mask": 1}, "invert_mask", "expected True or False"),
        ({"strategy": {}}, "strategy", "expected auto"),
    ],
    ids=str,
)
def test_wrong_values_are_refused(
    service: Service, photo_file: bytes, mask_file: bytes, changes: dict[str, Any], param: str, words: str
) -> None:
    content = {"image": encode_base64(photo_file), "mask": encode_base64(mask_file), **changes}
    answer = service.client.post("/api/v1/inpaint", json=content)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"\xff", b'{"image": ' * 50_000, b"NaN"])
def test_a_body_that_is_no_json_object_is_refused(service: Service, body: bytes) -> None:
    answer = service.client.post("/api/v1/inpaint", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")
