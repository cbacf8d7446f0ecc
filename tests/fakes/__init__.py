"""Stand-ins: a GPU, its driver, NVML and TensorRT; small bundles; a model that returns photos unchanged."""
