"""Training and evaluation data: photographs, masks, augmentation and splits."""
