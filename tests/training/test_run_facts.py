"""run.json: every key is checked in type and range, and one that lacks is refused where it is asked for."""

import json

import pytest

from common.errors import UserError
from training.run import Run
from training.run_facts import FORMAT, read_run_facts

RECORDS = {"path": "/r", "fingerprint": "0", "share": 1.0, "heads": ["segmentation"]}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "expected a run of format 3; received []"),
        ({"format": 2}, "expected a run of format 3; received 2"),
        ({"status": 1}, "status: expected one of running, stopped, diverged, finished; received 1"),
        ({"records": {}}, "records: expected a list; received {}"),
        ({"records": [RECORDS | {"share": "1"}]}, "records[0].share: expected a finite number of at least 0; received '1'"),
        (
            {"records": [RECORDS | {"spacing_mm": {"low": [1, 1], "high": [1, 1, 1]}}]},
            "records[0].spacing_mm.low: expected a list",
        ),
        ({"channels": [None]}, "channels[0]: expected a text of 1 to 4096 letters; received null"),
        ({"heads": {"a": "b"}}, "heads.a: expected a mapping with kind; received 'b'"),
        ({"best_epoch": 1.5}, "best_epoch: expected a whole number of at least 1; received 1.5"),
        ({"fold": 2**63}, "fold: expected a whole number of at least 0; received 9223372036854775808"),
        ({"pretrained": "a\u0000b"}, "pretrained: expected a text without control characters"),
    ],
)
def test_a_value_of_another_type_is_refused_with_its_key(tmp_path, values, said):
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"format": FORMAT} | values if isinstance(values, dict) else values))
    with pytest.raises(UserError) as error:
        read_run_facts(file)
    assert str(error.value).startswith(f"{file}: {said}")


def test_a_key_that_lacks_is_refused_when_it_is_asked_for(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({"format": FORMAT, "channels": ["t1"]}))
    run = Run(tmp_path)
    assert run.channels == ["t1"]
    with pytest.raises(UserError, match=r"run\.json: command: expected this key of a run; received format, channels"):
        _ = run.command
