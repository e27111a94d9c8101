"""Augmentation: drawn numbers, spatial and intensity transforms, and their application."""
