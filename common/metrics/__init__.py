"""Metrics from counts, surfaces and probabilities, and statistics over patients."""
