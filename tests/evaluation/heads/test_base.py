"""The contract of heads in evaluation: the lookup by kind, agreement of runs, and the order of prediction."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from common.errors import UserError
from evaluation.heads import common_heads, heads_of
from evaluation.heads.base import EvaluatedHead
from evaluation.heads.classification import ClassificationHead
from evaluation.heads.segmentation import SegmentationHead


def a_run(name, kind="segmentation", head=None, **facts):
    return SimpleNamespace(path=Path(name), kind=kind, facts={"heads": {head or kind: 2}} | facts)


def test_each_kind_has_a_class_and_runs_with_one_head_go_together():
    voxels, grade, more = a_run("voxels"), a_run("grade", "category"), a_run("more")
    segmentation, classification = heads_of([grade, voxels, more])
    assert isinstance(segmentation, SegmentationHead)
    assert isinstance(classification, ClassificationHead)
    assert (segmentation.runs, classification.runs) == ([voxels, more], [grade])
    assert (segmentation.name, classification.name) == ("segmentation", "category")
    assert segmentation.run is voxels


def test_segmentation_is_predicted_first_because_classification_looks_at_its_tumour():
    for runs in ([a_run("a"), a_run("b", "category")], [a_run("b", "category"), a_run("a")]):
        assert [head.kind for head in heads_of(runs)] == ["segmentation", "classification"]


def test_heads_that_all_runs_have_share_figures():
    (head,) = common_heads([a_run("a"), a_run("b")])
    assert [run.path.name for run in head.runs] == ["a", "b"]
    with pytest.raises(UserError, match=r"expected runs of one kind in a figure; received a \(segmentation\) and b \(class"):
        common_heads([a_run("a"), a_run("b", "category")])


def test_classifiers_of_other_classes_or_attributes_do_not_agree():
    grade = {"attribute": "grade", "categories": ["HGG", "LGG"]}
    runs = [a_run("a", "category", **grade), a_run("b", "category", **grade)]
    ClassificationHead("category", runs).check_agreement()
    for name, facts in (("classes", {"categories": ["II", "III"]}), ("attribute", {"attribute": "code"})):
        other = a_run("c", "category", **(grade | facts))
        with pytest.raises(UserError, match=f"c: its {name} differ from those of a, so they cannot go together"):
            ClassificationHead("category", [*runs, other]).check_agreement()


def test_segmentations_agree_beyond_schema_and_preparation():
    SegmentationHead("segmentation", [a_run("a"), a_run("b")]).check_agreement()


def test_a_new_kind_must_bring_everything():
    class Half(EvaluatedHead):
        kind = "half"

    with pytest.raises(TypeError, match="learning_curves, predictor, score_folds, score_records"):
        Half("half", [])
