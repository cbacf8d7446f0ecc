"""POST /v1/images/edits: OpenAI's request and its answer."""

import base64
from typing import Any

import numpy as np
import pytest

from tests.running_service import Service, encode, read_pixels
from wavepaint import FillOptions, Inpainter


@pytest.fixture(scope="module")
def alpha_mask(spot: np.ndarray) -> bytes:
    return encode(np.dstack([np.zeros((*spot.shape, 3), np.uint8), np.where(spot, 0, 255).astype(np.uint8)]))


def edit(service: Service, files: Any, **fields: Any) -> Any:
    return service.client.post("/v1/images/edits", files=files, data={"prompt": "a clean wall", **fields})


@pytest.mark.parametrize("name", ["image", "image[]"])
def test_the_transparent_part_of_the_mask_is_filled(
    service: Service, inpainter: Inpainter, photo_file: bytes, alpha_mask: bytes, name: str
) -> None:
    fields = {"model": "convolution", "n": "1", "size": "90x60", "response_format": "b64_json", "quality": "high"}
    answer = edit(service, [(name, ("a.png", photo_file)), ("mask", ("m.png", alpha_mask))], **fields)
    assert answer.status_code == 200, answer.text
    content = answer.json()
    assert content["created"] > 1_700_000_000
    assert (content["output_format"], content["size"]) == ("png", "90x60")
    (image,) = content["data"]
    expected = inpainter.fill(photo_file, alpha_mask, FillOptions(mask_from="alpha"))
    assert np.array_equal(read_pixels(base64.b64decode(image["b64_json"])), np.asarray(expected))


def test_the_images_own_alpha_is_the_mask_if_there_is_no_other(
    service: Service, inpainter: Inpainter, colours: np.ndarray, spot: np.ndarray
) -> None:
    image = encode(np.dstack([colours, np.where(spot, 0, 255).astype(np.uint8)]))
    answer = edit(service, {"image": image}, dilate="3", output_format="webp")
    expected = inpainter.fill(image, image, FillOptions(mask_from="alpha", dilate=3))
    filled = read_pixels(base64.b64decode(answer.json()["data"][0]["b64_json"]))
    assert np.array_equal(filled[..., :3], np.asarray(expected)[..., :3])
    assert answer.json()["output_format"] == "webp"


@pytest.mark.parametrize(
    ("fields", "status", "param", "words"),
    [
        ({"model": "dall-e-2"}, 404, "model", "expected convolution"),
        ({"n": "2"}, 400, "n", "expected 1."),
        ({"stream": "true"}, 400, "stream", "expected false."),
        ({"response_format": "url"}, 400, "response_format", "expected b64_json."),
        ({"size": "1024x1024"}, 400, "size", "expected auto or 90x60"),
        ({"output_format": "gif"}, 400, "output_format", "expected png, jpeg, webp."),
        ({"background": "transparent"}, 400, "background", "expected auto or opaque."),
        ({"style": "vivid"}, 400, "style", "is not a field"),
        ({"dilate": "-1"}, 400, "dilate", "expected 0 to 64."),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_the_model_cannot_do_is_refused(
    service: Service, photo_file: bytes, alpha_mask: bytes, fields: dict[str, str], status: int, param: str, words: str
) -> None:
    answer = edit(service, {"image": photo_file, "mask": alpha_mask}, **fields)
    assert answer.status_code == status
    assert answer.json()["error"]["param"] == param
    assert words in answer.json()["error"]["message"]


def test_several_images_and_masks_without_alpha_are_refused(
    service: Service, photo_file: bytes, alpha_mask: bytes, mask_file: bytes
) -> None:
    two = edit(service, [("image[]", photo_file), ("image[]", photo_file), ("mask", alpha_mask)])
    assert "a list of 2 images: expected one" in two.json()["error"]["message"]
    opaque = edit(service, {"image": photo_file, "mask": mask_file})
    assert (opaque.status_code, opaque.json()["error"]["param"]) == (400, "mask")
    none = edit(service, {"mask": alpha_mask})
    assert (none.status_code, none.json()["error"]["param"]) == (400, "image")
