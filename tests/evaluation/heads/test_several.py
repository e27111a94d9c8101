"""Several segmentation heads: the rule that chooses one for a case, and the confidence that it stands on."""

import numpy as np
import pytest

from data_prep.labels import LabelSchema
from evaluation.heads.several import choose_head, confidence, has_common_classes


@pytest.mark.parametrize(
    ("confidences", "attributes", "expected"),
    [
        ({"hgg": 0.9, "mets": 0.2}, {"tumour": "mets"}, ("mets", "tumour is mets")),
        ({"hgg": 0.2, "mets": 0.9}, {"grade": "HGG"}, ("hgg", "grade is HGG")),
        ({"hgg": 0.2, "mets": 0.9}, {}, ("mets", "most confident")),
        ({"hgg": 0.2, "mets": 0.9}, {"tumour": "lgg"}, ("mets", "most confident")),
        ({"hgg": 0.0, "mets": 0.0}, {}, ("hgg", "most confident")),
    ],
)
def test_the_head_is_that_of_an_attribute_or_else_the_most_confident(confidences, attributes, expected):
    assert choose_head(confidences, attributes) == expected


def test_confidence_is_the_mean_foreground_probability_of_what_was_segmented():
    probabilities = np.zeros((1, 1, 3, 2), np.float32)
    probabilities[0, 0, :, 1] = [0.9, 0.7, 0.4]
    probabilities[..., 0] = 1 - probabilities[..., 1]
    assert confidence(probabilities, np.array([[[1, 1, 0]]])) == pytest.approx(0.8)
    assert confidence(probabilities, np.zeros((1, 1, 3), int)) == 0


def test_one_folder_holds_any_heads_prediction_where_their_classes_are_equal():
    schemas = [LabelSchema.load(name) for name in ("brats2023", "brats2023", "brats2024")]
    assert has_common_classes(schemas[:2])
    assert not has_common_classes(schemas)
