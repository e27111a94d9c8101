"""Figure of fine-tuning: the patients and slices that are drawn."""

import numpy as np
import pytest

from data_prep.records.folder import Records
from evaluation.figures.fine_tuning import ranked_slices
from evaluation.scores.records import Counts, Subset
from training.data.batches import InputConfig
from training.data.slices import whole_slices


@pytest.fixture(scope="module")
def subset(records):
    """The slices of the training patients, with no network."""
    opened = Records(records)
    cases = opened.subset("train")
    source = whole_slices(opened, cases, InputConfig())
    patients = [opened.cases[source.items[item][0]].patient for item, _ in source.rows]
    return Subset(None, opened, source, InputConfig(), patients, True)


def counts(subset, hits):
    """Patient -> a confusion matrix of 10 voxels of tumour, of which so many are found; None: without tumour."""
    patients = sorted(set(subset.patients))
    made = [[[5, 0], [0 if hit is None else 10 - hit, hit or 0]] for hit in hits]
    return Counts(0.0, {patient: np.array(matrix) for patient, matrix in zip(patients, made, strict=True)})


def test_the_best_the_median_and_the_worst_patient_are_drawn_where_most_tumour_is(subset):
    first, second, third = sorted(set(subset.patients))
    found = ranked_slices(subset, counts(subset, [2, 9, 5]))
    assert [(each.patient, each.rank) for each in found] == [(second, "best"), (third, "median"), (first, "worst")]
    for each in found:
        item, number = subset.source.rows[each.index]
        facts = subset.records.cases[subset.source.items[item][0]]
        tumour = facts.voxels[:, 1:].sum(axis=1)
        assert facts.patient == each.patient
        assert tumour[number] == tumour.max() > 0


@pytest.mark.parametrize(
    ("hits", "ranks"),
    [([None, 9, 5], ["best", "worst"]), ([None, None, 5], ["best"]), ([None, None, None], ["best", "median", "worst"])],
)
def test_patients_without_tumour_are_left_out_where_there_are_others(subset, hits, ranks):
    found = ranked_slices(subset, counts(subset, hits))
    assert [each.rank for each in found] == ranks
