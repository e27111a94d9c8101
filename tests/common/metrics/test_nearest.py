"""Nearest points between two surfaces: against all pairs, and of parts as if they stood alone."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from common.metrics.nearest import PointPair

SPACING = np.array([0.7, 1.0, 2.5])
points = st.integers(0, 12).flatmap(lambda count: hnp.arrays(np.int64, (count, 3), elements=st.integers(0, 9)))


def all_pairs(one, other):
    """Distance of each point to the nearest other one, by the table of all distances."""
    table = np.linalg.norm((one[:, None] - other[None]) * SPACING, axis=-1)
    return table.min(axis=1, initial=np.inf)


@settings(max_examples=60, deadline=None)
@given(truth=points, prediction=points, whole_first=st.booleans(), data=st.data())
def test_parts_have_the_distances_that_they_have_alone(truth, prediction, whole_first, data):
    pair = PointPair(truth, prediction, SPACING)
    if whole_first:
        for found, expected in zip(pair.distances, (all_pairs(truth, prediction), all_pairs(prediction, truth)), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12)
    chosen = [data.draw(hnp.arrays(bool, len(each))) for each in (truth, prediction)]
    parts = truth[chosen[0]], prediction[chosen[1]]
    alone = all_pairs(*parts), all_pairs(*parts[::-1])
    for found, expected in zip(pair.part_distances(*chosen), alone, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
