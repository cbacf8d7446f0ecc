"""TensorRT and TensorRT-RTX: plans are built, stored, loaded and run."""
