"""CUDA for TensorRT, through cuda-bindings or PyCUDA."""
