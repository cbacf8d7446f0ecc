"""Training classifiers and segmenters: labelled images, the step, the validation and the pictures."""
