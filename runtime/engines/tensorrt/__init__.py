"""TensorRT and TensorRT-RTX: build, cache, load and run plans."""
