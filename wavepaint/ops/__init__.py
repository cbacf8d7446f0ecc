"""Fixed linear operators as convolutions: the wavelet transform and the pyramid fill."""
