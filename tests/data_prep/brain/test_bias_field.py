import numpy as np
import pytest

from data_prep.brain.bias_field import correct_bias_field
from data_prep.scans.volume import Volume
from tests.synthetic_heads import centred, head

SHAPE = (32, 38, 18)
AFFINE = centred((2.8, 2.8, 5.4), SHAPE)


@pytest.fixture(scope="module")
def corrected():
    """A head with a smooth field, its mask and field, and what the correction makes of it."""
    array = head(AFFINE, SHAPE).array.astype(np.float32)
    field = np.exp(np.linspace(-0.5, 0.5, SHAPE[0], dtype=np.float32))[:, None, None]
    mask = array > 0
    return array, mask, field, correct_bias_field(Volume(array * field, AFFINE), mask)


def test_a_smooth_field_is_removed(corrected):
    array, mask, field, found = corrected
    assert found.dtype == np.float32
    tissue = array == np.median(array[mask].round())
    tissue = mask & (np.abs(array - 100) < 20)
    before, after = (values[tissue].std() / values[tissue].mean() for values in (array * field, found))
    assert after < 0.6 * before


def test_equal_inputs_give_equal_bits_and_the_outside_keeps_in_range(corrected):
    array, mask, field, found = corrected
    again = correct_bias_field(Volume(array * field, AFFINE), mask)
    np.testing.assert_array_equal(again, found)
    assert not found[~mask].any()
    noisy = correct_bias_field(Volume(array * field + 1, AFFINE), mask)
    ratio = (array * field + 1) / noisy
    assert ratio[~mask].max() <= ratio[mask].max() * 1.0001
    assert ratio[~mask].min() >= ratio[mask].min() * 0.9999
