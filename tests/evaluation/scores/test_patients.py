"""Scores of cases and patients by structure and metric; scores of predictions on disk are tested with evaluation.score."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from common.metrics.catalogue import METRICS, chosen_metrics
from common.metrics.label_pair import LabelPair
from common.metrics.metric import Metric
from data_prep.labels import LabelSchema
from data_prep.structures import CLASS_MEAN, scored_structures
from evaluation.scores.cases import score_case
from evaluation.scores.patients import mean_over_cases, summarise_scores

SCHEMA = LabelSchema.load("brats2023")
SPACING = (1.0, 2.0, 3.0)
volumes = arrays(np.uint8, (3, 4, 5), elements=st.integers(0, 3))


def scored(truth, prediction, spacing=SPACING):
    return score_case(LabelPair.count(truth, prediction, 4, spacing), SCHEMA)


@settings(max_examples=20, deadline=None)
@given(volumes, volumes)
def test_every_structure_has_every_metric(truth, prediction):
    found = scored(truth, prediction)
    pair = LabelPair.count(truth, prediction, 4, SPACING)
    for structure in scored_structures(SCHEMA):
        for name, metric in ((metric.name, metric) for metric in chosen_metrics()):
            if structure != CLASS_MEAN:
                assert found.values[structure, name] == metric(pair.structure(structure.members))
            elif metric.averaged:
                classes = [found.values[each, name] for each in scored_structures(SCHEMA) if each.kind == "class"]
                assert found.values[structure, name] == pytest.approx(np.mean(classes))
            else:
                assert (structure, name) not in found.values
    for structure in scored_structures(SCHEMA)[:-1]:
        assert (structure in found.absent) == (not np.isin(truth, structure.members).any())


def test_a_metric_of_one_entry_has_scores_and_summaries(monkeypatch):
    made = Metric(name="false_ml", heading="false", definition="P without T", compute=lambda pair: 7.0, direction="smaller")
    monkeypatch.setitem(METRICS, "false_ml", made)
    truth = np.full((3, 4, 5), 3, np.uint8)
    scores = mean_over_cases({"p": [scored(truth, truth)]}, SCHEMA)
    named = {(structure.name, metric): summary.mean for (structure, metric), summary in summarise_scores(scores).items()}
    assert (named["ET", "false_ml"], named["edema", "false_ml"]) == (7.0, 1.0)
    assert named["class_mean", "false_ml"] == pytest.approx(3.0)


def test_a_patient_is_the_mean_of_its_cases_and_absence_is_counted():
    full, empty = np.full((3, 4, 5), 3, np.uint8), np.zeros((3, 4, 5), np.uint8)
    scores = mean_over_cases({"b": [scored(full, full), scored(full, empty)], "a": [scored(empty, empty)]}, SCHEMA)
    et = next(structure for structure in scores.structures if structure.name == "ET")
    assert (scores.patients, scores.cases) == (["a", "b"], [1, 2])
    assert scores.by_patient(et, "dice") == {"a": 1.0, "b": 0.5}
    assert scores.by_patient(et, "hd95") == {"a": 0.0, "b": 187.0}
    assert list(scores.absent[et]) == [1, 0]


def test_a_score_that_a_case_lacks_is_left_out():
    full = np.full((3, 4, 5), 3, np.uint8)
    scores = mean_over_cases({"a": [scored(full, full)], "b": [scored(full, full, None)]}, SCHEMA)
    assert {name for _, name in scores.values} == {"dice", "iou", "sensitivity", "precision"}
