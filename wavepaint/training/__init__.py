"""Training: configuration and recipes, data, masks, losses and the loop."""
