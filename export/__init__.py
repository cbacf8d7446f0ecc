"""From a PyTorch checkpoint to a verified bundle: ONNX export, comparison, packing."""
