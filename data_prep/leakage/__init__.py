"""Leakage: the same patient under two names, found before a split may put one on each of its sides."""
