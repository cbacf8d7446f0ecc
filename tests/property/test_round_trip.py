"""Random configurations: build, save with the released names alone, find again, load strictly, same output.

What names and shapes do not tell is asked for: nothing is taken for another network in silence.
"""

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from tests.conftest import randomise
from wavepaint.errors import CheckpointError
from wavepaint.models.registry import HyperParameters, build_model, get_architecture
from wavepaint.weights.checkpoint import read_checkpoint

wavepaint_parameters = st.fixed_dictionaries(
    {
        "num_modules": st.integers(1, 3),
        "blocks_per_module": st.integers(1, 3),
        "final_dim": st.sampled_from([4, 8, 12, 20]),
        "mult": st.integers(1, 4),
        "ff_channel": st.integers(1, 12),
        "level": st.integers(1, 4),
        "in_channels": st.sampled_from([3, 4]),
        "prefill_levels": st.integers(0, 8),
        "borrow": st.booleans(),
        "wavelet": st.sampled_from(["haar", "db2", "sym3", "bior2.2"]),
    }
).filter(lambda p: not p["borrow"] or (p["in_channels"] == 4 and p["prefill_levels"] > 0))
in_one_folder = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@in_one_folder
@given(parameters=wavepaint_parameters, suffix=st.sampled_from([".pth", ".safetensors"]), prefix=st.booleans())
def test_wavepaint_is_found_from_names_and_shapes(
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
    assert {"wavelet": "haar"} | checkpoint.parameters == parameters
    multiple = checkpoint.architecture.size_multiple(checkpoint.parameters)
    image, mask = torch.rand(1, 3, multiple, 2 * multiple), (torch.rand(1, 1, multiple, 2 * multiple) > 0.5).float()
    with torch.no_grad():
        assert torch.equal(checkpoint.build()(image, mask), model(image, mask))


wavemix_parameters = st.fixed_dictionaries(
    {
        "num_classes": st.integers(1, 12),
        "depth": st.integers(1, 3),
        "final_dim": st.sampled_from([4, 8, 12]),
        "mult": st.integers(1, 3),
        "ff_channel": st.integers(1, 8),
        "level": st.integers(1, 4),
        "initial_conv": st.sampled_from(["strided", "patchify"]),
        "stride": st.integers(1, 3),
        "patch_size": st.integers(1, 5),
    }
)
wavemix_networks = st.one_of(
    st.tuples(st.just("wavemix-classifier"), wavemix_parameters),
    st.tuples(
        st.just("wavemix-segmenter"),
        st.builds(lambda p, head_dim: p | {"head_dim": head_dim}, wavemix_parameters, st.sampled_from([0, 2, 6])),
    ),
)


@in_one_folder
@given(network=wavemix_networks)
def test_wavemix_is_found_from_names_and_shapes_and_its_stride_is_asked_for(
    tmp_path: Path, network: tuple[str, HyperParameters]
) -> None:
    name, parameters = network
    model = randomise(build_model(name, parameters), seed=1)
    path = tmp_path / "weights.pth"
    torch.save(model.state_dict(), path)
    told: HyperParameters = {}
    if parameters["initial_conv"] == "strided":
        with pytest.raises(CheckpointError, match=f"do not show the stride of this {name}"):
            read_checkpoint(path).build()
        told = {"stride": parameters["stride"]}
    checkpoint = read_checkpoint(path, told)
    assert checkpoint.architecture.name == name
    side = get_architecture(name).size_multiple(parameters)
    with torch.no_grad():
        image = torch.rand(1, 3, side, 2 * side)
        assert torch.equal(checkpoint.build()(image), model(image))


lama_parameters = st.fixed_dictionaries(
    {
        "num_blocks": st.integers(1, 3),
        "base_channels": st.integers(2, 5),
        "num_downsampling": st.integers(1, 3),
        "global_channels": st.integers(2, 3),
        "spectral_l2g": st.booleans(),
    }
)
inpainting_networks = st.one_of(
    st.tuples(st.just("wavepaint"), wavepaint_parameters),
    st.tuples(st.just("lama"), lama_parameters),
    st.tuples(st.just("unet"), st.fixed_dictionaries({"base_channels": st.integers(1, 6)})),
)


@settings(max_examples=25, deadline=None)
@given(
    network=inpainting_networks.filter(lambda network: network[0] != "wavepaint"),
    prefix=st.sampled_from(["", "module.", "generator."]),
)
def test_baselines_are_found_from_names_and_shapes(
    tmp_path_factory: pytest.TempPathFactory, network: tuple[str, HyperParameters], prefix: str
) -> None:
    name, parameters = network
    state = randomise(build_model(name, parameters)).state_dict()
    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save({prefix + entry: tensor for entry, tensor in state.items()}, path)
    checkpoint = read_checkpoint(path)
    assert (checkpoint.architecture.name, checkpoint.parameters) == (name, parameters)
    loaded = checkpoint.build().state_dict()
    assert all(torch.equal(loaded[entry], tensor) for entry, tensor in state.items())


@settings(max_examples=30, deadline=None)
@given(network=inpainting_networks, seed=st.integers(0, 1000))
def test_known_pixels_are_bit_identical_and_the_hole_is_ignored(
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
    known = mask.expand_as(image) == 0
    assert torch.equal(output[known], image[known])
    assert torch.equal(output, other)
