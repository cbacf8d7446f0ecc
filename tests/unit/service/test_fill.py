"""POST /v1/fill: the library's pixels, and a clear refusal of everything else."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.image_files import png, png_header
from tests.running_service import GatedInpainter, Service, encode, read_pixels, run_service, wait_until
from wavepaint import FillOptions, Inpainter
from wavepaint.errors import ConfigError, EngineError, EngineMemoryError, WavePaintError
from wavepaint.runtime.images import encode_photo, read_mask, read_photo


def fill_directly(inpainter: Inpainter, image: bytes, mask: bytes, options: FillOptions | None = None) -> bytes:
    return encode_photo(inpainter.fill_photo(read_photo(image), read_mask(mask), options))


KINDS: dict[str, Callable[[np.ndarray], bytes]] = {
    "png": encode,
    "jpeg": lambda colours: encode(colours, "JPEG", quality=80),
    "grey": lambda colours: encode(colours[..., 0]),
    "alpha": lambda colours: encode(np.dstack([colours, colours[..., :1]])),
    "16 bits": lambda colours: png(colours.astype(np.uint16) * 257),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_the_file_that_the_library_writes(
    service: Service, inpainter: Inpainter, colours: np.ndarray, mask_file: bytes, kind: str
) -> None:
    image = KINDS[kind](colours)
    answer = service.fill(image, mask_file)
    assert answer.status_code == 200, answer.text
    assert answer.content == fill_directly(inpainter, image, mask_file)
    assert answer.headers["content-type"] == ("image/jpeg" if kind == "jpeg" else "image/png")


def test_photos_that_are_filled_together_have_the_pixels_of_the_library(
    gated: GatedInpainter, inpainter: Inpainter, colours: np.ndarray, mask_file: bytes
) -> None:
    """While the model is busy, four photos with equal options and one with others arrive."""
    images = [encode(np.roll(colours, 7 * index, axis=1)) for index in range(6)]
    options = [{}, {}, {}, {"dilate": 3}, {}, {}]
    with run_service(gated) as service, ThreadPoolExecutor() as pool:
        first = pool.submit(service.fill, images[0], mask_file)
        wait_until(lambda: gated.num_calls == 1)
        others = []
        for index in range(1, 6):
            others.append(pool.submit(service.fill, images[index], mask_file, **options[index]))
            service.wait_for("wavepaint_waiting_photos", index)
        gated.gate.set()
        answers = [future.result() for future in [first, *others]]
        assert service.read_metric('wavepaint_batch_photos_bucket{le="2.0"}') == 2
        assert service.read_metric('wavepaint_batch_photos_bucket{le="4.0"}') == 3
    for image, answer, chosen in zip(images, answers, options, strict=True):
        assert answer.content == fill_directly(inpainter, image, mask_file, FillOptions(**chosen))


def test_every_fill_option_is_a_field(
    service: Service, inpainter: Inpainter, photo_file: bytes, colours: np.ndarray, spot: np.ndarray
) -> None:
    small = encode(~spot[::2, ::2])
    fields = {
        "invert_mask": "true", "mask_threshold": "90", "mask_from": "luminance", "resize_mask": "yes", "dilate": "4",
        "feather": "2", "strategy": "crop",
    }  # fmt: skip
    options = FillOptions(
        invert_mask=True, mask_threshold=90, mask_from="luminance", resize_mask=True, dilate=4, feather=2,
        strategy="crop",
    )  # fmt: skip
    answer = service.fill(photo_file, small, **fields)
    assert np.array_equal(read_pixels(answer.content), np.asarray(inpainter.fill(colours, small, options)))


def test_transparent_pixels_of_the_photo_are_the_hole_without_a_mask(
    service: Service, inpainter: Inpainter, colours: np.ndarray, spot: np.ndarray
) -> None:
    image = encode(np.dstack([colours, np.where(spot, 0, 255).astype(np.uint8)]))
    answer = service.fill(image, mask_from="alpha")
    expected = inpainter.fill(image, image, FillOptions(mask_from="alpha"))
    assert np.array_equal(read_pixels(answer.content), np.asarray(expected))


@pytest.mark.parametrize("route", ["/v1/fill", "/v1/images/edits"])
def test_a_photo_without_transparent_pixels_and_without_a_mask_is_at_fault_itself(
    service: Service, photo_file: bytes, route: str
) -> None:
    answer = service.client.post(route, files={"image": photo_file}, data={"mask_from": "alpha"})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, "image", "invalid_image")
    assert error["message"].startswith("the image has no transparent pixels to fill: send a mask as well")


@pytest.mark.parametrize(
    ("name", "media_type"), [("jpg", "image/jpeg"), ("WEBP", "image/webp"), ("tiff", "image/tiff")]
)
def test_the_format_is_the_photos_own_or_the_one_that_is_asked_for(
    service: Service, photo_file: bytes, mask_file: bytes, name: str, media_type: str
) -> None:
    answer = service.fill(photo_file, mask_file, format=name)
    assert answer.headers["content-type"] == media_type
    assert read_pixels(answer.content).shape == (60, 90, 3)


def test_a_photo_of_a_format_that_is_not_written_becomes_a_png(
    service: Service, colours: np.ndarray, mask_file: bytes
) -> None:
    assert service.fill(encode(colours, "GIF"), mask_file).headers["content-type"] == "image/png"


def test_headers_tell_what_ran_for_how_long_and_how_large_the_hole_is(
    service: Service, inpainter: Inpainter, photo_file: bytes, mask_file: bytes, spot: np.ndarray
) -> None:
    headers = service.fill(photo_file, mask_file).headers
    told = f"{headers['x-wavepaint-engine']} {headers['x-wavepaint-precision']}"
    assert told == inpainter.engine
    assert float(headers["x-wavepaint-hole"]) == pytest.approx(spot.mean(), abs=1e-6)
    phases = {part.split(";dur=")[0].strip() for part in headers["server-timing"].split(",")}
    assert phases == {"queue", "decode", "fill", "encode"}


@pytest.mark.filterwarnings("ignore::wavepaint.errors.WavePaintWarning")
def test_an_empty_mask_returns_the_photo_and_says_that_the_hole_is_empty(
    service: Service, photo_file: bytes, colours: np.ndarray, spot: np.ndarray
) -> None:
    answer = service.fill(photo_file, encode(np.zeros_like(spot)))
    assert np.array_equal(read_pixels(answer.content), colours)
    assert float(answer.headers["x-wavepaint-hole"]) == 0


@pytest.mark.parametrize(
    ("error", "status", "code", "words"),
    [
        (EngineError("the engine failed in /secret/model.onnx"), 500, "engine_failed", "log says why"),
        (
            EngineMemoryError("out of memory. Or choose --strategy auto."),
            413,
            "image_too_large",
            "choose strategy auto",
        ),
        (ConfigError("9 MiB are too few. Raise --max-memory."), 413, "image_too_large", "Raise max_memory"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_engine_that_fails_is_no_fault_of_the_photo_unless_the_photo_is_too_large(
    service: Service,
    photo_file: bytes,
    mask_file: bytes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: WavePaintError,
    status: int,
    code: str,
    words: str,
) -> None:
    monkeypatch.setattr(Inpainter, "fill_photos", lambda *arguments, **options: [error])
    answer = service.fill(photo_file, mask_file)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert words in answer.json()["error"]["message"]
    assert "secret" not in answer.text
    assert ("secret" in caplog.text) == (status == 500)


def test_a_defect_in_a_fill_is_answered_and_the_next_photo_is_filled(
    service: Service, photo_file: bytes, mask_file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Inpainter, "fill_photos", lambda *arguments, **options: 1 / 0)
    answer = service.fill(photo_file, mask_file)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    monkeypatch.undo()
    assert service.fill(photo_file, mask_file).status_code == 200


BAD_FIELDS = [
    ({"dilate": "65"}, 400, "dilate", "65 pixels: expected 0 to 64."),
    ({"dilate": "wide"}, 400, "dilate", "'wide': expected a whole number."),
    ({"dilate": "3.5"}, 400, "dilate", "expected a whole number."),
    ({"feather": "3"}, 400, "feather", "Pass dilate as well"),
    ({"invert_mask": "perhaps"}, 400, "invert_mask", "expected true or false."),
    ({"strategy": "magic"}, 400, "strategy", "expected auto, "),
    ({"mask_from": "heart"}, 400, "mask_from", "expected auto, luminance, alpha."),
    ({"format": "gif"}, 400, "format", "expected png, jpeg, "),
    ({"format": "\u0000/etc/passwd"}, 400, "format", "expected png, jpeg, "),
    ({"dilatation": "3"}, 400, "dilatation", "is not a field: expected image, mask, format, "),
    ({"dilate": ["3", "4"]}, 400, "dilate", "given twice"),
]


@pytest.mark.parametrize(("fields", "status", "param", "words"), BAD_FIELDS, ids=lambda value: str(value)[:20])
def test_a_wrong_field_is_refused_with_what_was_expected(
    service: Service, photo_file: bytes, mask_file: bytes, fields: dict[str, Any], status: int, param: str, words: str
) -> None:
    answer = service.fill(photo_file, mask_file, **fields)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert (error["param"], error["type"]) == (param, "invalid_request_error")
    assert words in error["message"]
    assert "--" not in error["message"]


@pytest.mark.parametrize("route", ["/v1/fill", "/v1/images/edits", "/api/v1/inpaint"])
def test_options_in_the_url_are_refused(service: Service, photo_file: bytes, mask_file: bytes, route: str) -> None:
    files = {"image": photo_file, "mask": mask_file}
    answer = service.client.post(route, files=files, params={"dilate": "8"})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, "dilate", "unknown_field")
    assert "as a field of the form" in error["message"]


def make_bad_files(colours: np.ndarray, spot: np.ndarray) -> dict[str, tuple[bytes, bytes | None, dict[str, str]]]:
    photo, mask = encode(colours), encode(spot)
    tall = encode(np.zeros((1000, 501), np.uint8))
    return {
        "image is no image": (b"not an image", mask, {}),
        "image is empty": (b"", mask, {}),
        "image is cut off": (photo[:900], mask, {}),
        "image is too large": (tall, mask, {}),
        "image is too large by far": (png_header(60_000, 60_000), mask, {}),
        "mask is too large": (photo, tall, {"resize_mask": "1"}),
        "mask is missing": (photo, None, {}),
        "mask has another size": (photo, encode(spot[:-1]), {}),
        "mask is a photograph": (photo, encode(np.roll(colours, 9, axis=1)), {}),
        "mask has no alpha": (photo, mask, {"mask_from": "alpha"}),
        "image is all hole": (photo, encode(np.ones_like(spot)), {}),
        "format holds no alpha": (encode(np.dstack([colours, colours[..., :1]])), mask, {"format": "jpeg"}),
    }


@pytest.mark.parametrize("name", make_bad_files(np.zeros((60, 90, 3), np.uint8), np.zeros((60, 90), bool)))
def test_wrong_files_are_refused_in_the_words_of_the_library(
    service: Service, colours: np.ndarray, spot: np.ndarray, name: str
) -> None:
    image, mask, fields = make_bad_files(colours, spot)[name]
    answer = service.fill(image, mask, **fields)
    assert answer.status_code == (413 if "too large" in name else 400), answer.text
    error = answer.json()["error"]
    if name != "image is all hole":
        assert error["param"] == name.split()[0]
    assert error["message"].endswith(".")
    assert "--" not in error["message"]
    assert "/" not in error["message"].replace("1/", "")


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("application/json", b"{}", 415, "unsupported_media_type"),
        ("", b"", 415, "unsupported_media_type"),
        ("multipart/form-data", b"", 415, "unsupported_media_type"),
        ("multipart/form-data; boundary=x", b"", 400, "invalid_form"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\na", 400, "invalid_form"),
        ("multipart/form-data; boundary=x", b"--x--\r\n", 400, "missing_field"),
        ("multipart/form-data; boundary=x", b"--x\r\n" + b"a: b\r\n" * 5000 + b"\r\n\r\n--x--", 400, "invalid_form"),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n\r\n" * 100 + b"--x--", 400, "invalid_form"),
        ("multipart/form-data; boundary=" + "x" * 5000, b"--x--", 400, "invalid_form"),
    ],
    ids=range(9),
)  # fmt: skip
def test_a_body_that_is_no_form_is_refused(
    service: Service, content_type: str, body: bytes, status: int, code: str
) -> None:
    answer = service.client.post("/v1/fill", content=body, headers={"content-type": content_type})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_file_instead_of_text_and_two_images_are_refused(
    service: Service, photo_file: bytes, mask_file: bytes
) -> None:
    files = [("image", photo_file), ("mask", mask_file), ("dilate", ("3.txt", b"3"))]
    assert "a file: expected text" in service.client.post("/v1/fill", files=files).json()["error"]["message"]
    files = [("image", photo_file), ("mask", mask_file), ("image", photo_file)]
    assert "given 2 times: expected one file" in service.client.post("/v1/fill", files=files).json()["error"]["message"]
