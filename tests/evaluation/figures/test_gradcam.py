"""Figures of Grad-CAM: which slices are chosen, and what is drawn of them."""

import numpy as np
import pytest

from data_prep.records.folder import Records
from evaluation.figures import gradcam, style
from evaluation.figures.gradcam import draw_gradcam
from training.data.batches import InputConfig
from training.data.slices import whole_slices
from training.data.targets import FolderTargets
from training.heads.classification import ClassificationHead


@pytest.fixture
def drawn(monkeypatch):
    """The figures instead of their files."""
    found = []
    monkeypatch.setattr(style, "save", lambda figure, path, numbers=(): found.append(figure) or [])
    return found


@pytest.mark.parametrize("count", [1, 4])
def test_heat_lies_on_its_image(tmp_path, drawn, count):
    rng = np.random.default_rng(0)
    rows = [(f"p{index}", rng.random((20, 16)), rng.random((20, 16))) for index in range(count)]
    draw_gradcam(tmp_path / "f", rows, "Grad-CAM")
    pairs = [axes for axes in drawn[0].axes if axes.child_axes]
    assert [axes.get_title() for axes in pairs] == [row[0] for row in rows]
    for axes, (_, _, heat) in zip(pairs, rows, strict=True):
        plain, painted = axes.child_axes
        assert len(plain.images) == 1
        np.testing.assert_array_equal(painted.images[1].get_array(), heat)
        assert painted.images[1].get_alpha().max() < 1


def test_no_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one image"):
        draw_gradcam(tmp_path / "f", [])


def test_figures_are_written_twice(tmp_path):
    files = draw_gradcam(tmp_path / "cam", [("p", np.ones((8, 8)), np.zeros((8, 8)))])
    assert len(files) == 2
    assert all(file.stat().st_size > 1000 for file in files)


def grade(opened):
    """Targets of a classification head of slices with tumour."""
    head = ClassificationHead("classification", "grade", {"LGG": ["LGG"], "HGG": ["HGG"]})
    return FolderTargets(opened, {head.name: head}, frozenset({head.name}))


def test_classes_take_turns_and_each_patient_has_one_slice(records):
    opened = Records(records)
    cases = list(opened.cases)
    known = {case: int(place > 2) for place, case in enumerate(cases)}  # three and two patients
    source = whole_slices(opened, cases, InputConfig(), grade(opened))
    chosen = gradcam._of_every_class(opened, source, known, 6)
    found = [source.items[source.rows[index][0]][0] for index in chosen]
    assert [known[case] for case in found] == [0, 0, 0, 1, 1]
    assert sorted(found) == sorted(cases)  # no patient twice
    assert {known[source.items[source.rows[index][0]][0]] for index in gradcam._of_every_class(opened, source, known, 2)} == {
        0,
        1,
    }


def test_one_class_alone_fills_the_figure(records):
    opened = Records(records)
    known = dict.fromkeys(opened.cases, 1)
    source = whole_slices(opened, list(known), InputConfig(), grade(opened))
    assert len(gradcam._of_every_class(opened, source, known, 4)) == 4
