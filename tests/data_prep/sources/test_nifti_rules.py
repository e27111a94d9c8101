import numpy as np
import pytest

from data_prep.sources.nifti_rules import affine_text, as_integers


def test_an_affine_on_one_line():
    assert affine_text(np.diag([-1.0, 2.5, 3, 1]) * 1.0) == "[-1 0 0 0; 0 2.5 0 0; 0 0 3 0]"


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [("u1", 4, "u1"), ("i4", -7, "i4"), ("u8", 4, "i2"), ("f4", -3.0, "i2"), ("f8", 1e9, "i8"), ("f8", -40000.0, "i8")],
)
def test_labels_become_integers_that_hold_them(dtype, value, expected):
    ids = as_integers(np.array([[value, 0]], dtype))
    assert ids.dtype == np.dtype(expected)
    assert ids.tolist() == [[value, 0]]
