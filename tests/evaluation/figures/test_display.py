import numpy as np
import pytest

from data_prep.labels import LabelSchema
from evaluation.figures import display, style


def test_the_patients_left_front_stands_at_the_pictures_upper_right():
    volume = np.zeros((3, 4, 5))  # z up, y to anterior, x to the patient's right
    volume[2, 3, 0] = 1
    assert display.axial(volume, 2, oriented=True)[0, -1] == 1
    assert display.coronal(volume, 3, oriented=True)[0, -1] == 1
    assert display.axial(volume, 2, oriented=False)[3, 0] == 1
    assert display.coronal(volume, 3, oriented=False)[2, 0] == 1


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_grey_values_keep_the_background_black_and_ignore_outliers(scale):
    image = np.zeros((10, 10, 10))
    image[2:8, 2:8, 2:8] = np.linspace(0.2, 1, 216).reshape(6, 6, 6) * scale
    image[5, 5, 5] = 1e6 * scale
    found = display.grey(image)
    assert (found[image == 0] == 0).all()
    assert found.max() == 1
    assert np.median(found[image > 0]) > 0.3
    assert not display.grey(np.zeros((2, 2, 2))).any()


def test_paint_colours_classes_alone():
    picture = np.full((1, 4), 0.5, np.float32)
    painted = display.paint(picture, np.array([[0, 1, 2, 255]]))
    np.testing.assert_array_equal(painted[0, [0, 3]], 0.5)
    assert len({tuple(pixel) for pixel in painted[0, :3]}) == 3


def test_outlines_have_the_lines_of_their_classes():
    from matplotlib.colors import to_hex
    from matplotlib.figure import Figure

    classes = np.zeros((8, 8), np.uint8)
    classes[1:4, 1:4], classes[5:7, 5:7] = 1, 2
    classes[0, 0] = 255
    axes = Figure().subplots()
    display.outline(axes, classes)
    assert [to_hex(lines.get_edgecolor()[0]).upper() for lines in axes.collections] == list(style.CLASS_COLOURS[:2])
    assert len({str(lines.get_linestyle()) for lines in axes.collections}) == 2


@pytest.mark.parametrize(("marks", "texts"), [(True, ["R", "L"]), (False, [])])
def test_a_picture_has_no_ticks_and_marks_of_the_sides_where_asked(marks, texts):
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    display.show(axes, np.full((2, 3), 0.5), aspect=2.5, marks=marks)
    assert [text.get_text() for text in axes.texts] == texts
    assert (axes.axison, axes.get_aspect()) == (False, 2.5)
    assert axes.images[0].get_clim() == (0, 1)


def test_the_legend_names_the_foreground_classes_in_their_colours():
    from matplotlib.colors import to_hex
    from matplotlib.figure import Figure

    schema, figure = LabelSchema.load("brats2017-2021"), Figure()
    display.class_legend(figure, schema)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == schema.class_names[1:]
    colours = [to_hex(patch.get_facecolor()).upper() for patch in legend.get_patches()]
    assert colours == list(style.CLASS_COLOURS[: len(colours)])


def test_tumour_voxels_are_counted_by_slice_without_those_that_are_not_annotated():
    classes = np.zeros((3, 2, 2), np.uint8)
    classes[1], classes[2, 0] = [[1, 2], [0, 255]], 255
    assert display.tumour_slices(classes).tolist() == [0, 2, 0]
