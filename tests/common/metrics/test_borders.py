import math
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from benchmarks.surface import random_pairs
from common.metrics.borders import border_dice, border_distances, border_voxels, max_percentile, pooled_percentile

MM = (1.0, 1.0, 1.0)
CROSS = ndimage.generate_binary_structure(3, 1)


def ball(centre, radius):
    return sum((axis - middle) ** 2 for axis, middle in zip(np.indices((48, 48, 48)), centre, strict=True)) <= radius**2


def border(mask):
    """Border by morphology, as MONAI and medpy compute it."""
    return mask ^ ndimage.binary_erosion(mask, CROSS)


def directions(truth, prediction, spacing):
    """Distances of the border voxels of each mask to the other's border by distance transforms, as both tools compute them."""
    edges = border(truth), border(prediction)
    maps = [ndimage.distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    return maps[1][edges[0]], maps[0][edges[1]]


@settings(max_examples=50, deadline=None)
@given(mask=hnp.arrays(bool, st.tuples(*[st.integers(1, 6)] * 3)))
def test_border_voxels_are_the_mask_minus_its_erosion(mask):
    assert (border_voxels(mask) == np.argwhere(border(mask))).all()


@pytest.mark.parametrize("seed", range(3))
def test_hd95_by_voxels_equals_a_restatement_of_monai_and_medpy(seed):
    for truth, prediction, spacing in random_pairs(16, seed):
        one, other = directions(truth, prediction, spacing)
        found = border_distances(truth, prediction, spacing)
        assert max_percentile(found) == pytest.approx(max(np.percentile(one, 95), np.percentile(other, 95)), abs=1e-9)
        assert pooled_percentile(found) == pytest.approx(np.percentile(np.hstack([one, other]), 95), abs=1e-9)
        assert border_dice(found, 1.0001) == pytest.approx(((one <= 1.0001).mean() + (other <= 1.0001).mean()) / 2)


@pytest.mark.skipif(find_spec("medpy") is None, reason="medpy is not installed")
def test_pooled_hd95_equals_medpy():
    from medpy.metric.binary import hd95

    for truth, prediction, spacing in random_pairs(40, 5):
        expected = hd95(truth, prediction, voxelspacing=spacing)
        assert pooled_percentile(border_distances(truth, prediction, spacing)) == pytest.approx(expected, abs=1e-9)


def test_larger_hd95_equals_monai():
    torch, metrics = pytest.importorskip("torch"), pytest.importorskip("monai.metrics")
    for truth, prediction, spacing in random_pairs(24, 5):
        one, other = (torch.from_numpy(mask[None, None].astype(np.uint8)) for mask in (truth, prediction))
        expected = metrics.compute_hausdorff_distance(other, one, percentile=95, spacing=spacing)
        assert max_percentile(border_distances(truth, prediction, spacing)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("prediction", "spacing", "pooled", "larger"),
    [
        (ball((24, 20, 20), 10), MM, 4.00, 4.00),
        (ball((24, 20, 20), 10), (3.0, 1.0, 1.0), 9.23, 9.23),
        (ball((20, 20, 20), 6), MM, 4.24, 4.24),
    ],
)
def test_definitions_agree_on_one_component(prediction, spacing, pooled, larger):
    """Published comparison of a ball of radius 10 with a shifted and a smaller one."""
    found = border_distances(ball((20, 20, 20), 10), prediction, spacing)
    assert (round(pooled_percentile(found), 2), round(max_percentile(found), 2)) == (pooled, larger)


def test_pooling_hides_a_false_satellite():
    truth = ball((20, 20, 20), 10)
    found = border_distances(truth, truth | ball((40, 20, 20), 3), MM)
    assert pooled_percentile(found) == 0
    assert round(max_percentile(found), 2) == 9.43


def test_empty_masks():
    full, empty = np.ones((3, 3, 3), bool), np.zeros((3, 3, 3), bool)
    none, one = border_distances(empty, empty, MM), border_distances(full, empty, MM)
    assert [max_percentile(none), pooled_percentile(none), border_dice(none, 1.0)] == [0, 0, 1]
    assert [max_percentile(one), pooled_percentile(one), border_dice(one, 1.0)] == [math.inf, math.inf, 0]


@pytest.mark.parametrize(
    ("shape", "spacing", "message"), [((2, 2), MM, "3D"), ((2, 2, 2), (1, 0, 1), "positive spacing")], ids=str
)
def test_masks_and_spacings_that_cannot_be_are_refused(shape, spacing, message):
    with pytest.raises(ValueError, match=message):
        border_distances(np.ones(shape, bool), np.ones(shape, bool), spacing)
