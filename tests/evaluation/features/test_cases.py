"""Cases with a class, from records and from scans."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from data_prep.records.folder import Records
from data_prep.scans import nifti
from data_prep.sources import SourceConfig, open_source
from evaluation.features.cases import from_records, from_source
from training.run import Run

GRADES = {"low": ["LGG"], "high": ["HGG"]}


def test_records_and_scans_give_the_same_cases(graded, validated):
    source, path = graded
    run = Run(validated / "fold0")
    stored = from_records(Records(path), "grade", GRADES)
    scans = from_source(source, SourceConfig(), "grade", GRADES, [run])
    assert stored.counts() == scans.counts() == {"low": 4, "high": 4}
    assert stored.patients == scans.patients == {f"case_{n}": int(n < 4) for n in range(8)}
    for one, other in zip(stored.cases, scans.cases, strict=True):
        assert (one.id, one.scan.files) == (other.id, other.scan.files)
    volume, whole = stored.cases[0].read(run), scans.cases[0].read(run)
    record = Records(path).cases[stored.cases[0].id]
    assert volume.image.shape[:3] == record.shape == (8, 16, 16)
    assert volume.inside is None
    assert whole.image.shape[:3] == whole.inside.shape == (8, 20, 18)
    assert volume.spacing_mm == whole.spacing_mm
    assert stored.warnings == []
    inner = whole.image[:, 2:18, 1:17]
    np.testing.assert_array_equal(volume.image, inner)


def test_unusual_scans_are_warned_of_as_predict_does(graded, validated, tmp_path):
    source = Path(shutil.copytree(graded[0], tmp_path / "scans"))
    files = open_source(source).cases()[0]
    name, image = next(iter(files.channels.items()))
    array, header = nifti.read_image(image), nifti.read_header(image.path)
    nifti.write_image(image.path, np.full_like(array, 7), header.affine)
    scans = from_source(source, SourceConfig(), "grade", GRADES, [Run(validated / "fold0")])
    assert scans.warnings == []
    scans.cases[0].read(Run(validated / "fold0"))
    assert f"{image.path}: {name}: all voxels are 7" in scans.warnings


def test_values_of_the_cases_are_the_classes_where_none_are_named(graded):
    found = from_records(Records(graded[1]), "grade", {}, ["case_0", "case_7"])
    assert found.classes == {"HGG": ["HGG"], "LGG": ["LGG"]}
    assert found.patients == {"case_0": 0, "case_7": 1}


@pytest.mark.parametrize(
    ("attribute", "classes", "wanted", "told"),
    [
        (
            "subtype",
            {},
            None,
            r"expected cases with two values of --attribute subtype at least; received none; the attributes are .*grade",
        ),
        ("grade", {"a": ["HGG"], "b": ["HGG"]}, None, "--classes: expected classes with different values; received HGG twice"),
        ("grade", {"a": ["HGG"], "b": ["x"]}, None, "case case_4: grade is 'LGG', which no class of --classes names; add it"),
        ("grade", {}, ["case_9"], "--cases: expected ids of cases, one a line; received case_9, which is no case of"),
        ("grade", {}, [], "--cases: expected ids of cases, one a line; received none"),
    ],
)
def test_what_cannot_be_a_class_is_refused(graded, attribute, classes, wanted, told):
    with pytest.raises(UserError, match=told):
        from_records(Records(graded[1]), attribute, classes, wanted)


def test_other_channels_than_the_runs_are_refused(graded, validated):
    with pytest.raises(UserError, match=r"--channels: .*fold0 was trained on .*; leave --channels out"):
        from_source(graded[0], SourceConfig(channels=["flair"]), "grade", {}, [Run(validated / "fold0")])
