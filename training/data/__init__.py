"""Input pipeline: records as slices and patches, batches in an order fixed by the seed."""
