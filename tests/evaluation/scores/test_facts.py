"""scores.json and classification_scores.json: each key is checked when it is read."""

import json

import pytest

from common.errors import UserError
from evaluation.scores.facts import OF_PATIENTS, read_classification_facts, read_score_facts

SCORES = {"format": 3, "kind": OF_PATIENTS, "metrics": {}, "patients": 3, "summary": [], "schema": {"name": "x"}}
CLASSES = {
    "format": 1,
    "head": "grade",
    "classes": ["a", "b"],
    "split": "patient",
    "weights": "",
    "level": {"patient": {"n": 3}},
}
ROW = {"kind": "class", "structure": "x", "score": "dice", "mean": 0.5}


@pytest.mark.parametrize(
    ("read", "right", "key", "value"),
    [
        (read_score_facts, SCORES, "kind", "x"),
        (read_score_facts, SCORES, "patients", -1),
        (read_score_facts, SCORES, "metrics", {"dice": {}}),
        (read_score_facts, SCORES, "summary", [ROW | {"mean": "0.5"}]),
        (read_score_facts, SCORES, "missing", {"a": None}),
        (read_score_facts, SCORES, "postprocessing", ["largest component"]),
        (read_classification_facts, CLASSES, "classes", []),
        (read_classification_facts, CLASSES, "level", {"patient": {"n": "3"}}),
        (read_classification_facts, CLASSES, "folds", [{}]),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_key(tmp_path, read, right, key, value):
    file = tmp_path / "f.json"
    file.write_text(json.dumps(right))
    assert read(file) == right
    file.write_text(json.dumps(right | {key: value}))
    with pytest.raises(UserError, match=rf"f\.json: {key}.*: expected .*; score again"):
        read(file)
