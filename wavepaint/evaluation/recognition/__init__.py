"""Evaluation of classifiers and segmenters: labelled images, what recognises them, measures and report."""
