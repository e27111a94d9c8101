import numpy as np

from evaluation.reports.content import Chart, PatientTable
from evaluation.reports.patients import PatientFacts, patient_table, patients_section, remarks, shown_attributes, worst_first
from evaluation.scores.folder import read_patient_scores, read_scores


def scores(folder):
    return read_patient_scores(read_scores(folder))


def facts(folder, **given):
    return PatientFacts({patient: patient for patient in scores(folder).patients}, **given)


def test_the_worst_patient_comes_first(predictions):
    found = scores(predictions)
    dice = found.by_patient(found.structures[0], "dice")
    assert [dice[patient] for patient in worst_first(predictions)] == sorted(dice.values())


def test_the_table_has_all_printed_scores_and_the_attributes(predictions):
    found = scores(predictions)
    table = patient_table({"a": found}, facts(predictions, attributes={"case_0": {"grade": "HGG"}}, scans={"case_1": 3}))
    assert [row.name for row in table.rows] == worst_first(predictions)
    assert {column.metric for column in table.columns} == {"dice", "hd95", "sensitivity", "precision", ""}
    assert table.columns[-1].name == "grade"
    row = next(row for row in table.rows if row.name == "case_0")
    dice = table.columns.index(next(column for column in table.columns if column.metric == "dice"))
    assert row.cells[dice] == found.by_patient(found.structures[0], "dice")["case_0"]
    assert row.cells[-1] == "HGG"
    assert {row.name: row.scan for row in table.rows}["case_1"] == 3


def test_several_sets_stand_beside_each_other(predictions):
    found = scores(predictions)
    table = patient_table({"a": found, "b": found}, facts(predictions))
    names = [column.name for column in table.columns if column.metric == "dice"]
    assert {name.rpartition(", ")[2] for name in names} == {"a", "b"}


def test_folds_and_sets_have_a_chart(predictions):
    folds = {"fold 0": ["case_0", "case_1"], "fold 1": ["case_2"], "fold 2": ["elsewhere"]}
    blocks = patients_section({"a": predictions}, facts(predictions, folds=folds)).blocks
    assert [type(block) for block in blocks] == [PatientTable, Chart, Chart]
    assert "all folds" in blocks[1].svg
    assert "fold 2" not in blocks[1].svg
    sets = patients_section({"a": predictions, "b": predictions}, facts(predictions)).blocks
    assert "by set of predictions" in sets[1].caption
    assert len(patients_section({"a": predictions}, facts(predictions)).blocks) == 2
    assert patients_section({}, PatientFacts({})).blocks == []


def test_hidden_ids_are_nowhere(predictions):
    names = {patient: f"patient {number}" for number, patient in enumerate(scores(predictions).patients)}
    blocks = patients_section({"a": predictions}, PatientFacts(names, folds={"fold 0": ["case_0", "case_1"]})).blocks
    assert "case_" not in repr(blocks)


def test_remarks_name_what_failed(predictions):
    found = scores(predictions)
    region = found.structures[0]
    place = found.patients.index("case_2")
    for dice, predicted, true, absent, expected in (
        (0.9, 1.0, 1.0, 0, []),
        (0.0, 0.0, 1.0, 0, [f"{region.name} missed"]),
        (0.0, 1.0, 0.0, 1, [f"{region.name} predicted, but not there"]),
        (0.25, 1.0, 7.0, 0, [f"{region.name} 0.25 (1.0 of 7.0 ml)"]),
    ):
        for structure in found.structures:
            found.values[structure, "dice"] = np.ones(5)
        found.values[region, "dice"][place] = dice
        found.values[region, "predicted_ml"][place], found.values[region, "true_ml"][place] = predicted, true
        found.absent[region][place] = absent
        assert remarks(found, "case_2") == expected
    for name in ("predicted_ml", "true_ml"):
        del found.values[region, name]
    found.values[region, "dice"][place] = 0.25
    assert remarks(found, "case_2") == [f"{region.name} 0.25"]


def test_attributes_that_repeat_an_id_are_left_out():
    attributes = {f"TCGA_DU_{n}": {"Patient": f"TCGA_DU_{n}", "grade": "II", "born": f"19{n}0"} for n in range(4)}
    assert shown_attributes(attributes, ["TCGA_DU_1"], False) == {"TCGA_DU_1": {"grade": "II", "born": "1910"}}
    hidden = shown_attributes(attributes, list(attributes), True)
    assert hidden["TCGA_DU_2"] == {"grade": "II"}
    assert shown_attributes({}, ["a"], False) == {"a": {}}
