import numpy as np
import pytest

from data_prep.phantom.head import HIGH, LOW, HeadTissue, head_anatomy, head_space

SPACING = 4.0


@pytest.fixture(scope="module")
def head():
    rng = np.random.default_rng(1)
    space = head_space(rng, SPACING)
    return space, head_anatomy(rng, space)


def test_a_head_is_a_function_of_its_seed(head):
    rng = np.random.default_rng(1)
    np.testing.assert_array_equal(head_anatomy(rng, head_space(rng, SPACING)), head[1])
    rng = np.random.default_rng(2)
    assert (head_anatomy(rng, head_space(rng, SPACING)) != head[1]).mean() > 0.02


def test_the_box_holds_the_head_and_the_space_knows_its_millimetres(head):
    space, tissues = head
    assert space.shape == tissues.shape
    last = space.affine @ [*(np.array(space.shape) - 1), 1]
    np.testing.assert_allclose(last[:3], HIGH, atol=SPACING)
    np.testing.assert_array_equal(space.affine[:3, 3], LOW)
    for face in (tissues[0], tissues[-1], tissues[:, 0], tissues[:, -1], tissues[:, :, -1]):
        assert (face == HeadTissue.AIR).all()


def test_every_healthy_tissue_has_its_share(head):
    _, tissues = head
    litres = {tissue: float((tissues == tissue).sum()) * SPACING**3 / 1e6 for tissue in HeadTissue}
    assert all(litres[tissue] == 0 for tissue in HeadTissue if tissue >= HeadTissue.EDEMA)
    assert all(litres[tissue] > 0 for tissue in HeadTissue if tissue < HeadTissue.EDEMA)
    assert 0.7 < litres[HeadTissue.GREY] + litres[HeadTissue.WHITE] < 1.8
    assert 0.1 < litres[HeadTissue.BONE] < 0.9


def test_the_brain_lies_within_bone_and_above_the_skull_base(head):
    space, tissues = head
    brain = (tissues == HeadTissue.GREY) | (tissues == HeadTissue.WHITE)
    middle = tuple(length // 2 for length in space.shape)
    column = tissues[middle[0], middle[1], :]
    top = np.flatnonzero(brain[middle[0] + 4, middle[1], :]).max()
    assert HeadTissue.BONE in tissues[middle[0] + 4, middle[1], top:]
    assert column[-1] == HeadTissue.AIR
    assert brain[:, :, : int((-70 - LOW[2]) / SPACING)].mean() < 0.01  # the cord alone


def test_sinuses_are_air_inside_the_head(head):
    space, tissues = head
    inside = space.ellipsoid((0, 52, -36), (13, 24, 22)) < 1
    assert (tissues[inside] == HeadTissue.AIR).mean() > 0.4
