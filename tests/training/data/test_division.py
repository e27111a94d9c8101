"""Division of cases, and of slices without regard to patients."""

import json
import shutil
from dataclasses import replace

from data_prep.records.folder import Records
from tests.training.runs import training_sources, tumour_grade
from training.config import TrainConfig
from training.data.batches import InputConfig
from training.data.division import divide_cases, divide_slices, slice_split
from training.data.slices import training_slices, whole_slices

PARTS = 3


def slices_of(source):
    """(case, slice) of each row."""
    return [(source.items[item][0], int(number)) for item, number in source.rows]


def test_parts_of_a_slice_split_are_disjoint_and_cover_all(opened):
    whole = training_sources(opened)
    validated = []
    for part in range(PARTS):
        (train,), (validation,) = slice_split(whole, PARTS, part, seed=0)
        assert len(train) + len(validation) == len(whole[0])
        # Copies go with their slice: no augmented picture of a validation slice is trained on.
        assert set(slices_of(train)).isdisjoint(slices_of(validation))
        assert {case for case, _ in slices_of(train)} == {case for case, _ in slices_of(validation)}
        validated += sorted(set(slices_of(validation)))
    assert sorted(validated) == sorted(set(slices_of(whole[0])))


def test_a_slices_part_depends_on_case_and_seed_alone(opened):
    one = whole_slices(opened, ["case_1"], InputConfig())
    several = whole_slices(opened, ["case_3", "case_1", "case_0"], InputConfig())
    tumour = whole_slices(opened, ["case_1"], InputConfig(), tumour_grade(opened))
    found = {}
    for name, source in (("one", one), ("several", several), ("tumour", tumour)):
        _, (part,) = slice_split([source], PARTS, 1, seed=4)
        found[name] = {number for case, number in slices_of(part) if case == "case_1"}
    assert found["one"] == found["several"]
    assert found["tumour"] == {number for number in found["one"] if opened.cases["case_1"].tumour_slices[number]}
    other = {number for _, number in slices_of(slice_split([one], PARTS, 1, seed=5)[1][0])}
    assert other != found["one"]


def test_a_training_by_slices_takes_all_patients_but_those_for_test(opened):
    config = TrainConfig(split="slice", seed=2)
    train, validation = divide_cases(opened, config)
    assert train == validation == sorted(set(opened.cases) - set(opened.split["test"]))
    given = training_slices(opened, train, config.input)
    (trained,), validated = divide_slices(opened, config, given, whole_slices(opened, validation, config.input))
    assert set(slices_of(trained)).isdisjoint(slices_of(validated))
    assert set(slices_of(trained)) | set(slices_of(validated)) == set(slices_of(given[0]))
    assert all(copy == 0 for _, copy in validated.items)
    folds = [
        divide_slices(opened, replace(config, fold=fold), given, whole_slices(opened, validation, config.input))
        for fold in (0, 1)
    ]
    assert set(slices_of(folds[0][1])).isdisjoint(slices_of(folds[1][1]))


def test_a_training_by_patients_keeps_them_apart(opened):
    config = TrainConfig()
    train, validation = divide_cases(opened, config)
    assert set(train).isdisjoint(validation)
    given, whole = training_sources(opened), whole_slices(opened, validation, config.input)
    assert divide_slices(opened, config, given, whole) == (given, whole)


def test_without_folds_a_slice_split_deals_five_parts(records, tmp_path):
    copy = shutil.copytree(records, tmp_path / "records")
    manifest = json.loads((copy / "dataset.json").read_text())
    manifest["folds"] = []
    (copy / "dataset.json").write_text(json.dumps(manifest))
    opened, config = Records(copy), TrainConfig(split="slice")
    whole = whole_slices(opened, ["case_0", "case_1"], config.input)
    _, validated = divide_slices(opened, config, training_sources(opened), whole)
    assert len(validated) == 2 * 2  # of 8 slices of a case, places 0 and 5
