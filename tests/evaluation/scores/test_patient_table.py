"""Table of patients: what is written is read back; what is damaged is one line."""

import csv
import math

import numpy as np
import pytest

from common.errors import UserError
from common.files import write_text
from common.metrics.catalogue import chosen_metrics
from common.tables import csv_text
from evaluation.scores.patient_table import patient_rows, read_patient_table
from evaluation.scores.trained import TrainedPatients
from tests.evaluation.scores.test_folder import SCHEMA, made_scores


def write_table(file, scores):
    write_text(file, csv_text(patient_rows(scores, TrainedPatients(len(scores.patients)))))
    return file


def test_rows_have_a_column_for_each_metric():
    rows = patient_rows(made_scores(0), TrainedPatients(8, frozenset({"p00"})))
    names = [metric.name for metric in chosen_metrics()]
    assert rows[0] == ["patient", "cases", "kind", "structure", *names, "cases_absent_in_truth", "trained"]
    assert rows[1][:4] == ["p00", 1, "region", "WT"]
    assert {(row[0], row[-1]) for row in rows[1:]} == {(f"p{number:02d}", int(number == 0)) for number in range(8)}


def test_values_are_read_back_and_an_unknown_one_is_an_empty_cell(tmp_path):
    made = made_scores(0)
    made.values[made.structures[0], "hd95"][3] = math.nan
    file = write_table(tmp_path / "t.csv", made)
    assert "nan" not in file.read_text()
    made.values[made.structures[0], "hd95"][3] = 1.0
    found = read_patient_table(write_table(file, made), SCHEMA, {"p01": "no file"})
    assert (found.patients, found.cases, found.missing) == (made.patients, made.cases, {"p01": "no file"})
    assert set(found.values) == set(made.values)
    for key, column in made.values.items():
        np.testing.assert_allclose(found.values[key], column, atol=1e-6)


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        ("dice", "1.5", "patient p00, WT: expected dice of 0 to 1; received '1.5'"),
        ("hd95", "-1", "patient p00, WT: expected hd95 of at least 0; received '-1'"),
        ("hd95", "inf", "patient p00, WT: expected hd95 of at least 0; received 'inf'"),
        ("dice", "", "patient p00, WT: expected dice of 0 to 1; received ''"),
        ("cases", "two", "patient p00: cases: "),
        ("structure", "XY", "expected a row for each patient and structure of schema brats2017-2021; received other rows"),
    ],
)
def test_a_damaged_cell_is_one_line(tmp_path, column, cell, words):
    file = write_table(tmp_path / "t.csv", made_scores(0))
    rows = list(csv.DictReader(file.open()))
    rows[0][column] = cell
    write_text(file, csv_text([list(rows[0]), *(list(row.values()) for row in rows)]))
    with pytest.raises(UserError) as refused:
        read_patient_table(file, SCHEMA, {})
    assert str(refused.value).startswith(f"{file}: ")
    assert words in str(refused.value)


def test_another_table_is_one_line(tmp_path):
    write_text(tmp_path / "t.csv", "a,b\n1,2\n")
    with pytest.raises(UserError, match="expected scores per patient, as glioskull score writes them; received another table"):
        read_patient_table(tmp_path / "t.csv", SCHEMA, {})
