"""Alignment of scans: every channel of a case on one grid."""
