import numpy as np
from PIL import Image

from data_prep.brain.pictures import (
    MASK_COLOUR,
    displayed_places,
    draw_outlines,
)
from data_prep.grid.slice_pictures import ANNOTATION_COLOUR, CAPTION_HEIGHT, HEIGHT
from tests.synthetic_heads import centred, head, tumour

SHAPE = (40, 48, 16)
AFFINE = centred((2.0, 2.0, 6.0), SHAPE)


def count(picture, colour):
    return int((picture == colour).all(axis=-1).sum())


def test_mask_and_annotation_are_outlined_on_five_slices(tmp_path):
    volume, annotation = head(AFFINE, SHAPE), tumour(AFFINE, SHAPE) > 0
    path = draw_outlines(tmp_path / "brain.png", volume, volume.array > 0, annotation)
    picture = np.asarray(Image.open(path))
    assert picture.shape == (2 * HEIGHT + CAPTION_HEIGHT, 3 * round(HEIGHT * 80 / 96), 3)
    slices = picture[: 2 * HEIGHT]
    assert count(slices, MASK_COLOUR) > 5 * 500
    assert count(slices, ANNOTATION_COLOUR) > 100
    assert count(picture[2 * HEIGHT :], MASK_COLOUR) > 10
    plain = np.asarray(Image.open(draw_outlines(tmp_path / "plain.png", volume, volume.array > 0, None)))
    assert count(plain, ANNOTATION_COLOUR) == 0


def test_slices_go_through_the_annotation():
    mask, annotation = np.ones((20, 30, 40), bool), np.zeros((20, 30, 40), bool)
    assert displayed_places(mask, None) == [(0, 5), (0, 10), (0, 15), (1, 15), (2, 20)]
    annotation[2:4, 7, 31] = annotation[2, 8, 31] = True
    assert displayed_places(mask, annotation) == [(0, 2), (0, 5), (0, 15), (1, 7), (2, 31)]
