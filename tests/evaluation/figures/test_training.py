"""Figures of trainings: what stands in them, and which slices are chosen."""

from dataclasses import fields, replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from common import cli
from data_prep.augmentation.draw import AugmentConfig, draw
from data_prep.labels import LabelSchema, bits_to_classes
from data_prep.records.folder import Records
from evaluation.figures import display, style
from evaluation.figures import training as figures_training
from evaluation.figures.training import Picture, describe, draw_augmentation, draw_before_after
from models.unet import UNetConfig
from training.config import TrainConfig
from training.data.augmentation import OnlineAugmentation
from training.data.batches import SEGMENTATION, InputConfig

SCHEMA = LabelSchema.load("brats2017-2021")
CHANNELS = ["t1", "flair", "t2"]


@pytest.fixture
def drawn(monkeypatch):
    """The figures instead of their files."""
    found = []
    monkeypatch.setattr(style, "save", lambda figure, path, numbers=(): found.append(figure) or [])
    return found


def shown(seed, title="", classes=True):
    rng = np.random.default_rng(seed)
    return Picture(title, rng.random((20, 24)), rng.integers(0, 4, (20, 24)) if classes else None)


def long_titles(rows=3, columns=4):
    words = "flipped x and y, rotated -13°,\ncrop 94 x 95 %, elastic 1 px,\nbrightness +0.03, noise 0.04"
    return [[shown(10 * row + column, words) for column in range(columns)] for row in range(rows)]


def test_a_row_has_one_grey_window(tmp_path, drawn):
    image = np.linspace(0.1, 1, 480).reshape(20, 24)
    brighter = Picture("brighter", image + 1)
    draw_augmentation(tmp_path / "f", [Picture("original", image)], [[brighter]], SCHEMA)
    first, second = (np.asarray(axes.images[0].get_array()) for axes in drawn[0].axes)
    assert first.max() < second.min() + 0.1  # each stretched to its own range would be equal
    assert second.max() == 1


def test_annotations_are_outlined_and_predictions_painted(tmp_path, drawn):
    draw_augmentation(tmp_path / "f", [shown(0)], [[shown(1)]], SCHEMA)
    draw_before_after(tmp_path / "f", [[shown(0, classes=False), shown(1)]], SCHEMA)
    outlined, painted = drawn
    assert [axes.images[0].get_array().ndim for axes in outlined.axes] == [2, 2]
    assert all(axes.collections for axes in outlined.axes)
    assert [axes.images[0].get_array().ndim for axes in painted.axes] == [2, 3]
    assert not painted.axes[0].collections


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("aspect", [0.6, 1.0, 1.7])
def test_no_texts_overlap_or_leave_the_figure(tmp_path, drawn, rows, aspect):
    pictures = long_titles(rows)
    originals = [shown(row, f"patient\nslice {row}, original") for row in range(rows)]
    draw_augmentation(tmp_path / "f", originals, pictures, SCHEMA, "On-line augmentation", aspect)
    (figure,) = drawn
    with style.style():
        figure.draw_without_rendering()
    boxes = [axes.title.get_window_extent() for axes in figure.axes]
    boxes += [axes.images[0].get_window_extent() for axes in figure.axes]
    boxes += [figure.legends[0].get_window_extent(), figure._suptitle.get_window_extent()]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    page = figure.bbox
    assert all(page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1 for box in boxes)


@pytest.mark.parametrize("rows", [[], [[shown(0)], [shown(0), shown(1)]]])
def test_rows_that_make_no_grid_are_refused(tmp_path, rows):
    with pytest.raises(ValueError, match="rows of one length"):
        draw_before_after(tmp_path / "f", rows, SCHEMA)


