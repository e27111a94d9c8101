"""Averages of networks, and probabilities from logits of either form."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from common.errors import UserError
from evaluation.inference.ensemble import Classifiers, Ensemble, InferenceConfig, class_probabilities, softmax
from models.volume import SlidingWindow


class Made:
    """In the place of a run and its network: logits that follow from the image's first channels alone."""

    def __init__(self, outputs, factor=1.0, head="segmentation", window=None, crop="brain"):
        self.outputs, self.factor, self.head, self.window = outputs, factor, head, window
        self.path = Path("made")
        self.shapes = []
        self.schema = SimpleNamespace(classes=dict.fromkeys(range(outputs)))
        self.preparation = SimpleNamespace(crop=crop)
        self.heads = {head: SimpleNamespace(outputs=outputs, class_names=list(range(max(outputs, 2))))}

    def sliding_window(self, least_size=(0, 0), flips=(), overlap=0.5):
        return SlidingWindow(1, self.window, overlap, least_size=least_size, flips=flips)

    def predict_on_batch(self, batch):
        self.shapes.append(batch.shape)
        values = self.factor * np.asarray(batch[..., : self.outputs], np.float32)
        return {self.head: values if self.head == "segmentation" else values[:, 1, 2]}


def several(kind, made, **showing):
    return kind(made, made, InferenceConfig(batch_size=3, **showing))


@pytest.fixture
def image(rng):
    return rng.normal(size=(7, 4, 5, 3)).astype(np.float32)


def test_one_network_has_the_softmax_of_its_logits(image):
    ensemble = several(Ensemble, [Made(3)])
    np.testing.assert_allclose(ensemble.probabilities(image), softmax(image), rtol=1e-6)
    np.testing.assert_array_equal(ensemble.classes(image), image.argmax(axis=-1))
    assert ensemble.classes(image).dtype == np.uint8


def test_probabilities_of_several_networks_are_averaged_and_not_their_logits(image):
    ensemble = several(Ensemble, [Made(3), Made(3, -4.0)])
    expected = (softmax(image) + softmax(-4 * image)) / 2
    np.testing.assert_allclose(ensemble.probabilities(image), expected, rtol=1e-5)
    np.testing.assert_array_equal(ensemble.classes(image), expected.argmax(axis=-1))


def test_mirrored_views_of_a_network_that_knows_no_place_change_nothing(image):
    plain, mirrored = several(Ensemble, [Made(3)]), several(Ensemble, [Made(3)], flips=("x", "y"))
    np.testing.assert_allclose(mirrored.probabilities(image), plain.probabilities(image), rtol=1e-5)


def test_classifiers_average_probabilities_of_slices(image):
    one, other = Made(3, head="classification"), Made(3, -2.0, head="classification")
    expected = (softmax(image[:, 1, 2]) + softmax(-2 * image[:, 1, 2])) / 2
    np.testing.assert_allclose(several(Classifiers, [one, other]).probabilities(image), expected, rtol=1e-5)


def test_one_logit_tells_two_categories(image):
    found = several(Classifiers, [Made(1, head="classification")]).probabilities(image)
    sigmoid = 1 / (1 + np.exp(-image[:, 1, 2, 0]))
    np.testing.assert_allclose(found, np.stack([1 - sigmoid, sigmoid], axis=1), rtol=1e-5)


@pytest.mark.parametrize("logits", [[[1000.0]], [[-1000.0]], [[1000.0, -1000.0, 0.0]]])
def test_large_logits_give_probabilities(logits):
    found = class_probabilities(np.array(logits))
    assert np.isfinite(found).all()
    assert found.max() == 1
    np.testing.assert_allclose(found.sum(axis=-1), 1)


@pytest.fixture
def head():
    """A head that touches no side of the volume of `image`, its shape no box."""
    inside = np.zeros((7, 4, 5), bool)
    inside[2:5, 1:3, 1:4] = True
    inside[2, 1, 1] = False
    return inside


BOX = (slice(2, 5), slice(1, 3), slice(1, 4))


