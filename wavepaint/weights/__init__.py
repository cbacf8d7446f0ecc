"""Checkpoints: reading them safely, blending them, and growing one network from another."""
