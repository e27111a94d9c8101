"""Overlap ratios of every class of a confusion matrix, to compare with."""

import numpy as np

from common.metrics.overlap import overlap


def per_class(confusion, ratio):
    """A ratio, such as "iou", of each class, background first."""
    return np.array([getattr(overlap(confusion, [c]), ratio) for c in range(len(confusion))])
