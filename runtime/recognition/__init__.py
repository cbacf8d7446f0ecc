"""The classes of images and of their pixels: ``wp classify`` and ``wp segment``."""
