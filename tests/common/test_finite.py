"""Values that are NaN or infinite, in arrays of any dtype."""

import numpy as np
import pytest

from common.finite import NotFinite, first_not_finite, is_finite, naming


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_one_wrong_value_is_found_wherever_it_stands(wrong, dtype):
    for place in (0, 17, 59):
        array = np.ones((3, 4, 5), dtype)
        assert is_finite(array)
        array.flat[place] = wrong
        assert not is_finite(array)


def test_infinities_of_both_signs_do_not_cancel():
    assert not is_finite(np.array([np.inf, -np.inf], np.float32))


def test_large_finite_values_whose_sum_overflows_are_finite():
    assert is_finite(np.full(100, np.finfo("float32").max, np.float32))
    assert is_finite(np.full(100, np.finfo("float16").max, np.float16))


def test_whole_numbers_and_nothing_are_finite():
    assert is_finite(np.arange(5))
    assert is_finite(np.zeros(0, np.float32))
    assert is_finite(np.array([True]))


def test_the_first_wrong_array_is_named():
    arrays = [("a", np.ones(2)), ("b", np.array([1, np.nan])), ("c", np.array([np.inf]))]
    assert first_not_finite(arrays) == "b"
    assert first_not_finite(arrays[:1]) is None


def test_an_error_gets_the_names_of_what_was_worked_on():
    with pytest.raises(NotFinite, match=r"^run: case: wrong$"), naming("run"), naming("case"):
        raise NotFinite("wrong")
