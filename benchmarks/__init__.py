"""Measurements that anyone can repeat, a command each, ratios of interleaved medians in one run; and made data for trials."""
