"""Outputs of networks that are not finite."""

from types import SimpleNamespace

import numpy as np
import pytest

from common.finite import NotFinite
from models.outputs import predict_batch


def network(**outputs):
    return SimpleNamespace(predict_on_batch=lambda images: {name: images * value for name, value in outputs.items()})


def test_finite_outputs_come_as_they_are():
    outputs = predict_batch(network(a=1.0, b=2.0), np.ones((2, 3)))
    np.testing.assert_array_equal(outputs["b"], np.full((2, 3), 2))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_output_that_is_not_finite_is_refused_by_its_name(value):
    with pytest.raises(NotFinite, match="the network's output b is not finite"):
        predict_batch(network(a=1.0, b=value), np.ones((2, 3)))
