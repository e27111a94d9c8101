import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from common.errors import UserError
from data_prep.brain.extraction import brain_probability, extract_head, grown, largest_component
from data_prep.scans.volume import Volume
from tests.synthetic_heads import centred, head

SHAPE = (40, 50, 20)
TURN = Rotation.from_euler("xyz", (8, -5, 12), degrees=True).as_matrix()
OBLIQUE = centred((2.0, 1.8, 4.0), SHAPE, TURN @ np.diag([-1, 1, 1]))


class Brighter:
    """In the place of a network: brain is what is brighter than the mean; keeps its inputs."""

    def __init__(self):
        self.images = []

    def predict_on_batch(self, x):
        self.images.append(x[0, ..., 0])
        return np.stack([np.zeros_like(x[..., 0]), 20 * x[..., 0]], axis=-1)


class LowerHalf:
    """In the place of a network: brain is the lower half of an axis, whatever the image."""

    def __init__(self, axis):
        self.axis = axis

    def predict_on_batch(self, x):
        logits = np.full((*x.shape[:-1], 2), 20.0, np.float32)
        np.moveaxis(logits, self.axis + 1, 0)[: x.shape[self.axis + 1] // 2, ..., 0] = -20
        np.moveaxis(logits, self.axis + 1, 0)[x.shape[self.axis + 1] // 2 :, ..., 1] = -20
        return logits


def test_the_network_sees_a_normalised_ras_volume_at_1_5_mm_padded_at_the_upper_ends():
    network, volume = Brighter(), head(OBLIQUE, SHAPE)
    volume.array[: SHAPE[0] // 2] //= 2  # i runs to the left, so the right half is darker
    brain_probability(volume, [network])
    (image,) = network.images
    assert image.dtype == np.float32
    assert image.shape == (64, 64, 64)  # 80 x 90 x 80 mm
    inner = image[:53, :60, :53]
    assert not image[53:].any()
    assert not image[:, 60:].any()
    assert not image[..., 53:].any()
    assert inner.mean() == pytest.approx(0, abs=1e-4)
    assert inner.std() == pytest.approx(1, abs=1e-4)
    assert inner[20:30, 20:40, :20].mean() > inner[20:30, 20:40, 33:].mean() + 0.3  # x runs to the right


def test_probabilities_lie_on_the_scans_own_grid():
    volume = head(OBLIQUE, SHAPE)
    found = brain_probability(volume, [Brighter()])
    assert found.shape == SHAPE
    truth = volume.array > volume.array.mean()
    mask = found >= 0.5
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.93


@pytest.mark.parametrize(("axis", "flip"), [(0, "z"), (1, "y"), (2, "x")])
def test_mirrored_views_are_mirrored_back_and_averaged(axis, flip):
    affine = centred((1.5, 1.5, 1.5), (32, 32, 32))
    volume = Volume(np.random.default_rng(0).normal(size=(32, 32, 32)).astype(np.float32), affine)
    plain = brain_probability(volume, [LowerHalf(axis)])
    assert plain.min() < 0.01
    assert plain.max() > 0.99
    np.testing.assert_allclose(brain_probability(volume, [LowerHalf(axis)], [flip]), 0.5, atol=1e-5)
    others = [name for name in "zyx" if name != flip]
    np.testing.assert_allclose(brain_probability(volume, [LowerHalf(axis)], others), plain, atol=1e-6)
    all_views = brain_probability(volume, [Brighter()], ["x", "y", "z"])
    np.testing.assert_allclose(all_views, brain_probability(volume, [Brighter()]), atol=1e-5)


def test_networks_are_averaged():
    affine = centred((1.5, 1.5, 1.5), (32, 32, 32))
    volume = Volume(np.random.default_rng(0).normal(size=(32, 32, 32)).astype(np.float32), affine)
    both = brain_probability(volume, [LowerHalf(0), LowerHalf(1)])
    assert sorted(np.unique(both.round(3))) == [0, 0.5, 1]


def test_a_constant_scan_gives_no_division_by_zero():
    assert np.isfinite(brain_probability(Volume(np.ones((8, 8, 8), np.int16), np.eye(4)), [Brighter()])).all()


def test_the_largest_component_is_kept_and_filled():
    mask = np.zeros((12, 12, 12), bool)
    mask[1:8, 1:8, 1:8] = True
    mask[4, 4, 4] = False
    mask[10, 10, 10:12] = True
    found = largest_component(mask)
    assert found.mask[4, 4, 4]
    assert not found.mask[10, 10, 10]
    assert found.mask.sum() == 343
    assert (found.components, found.largest_share) == (2, 342 / 344)
    with pytest.raises(UserError, match=r"found no brain; expected an MR scan of a head"):
        largest_component(np.zeros((3, 3, 3), bool))


def test_a_mask_grows_by_millimetres():
    mask = np.zeros((11, 11, 11), bool)
    mask[5, 5, 5] = True
    assert grown(mask, np.ones(3), 0) is mask
    found = grown(mask, np.array([1.0, 2.0, 4.0]), 4.0)
    assert np.flatnonzero(found[:, 5, 5]).tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert np.flatnonzero(found[5, :, 5]).tolist() == [3, 4, 5, 6, 7]
    assert np.flatnonzero(found[5, 5]).tolist() == [4, 5, 6]
    assert mask.sum() == 1


def test_the_head_is_found_in_mr_and_ct():
    for modality in ("T1", "CT"):
        volume = head(OBLIQUE, SHAPE, modality)
        found = extract_head(volume).mask
        outer = volume.array > (-500 if modality == "CT" else 30)
        assert found[outer].mean() > 0.99
        assert found.mean() < 1.1 * outer.mean() + 0.05
    with pytest.raises(UserError, match="found no head"):
        extract_head(Volume(np.zeros((4, 4, 4)), np.eye(4)))