UNCHANGED = draw(AugmentConfig(probability=0), np.random.default_rng(0), 3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["unchanged"]),
        ({"flips": ("z", "y", "x")}, ["flipped x and y"]),
        ({"flips": ("z",)}, ["unchanged"]),
        ({"flips": ("x",), "rotate_degrees": 12.3}, ["flipped x", "rotated 12°"]),
        ({"rotate_degrees": -0.3}, ["unchanged"]),
        ({"crop": (1.0, 0.82), "elastic": 3.0, "noise": 0.05}, ["crop 100 x 82 %", "elastic 3 px", "noise 0.05"]),
        ({"scale": 1.05, "brightness": (0.5, -0.1, 0.0)}, ["size 105 %", "brightness -0.10"]),
        ({"contrast": (1.0, 0.9, 1.0), "gamma": (1.0, 1.08, 1.0)}, ["contrast 90 %", "gamma 1.08"]),
        ({"sources": (2, 2, 2)}, ["filled by t2"]),
        ({"bias": (0.0, -0.2, 0.0), "blur": (0.0, 0.84, 0.0)}, ["bias field -0.20", "blur 0.8 px"]),
        ({"fade": 0.3, "erase": (0.1, 0.1, 0.1)}, ["tumour fainter by 30 %", "a part erased"]),
    ],
)
def test_an_augmentation_is_told_in_few_words(changes, words):
    assert describe(replace(UNCHANGED, **changes), CHANNELS, 1) == words


LARGEST = {"flips": ["x"], "fill": 1.0, "rotate_degrees": 15.0, "elastic": 3.0, "noise": 0.1, "blur": 1.0}
AIDS = ("rank", "probability", "elastic_sigma", "fill_from", "tilt_degrees")  # tilts need volumes


@pytest.mark.parametrize("option", [item.name for item in fields(AugmentConfig) if item.name not in AIDS])
def test_every_kind_of_change_is_told(option):
    off = {item.name: 0 for item in fields(AugmentConfig) if item.name not in AIDS} | {"flips": []}
    config = AugmentConfig(**off | {option: LARGEST.get(option, 0.3)}, probability=1.0)
    assert describe(draw(config, np.random.default_rng(0), 3), CHANNELS, 1) != ["unchanged"]


def test_what_happens_along_z_is_told_of_several_slices():
    tilted = replace(UNCHANGED, flips=("z", "x"), tilt_degrees=(3.4, -12.6), rank=3)
    assert describe(tilted, CHANNELS, 1, slices=4) == ["flipped x and z", "tilted 3° and -13°"]


def test_words_break_between_changes_alone():
    folded = figures_training._folded(["flipped x and y", "rotated 12°", "crop 100 x 82 %", "noise 0.05"], 31)
    assert folded.splitlines() == ["flipped x and y, rotated 12°,", "crop 100 x 82 %, noise 0.05"]


def a_run(records, **options):
    """A run's settings without a folder."""
    config = TrainConfig(**options)
    facts = {"pretrained": "random initialisation"}
    return SimpleNamespace(path=Path("run"), config=config, channels=Records(records).channels, facts=facts)


@pytest.mark.parametrize("settings", [InputConfig(), InputConfig(resize=(12, 10)), InputConfig(neighbours=1)])
def test_the_panel_shows_what_the_network_is_given(records, tmp_path, drawn, settings):
    opened = Records(records)
    augment = AugmentConfig(probability=0.7)
    run = a_run(records, input=settings, augment=augment, seed=5)
    figures_training.draw_run_augmentation(tmp_path / "f", run, opened)
    places = np.array(drawn[0].axes).reshape(3, 5)
    patients = [axes.get_title().split("\n")[0] for axes in places[:, 0]]
    assert len(set(patients)) == 3
    assert set(patients) <= {opened.cases[case].patient for case in opened.subset("train")}
    case = next(case for case in opened.subset("train") if opened.cases[case].patient == patients[1])
    number = int(places[1, 0].get_title().split()[-2].strip(",")) - 1
    assert opened.cases[case].voxels[number, 1:].sum() == opened.cases[case].voxels[:, 1:].sum(axis=1).max()
    source = figures_training.Slices(opened, [(case, 0)], np.array([[0, number]]), settings, resize_labels=True)
    changed = OnlineAugmentation(augment, settings.neighbours, True)(source[0], np.random.default_rng([5, 1, 2]))
    channel = settings.neighbours * 4 + opened.channels.index("flair")
    first = source[0][0][::-1, ::-1, channel]
    expected = display.grey(np.stack([first, changed[0][::-1, ::-1, channel]]))
    given = np.asarray(places[1, 3].images[0].get_array())
    assert given.shape == expected[1].shape
    assert np.corrcoef(given.ravel(), expected[1].ravel())[0, 1] > 0.999  # the window is that of the whole row
    assert (bits_to_classes(changed[1][SEGMENTATION]) > 0).any()


