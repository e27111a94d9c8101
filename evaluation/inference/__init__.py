"""Inference: ensembles over whole volumes, post-processing and its search, predictions on disk."""
