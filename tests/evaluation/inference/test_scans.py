import numpy as np
import pytest

from common.errors import UserError
from common.files import write_json
from data_prep.labels import LabelSchema
from data_prep.prepare import PrepareConfig
from data_prep.sources import open_source
from evaluation.inference.scans import read_scan
from tests import scans

SCHEMA = LabelSchema.load("brats2017-2021")


@pytest.fixture
def case():
    return scans.scan("case_a", 0, (20, 18, 12))


@pytest.fixture
def opened(tmp_path, case):
    return open_source(scans.write_brats(tmp_path / "source", [case]))


def predict(folder, label, affine=scans.LPS):
    folder.mkdir()
    scans.save(folder / "case_a.nii.gz", label, affine)
    write_json(folder / "predictions.json", {"format": 1, "runs": [], "schema": SCHEMA.to_dict(), "cases": ["case_a"]})
    return folder


def read(opened, *folders, channel=None):
    return read_scan(opened, opened.cases()[0], channel, folders, SCHEMA, PrepareConfig())


def test_image_annotation_and_predictions_lie_on_one_grid(opened, case, tmp_path):
    found = read(opened, predict(tmp_path / "same", case.label), predict(tmp_path / "none", np.zeros_like(case.label)))
    assert (found.id, found.channel, found.title) == ("case_a", "flair", "case_a, flair")
    assert found.image.shape == found.classes.shape == (12, 18, 20)
    assert found.geometry.spacing_mm is not None
    same, none = found.predictions
    np.testing.assert_array_equal(same, found.classes)
    assert not none.any()


def test_a_channel_is_chosen(opened):
    assert read(opened, channel="t1ce").channel == "t1ce"
    with pytest.raises(UserError, match="expected --channel to be one of flair, t1, t1ce, t2; received PET"):
        read(opened, channel="PET")


def test_a_prediction_of_another_shape_is_refused(opened, case, tmp_path):
    with pytest.raises(UserError, match="case_a"):
        read(opened, predict(tmp_path / "short", case.label[:-1]))
