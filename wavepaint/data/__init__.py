"""Photos, masks, augmentation and splits, for training and evaluation. Nothing here needs PyTorch."""
