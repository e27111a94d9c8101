import json
from dataclasses import replace

import numpy as np
import pytest

from common.errors import UserError
from data_prep.grid.resampling import Resampling
from data_prep.labels import LabelSchema
from data_prep.sources import SourceConfig, open_source
from data_prep.sources.aligned import write_aligned
from tests.scans import LPS, save, scan, write_table


@pytest.fixture
def folder(tmp_path):
    """An aligned case of two channels with the ids of BraTS."""
    write_table(tmp_path, [scan("anna", channels=("t1", "t2"))])
    schema = LabelSchema.load("brats2017-2021").to_dict()
    (tmp_path / "align.json").write_text(json.dumps({"format": 1, "channels": ["t1", "t2"], "schema": schema}))
    rows = LPS.tolist()
    resampling = {"shape": [5, 5, 5], "affine": rows, "target_shape": [10, 9, 8], "target_affine": rows}
    resampling["transform"] = np.eye(4).tolist()
    (tmp_path / "anna").mkdir()
    facts = {"label_channel": "t1", "images": {"t1": {"resampling": resampling}}}
    (tmp_path / "anna" / "case.json").write_text(json.dumps(facts))
    return tmp_path


def test_the_manifest_brings_channels_and_schema(folder):
    source = open_source(folder)
    assert (source.layout, source.channels, source.schema.name) == ("aligned", ["t1", "t2"], "brats2017-2021")
    assert source.read(source.cases()[0]).label.max() == 4
    assert open_source(folder, SourceConfig(channels=["t2"])).channels == ["t2"]
    assert open_source(folder, SourceConfig(layout="table", labels="brats2023")).layout == "table"


def test_the_way_back_to_the_scanner_is_that_of_the_annotated_channel(folder):
    source = open_source(folder)
    found = source.scanner_grid(source.cases()[0])
    assert isinstance(found, Resampling)
    assert found.shape == (5, 5, 5)


def test_a_stripped_case_states_its_way_back(folder):
    for stored in (None, json.loads((folder / "anna" / "case.json").read_text())["images"]["t1"]["resampling"]):
        (folder / "anna" / "case.json").write_text(json.dumps({"scanner_grid": stored}))
        source = open_source(folder)
        found = source.scanner_grid(source.cases()[0])
        assert (found is None) == (stored is None)
        assert found is None or found.shape == (5, 5, 5)


def test_table_and_manifest_are_those_of_the_finished_cases(folder, tmp_path):
    source, out = open_source(folder), tmp_path / "out"
    files = source.cases()[0]
    made = scan("anna", channels=("t1", "t2"))
    for name, array in (made.images | {"label": made.label, "brain": (made.label > 0).astype(np.uint8)}).items():
        save(out / "anna" / f"{name}.nii.gz", array)
    write_aligned(out, source, [replace(files, attributes={"grade": "II"})])
    assert (out / "cases.csv").read_text() == (
        "patient_id,case_id,t1,t2,label,brain,grade\n"
        "anna,anna,anna/t1.nii.gz,anna/t2.nii.gz,anna/label.nii.gz,anna/brain.nii.gz,II\n"
    )
    written = open_source(out)
    assert (written.channels, written.schema) == (source.channels, source.schema)
    np.testing.assert_array_equal(written.read(written.cases()[0]).brain, made.label > 0)


def test_a_damaged_manifest_is_one_line(folder):
    (folder / "align.json").write_text("{")
    with pytest.raises(UserError, match=r"align.json: manifest of aligned scans is not JSON"):
        open_source(folder)
