"""Networks of other projects: an ONNX file and its description to a bundle by the contract."""
