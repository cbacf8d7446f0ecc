"""Training: configuration, recipes, losses, the optimizer step and the loop."""
