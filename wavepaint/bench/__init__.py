"""Benchmarks of models, engines and precisions: the implementation of ``wp bench``."""
