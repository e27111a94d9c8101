import json
import shutil

import numpy as np
import pytest

from common.errors import UserError
from data_prep.labels import bits_to_classes
from data_prep.prepare import PrepareConfig, prepare
from data_prep.records.folder import Records
from data_prep.sources import open_source


@pytest.fixture
def own(records, tmp_path):
    """A copy of the small records that a test may damage."""
    return shutil.copytree(records, tmp_path / "own")


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_records_explain_themselves(records):
    opened = Records(records)
    assert opened.channels == ["flair", "t1", "t1ce", "t2"]
    assert opened.preparation == PrepareConfig(size=(8, 16, 16))
    assert opened.schema.class_names[0] == "background"
    assert sorted(opened.cases) == [f"case_{number}" for number in range(5)]
    assert {name: len(ids) for name, ids in opened.split.items()} == {"train": 3, "validation": 1, "test": 1}
    assert opened.copies == 1
    assert len(opened.folds) == 2


def test_a_case_is_what_prepare_makes_of_its_scan(records, source):
    opened = Records(records)
    scans = open_source(source)
    for files in scans.cases():
        expected = prepare(scans.read(files), opened.schema, opened.preparation)
        shard, facts = opened.shard(files.id), opened.cases[files.id]
        np.testing.assert_array_equal(shard.image, expected.image)
        np.testing.assert_array_equal(shard.label, expected.label)
        assert facts.geometry == expected.geometry
        assert facts.tumour_lost == expected.tumour_lost
        assert facts.attributes["grade"] in ("HGG", "LGG")
        assert (facts.id, facts.patient, facts.copy, facts.missing) == (files.id, files.id, 0, [])


def test_the_counts_are_those_of_the_voxels(records):
    opened = Records(records)
    for case in opened.cases:
        for copy in range(opened.copies_of(case) + 1):
            shard, facts = opened.shard(case, copy), opened.case(case, copy)
            classes = bits_to_classes(shard.label)
            for c in range(len(opened.schema.classes)):
                np.testing.assert_array_equal(facts.voxels[:, c], (classes == c).sum(axis=(1, 2)))
            np.testing.assert_array_equal(facts.brain, (shard.image != 0).any(axis=-1).sum(axis=(1, 2)))
            np.testing.assert_array_equal(facts.tumour_slices, (shard.label > 1).any(axis=(1, 2)))
            assert facts.shape == shard.label.shape


def test_a_truth_goes_through_records_and_back_bit_for_bit(records, source):
    opened = Records(records)
    scans = open_source(source)
    for files in scans.cases():
        truth = scans.read(files).label
        geometry = opened.cases[files.id].geometry
        ids = opened.schema.to_ids(bits_to_classes(opened.shard(files.id).label), truth.dtype)
        back = geometry.to_native(ids)
        inside = geometry.to_native(np.ones(geometry.size, bool))
        np.testing.assert_array_equal(back[inside], truth[inside])
        assert inside.sum() == 8 * 16 * 16


def test_only_cases_that_are_not_for_test_have_copies(records):
    opened = Records(records)
    assert {case: opened.copies_of(case) for case in opened.cases} == {
        case: 0 if case in opened.split["test"] else 1 for case in opened.cases
    }
    case, test = opened.split["train"][0], opened.split["test"][0]
    assert opened.items_of([test, case], copies=True) == [(test, 0), (case, 0), (case, 1)]
    assert opened.items_of([test, case], copies=False) == [(test, 0), (case, 0)]


def test_a_copy_is_another_picture_of_the_same_case(records):
    opened = Records(records)
    case = opened.split["train"][0]
    original, copy = opened.shard(case), opened.shard(case, 1)
    assert original.image.shape == copy.image.shape
    assert (original.image != copy.image).any()
    assert opened.case(case, 1).copy == 1
    assert opened.case(case, 1).geometry == opened.case(case).geometry


def test_subsets_and_folds(records):
    opened = Records(records)
    assert opened.subset("validation") == opened.split["validation"]
    for fold in range(2):
        train, validation = opened.subset("train", fold), opened.subset("validation", fold)
        assert sorted(train + validation) == sorted(opened.split["train"] + opened.split["validation"])
        assert opened.subset("test", fold) == opened.split["test"]


@pytest.mark.parametrize("fold", [-1, 2])
def test_an_unknown_fold_is_refused(records, fold):
    with pytest.raises(UserError, match=rf"expected a fold of 0\.\.1; received {fold}"):
        Records(records).subset("train", fold)


def test_an_unknown_subset_is_refused(records):
    with pytest.raises(UserError, match="expected a subset of train, validation, test; received dev"):
        Records(records).subset("dev")


def test_the_fingerprint_is_that_of_content_and_division_wherever_it_stands(records, own):
    before = Records(records).fingerprint
    assert Records(own).fingerprint == before
    manifest = own / "dataset.json"
    values = json.loads(manifest.read_text())
    edit(manifest, split=values["split"] | {"train": [], "test": list(values["cases"])})
    assert Records(own).fingerprint != before
    edit(manifest, split=values["split"], folds=values["folds"][::-1])
    assert Records(own).fingerprint != before
    edit(manifest, folds=values["folds"])
    assert Records(own).fingerprint == before
    edit(manifest, cases=values["cases"] | {"case_0": [1]})
    assert Records(own).fingerprint != before


@pytest.mark.parametrize(
    ("prepare_folder", "said"),
    [
        (lambda own: shutil.rmtree(own), "found no records"),
        (lambda own: (own / "dataset.json").unlink(), "found an unfinished build; run make_records again"),
        (lambda own: edit(own / "dataset.json", format=99), "expected records of format 1; received 99"),
        (lambda own: (own / "dataset.json").write_text("{"), "is not JSON"),
        (lambda own: edit(own / "dataset.json", preparation={"crop": "moon"}), "crop"),
    ],
)
def test_what_are_no_records_is_refused_in_one_line(own, prepare_folder, said):
    prepare_folder(own)
    with pytest.raises(UserError) as error:
        Records(own)
    assert said in str(error.value)
    assert str(own) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_case_is_refused(own):
    (own / "cases" / "case_0.json").unlink()
    with pytest.raises(UserError, match=r"case_0\.json: case of the records is missing; call glioskull make_records again"):
        _ = Records(own).cases


def test_a_shortened_shard_is_refused(own):
    path = own / "cases" / "case_0.tfrecord"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"case_0\.tfrecord: shard has"):
        Records(own).shard("case_0")


def test_channels_in_another_order_than_they_were_stored_are_refused(own):
    edit(own / "dataset.json", channels=Records(own).channels[::-1])
    with pytest.raises(UserError, match=r"json: holds the channels .*; dataset.json says .*; put dataset.json back"):
        _ = Records(own).cases
