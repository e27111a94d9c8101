"""JSON files of aligned scans: each key is checked when it is read."""

import json

import pytest

from common.errors import UserError
from data_prep.alignment.manifests import read_case_facts, read_folder_facts, scanner_resampling_of


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "expected a mapping with sources"),
        ({"sources": 1}, "sources: expected a text"),
        ({"warnings": "x"}, "warnings: expected a list; received 'x'"),
        ({"images": {"t1": {"resampling": {}}}}, "images.t1.resampling.shape: expected this key"),
    ],
)
def test_a_damaged_case_is_refused_with_its_key(tmp_path, content, said):
    path = tmp_path / "case.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=said):
        read_case_facts(path)


def test_a_case_without_the_channel_of_its_annotation_is_refused(tmp_path):
    with pytest.raises(UserError, match="images: t1: expected this key"):
        scanner_resampling_of({"label_channel": "t1", "images": {}}, tmp_path / "case.json")
    assert scanner_resampling_of({"scanner_grid": None}, tmp_path / "case.json") is None


@pytest.mark.parametrize(("key", "value"), [("channels", []), ("schema", 3), ("source", {"path": "x"})])
def test_a_damaged_folder_is_refused_with_its_key(tmp_path, key, value):
    content = {"format": 1, "channels": ["t1"], "schema": None, "source": {"path": "x", "options": {"layout": "table"}}}
    path = tmp_path / "align.json"
    path.write_text(json.dumps(content))
    assert read_folder_facts(path) == content
    path.write_text(json.dumps(content | {key: value}))
    with pytest.raises(UserError, match=rf"align\.json: {key}"):
        read_folder_facts(path)
