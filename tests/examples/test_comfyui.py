"""The ComfyUI node, with tensors in ComfyUI's layout."""

import runpy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import REPOSITORY
from wavepaint import FillOptions, Inpainter
from wavepaint.contract import Bundle
from wavepaint.errors import ConfigError, EngineError, ImageError

ENGINE = "ort-cpu"


@pytest.fixture(scope="module")
def module() -> dict[str, Any]:
    return runpy.run_path(str(REPOSITORY / "examples" / "comfyui" / "wavepaint_node.py"))


@pytest.fixture
def node(module: dict[str, Any], full_bundle: Bundle) -> Iterator[Any]:
    node = module["NODE_CLASS_MAPPINGS"]["WavePaintFill"]()
    yield lambda image, mask, **how: node.fill(image, mask, bundle=str(full_bundle.folder), engine=ENGINE, **how)[0]
    if type(node)._open is not None:
        type(node)._open[1].close()
        type(node)._open = None


@pytest.fixture
def images(photo: np.ndarray) -> torch.Tensor:
    """Two images with values between 8-bit levels."""
    pair = np.stack([photo[:90, :120], photo[100:190, 50:170]]).astype(np.float32) / 255
    return torch.from_numpy(pair + np.float32(1e-4)).clamp(0, 1)


@pytest.fixture
def mask() -> torch.Tensor:
    mask = torch.zeros(1, 90, 120)
    mask[:, 20:50, 30:70] = 1
    return mask


def test_inputs_are_arguments_of_the_function(module: dict[str, Any]) -> None:
    node = module["WavePaintFill"]
    inputs = node.INPUT_TYPES()
    names = {**inputs["required"], **inputs["optional"]}.keys()
    code = getattr(node, node.FUNCTION).__code__
    assert {"self", *names} == set(code.co_varnames[: code.co_argcount])
    assert module["NODE_DISPLAY_NAME_MAPPINGS"].keys() == module["NODE_CLASS_MAPPINGS"].keys()


def test_the_hole_is_filled_as_by_the_library_and_the_rest_keeps_its_floats(
    node: Any, images: torch.Tensor, mask: torch.Tensor, full_bundle: Bundle
) -> None:
    filled = node(images, mask)
    hole = mask[0] > 0.5
    assert (filled.shape, filled.dtype, filled.device) == (images.shape, images.dtype, images.device)
    assert torch.equal(filled[:, ~hole], images[:, ~hole])
    levels = np.rint(images.numpy() * 65535).astype(np.uint16)
    with Inpainter(full_bundle.folder, engine=ENGINE) as inpainter:
        for index in range(2):
            expected = inpainter.fill_array(levels[index], hole.numpy())
            assert np.array_equal(np.rint(filled[index].numpy() * 65535)[hole], expected[hole])


def test_dilate_grows_the_hole(node: Any, images: torch.Tensor, mask: torch.Tensor, full_bundle: Bundle) -> None:
    changed = (node(images[:1], mask, dilate=6, feather=3)[0] != images[0]).any(-1)
    assert changed[15, 50]
    assert not changed[10, 50]
    with pytest.raises(ConfigError, match="feather is 3"):
        node(images, mask, feather=3)
    assert FillOptions(dilate=64, feather=64)  # the largest values that the node offers


@pytest.mark.parametrize("shape", ["one for each", "one", "height and width"])
def test_masks_of_all_layouts(node: Any, images: torch.Tensor, mask: torch.Tensor, shape: str) -> None:
    given = {"one for each": mask.repeat(2, 1, 1), "one": mask, "height and width": mask[0]}[shape]
    assert torch.equal(node(images, given), node(images, mask))


def test_an_empty_mask_of_any_size_changes_nothing(node: Any, images: torch.Tensor) -> None:
    """ComfyUI gives an empty mask of 64x64 for images without alpha."""
    assert torch.equal(node(images, torch.zeros(1, 64, 64)), images)


def test_alpha_is_kept(node: Any, images: torch.Tensor, mask: torch.Tensor) -> None:
    alpha = torch.rand(2, 90, 120, 1)
    assert torch.equal(node(torch.cat([images, alpha], -1), mask)[..., 3:], alpha)


def test_masks_that_do_not_fit_are_refused(node: Any, images: torch.Tensor, mask: torch.Tensor) -> None:
    with pytest.raises(ImageError):
        node(images, mask[:, :80])
    with pytest.raises(ImageError, match="2 images came with 3 masks"):
        node(images, mask.repeat(3, 1, 1))


def test_the_model_stays_open_until_another_is_chosen(
    module: dict[str, Any], node: Any, images: torch.Tensor, mask: torch.Tensor
) -> None:
    kind = module["WavePaintFill"]
    node(images, mask)
    first = kind._open[1]
    node(images, mask)
    assert kind._open[1] is first
    kind._get_inpainter("", ENGINE)
    assert kind._open[1] is not first
    with pytest.raises(EngineError, match="closed"):
        first.fill_array(np.zeros((9, 9, 3), np.uint8), np.eye(9, dtype=bool))
