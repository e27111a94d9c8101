"""Segmentation heads: what is written for a case, and what is drawn of folds. The commands' tests cover the rest."""

from dataclasses import replace
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest

from common.metrics.catalogue import METRICS
from data_prep.labels import LabelSchema
from data_prep.prepare import PrepareConfig, prepare
from data_prep.sources import open_source
from data_prep.structures import scored_structures
from evaluation.figures import patients as figures_patients
from evaluation.heads import segmentation
from evaluation.heads.base import Folds, PredictionTask
from evaluation.heads.segmentation import SegmentationEvaluator, SegmentationPredictor
from evaluation.inference.ensemble import InferenceConfig
from evaluation.inference.postprocess import PostprocessConfig, save
from tests.evaluation.figures.test_runs import write_run

SCHEMA = LabelSchema.load("brats2017-2021")


class Halves:
    """In the place of an ensemble: the left half of every volume is edema."""

    def __init__(self, channels):
        self.runs = [SimpleNamespace(channels=channels, heads={"segmentation": None})]
        self.asked = []

    def classes(self, image, inside):
        self.asked.append("classes")
        return self.probabilities(image, inside).argmax(axis=-1).astype(np.uint8)

    def probabilities(self, image, inside):
        self.asked.append("probabilities")
        found = np.zeros((*image.shape[:3], 4), np.float32)
        found[..., : image.shape[2] // 2, 1] = found[..., image.shape[2] // 2 :, 0] = 1
        return found


@pytest.fixture
def predicted(source, tmp_path):
    """`predicted(**options)`: the predictor after one case, its class indices, and its ensemble."""
    opened = open_source(source)
    case = opened.read(opened.cases()[0])
    prepared = prepare(case, SCHEMA, PrepareConfig(crop=None))

    def predict(brain=None, **options):
        defaults = {"probabilities": False, "inside_only": False, "overlays": False, "postprocess": PostprocessConfig()}
        task = PredictionTask(
            source=opened, out=tmp_path, schema=SCHEMA, engines={}, inference=InferenceConfig(), **(defaults | options)
        )
        ensemble = Halves(opened.channels)
        predictor = SegmentationPredictor(ensemble, task)
        return predictor, predictor.predict(case, replace(prepared, brain=brain), None), ensemble, case, prepared

    return predict


def test_ids_are_written_on_the_patients_own_grid(predicted, tmp_path):
    predictor, classes, ensemble, case, prepared = predicted()
    image = nibabel.load(tmp_path / f"{case.files.id}.nii.gz")
    np.testing.assert_array_equal(np.asarray(image.dataobj), SCHEMA.to_ids(prepared.geometry.to_native(classes)))
    np.testing.assert_array_equal(image.affine, case.affine)
    assert ensemble.asked == ["classes", "probabilities"]
    assert predictor.finish() == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{case.files.id}.nii.gz"]


def test_outside_the_patient_is_background(predicted):
    _, everywhere, *_ = predicted()
    _, inside, _, _, prepared = predicted(inside_only=True)
    patient = (prepared.image != 0).any(axis=-1)
    np.testing.assert_array_equal(inside, np.where(patient, everywhere, 0))


def test_outside_a_stored_mask_is_background(predicted):
    *_, prepared = predicted()
    mask = np.zeros(prepared.image.shape[:3], bool)
    mask[2:5, 3:6] = True
    _, inside, *_ = predicted(inside_only=True, brain=mask)
    assert inside[mask].any()
    assert not inside[~mask].any()


def test_probabilities_and_overlays_are_written_where_asked_for(predicted, tmp_path):
    predictor, _, ensemble, case, _ = predicted(probabilities=True, overlays=True)
    written = nibabel.load(tmp_path / f"{case.files.id}_probabilities.nii.gz")
    assert written.shape[-1] == 4
    assert ensemble.asked == ["probabilities"]
    assert (tmp_path / "overlays" / f"{case.files.id}.png").is_file()
    assert predictor.finish() == f", pictures in {tmp_path / 'overlays'}"


def test_rules_on_voxels_are_applied(predicted):
    _, classes, *_ = predicted(postprocess=PostprocessConfig(least_voxels={"foreground": 10**6}))
    assert not classes.any()


def test_stored_rules_are_those_of_every_run(tmp_path):
    rules = PostprocessConfig(threshold=0.4)
    for name in "ab":
        (tmp_path / name).mkdir()
    head = SimpleNamespace(per_voxel=True)
    runs = [SimpleNamespace(path=tmp_path / name, heads={"segmentation": head}) for name in "ab"]
    save(runs[0], "segmentation", rules, {})
    assert SegmentationEvaluator("segmentation", runs).stored_postprocessing() == [rules, PostprocessConfig()]


def test_learning_curves_are_of_iou_and_of_dice(tmp_path):
    from evaluation.figures.runs import load_history

    curves = SegmentationEvaluator("segmentation", []).learning_curves([load_history(write_run(tmp_path / "a"))])
    assert list(curves) == ["learning_curves_iou", "learning_curves_dice"]
    assert "mean_dice" in curves["learning_curves_dice"].panels


def test_folds_are_drawn_under_their_names(tmp_path, monkeypatch):
    """The patients of fold 1 are those of the validation list of fold 1, and the worst patients' overlays are copied."""
    cases = {name: SimpleNamespace(patient=name.upper(), attributes={"site": "X" if name in "ab" else "Y"}) for name in "abcd"}
    records = SimpleNamespace(cases=cases, folds=[{"validation": ["a", "b"]}, {"validation": ["c", "d"]}])
    predictions, called, drawn = tmp_path / "predictions", [], {}
    (predictions / "scores").mkdir(parents=True)
    (predictions / "overlays").mkdir()
    for name in cases:
        (predictions / "overlays" / f"{name}.png").write_bytes(name.encode())
    dice = {"A": 0.9, "B": 0.1, "C": 0.5, "D": 0.3}
    structure = scored_structures(SCHEMA)[0]
    scores = SimpleNamespace(structures=[structure], by_patient=lambda structure, metric: dice)
    monkeypatch.setattr(segmentation, "read_scores", lambda path: path)
    monkeypatch.setattr(segmentation, "read_patient_scores", lambda path: scores)
    monkeypatch.setattr(segmentation, "draw_boxes", lambda path, boxes, metric, title, names: drawn.update(boxes))
    monkeypatch.setattr(segmentation, "draw_per_patient", lambda path, scores, metric, title, names: drawn.update(title=title))
    (tmp_path / "figures").mkdir()
    folds = Folds(["run0", "run1"], records, tmp_path, tmp_path, predictions, lambda *words: called.append(words))
    SegmentationEvaluator("segmentation", []).score_folds(folds)
    assert called == [("evaluation.score", "--predictions", predictions, "--source", tmp_path)]
    assert drawn["fold 0: X"] == {"A": 0.9, "B": 0.1}
    assert drawn["fold 1: Y"] == {"C": 0.5, "D": 0.3}
    assert drawn["all folds"] == dice
    assert drawn["title"] == f"{structure.title}, whole volume"
    worst = figures_patients.worst_patients(dice, METRICS["dice"])
    names = [f"worst_{rank}_{patient.lower()}.png" for rank, patient in enumerate(worst, 1)]
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == sorted(names)
    for path in (tmp_path / "figures").iterdir():
        path.unlink()
    SegmentationEvaluator("segmentation", []).score_folds(replace(folds, ids=False))
    assert not list((tmp_path / "figures").iterdir())
