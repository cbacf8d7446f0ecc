"""Hypothesis strategies: hyper-parameters of small networks, and inpainting networks of every architecture."""

from hypothesis import strategies as st

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
        "match": st.booleans(),
        "wavelet": st.sampled_from(["haar", "db2", "sym3", "bior2.2", "convolution"]),
        "input_reduction": st.booleans(),
    }
).filter(
    lambda p: (
        (not p["borrow"] or (p["in_channels"] == 4 and p["prefill_levels"] > 0))
        and (not p["match"] or (p["borrow"] and p["prefill_levels"] >= 4))
    )
)

lama_parameters = st.fixed_dictionaries(
    {
        "num_blocks": st.integers(1, 3),
        "base_channels": st.integers(2, 5),
        "num_downsampling": st.integers(1, 3),
        "global_channels": st.integers(2, 3),
        "spectral_l2g": st.booleans(),
        "zero_padding": st.booleans(),
    }
)

baselines = st.one_of(
    st.tuples(st.just("lama"), lama_parameters),
    st.tuples(st.just("unet"), st.fixed_dictionaries({"base_channels": st.integers(1, 6)})),
)
inpainting_networks = st.one_of(st.tuples(st.just("wavepaint"), wavepaint_parameters), baselines)

_wavemix_parameters = st.fixed_dictionaries(
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
    st.tuples(st.just("wavemix-classifier"), _wavemix_parameters),
    st.tuples(
        st.just("wavemix-segmenter"),
        st.builds(lambda p, head_dim: p | {"head_dim": head_dim}, _wavemix_parameters, st.sampled_from([0, 2, 6])),
    ),
)
