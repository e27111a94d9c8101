"""Tests of the search for training patients among scans."""

from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from data_prep.records.folder import Records
from data_prep.sources import open_source
from evaluation.inference.provenance import unknown_training
from evaluation.inference.training_search import TrainingSearch
from tests.conftest import write_source
from training.config import TrainConfig


def a_run(records, fold=None, split="patient"):
    """A run that was trained on records, or on a fold of them."""
    fingerprint = Records(records).fingerprint
    return SimpleNamespace(
        path=Path("run"),
        metadata={},
        records_paths=[records],
        config=TrainConfig(fold=fold, split=split),
        trained_on=lambda other: other.fingerprint == fingerprint,
    )


@pytest.mark.parametrize("fold", [None, 0, 1])
def test_training_cases_are_those_of_the_subset_or_fold(records, source, fold):
    cases = open_source(source).cases()
    train = Records(records).subset("train", fold)
    assert 0 < len(train) < len(cases)
    found = TrainingSearch([a_run(records, fold)] * 2, cases).found
    assert found == [{"records": str(records), "fold": fold, "cases": sorted(train)}]
    others = [files for files in cases if files.id not in train]
    assert TrainingSearch([a_run(records, fold)], others).found == []


def test_a_split_by_slice_trains_on_validation_cases_too(records, source):
    (found,) = TrainingSearch([a_run(records, split="slice")], open_source(source).cases()).found
    assert len(found["cases"]) == 4


def test_other_scans_of_the_same_ids_did_not_train(records, tmp_path):
    other = write_source(tmp_path / "other")
    for path in other.rglob("*.nii.gz"):  # the same names, other bytes
        path.write_bytes(path.read_bytes() + b"\0")
    assert TrainingSearch([a_run(records)], open_source(other).cases()).found == []


def test_records_that_are_gone_or_changed_leave_it_unknown(records, source, tmp_path):
    run = a_run(records)
    assert unknown_training([run]) == []
    run.records_paths = [tmp_path / "gone"]
    assert TrainingSearch([run], open_source(source).cases()).found == []
    assert unknown_training([run, run]) == [f"{tmp_path / 'gone'}: is no longer what run was trained on"]
    run.records_paths, run.trained_on = [records], lambda other: False
    assert TrainingSearch([run], open_source(source).cases()).found == []


def test_training_scans_under_another_name_are_found(records, source, tmp_path):
    (train, *_) = Records(records).subset("train")
    (found,) = source.glob(f"*/{train}")
    other = tmp_path / "HGG" / "renamed"
    other.mkdir(parents=True)
    for path in found.iterdir():
        (other / path.name.replace(train, "renamed")).write_bytes(path.read_bytes())
    (entry,) = TrainingSearch([a_run(records)], open_source(tmp_path).cases()).found
    assert entry["cases"] == ["renamed"]


def test_training_scans_that_were_saved_anew_are_found_by_their_images(records, source, tmp_path, capsys):
    (train, *_), (test, *_) = (Records(records).subset(name) for name in ("train", "test"))
    for name, case in (("renamed", train), ("other", test)):
        (folder,) = source.glob(f"*/{case}")
        (tmp_path / "HGG" / name).mkdir(parents=True)
        for path in folder.iterdir():
            image = nib.load(path)
            mirrored = nib.Nifti1Image(np.asarray(image.dataobj)[::-1].astype(np.float32), image.affine)
            nib.save(mirrored, tmp_path / "HGG" / name / path.name.replace(case, name))
    opened = open_source(tmp_path)
    cases = opened.cases()
    search = TrainingSearch([a_run(records)], cases)
    search.print_warning()
    assert (search.found, capsys.readouterr().err) == ([], "")
    for files in cases:
        search.compare_images(opened.read(files))
    assert [entry["cases"] for entry in search.found] == [["renamed"]]
    search.print_rest()
    assert "warning: 1 of 2 patients trained these runs" in capsys.readouterr().err
    again = TrainingSearch([a_run(records)], cases, search.found)
    again.print_warning()
    assert "warning: 1 of 2 patients trained these runs" in capsys.readouterr().err
    again.print_rest()
    assert capsys.readouterr() == ("", "")
