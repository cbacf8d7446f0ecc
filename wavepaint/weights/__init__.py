"""Weights: read safely from files, saved, blended, and loaded into networks of the same or a larger shape."""
