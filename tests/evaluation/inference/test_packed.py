"""Predicted cases packed for a search."""

import numpy as np

from data_prep.labels import LabelSchema
from evaluation.inference.packed import Grid, pack_case, packed_classes
from evaluation.inference.postprocess import FOREGROUND, HysteresisRule, PostprocessConfig, apply
from tests.evaluation.inference.test_search import BRATS, made_case

GRID = Grid([None, 0.5], [False], [0], lows=[0.2, 0.4], highs=[0.4, 0.8])


def test_levels_rise_and_are_listed_once():
    np.testing.assert_array_equal(GRID.levels, np.array([0.2, 0.4, 0.8], np.float32))


def test_hysteresis_is_tried_for_the_foreground_and_each_region_but_the_whole_foreground():
    assert GRID.hysteresis_structures(BRATS) == [FOREGROUND, "TC", "ET"]
    assert GRID.hysteresis_structures(LabelSchema.load("binary")) == [FOREGROUND]
    assert Grid([None], [False], [0], lows=[0.2]).hysteresis_structures(BRATS) == []


def test_a_packed_case_is_small_and_gives_the_classes_of_its_probabilities():
    probabilities, truth, inside = made_case(3, 4, (20, 24, 16))
    packed = pack_case("p", probabilities, truth, GRID, BRATS, inside)
    assert packed.case_shape == truth.shape
    assert packed.maps().shape == (4 + 2 * 3, *packed.shape)
    places = [
        place
        for place in np.ndindex(*(np.array(truth.shape) - packed.shape + 1))
        if np.array_equal(truth[tuple(map(slice, place, np.add(place, packed.shape)))], packed.maps()[0])
    ]
    box = tuple(map(slice, places[0], np.add(places[0], packed.shape)))
    rules = [
        HysteresisRule(structure=FOREGROUND, low=0.2, high=0.8, becomes="background"),
        HysteresisRule(structure="ET", low=0.4, high=0.8, becomes="non-enhancing tumor"),
    ]
    for setting in (PostprocessConfig(), PostprocessConfig(threshold=0.5), PostprocessConfig(hysteresis=rules)):
        expected = apply(setting, probabilities, BRATS, inside)
        found = packed_classes(packed.maps(), setting, GRID, BRATS)
        np.testing.assert_array_equal(found, expected[box])
        assert np.count_nonzero(found) == np.count_nonzero(expected) > 0
