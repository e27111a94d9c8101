"""The contract of heads in evaluation: the lookup by kind, agreement of runs, and the order of prediction."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from common.errors import UserError
from data_prep.labels import LabelSchema
from evaluation.heads import common_evaluators, evaluators_of
from evaluation.heads.base import HeadEvaluator
from evaluation.heads.classification import ClassificationEvaluator
from evaluation.heads.segmentation import SegmentationEvaluator
from training import heads as trained


def a_run(name, kind="segmentation", attribute="grade", classes=("HGG", "LGG")):
    """A run with one head."""
    if kind == "segmentation":
        head = trained.SegmentationHead(kind, LabelSchema.load("binary"))
    else:
        head = trained.ClassificationHead(kind, attribute, {name: [name] for name in classes})
    return SimpleNamespace(path=Path(name), heads={head.name: head})


def test_each_kind_has_a_class_and_runs_with_one_head_go_together():
    voxels, grade, more = a_run("voxels"), a_run("grade", "classification"), a_run("more")
    segmentation, classification = evaluators_of([grade, voxels, more])
    assert isinstance(segmentation, SegmentationEvaluator)
    assert isinstance(classification, ClassificationEvaluator)
    assert (segmentation.runs, classification.runs) == ([voxels, more], [grade])
    assert (segmentation.name, classification.name) == ("segmentation", "classification")
    assert segmentation.run is voxels


def test_segmentation_is_predicted_first_because_classification_looks_at_its_tumour():
    for runs in ([a_run("a"), a_run("b", "classification")], [a_run("b", "classification"), a_run("a")]):
        assert [head.kind for head in evaluators_of(runs)] == ["segmentation", "classification"]


def test_heads_that_all_runs_have_share_figures():
    (head,) = common_evaluators([a_run("a"), a_run("b")])
    assert [run.path.name for run in head.runs] == ["a", "b"]
    with pytest.raises(UserError, match=r"expected runs of one kind in a figure; received a \(segmentation\) and b \(class"):
        common_evaluators([a_run("a"), a_run("b", "classification")])


def test_classifiers_of_other_classes_or_attributes_do_not_agree():
    runs = [a_run("a", "classification"), a_run("b", "classification")]
    ClassificationEvaluator("classification", runs).check_agreement()
    for name, changed in (("classes", {"classes": ("II", "III")}), ("attribute", {"attribute": "code"})):
        other = a_run("c", "classification", **changed)
        with pytest.raises(UserError, match=f"c: its {name} differ from those of a, so they cannot go together"):
            ClassificationEvaluator("classification", [*runs, other]).check_agreement()


def test_segmentations_agree_beyond_schema_and_preparation():
    SegmentationEvaluator("segmentation", [a_run("a"), a_run("b")]).check_agreement()


def test_a_new_kind_must_bring_everything():
    class Half(HeadEvaluator):
        kind = "half"

    with pytest.raises(TypeError, match="learning_curves, predictor, score_folds, score_records"):
        Half("half", [])
