"""Bias field: of the stated size, smooth, and the same whatever block of it is asked for."""

import numpy as np
import pytest

from data_prep.augmentation.bias_field import bias_field

SIZE = (12, 40, 36)


@pytest.mark.parametrize("rank", [2, 3])
def test_fields_have_mean_0_deviation_1_and_no_edges(rank):
    fields = np.stack([bias_field(seed, rank, SIZE) for seed in range(200)])
    assert fields.shape == (200, 12 if rank == 3 else 1, 40, 36)
    assert abs(fields.mean()) < 0.02
    assert fields.std() == pytest.approx(1, rel=0.02)
    assert np.abs(fields.mean(axis=(1, 2, 3))).max() < 1e-5
    assert np.abs(np.diff(fields, axis=2)).mean() < 0.1


@pytest.mark.parametrize("rank", [2, 3])
def test_a_block_is_part_of_the_field(rank):
    block = bias_field(7, rank, SIZE, first_slice=5, slices=4)
    np.testing.assert_array_equal(block, bias_field(7, rank, SIZE)[5:9] if rank == 3 else bias_field(7, rank, SIZE))
