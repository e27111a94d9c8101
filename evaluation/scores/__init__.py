"""Scores of predictions and of runs."""
