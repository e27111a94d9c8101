"""Figures: their style and one module per subject."""
