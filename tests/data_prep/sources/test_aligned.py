import json

import numpy as np
import pytest

from common.errors import UserError
from data_prep.grid.resampling import Resampling
from data_prep.labels import LabelSchema
from data_prep.sources import SourceConfig, open_source
from tests.scans import LPS, scan, write_table


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


def test_a_damaged_manifest_is_one_line(folder):
    (folder / "align.json").write_text("{")
    with pytest.raises(UserError, match=r"align.json: manifest of aligned scans is not JSON"):
        open_source(folder)
