"""Nearest points between two surfaces: against all pairs, and of parts as if they stood alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from common.metrics.nearest import GROUPS, PointPair, near_offsets

SPACING = np.array([0.7, 1.0, 2.5])
points = st.tuples(st.integers(0, 12), st.sampled_from([9, 60])).flatmap(
    lambda drawn: hnp.arrays(np.int64, (drawn[0], 3), elements=st.integers(0, drawn[1]))
)


def all_pairs(one, other):
    """Distance of each point to the nearest other one, by the table of all distances."""
    table = np.linalg.norm((one[:, None] - other[None]) * SPACING, axis=-1)
    return table.min(axis=1, initial=np.inf)


@settings(max_examples=60, deadline=None)
@given(truth=points, prediction=points, data=st.data())
def test_parts_have_the_distances_that_they_have_alone(truth, prediction, data):
    pair = PointPair(truth, prediction, SPACING)
    for found, expected in zip(pair.distances, (all_pairs(truth, prediction), all_pairs(prediction, truth)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    chosen = [data.draw(hnp.arrays(bool, len(each))) for each in (truth, prediction)]
    parts = truth[chosen[0]], prediction[chosen[1]]
    alone = all_pairs(*parts), all_pairs(*parts[::-1])
    for found, expected in zip(pair.part_distances(*chosen), alone, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.5, 5.0), (3.0, 1.0, 1.0)])
def test_no_near_offset_is_missing(spacing):
    """All offsets up to the length of the last one are there, in rising order."""
    offsets = near_offsets(spacing)
    lengths = np.linalg.norm(offsets * spacing, axis=1)
    assert (np.diff(lengths) >= -1e-12).all()
    grid = np.stack(np.meshgrid(*[np.arange(-30, 31)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    assert len(offsets) == np.count_nonzero(np.linalg.norm(grid * spacing, axis=1) <= lengths[-1] * (1 + 1e-12))
    assert 100 < len(offsets) <= GROUPS[-1]
