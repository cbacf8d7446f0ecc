"""Operators without weights: wavelet and Fourier transforms, the initial fill of a hole, and shifted details."""
