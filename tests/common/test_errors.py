import math
import pickle

import pytest

from common.errors import MissingPackage, Problems, UserError, did_you_mean, did_you_mean_path, expect_number


def test_several_problems_are_a_line_each_with_a_summary_below():
    error = Problems(iter(["a.nii: empty", "b.nii: bad"]), "2 of 3 cases")
    assert str(error) == "a.nii: empty\nb.nii: bad\n2 of 3 cases"
    assert error.lines == ["a.nii: empty", "b.nii: bad"]


@pytest.mark.parametrize("error", [UserError("a"), Problems(["a", "b"], "2"), MissingPackage("optuna", "a sweep")])
def test_errors_come_whole_out_of_another_process(error):
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)


def test_a_missing_package_is_named_with_its_command():
    assert str(MissingPackage("optuna", "a sweep")) == "a sweep needs the package 'optuna': pip install optuna"


@pytest.mark.parametrize(("value", "low", "high"), [(None, 0, 1), (0, 0, 1), (1, 0, 1), (1e9, 0, math.inf)])
def test_a_number_inside_its_bounds_passes(value, low, high):
    expect_number("share", value, low, high)


@pytest.mark.parametrize(
    ("value", "bounds", "said"),
    [
        (-1, (0,), "--share: expected at least 0; received -1"),
        (1.5, (0, 1), "--share: expected 0 to 1; received 1.5"),
        (0, (0, math.inf, True), "--share: expected more than 0; received 0"),
        (math.nan, (0, 1), "--share: expected 0 to 1; received nan"),
    ],
)
def test_a_number_outside_is_refused(value, bounds, said):
    with pytest.raises(UserError) as error:
        expect_number("share", value, *bounds)
    assert str(error.value) == said


def test_similar_names_are_offered():
    assert did_you_mean("tran", ["train", "score"]) == "; did you mean train?"
    assert did_you_mean("trains", ["train", "trainer"]) == "; did you mean train or trainer?"
    assert did_you_mean("tran", ["train"], {"train": "--train"}) == "; did you mean --train?"
    assert did_you_mean("qqq", ["train", "score"]) == ""


def test_files_beside_a_missing_one_are_offered(tmp_path):
    for name in ("records", "runs", ".recods"):
        (tmp_path / name).mkdir()
    assert did_you_mean_path(tmp_path / "recods") == f"; did you mean {tmp_path / 'records'}?"
    assert did_you_mean_path(tmp_path / "records") == ""
    assert did_you_mean_path(tmp_path / "nothing" / "recods") == ""
    assert did_you_mean_path(tmp_path / ("a" * 300) / "b") == ""
