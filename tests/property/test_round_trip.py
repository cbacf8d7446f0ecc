"""Random networks: build, save only the released names, detect, load strictly, and fill alike.

A hyper-parameter that names and shapes do not show must be given: no network is silently mistaken for another.
"""

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from tests.conftest import randomise
from tests.property.networks import baselines, inpainting_networks, wavemix_networks, wavepaint_parameters
from wavepaint.errors import CheckpointError
from wavepaint.models.registry import HyperParameters, build_model, get_architecture
from wavepaint.weights.checkpoint import read_checkpoint

in_one_folder = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@in_one_folder
@given(parameters=wavepaint_parameters, suffix=st.sampled_from([".pth", ".safetensors"]), prefix=st.booleans())
def test_wavepaint_is_detected_from_names_and_shapes(
    tmp_path: Path, parameters: HyperParameters, suffix: str, prefix: bool
) -> None:
    model = randomise(build_model("wavepaint", parameters), seed=1)
    state = {("module." if prefix else "") + name: tensor.clone() for name, tensor in model.state_dict().items()}
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.architecture.name == "wavepaint"
    assert {"wavelet": "haar", "input_reduction": True} | checkpoint.parameters == parameters
    multiple = checkpoint.architecture.size_multiple(checkpoint.parameters)
    image, mask = torch.rand(1, 3, multiple, 2 * multiple), (torch.rand(1, 1, multiple, 2 * multiple) > 0.5).float()
    with torch.no_grad():
        assert torch.equal(checkpoint.build()(image, mask), model(image, mask))


@in_one_folder
@given(network=wavemix_networks)
def test_wavemix_is_detected_from_names_and_shapes_and_its_stride_must_be_given(
    tmp_path: Path, network: tuple[str, HyperParameters]
) -> None:
    name, parameters = network
    model = randomise(build_model(name, parameters), seed=1)
    path = tmp_path / "weights.pth"
    torch.save(model.state_dict(), path)
    given_parameters: HyperParameters = {}
    if parameters["initial_conv"] == "strided":
        with pytest.raises(CheckpointError, match=f"do not show the stride of this {name}"):
            read_checkpoint(path).build()
        given_parameters = {"stride": parameters["stride"]}
    checkpoint = read_checkpoint(path, given_parameters)
    assert checkpoint.architecture.name == name
    side = get_architecture(name).size_multiple(parameters)
    with torch.no_grad():
        image = torch.rand(1, 3, side, 2 * side)
        assert torch.equal(checkpoint.build()(image), model(image))


@in_one_folder
@given(network=baselines, prefix=st.sampled_from(["", "module.", "generator."]))
def test_baselines_are_detected_from_names_and_shapes(
    tmp_path: Path, network: tuple[str, HyperParameters], prefix: str
) -> None:
    name, parameters = network
    state = randomise(build_model(name, parameters)).state_dict()
    path = tmp_path / "weights.pth"
    torch.save({prefix + entry: tensor for entry, tensor in state.items()}, path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.architecture.name == name
    assert ({"zero_padding": False} if name == "lama" else {}) | checkpoint.parameters == parameters
    loaded = checkpoint.build().state_dict()
    assert all(torch.equal(loaded[entry], tensor) for entry, tensor in state.items())


@settings(max_examples=20, deadline=None)
@given(network=inpainting_networks, seed=st.integers(0, 1000))
def test_known_pixels_are_bit_identical_and_content_of_the_hole_is_ignored(
    network: tuple[str, HyperParameters], seed: int
) -> None:
    name, parameters = network
    model = randomise(build_model(name, parameters), seed)
    generator = torch.Generator().manual_seed(seed)
    side = get_architecture(name).size_multiple(parameters)
    image = torch.rand(2, 3, side, 2 * side, generator=generator)
    mask = (torch.rand(2, 1, side, 2 * side, generator=generator) > 0.5).float()
    with torch.no_grad():
        output = model(image, mask)
        other = model(torch.where(mask.bool(), torch.rand_like(image), image), mask)
        predicted = model(image, mask, keep_known=False)
    known = mask.expand_as(image) == 0
    assert torch.equal(output[known], image[known])
    assert torch.equal(output[~known], predicted[~known])
    assert torch.equal(output, other)
