"""What models are called beside each other, and which are variants of one."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from evaluation.tables.run_names import families, names_of, numbered


@pytest.mark.parametrize(
    ("folders", "names"),
    [
        (["runs/a"], ["a"]),
        (["runs/a", "runs/b"], ["a", "b"]),
        (["one/run", "other/run"], ["one/run", "other/run"]),
        (["runs/a/scores_test", "predictions/b/scores"], ["a", "b"]),
        (["a/scores_test", "a/scores_validation"], ["scores_test", "scores_validation"]),
    ],
)
def test_folders_are_called_by_the_shortest_ends_that_tell_them_apart(folders, names):
    assert names_of("runs", [Path(folder) for folder in folders], None) == names


def test_names_that_are_given_win():
    assert names_of("runs", [Path("a"), Path("b")], ["Model 1", "Model 2"]) == ["Model 1", "Model 2"]


@pytest.mark.parametrize("given_names", [["x"], ["x", "x"], ["x", "y", "z"]])
def test_names_must_be_as_many_as_the_folders_and_different(given_names):
    with pytest.raises(UserError, match=r"--names: expected 2 different names; received x.*; give one for each of --runs"):
        names_of("runs", [Path("a"), Path("b")], given_names)


def test_names_may_repeat_where_some_are_enough():
    folders = [Path("a"), Path("b"), Path("c")]
    assert names_of("scores", folders, ["x", "y", "y"], 2) == ["x", "y", "y"]
    assert numbered(["x", "y", "y"]) == ["x", "y (1)", "y (2)"]
    with pytest.raises(UserError, match="--names: expected 3 names, 2 of them different; received x, x, x"):
        names_of("scores", folders, ["x", "x", "x"], 2)
    with pytest.raises(UserError, match="expected none like the number of another set"):
        names_of("scores", folders, ["x", "x", "x (1)"], 2)


@pytest.mark.parametrize("given_names", [None, ["x", "y"]])
@pytest.mark.parametrize("again", ["a", "a/scores"])
def test_a_folder_twice_is_refused(again, given_names):
    with pytest.raises(UserError, match="--scores: expected different folders"):
        names_of("scores", [Path("a"), Path(again)], given_names)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Model 1", "Model 1 with augmentation", "3D"], [(0, 0), (0, 1), (1, 0)]),
        (["model1_augmented", "model1", "model1_more"], [(0, 1), (0, 0), (0, 2)]),
        (["run1", "run10", "run2"], [(0, 0), (1, 0), (2, 0)]),
        (["a", "a b", "a b c"], [(0, 0), (0, 1), (0, 2)]),
        ([], []),
    ],
)
def test_a_name_that_goes_on_from_another_is_its_variant(names, expected):
    assert families(names) == expected


@given(st.lists(st.text("ab_", min_size=1, max_size=5), unique=True))
def test_no_two_names_have_the_same_place(names):
    found = families(names)
    assert len(set(found)) == len(names)
    assert {family for family, _ in found} == set(range(len({family for family, _ in found})))