def test_panels_of_equal_seeds_are_equal_and_of_others_differ(records, tmp_path, drawn):
    opened = Records(records)
    for seed in (1, 1, 2):
        run = a_run(records, augment=AugmentConfig(probability=0.7), seed=seed)
        figures_training.draw_run_augmentation(tmp_path / "f", run, opened)
    first, again, other = ([axes.get_title() for axes in figure.axes] for figure in drawn)
    assert first == again != other


@pytest.mark.parametrize(
    ("patch", "neighbours", "rank"), [((4, 8, 8), 0, 3), ((1, 16, 16), 0, 2), ((1, 8, 8), 1, 2)], ids=["3d", "2d", "2.5d"]
)
def test_the_panel_of_a_run_on_windows_shows_their_middle_slices(records, tmp_path, drawn, patch, neighbours, rank):
    opened = Records(records)
    settings = InputConfig(patch=patch, neighbours=neighbours)
    augment = AugmentConfig(rank=rank, probability=1.0, flips=["z"], elastic=0, noise=0, tilt_degrees=20.0 * (rank == 3))
    run = a_run(records, input=settings, augment=augment, model=UNetConfig(rank=rank, depth=1), seed=5)
    assert figures_training.draw_run_augmentation(tmp_path / "f", run, opened) == []
    places = np.array(drawn[0].axes).reshape(3, 5)
    for original, *augmented in places:
        patient, words = original.get_title().split("\n")
        case = next(case for case in opened.subset("train") if opened.cases[case].patient == patient)
        number = int(words.split()[1].strip(",")) - 1
        pixels = np.asarray(original.images[0].get_array())
        whole = opened.shard(case).image[number, ..., opened.channels.index("flair")].astype(float)[::-1, ::-1]
        windows = np.lib.stride_tricks.sliding_window_view(whole, patch[1:]).reshape(-1, pixels.size)
        assert max(np.corrcoef(pixels.ravel(), window)[0, 1] for window in windows if np.ptp(window)) > 0.999
        for axes in augmented:
            assert axes.get_title().startswith("flipped z") == (patch[0] + 2 * neighbours > 1)
            assert ("tilted" in axes.get_title().replace("\n", " ")) == (rank == 3)
            other = np.asarray(axes.images[0].get_array())
            assert other.shape == pixels.shape == patch[1:]
            assert not np.allclose(other, pixels)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [(InputConfig(), 1.0), (InputConfig(resize=(8, 16)), 2.0), (InputConfig(size=(8, 16), resize=(16, 16)), 0.5)],
)
def test_resized_pixels_keep_the_shape_of_the_head(records, settings, expected):
    facts = next(iter(Records(records).cases.values()))
    spacing = facts.geometry.spacing_mm
    assert figures_training.input_aspect(facts, settings) == pytest.approx(expected * spacing[1] / spacing[2])


def test_augmentation_is_told_from_the_settings(records):
    assert not figures_training.has_augmentation(a_run(records))
    assert figures_training.has_augmentation(a_run(records, augment=AugmentConfig(probability=0, fill=0.1)))
    assert cli.as_dict(a_run(records).config)["augment"]["probability"] is None
