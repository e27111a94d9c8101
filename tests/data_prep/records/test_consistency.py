"""Folders of records that no longer fit config, scans, split or schema."""

from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import Problems, UserError
from common.files import write_json, write_yaml
from data_prep.labels import LabelSchema
from data_prep.records.build import source_state
from data_prep.records.consistency import refuse_other_config, refuse_other_files, refuse_other_scans
from data_prep.scans.case import CaseFiles, ImageRef

SCHEMA = LabelSchema("x", {"background": (0,), "tumour": (1,)}, {})
SPLIT = {"train": ["a"], "validation": [], "test": []}


@pytest.fixture
def case(tmp_path):
    (tmp_path / "a.nii").write_text("scan")
    return CaseFiles("a", "a", {"t1": ImageRef(tmp_path / "a.nii")})


@pytest.fixture
def records(tmp_path, case):
    """A finished folder of one case, without shards."""
    out = tmp_path / "records"
    write_yaml(out / "config.yaml", {"seed": 0, "prepare": {"crop": "middle"}})
    write_json(out / "cases" / "a.json", {"sources": source_state(case)})
    facts = {"format": 1, "source": {"path": "/s", "layout": "table"}, "channels": ["t1"], "preparation": {}, "copies": 0}
    facts |= {"folds": [], "cases": {"a": [1]}, "split": SPLIT, "schema": SCHEMA.to_dict()}
    write_json(out / "dataset.json", facts)
    return out


def test_equal_settings_scans_and_files_pass(records, case):
    refuse_other_config(records, {"seed": 0, "prepare": {"crop": "middle"}})
    refuse_other_scans(records, [case])
    refuse_other_files(records, SPLIT, SCHEMA)


def test_another_config_is_refused_by_its_keys(records):
    with pytest.raises(Problems) as error:
        refuse_other_config(records, {"seed": 1, "prepare": {"crop": "brain"}})
    assert [line.split(": ", 1)[1] for line in error.value.lines] == [
        "seed was 0 and is now 1",
        "prepare.crop was 'middle' and is now 'brain'",
    ]


def test_a_folder_of_other_files_is_refused(tmp_path):
    (tmp_path / ".lock").touch()
    refuse_other_config(tmp_path, {})
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(UserError, match=r"it holds 'thesis\.txt'"):
        refuse_other_config(tmp_path, {})


def test_changed_added_and_removed_scans_are_listed(records, case, tmp_path):
    (tmp_path / "a.nii").write_text("another scan")
    (tmp_path / "a2.nii").write_text("more")
    more = replace(case, channels={**case.channels, "t2": ImageRef(Path(tmp_path / "a2.nii"))})
    with pytest.raises(Problems) as error:
        refuse_other_scans(records, [more, replace(case, id="b")])
    assert [line.rpartition("/")[2] for line in error.value.lines] == [
        "a.nii: has changed since a was built",
        "a2.nii: was added since a was built",
        "b: is in the source now, and was not when the records were built",
    ]
    with pytest.raises(Problems, match="a: is in the records, and no longer in the source"):
        refuse_other_scans(records, [])


def test_another_split_or_schema_is_refused(records):
    with pytest.raises(Problems, match="the split's `train` names other cases now"):
        refuse_other_files(records, SPLIT | {"train": ["b"]}, SCHEMA)
    with pytest.raises(Problems, match="the label schema x has changed"):
        refuse_other_files(records, SPLIT, replace(SCHEMA, ignore=(9,)))