@pytest.mark.parametrize("window", [None, (2, 2, 2), (8, 8, 8)])
def test_networks_are_shown_the_box_around_the_head_and_beyond_it_is_background(image, head, window):
    made = Made(3, window=window)
    ensemble = several(Ensemble, [made])
    found = ensemble.probabilities(image, head)
    np.testing.assert_array_equal(found[BOX], ensemble.probabilities(np.ascontiguousarray(image[BOX])))
    np.testing.assert_allclose(found[BOX], softmax(image[BOX]), rtol=1e-5)
    beyond = np.ones(head.shape, bool)
    beyond[BOX] = False
    np.testing.assert_array_equal(found[beyond], np.broadcast_to([1, 0, 0], found[beyond].shape))
    np.testing.assert_array_equal(ensemble.classes(image, head), found.argmax(axis=-1))
    assert {shape[-3:-1] for shape in made.shapes} == {(2, 3) if window is None else window[1:]}


def test_an_empty_head_is_legal(image):
    empty = np.zeros(image.shape[:3], bool)
    for made in ([Made(3)], [Made(3, window=(4, 4, 4))], [Made(3), Made(3, -1.0)]):
        ensemble = several(Ensemble, made)
        probabilities, classes = ensemble.probabilities(image, empty), ensemble.classes(image, empty)
        assert (probabilities.shape, classes.shape) == ((7, 4, 5, 3), (7, 4, 5))
        np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-6)
        assert not classes.any()
        assert (probabilities[..., 0] == 1).all()


def test_networks_that_learnt_from_whole_slices_are_shown_whole_slices(image, head):
    made = Made(3, crop="middle")
    found = several(Ensemble, [made]).probabilities(image, head)
    np.testing.assert_allclose(found, softmax(image), rtol=1e-5)
    windows = Made(3, window=(4, 4, 4), crop="middle")
    shown = several(Ensemble, [windows]).probabilities(image, head)
    np.testing.assert_array_equal(shown[~_boxed(head)], np.broadcast_to([1, 0, 0], shown[~_boxed(head)].shape))


def test_networks_of_slices_and_of_windows_are_averaged(image, head):
    both = several(Ensemble, [Made(3), Made(3, -2.0, window=(3, 2, 2))])
    for inside in (None, head):
        expected = (softmax(image) + softmax(-2 * image)) / 2
        if inside is not None:
            expected[tuple(np.nonzero(~_boxed(inside)))] = [1, 0, 0]
        np.testing.assert_allclose(both.probabilities(image, inside), expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(both.classes(image, inside), expected.argmax(axis=-1))


def _boxed(inside):
    boxed = np.zeros_like(inside)
    boxed[BOX] = True
    return boxed


@pytest.mark.parametrize(("overlap", "windows"), [(0.0, 4), (0.5, 7)])
def test_the_overlap_of_windows_is_as_asked_for(overlap, windows):
    made = Made(3, window=(2, 4, 5))
    several(Ensemble, [made], overlap=overlap).classes(np.zeros((8, 4, 5, 3), np.float32))
    assert len(made.shapes) == windows


def test_by_default_slices_come_by_the_eight_and_windows_one_by_one():
    image = np.zeros((16, 4, 4, 3), np.float32)
    for window, size in ((None, 8), ((4, 4, 4), 1)):
        made = Made(3, window=window)
        Ensemble([made], [made], InferenceConfig()).classes(image)
        assert {shape[0] for shape in made.shapes} == {size}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"flips": ("x", "w")}, r"--flips: expected axes out of x, y, z; received w"),
        ({"overlap": 0.95}, "overlap"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_what_cannot_be_shown_is_refused(options, words):
    with pytest.raises(UserError, match=words):
        InferenceConfig(**options)


def test_what_no_network_can_be_shown_is_refused():
    slices, windows, single = Made(3), Made(3, window=(4, 4, 4)), Made(3, window=(1, 4, 4))
    for runs in ([slices], [single], [slices, single]):
        with pytest.raises(UserError, match="--flips z: mirrors volumes"):
            InferenceConfig(flips=("x", "z")).refuse_unused(runs)
        InferenceConfig(flips=("x", "y")).refuse_unused(runs)
    with pytest.raises(UserError, match="--least_size: pads whole slices"):
        InferenceConfig(least_size=(8, 8)).refuse_unused([windows])
    InferenceConfig(least_size=(8, 8), flips=("z",)).refuse_unused([windows, slices])
