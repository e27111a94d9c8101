"""Intensities of any size become numbers that records hold."""

from dataclasses import replace

import numpy as np
import pytest

from data_prep.labels import LabelSchema
from data_prep.prepare import PrepareConfig, Scaling, prepare
from data_prep.scans.case import Case, CaseFiles
from tests.scans import scan

SCHEMA = LabelSchema.load("brats2017-2021")
WHOLE = PrepareConfig(crop=None, size=None)


@pytest.mark.parametrize("intensity", ["median", "minmax", "zscore"])
def test_values_of_any_size_give_finite_intensities(intensity):
    """A voxel beyond what float16 holds of the median, and a range below the smallest number of float32."""
    made = scan()
    hot, tiny = made.images["t1"].astype(np.float64), made.images["t1"] * 1e-50
    hot[5, 5, 5] = 1e12
    case = Case(CaseFiles("a", "a", {"t1": None, "t2": None}), {"t1": hot, "t2": tiny}, None, made.affine, hot.shape)
    image = prepare(case, SCHEMA, replace(WHOLE, intensity=intensity)).image
    assert np.isfinite(image).all()


def test_a_scaled_value_beyond_float16_becomes_its_largest_number():
    scaled = Scaling(0, 1e9, 0, 500, keep_zero=True)(np.array([0.0, 500.0, 1e9]))
    assert scaled.tolist() == [0, 1, float(np.finfo(np.float16).max)]
