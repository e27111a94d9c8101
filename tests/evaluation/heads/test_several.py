"""Several segmentation heads: the rule that chooses one for a case, and the confidence that it stands on."""

from types import SimpleNamespace

import numpy as np
import pytest

from common.errors import UserError
from data_prep.labels import LabelSchema
from evaluation.heads import several
from evaluation.heads.head_table import read_head_table, write_head_table
from evaluation.heads.several import choose_head, confidence


@pytest.mark.parametrize(
    ("confidences", "attributes", "expected"),
    [
        ({"hgg": 0.9, "mets": 0.2}, {"tumour": "mets"}, ("mets", "tumour is mets")),
        ({"hgg": 0.2, "mets": 0.9}, {"grade": "HGG"}, ("hgg", "grade is HGG")),
        ({"hgg": 0.2, "mets": 0.9}, {}, ("mets", "most confident")),
        ({"hgg": 0.2, "mets": 0.9}, {"tumour": "lgg"}, ("mets", "most confident")),
        ({"hgg": 0.0, "mets": 0.0}, {}, ("hgg", "most confident")),
    ],
)
def test_the_head_is_that_of_an_attribute_or_else_the_most_confident(confidences, attributes, expected):
    assert choose_head(confidences, attributes) == expected


def test_confidence_is_the_mean_foreground_probability_of_what_was_segmented():
    probabilities = np.zeros((1, 1, 3, 2), np.float32)
    probabilities[0, 0, :, 1] = [0.9, 0.7, 0.4]
    probabilities[..., 0] = 1 - probabilities[..., 1]
    assert confidence(probabilities, np.array([[[1, 1, 0]]])) == pytest.approx(0.8)
    assert confidence(probabilities, np.zeros((1, 1, 3), int)) == 0


HEADS = ("hgg", "mets")


class TwoHeads:
    """Predictors of two heads without networks: fixed probabilities of a volume of 1 x 2 x 2 voxels."""

    def __init__(self, monkeypatch, out, schemas):
        self.written = []
        probabilities = {}
        for head, low in zip(HEADS, (0.75, 0.1), strict=True):
            probabilities[head] = np.full((1, 2, 2, 4), (1 - low) / 3, np.float32)
            probabilities[head][..., 0] = low
        monkeypatch.setattr(several, "joint_probabilities", lambda *arguments: probabilities)
        self.predictors = {head: self.predictor(head, out / head, schemas[head]) for head in HEADS}
        self.both = several.SeveralHeadsPredictor(self.predictors, out)

    def predictor(self, head, out, schema):
        return SimpleNamespace(
            task=SimpleNamespace(out=out, schema=schema, inside_only=False),
            ensemble=None,
            write_probabilities=lambda case, prepared, probabilities, inside: probabilities.argmax(axis=-1),
            write_case=lambda case, prepared, classes, folder: self.written.append((head, folder.name, int(classes.sum()))),
            finish=lambda: "",
        )

    def predict(self, case, **attributes):
        files = SimpleNamespace(id=case, attributes=attributes)
        return self.both.predict(SimpleNamespace(files=files), SimpleNamespace(image=np.zeros((1, 2, 2, 1))), None)


@pytest.fixture
def two_heads(monkeypatch, tmp_path):
    """`two_heads(second)`: predictors of two heads, the second one with another schema or the same."""
    schema = LabelSchema.load("brats2023")
    return lambda second="brats2023": TwoHeads(monkeypatch, tmp_path, {"hgg": schema, "mets": LabelSchema.load(second)})


def test_the_chosen_heads_files_are_written_once_more(two_heads, tmp_path):
    heads = two_heads()
    assert not heads.predict("a", tumour="hgg").any()
    assert heads.predict("b").all()
    assert heads.written == [("hgg", "chosen", 0), ("mets", "chosen", 4)]
    assert set(heads.both.folders) == {tmp_path / name for name in ("hgg", "mets", "chosen")}
    assert heads.both.finish() == ", a folder for each of hgg, mets, chosen by heads.csv"
    rows = read_head_table(tmp_path, HEADS)
    assert [rows[case][1:3] for case in ("a", "b")] == [["hgg", "tumour is hgg"], ["mets", "most confident"]]
    assert [float(cell) for cell in rows["b"][3:]] == pytest.approx([0, 0.9, 0, 4])


def test_heads_of_different_classes_have_no_folder_of_the_chosen_ones(two_heads, tmp_path):
    heads = two_heads("brats2024")
    heads.predict("a")
    assert heads.written == []
    assert set(heads.both.folders) == {tmp_path / name for name in HEADS}
    assert heads.both.finish() == ", a folder for each of hgg, mets, heads by heads.csv"


def test_rows_of_earlier_cases_are_kept_and_those_of_the_same_case_replaced(two_heads, tmp_path):
    earlier = {case: [case, "mets", "tumour is mets", 0.5, 0.5, 1, 1] for case in ("a", "z")}
    write_head_table(tmp_path, HEADS, earlier)
    heads = two_heads()
    heads.predict("a", tumour="hgg")
    heads.both.finish()
    assert {case: row[1] for case, row in read_head_table(tmp_path, HEADS).items()} == {"a": "hgg", "z": "mets"}


def test_a_table_of_other_heads_is_not_mixed_with(two_heads, tmp_path):
    write_head_table(tmp_path, ("hgg", "x"), {"a": ["a", "x", "most confident", 0.5, 0.5, 1, 1]})
    heads = two_heads()
    heads.predict("b")
    with pytest.raises(UserError, match=r"heads\.csv: expected the columns"):
        heads.both.finish()
