"""Scores read as a column of a comparison, and their mean over seeds."""

import math

import pytest

from common.errors import UserError
from evaluation.scores.folder import read_scores
from evaluation.tables.comparison import ScoredSegmentation
from evaluation.tables.scored import mean_scored, read_scored
from tests.evaluation.scores.test_folder import write_records

WT, ET = ("region", "WT", "dice"), ("region", "ET", "dice")


def made(name, values, keys=(WT,)):
    members = {("region", "WT"): ("edema",), ("region", "ET"): ("edema",)}
    return ScoredSegmentation(name, "patient", {key: dict(values) for key in keys}, members)


def test_the_mean_is_that_of_each_patient():
    mean = mean_scored([made("0", {"a": 0.2, "b": 0.8}), made("1", {"a": 0.4, "b": 1.0})], "run")
    assert mean.name == "run"
    assert mean.values[WT] == pytest.approx({"a": 0.3, "b": 0.9})
    assert mean.patients == ["a", "b"]


def test_a_score_that_one_of_them_lacks_is_left_out():
    assert list(mean_scored([made("0", {"a": 0.2}, (WT, ET)), made("1", {"a": 0.4})], "run").values) == [WT]


def test_other_patients_are_refused():
    with pytest.raises(UserError, match=r"^run, seed 1: expected the patients of run, seed 0; received others"):
        mean_scored([made("run, seed 0", {"a": 0.2}), made("run, seed 1", {"b": 0.2})], "run")


def test_scores_that_are_of_no_patients_are_refused(tmp_path):
    write_records(tmp_path)
    with pytest.raises(UserError, match="expected scores per patient; received those of slices of records"):
        read_scored(read_scores(tmp_path), "x")


def test_a_seed_in_which_a_rule_gives_no_value_is_left_out_and_counted():
    mean = mean_scored([made("0", {"a": 0.0, "b": 0.8}), made("1", {"a": math.nan, "b": 1.0})], "run")
    assert mean.values[WT] == pytest.approx({"a": 0.0, "b": 0.9})
    assert mean.left_out == {WT: 1}
    none = mean_scored([made("0", {"a": math.nan}), made("1", {"a": math.nan})], "run")
    assert math.isnan(none.values[WT]["a"])
    assert none.left_out == {WT: 0}  # the patient itself has no value
