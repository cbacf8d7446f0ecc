"""What TensorRT needs from CUDA, by cuda-bindings or by PyCUDA."""
