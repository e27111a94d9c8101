"""JSON files of records: each key is checked when it is read."""

import json

import pytest

from common.errors import UserError
from data_prep.records.folder import Records, case_path
from data_prep.records.manifests import read_case, read_dataset, read_sources


def changed(path, folder, keys, value):
    """A copy of a JSON file with another value at a place."""
    content = json.loads(path.read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    (folder / path.name).write_text(json.dumps(content))
    return folder / path.name


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("layout", "slices"), -1, "layout.slices: expected a whole number of 1 to"),
        (("layout", "image_offset"), 10**9, "layout.image_offset: expected .* bytes inside a record"),
        (("layout", "dtype"), "O", "layout.dtype: expected one of float16, uint8; received 'O'"),
        (("layout", "slices"), 7, "voxels: expected a list of 7 items"),
        (("geometry", "size"), [1, 1, 1], r"geometry.size: expected \["),
        (("voxels", 0), [1], "voxels"),
        (("brain",), None, "brain: expected a list; received null"),
        (("attributes",), [], "attributes: expected a mapping"),
        (("sources", 0, "crc32c"), "x", r"sources\[0\].crc32c: expected a whole number of 0 to"),
        (("tumour_lost",), 2, "tumour_lost: expected a finite number of 0 to 1"),
    ],
)
def test_a_damaged_case_is_refused_with_its_key(records, tmp_path, keys, value, said):
    path = case_path(records, next(iter(Records(records).cases)), 0, ".json")
    assert read_sources(path) == read_case(path)["sources"]
    with pytest.raises(UserError, match=said):
        read_case(changed(path, tmp_path, keys, value))


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("cases",), {}, "cases: expected a mapping of at least 1 name"),
        (("channels",), "t1", "channels: expected a list of at least 1 item; received 't1'"),
        (("split", "train"), ["nobody"], "split.train: expected one of case_0"),
        (("split",), {}, "split: train: expected this key"),
        (("folds",), [None], r"folds\[0\]: expected a mapping; received null"),
        (("source",), "x", "source: expected a mapping with path, layout"),
    ],
)
def test_a_damaged_manifest_is_refused_with_its_key(records, tmp_path, keys, value, said):
    with pytest.raises(UserError, match=said):
        read_dataset(changed(records / "dataset.json", tmp_path, keys, value))
