import numpy as np
import pytest
from PIL import Image

from data_prep.alignment.pictures import (
    EDGE_COLOUR,
    MARGIN,
    Registered,
    checkerboard,
    draw_pictures,
    draw_reference,
    edge_overlay,
    fields_of_view,
    views,
)
from data_prep.grid.resampling import IDENTITY
from data_prep.grid.slice_pictures import ANNOTATION_COLOUR, CAPTION_HEIGHT, HEIGHT
from data_prep.grid.voxel_grid import Grid
from tests.synthetic_heads import centred, head, tumour

SHAPE = (30, 40, 14)
AFFINE = centred((3.0, 2.5, 6.0), SHAPE)
GRID = Grid(SHAPE, AFFINE)


def test_a_checkerboard_shows_both_in_turn():
    board = checkerboard(np.zeros((16, 16)), np.ones((16, 16)))
    assert board.shape == (16, 16, 3)
    assert board[0, 0, 0] == 0
    assert board[0, 2, 0] == board[2, 0, 0] == 255
    assert board.mean() == 127.5


def test_edges_are_drawn_where_the_second_picture_changes():
    step = np.zeros((32, 32), np.float32)
    step[:, 16:] = 1
    everywhere = np.ones((32, 32), bool)
    marked = (edge_overlay(np.zeros((32, 32), np.float32), step, everywhere) == EDGE_COLOUR).all(axis=-1)
    assert marked[:, 15:17].any()
    assert not marked[:, :12].any()
    assert not (edge_overlay(step, np.zeros_like(step), everywhere) == EDGE_COLOUR).all(axis=-1).any()


def test_the_border_of_a_field_of_view_is_no_edge():
    whole = Grid((40, 40, 40), centred((2.5, 2.5, 2.5), (40, 40, 40)))
    slab = Grid((40, 40, 16), centred((2.5, 2.5, 2.5), (40, 40, 16)))
    axial, coronal, sagittal = fields_of_view(slab, IDENTITY, whole, [20, 20, 20])
    assert axial.all()
    for plane in (coronal, sagittal):
        inside = np.flatnonzero(plane.all(axis=1))
        assert (len(inside), plane.any(axis=1).sum()) == (16 * HEIGHT // 40 - 2 * MARGIN, len(inside))
    assert not fields_of_view(slab, IDENTITY, whole, [5, 20, 20])[0].any()


@pytest.mark.parametrize("annotation", [None, tumour(AFFINE, SHAPE) > 0])
def test_the_reference_alone_shows_the_annotation(tmp_path, annotation):
    path = draw_reference(tmp_path / "T1.png", "a: T1", head(AFFINE, SHAPE), GRID, annotation)
    picture = np.asarray(Image.open(path))
    assert picture.shape[0] == HEIGHT + 2 * CAPTION_HEIGHT
    outlined = (picture[CAPTION_HEIGHT : CAPTION_HEIGHT + HEIGHT] == ANNOTATION_COLOUR).all(axis=-1).sum()
    assert (outlined > 200) == (annotation is not None)


def test_slices_have_square_pixels_and_the_left_of_the_patient_on_the_right():
    volume, places = head(AFFINE, SHAPE), [7, 20, 15]
    axial, coronal, sagittal = views(volume, IDENTITY, GRID, places)
    assert axial.shape == (HEIGHT, round(HEIGHT * 90 / 100))
    assert coronal.shape == (HEIGHT, round(HEIGHT * 90 / 84))
    assert sagittal.shape == (HEIGHT, round(HEIGHT * 100 / 84))
    volume.array[: SHAPE[0] // 2] = 0  # the patient's left is gone
    axial = views(volume, IDENTITY, GRID, places)[0]
    half = axial.shape[1] // 2
    assert axial[:, :half].mean() > 5 * axial[:, half:].mean()


@pytest.mark.parametrize("annotation", [None, tumour(AFFINE, SHAPE) > 0, np.zeros(SHAPE, bool)])
def test_rows_are_before_and_after_and_the_annotation_is_outlined(tmp_path, annotation):
    for transform, rows in ((None, 1), (IDENTITY, 2)):
        shown = Registered("a", "T2", "T1", head(AFFINE, SHAPE), head(AFFINE, SHAPE, "T2"), transform, GRID, annotation)
        paths = draw_pictures(tmp_path, shown)
        assert [path.name for path in paths] == ["T2_checkerboard.png", "T2_edges.png"]
        for path in paths:
            picture = np.asarray(Image.open(path))
            assert picture.shape[0] == rows * (HEIGHT + CAPTION_HEIGHT) + CAPTION_HEIGHT
            outlined = (picture[: CAPTION_HEIGHT + HEIGHT] == ANNOTATION_COLOUR).all(axis=-1).sum()
            assert (outlined > 200) == (annotation is not None and annotation.any())
