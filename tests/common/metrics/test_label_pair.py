import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from common.metrics.label_pair import LabelPair
from common.metrics.overlap import confusion_matrix

SHAPE = (3, 4, 5)
truths = arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 1, 2, 255]))
predictions = arrays(np.uint8, SHAPE, elements=st.integers(0, 2))


@settings(max_examples=50)
@given(truths, predictions, st.sampled_from([(1,), (2,), (1, 2), (0, 2)]))
def test_masks_have_the_counts_of_the_confusion_matrix(truth, prediction, members):
    pair = LabelPair.count(truth, prediction, 3).structure(members)
    true, found = pair.masks.truth, pair.masks.prediction
    if 0 in members:  # voxels that are not annotated are background in the masks, and in no count
        assert np.count_nonzero(true) >= pair.overlap.truth
        return
    assert np.count_nonzero(true) == pair.overlap.truth
    assert np.count_nonzero(found) == pair.overlap.predicted
    assert np.count_nonzero(true & found) == pair.overlap.both


def test_masks_are_cropped_to_their_joint_box():
    truth, prediction = np.zeros((2, 9, 9, 9), np.uint8)
    truth[2, 3, 4], prediction[5, 3, 4], prediction[0, 0, 0] = 1, 1, 2
    masks = LabelPair.count(truth, prediction, 3).structure([1]).masks
    true, found = masks.truth, masks.prediction
    assert true.shape == found.shape == (4, 1, 1)
    assert true[0, 0, 0]
    assert found[3, 0, 0]


def test_counts_never_ask_for_a_prediction():
    def fail():
        raise AssertionError

    truth = np.ones((2, 2, 2), np.uint8)
    pair = LabelPair(confusion_matrix(truth, truth, 2), truth, fail)
    assert pair.structure([1]).overlap.dice == 1
    with pytest.raises(AssertionError):
        _ = pair.structure([1]).masks


def test_counts_alone_have_no_masks():
    pair = LabelPair(np.eye(2, dtype=np.int64)).structure([1])
    assert not pair.has_masks
    with pytest.raises(ValueError, match="counts alone"):
        _ = pair.masks


def test_the_volume_of_a_voxel_follows_from_the_spacing_unless_it_is_given():
    confusion = np.eye(2, dtype=np.int64)
    assert LabelPair(confusion).structure([1]).voxel_ml is None
    assert LabelPair(confusion, spacing_mm=(1.0, 2.0, 3.0)).structure([1]).voxel_ml == 0.006
    assert LabelPair(confusion, spacing_mm=(1.0, 2.0, 3.0), voxel_ml=0.005).structure([1]).voxel_ml == 0.005
