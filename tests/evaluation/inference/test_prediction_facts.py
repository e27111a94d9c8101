"""predictions.json: each key is checked when it is read."""

import json

import pytest

from common.errors import UserError
from evaluation.inference.prediction_facts import FORMAT, read_prediction_facts

RIGHT = {"format": FORMAT, "cases": ["a"], "schema": {"name": "x"}, "runs": ["/r"], "cost": {"seconds": 1.5}}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cases", [1]),
        ("schema", None),
        ("weights", [{"file": "x"}]),
        ("training", [{"records": "x", "fold": -1, "cases": []}]),
        ("channels", {"a": "t1"}),
        ("cost", {"seconds": "x"}),
        ("postprocessing", [3]),
        ("split", "voxel"),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_key(tmp_path, key, value):
    file = tmp_path / "predictions.json"
    file.write_text(json.dumps(RIGHT))
    assert read_prediction_facts(file) == RIGHT
    file.write_text(json.dumps(RIGHT | {key: value}))
    with pytest.raises(UserError, match=rf"predictions\.json: {key}.*: expected .*; predict again"):
        read_prediction_facts(file)
