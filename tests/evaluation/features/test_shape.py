import numpy as np

from evaluation.features.shape import SHAPE, shape_features


def test_volume_components_and_extent():
    mask = np.zeros((6, 8, 10), bool)
    mask[1:3, 2:4, 3:6] = True
    mask[5, 7, 9] = True
    found = dict(zip(SHAPE, shape_features(mask, (10.0, 2.0, 1.0)), strict=True))
    assert found["volume"] == np.float32(np.log1p(13 * 20 / 1000))
    assert found["components"] == 2
    assert [found[f"extent_{axis}"] for axis in "zyx"] == [50, 12, 7]


def test_an_empty_mask_is_all_zeros():
    assert not shape_features(np.zeros((2, 2, 2), bool), (1.0, 1.0, 1.0)).any()
