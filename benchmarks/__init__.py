"""Measurements that anyone can repeat: one command each, ratios of interleaved medians in one run."""
