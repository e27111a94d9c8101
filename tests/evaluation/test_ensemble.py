"""Averages of networks, and probabilities from logits of either form."""

from types import SimpleNamespace

import numpy as np
import pytest

from evaluation.ensemble import Classifiers, Ensemble, Showing, category_probabilities, softmax
from models.infer import View


class Made:
    """In the place of a run and its network: logits that follow from the image's first channels alone."""

    def __init__(self, outputs, factor=1.0, head="segmentation"):
        self.outputs, self.factor, self.head = outputs, factor, head
        self.schema = SimpleNamespace(classes=dict.fromkeys(range(outputs)))
        self.facts = {"categories": list(range(max(outputs, 2)))}

    def view(self, least_size, flips):
        return View(1, least_size=least_size, flips=flips)

    def predict_on_batch(self, batch):
        values = self.factor * np.asarray(batch[..., : self.outputs], np.float32)
        return {self.head: values if self.head == "segmentation" else values[:, 1, 2]}


def several(kind, made, **showing):
    return kind(made, made, Showing(batch_size=3, **showing))


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
    one, other = Made(3, head="category"), Made(3, -2.0, head="category")
    expected = (softmax(image[:, 1, 2]) + softmax(-2 * image[:, 1, 2])) / 2
    np.testing.assert_allclose(several(Classifiers, [one, other]).probabilities(image), expected, rtol=1e-5)


def test_one_logit_tells_two_categories(image):
    found = several(Classifiers, [Made(1, head="category")]).probabilities(image)
    sigmoid = 1 / (1 + np.exp(-image[:, 1, 2, 0]))
    np.testing.assert_allclose(found, np.stack([1 - sigmoid, sigmoid], axis=1), rtol=1e-5)


@pytest.mark.parametrize("logits", [[[1000.0]], [[-1000.0]], [[1000.0, -1000.0, 0.0]]])
def test_large_logits_give_probabilities(logits):
    found = category_probabilities(np.array(logits))
    assert np.isfinite(found).all()
    assert found.max() == 1
    np.testing.assert_allclose(found.sum(axis=-1), 1)
