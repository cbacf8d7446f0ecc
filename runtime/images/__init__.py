"""Photographs and masks: files to pixels and back."""
