"""Benchmark scripts; each runs by itself."""
