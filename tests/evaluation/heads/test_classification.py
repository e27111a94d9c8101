"""Classification heads: which voxels their slices are chosen by, and the table of classes."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest

from data_prep.labels import LabelSchema
from data_prep.prepare import PrepareConfig, prepare
from data_prep.sources import open_source
from evaluation.heads import classification
from evaluation.heads.classification import ClassificationEvaluator, ClassificationPredictor
from evaluation.inference.patient_class import ClassifiedCase
from tests.evaluation.figures.test_runs import write_run
from training.heads.classification import ClassificationHead

TARGET = ClassificationHead("classification", "grade", {"HGG": ["HGG"], "LGG": ["LGG"]})
CLASSIFIERS = SimpleNamespace(runs=[SimpleNamespace(metadata={"pretrained": "random initialisation"})], target=TARGET)


@pytest.fixture
def case(source):
    """A case, as read and as prepared."""
    opened = open_source(source)
    read = opened.read(opened.cases()[0])
    return read, prepare(read, LabelSchema.load("brats2017-2021"), PrepareConfig(crop=None))


@pytest.fixture
def seen(monkeypatch):
    """The voxels that slices were chosen by."""
    found = []

    def classify(files, classifiers, image, voxels):
        found.append(voxels)
        return ClassifiedCase(files.id, files.patient, "HGG", 3, np.array([0.25, 0.75]))

    monkeypatch.setattr(classification, "classify_patient", classify)
    return found


def test_predicted_voxels_go_before_annotated_ones(case, seen, tmp_path):
    predictor = ClassificationPredictor(CLASSIFIERS, tmp_path)
    read, prepared = case
    voxels = np.zeros(prepared.image.shape[:3], np.uint8)
    assert predictor.predict(read, prepared, voxels) is voxels
    assert predictor.predict(read, prepared, None) is None
    assert seen[0] is voxels
    assert (seen[1] > 0).any()


def test_a_row_per_case_is_written_at_the_end(case, seen, tmp_path):
    predictor = ClassificationPredictor(CLASSIFIERS, tmp_path)
    predictor.predict(*case, None)
    assert not (tmp_path / "classes.csv").exists()
    assert predictor.finish() == f", classes in {tmp_path / 'classes.csv'}"
    (row,) = csv.DictReader((tmp_path / "classes.csv").read_text().splitlines())
    assert (row["case"], row["predicted"]) == (case[0].files.id, "LGG")


def test_learning_curves_are_one_figure(tmp_path):
    from evaluation.figures.runs import load_history

    history = load_history(write_run(tmp_path / "grade", kind="classification"))
    assert list(ClassificationEvaluator("classification", []).learning_curves([history])) == ["learning_curves"]


def test_a_run_without_validation_slices_has_no_grad_cam(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(classification, "draw_run_gradcam", lambda *arguments: [])
    run = SimpleNamespace(path=tmp_path, heads={"classification": TARGET})
    head = ClassificationEvaluator("classification", [run])
    assert head.draw_run(None, tmp_path, "") == []
    assert "has no validation slices; Grad-CAM is left out" in capsys.readouterr().out
