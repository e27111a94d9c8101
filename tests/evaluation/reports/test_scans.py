import base64
import shutil
import zlib

import nibabel
import numpy as np
import pytest

from common.errors import UserError
from data_prep.labels import LabelSchema
from data_prep.sources import open_source
from evaluation.reports import volumes
from evaluation.reports.scans import chosen_cases, scan_viewer

SCHEMA = LabelSchema.load("brats2017-2021")
MODULE = "export{Niivue}"
NAMES = {f"case_{number}": f"patient {number}" for number in range(5)}


@pytest.fixture
def opened(source):
    return open_source(source)


def view(opened, predictions, room=10**6, folders=None, **options):
    cases = chosen_cases(opened, ["case_0", "case_1"], ["case_1", "case_0"], 5)
    return scan_viewer(opened, cases, folders or {"tiny": predictions}, NAMES, SCHEMA, MODULE, room, **options)


def test_scans_stand_in_the_order_of_the_patients(opened, predictions):
    viewer = view(opened, predictions)
    assert [scan["name"] for scan in viewer.scans] == ["patient 1", "patient 0"]
    assert viewer.scans[0]["caption"] == "patient 1, flair"
    assert viewer.classes == SCHEMA.class_names[1:]
    assert [name for name, _ in viewer.overlays] == ["truth", "prediction", "differences"]
    assert set(viewer.scans[0]["labels"]) == {"truth", "prediction"}


def test_several_predictions_have_their_names(opened, predictions):
    viewer = view(opened, predictions, folders={"a": predictions, "b": predictions}, channel="t1ce")
    assert viewer.overlays[1:3] == [("prediction", "a"), ("prediction2", "b")]
    assert viewer.scans[0]["caption"] == "patient 1, t1ce"


def test_scans_are_made_smaller_until_they_fit(opened, predictions, monkeypatch):
    monkeypatch.setattr(volumes, "SMALLEST", 4)
    large, small = view(opened, predictions), view(opened, predictions, room=2)
    assert all(not scan["halved"] for scan in large.scans)
    assert all(scan["halved"] for scan in small.scans)
    assert "2 of 2 have half as many voxels" in small.note
    assert "half" not in large.note


def test_cases_of_some_patients_are_chosen(opened):
    chosen = chosen_cases(opened, ["case_0", "case_3"], ["case_3", "case_1", "case_0"], 2)
    assert [files.id for files in chosen] == ["case_3"]
    with pytest.raises(UserError, match="expected the scans that were predicted; it has none of them"):
        chosen_cases(opened, ["other"], ["other"], 5)


def test_stored_probabilities_are_an_overlay(opened, predictions, tmp_path):
    copy = shutil.copytree(predictions, tmp_path / "copy")
    image = nibabel.load(copy / "case_0.nii.gz")
    background = np.ones((*image.shape, 2), np.float32)
    background[5, 6, 4, 0] = 0.5
    nibabel.save(nibabel.Nifti1Image(background, image.affine), copy / "case_0_probabilities.nii.gz")
    viewer = view(opened, copy)
    assert viewer.overlays[-1] == ("probability", "tumour probability")
    with_map, without = viewer.scans[1], viewer.scans[0]
    levels = np.frombuffer(zlib.decompress(base64.b64decode(with_map["labels"]["probability"])), np.uint8)
    assert sorted(set(levels.tolist())) == [0, 128]
    assert (levels == 128).sum() == 1
    assert "probability" not in without["labels"]


def test_probabilities_of_another_shape_are_refused(opened, predictions, tmp_path):
    copy = shutil.copytree(predictions, tmp_path / "copy")
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 2, 2, 2), np.float32), np.eye(4)), copy / "case_0_probabilities.nii.gz")
    with pytest.raises(UserError, match=r"case_0_probabilities.nii.gz: expected the shape"):
        view(opened, copy)


def test_a_set_without_a_prediction_of_a_case_is_passed_over(opened, predictions, tmp_path):
    copy = shutil.copytree(predictions, tmp_path / "copy")
    (copy / "case_0.nii.gz").unlink()
    viewer = view(opened, predictions, folders={"a": predictions, "b": copy})
    assert set(viewer.scans[0]["labels"]) == {"truth", "prediction", "prediction2"}
    assert set(viewer.scans[1]["labels"]) == {"truth", "prediction"}
