import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest

from common.errors import UserError
from data_prep.grid.resampling import Resampling
from data_prep.labels import LabelSchema
from data_prep.scans.dicom import index_files
from data_prep.scans.dicom_seg import read_seg, seg_masks
from data_prep.sources import SourceConfig, open_source
from data_prep.sources.aligned import write_aligned
from tests.dicom_files import blob, oblique, write_series
from tests.scans import LPS, save, scan, write_table


@pytest.fixture
def folder(tmp_path):
    """An aligned case of two channels with the ids of BraTS."""
    write_table(tmp_path, [scan("anna", channels=("t1", "t2"))])
    schema = LabelSchema.load("brats2017-2021").to_dict()
    scans = {"path": "gone.csv", "options": {"layout": "table"}}
    (tmp_path / "align.json").write_text(json.dumps({"format": 1, "channels": ["t1", "t2"], "schema": schema, "source": scans}))
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
    write_aligned(out, source, [replace(files, attributes={"grade": "II"})], source.origin_scans)
    assert (out / "cases.csv").read_text() == (
        "patient_id,case_id,t1,t2,label,brain,grade\n"
        "anna,anna,anna/t1.nii.gz,anna/t2.nii.gz,anna/label.nii.gz,anna/brain.nii.gz,II\n"
    )
    written = open_source(out)
    assert (written.channels, written.schema) == (source.channels, source.schema)
    np.testing.assert_array_equal(written.read(written.cases()[0]).brain, made.label > 0)


@pytest.fixture
def from_dicom(tmp_path):
    """An aligned case of one channel that was made from DICOM: its folder, the series, and ids on its grid."""
    (series,) = index_files(write_series(tmp_path / "dicom" / "a", blob(), oblique(), "t1 mpr")).series
    rules = tmp_path / "rules.yaml"
    rules.write_text("channels: {t1: {description: t1}}\nids: patient_id")
    out = tmp_path / "aligned"
    out.mkdir()
    write_table(out, [scan("PAT-4711", channels=("t1",))])
    rows = series.stack.grid.affine.tolist()
    resampling = {"shape": list(series.stack.grid.shape), "affine": rows, "target_shape": [10, 9, 8], "target_affine": rows}
    facts = {"label_channel": "t1", "images": {"t1": {"resampling": resampling | {"transform": np.eye(4).tolist()}}}}
    (out / "PAT-4711").mkdir()
    (out / "PAT-4711" / "case.json").write_text(json.dumps(facts))
    options = {"layout": "dicom", "channels": ["t1"], "series": str(rules)}
    manifest = {
        "format": 1,
        "channels": ["t1"],
        "schema": None,
        "source": {"path": str(tmp_path / "dicom"), "options": options},
    }
    (out / "align.json").write_text(json.dumps(manifest))
    ids = np.zeros(series.stack.grid.shape, np.uint8)
    ids[3:6, 2:6, 2:5] = 1
    return out, series, ids


def test_predictions_of_dicom_become_a_seg_of_the_annotated_series(from_dicom, tmp_path):
    folder, series, ids = from_dicom
    source = open_source(folder, SourceConfig(labels="binary"))
    (path,) = source.write_prediction(source.cases()[0], ids, tmp_path / "out")
    seg = read_seg(path)
    assert (path.name, seg.series_uid) == ("PAT-4711.seg.dcm", series.uid)
    np.testing.assert_array_equal(seg_masks(seg, series, series.stack.grid)[1], ids == 1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("gone", "dicom: source not found; "),
        ("other patient", "dicom: case PAT-4711 is not there any more"),
        ("other grid", "dicom: case PAT-4711: t1 has another grid than the scan that was aligned"),
    ],
)
def test_without_the_scans_the_reason_is_one_line(from_dicom, tmp_path, change, reason):
    folder, _, ids = from_dicom
    shutil.rmtree(tmp_path / "dicom")
    if change != "gone":
        options = {"patient": "1"} if change == "other patient" else {}
        write_series(tmp_path / "dicom" / "b", blob((9, 9, 9)), oblique(), "t1 mpr", **options)
    source = open_source(folder, SourceConfig(labels="binary"))
    (case,) = source.cases()
    assert source.prediction_names(case) == ([] if change != "other grid" else ["PAT-4711.seg.dcm"])
    with pytest.raises(UserError, match=re.escape(reason)):
        source.write_prediction(case, ids, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_scans_without_a_format_of_their_own_are_not_opened(folder):
    source = open_source(folder)
    assert source.scans is None
    assert source.write_prediction(source.cases()[0], np.zeros((5, 5, 5), np.uint8), folder) == []


def test_a_damaged_manifest_is_one_line(folder):
    (folder / "align.json").write_text("{")
    with pytest.raises(UserError, match=r"align.json: manifest of aligned scans is not JSON"):
        open_source(folder)


def test_an_unfinished_folder_is_named_as_such(folder):
    (folder / "cases.csv").unlink()
    with pytest.raises(UserError, match=r"unfinished; call glioskull align or"):
        open_source(folder)
