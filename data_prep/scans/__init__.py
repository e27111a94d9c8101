"""Scans of one patient: the case, and its NIfTI or TIFF files."""
