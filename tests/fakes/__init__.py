"""Simulations of what these tests cannot have: a GPU's driver, and TensorRT on it."""
