"""Inference without PyTorch: engines, images and the :class:`Inpainter` that joins them."""
