import re
from pathlib import Path

import numpy as np
import pytest

from common.errors import Problems, UserError
from common.tables import read_rows
from data_prep.sources import SourceConfig, open_source
from tests.scans import CHANNELS, LPS, save, scan, write_rows, write_table

ROW = {"patient_id": "p", "t1": "p.nii.gz", "label": "l.nii"}


def test_columns_become_channels_and_attributes(tmp_path):
    rows = [
        {"patient_id": "p", "case_id": "p2", "t1": "in/a.nii", "age": "41", "label": "l.nii", "PET": ""},
        {"patient_id": "p", "case_id": "p1", "t1": "/abs/b.NII.GZ", "age": "", "label": "", "PET": "c.nii.gz"},
    ]
    source = open_source(write_rows(tmp_path / "x.csv", rows))
    first, second = source.cases()
    assert source.channels == ["t1", "PET"]
    assert [(case.id, case.patient) for case in (first, second)] == [("p1", "p"), ("p2", "p")]
    assert str(first.channels["t1"].path) == "/abs/b.NII.GZ"
    assert second.channels["t1"].path == tmp_path / "in" / "a.nii"
    assert (second.channels["PET"], first.label) == (None, None)
    assert (first.attributes, second.attributes) == ({}, {"age": "41"})


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n\r\n"])
def test_what_spreadsheets_write_is_read(tmp_path, separator, start):
    rows = [["patient_id", " t1 ", "note"], [" Müller", '"a, b.nii.gz"', '"x; y"'], ["", "", ""]]
    (tmp_path / "cases.csv").write_bytes((start + "\r\n".join(separator.join(row) for row in rows)).encode())
    (case,) = open_source(tmp_path).cases()
    assert (case.id, case.channels["t1"].path.name, case.attributes) == ("Müller", "a, b.nii.gz", {"note": "x; y"})


def test_labels_are_binary_unless_a_schema_is_given(tmp_path):
    path = write_table(tmp_path, [scan("a", ids=(0, 1, 2, 3))])
    source = open_source(path)
    assert source.schema.name == "binary"
    (line,) = source.check(source.cases()[0])
    assert "schema binary has 0, 1; 4 schemas of" in line
    assert "with different meanings: give that of the data set to --labels" in line
    assert open_source(path, SourceConfig(labels="brats2023")).check(source.cases()[0]) == []


def test_without_a_label_column_there_is_no_schema(tmp_path):
    path = write_rows(tmp_path / "cases.csv", [{"patient_id": "p", "t1": "a.nii"}])
    assert open_source(path).schema is None
    assert open_source(path, SourceConfig(labels="binary")).schema.name == "binary"


def test_a_table_is_read(tmp_path):
    made = scan("a", ids=(0, 1), channels=("ct",), dtype=np.float32)
    source = open_source(write_table(tmp_path, [made], {"a": {"grade": "II"}}))
    case = source.read(source.cases()[0])
    np.testing.assert_array_equal(case.channels["ct"], made.images["ct"])
    assert case.files.attributes == {"grade": "II"}


def with_mask(folder, mask, affine=LPS):
    """A table of two cases, of which the first has a mask of the brain."""
    table = write_table(folder, [scan("a", ids=(0, 1), channels=("t1",)), scan("b", ids=(0, 1), channels=("t1",))])
    save(folder / "mask.nii.gz", mask, affine)
    rows = read_rows(table)
    rows[0]["brain"] = "mask.nii.gz"
    return open_source(write_rows(table, rows))


def test_a_column_of_masks_is_data_of_the_case_and_no_channel(tmp_path):
    mask = (scan("a").label > 0).astype(np.float32)
    source = with_mask(tmp_path, mask)
    assert source.channels == ["t1"]
    masked, plain = source.cases()
    assert (masked.brain.path, plain.brain) == (tmp_path / "mask.nii.gz", None)
    assert masked.paths[-1] == masked.brain.path
    case = source.read(masked)
    assert case.brain.dtype == bool
    np.testing.assert_array_equal(case.brain, mask > 0)
    assert source.read(plain).brain is None
    assert [source.check(files, deep) for files in (masked, plain) for deep in (False, True)] == [[]] * 4
    np.testing.assert_array_equal(source.read_volumes(masked)["brain"].array, mask > 0)


@pytest.mark.parametrize(
    ("mask", "affine", "message"),
    [
        (np.full((10, 9, 8), 300, np.int16), LPS, "expected a mask of 0 and 1; received 300; a channel needs another name"),
        (np.zeros((10, 9, 8), np.int16), LPS, "expected a mask of 0 and 1; received 0;"),
        (np.full((10, 9, 8), np.nan, np.float32), LPS, "expected a mask of 0 and 1; received nan;"),
        (np.ones((10, 9, 7), np.int16), LPS, r"shape \(10, 9, 7\) differs from \(10, 9, 8\)"),
        (np.ones((10, 9, 8), np.int16), np.diag([2, 1, 1, 1]), "affine .* differs from"),
    ],
)
def test_a_mask_that_is_none_is_one_line(tmp_path, mask, affine, message):
    source = with_mask(tmp_path, mask, affine)
    files = source.cases()[0]
    (line,) = source.check(files)
    assert re.search(message, line)
    with pytest.raises(UserError, match=message):
        source.read(files)


def test_a_missing_mask_names_its_column(tmp_path):
    source = with_mask(tmp_path, np.ones((10, 9, 8), np.int16))
    (tmp_path / "mask.nii.gz").unlink()
    (line,) = source.check(source.cases()[0])
    assert line.endswith("row of case a, column brain")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"patient": "p", "t1": "a.nii"}], "expected a column patient_id; received patient, t1"),
        ([{"patient_id": "p", "age": "4"}], "expected a column per channel"),
        ([{"patient_id": "p", "label": "a.nii"}], "expected a column per channel"),
        ([{"patient_id": "p", "t1": "a.nii", "mask": "b.nii"}], "column mask would become a channel; call it label"),
        ([ROW, ROW | {"patient_id": "q", "t1": "a.dcm"}], "column t1: expected paths ending in .*; received 'a.dcm' in 1 row"),
        ([ROW | {"label": "1"}], "column label: expected paths ending in"),
        ([ROW | {"patient_id": ""}], "patient_id: expected one in every row"),
        ([ROW | {"patient_id": "../p"}], r"case id '\.\./p': expected a name for files"),
        ([ROW | {"label": "p.nii.gz"}], "case p: expected a label of its own; received a channel's file"),
        ([ROW | {"brain": "p.nii.gz"}], "case p: expected a brain of its own; received a channel's file"),
        ([ROW | {"brain": "yes"}], "column brain: expected paths ending in"),
    ],
)
def test_a_table_that_makes_no_sense_gives_one_line(tmp_path, rows, message):
    with pytest.raises(UserError, match=message) as caught:
        open_source(write_rows(tmp_path / "cases.csv", rows))
    lines = caught.value.lines if isinstance(caught.value, Problems) else str(caught.value).splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"{tmp_path}/cases.csv: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected different column names; received nothing"),
        (b"patient_id,t1\n", "expected a row per case"),
        (b"patient_id,t1,t1\np,a.nii,b.nii\n", "line 1: expected different column names"),
        (b"patient_id,,t1\np,,b.nii\n", "line 1: expected different column names"),
        (b"patient_id,t1\np,a.nii,b.nii\n", "line 2: expected 2 cells, as in the header; received 3"),
        (b"patient_id,t1\n\np\n", "line 3: expected 2 cells, as in the header; received 1"),
        (b'patient_id,t1\np,"a.nii\n', "not a CSV table"),
        ("patient_id,t1\nMüller,a.nii\n".encode("latin-1"), "table is not UTF-8 text .line 2.; save it as UTF-8"),
        ("patient_id,t1\np,a.nii\n".encode("utf-16-le"), "table is not text, or UTF-16 without its mark"),
    ],
)
def test_a_file_that_is_no_table_gives_one_line(tmp_path, content, message):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        open_source(tmp_path / "x.csv")
    assert "\n" not in str(caught.value)


def test_a_column_of_annotations_may_be_left_out(tmp_path):
    path = write_rows(tmp_path / "cases.csv", [{"patient_id": "p", "t1": "a.nii", "mask": "b.nii"}])
    (case,) = open_source(path, SourceConfig(channels=["t1"])).cases()
    assert (list(case.channels), case.attributes) == (["t1"], {})


def test_a_missing_file_names_its_row_column_and_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "x.csv", [{"patient_id": "p", "case_id": "p1", "t1": "in/a.nii", "label": ""}])
    source = open_source(Path("x.csv"))
    (line,) = source.check(source.cases()[0])
    place = f"named in x.csv, row of case p1, column t1 (here {tmp_path}/in/a.nii)"
    assert line == f"in/a.nii: file not found; {place}"
    with pytest.raises(UserError, match="row of case p1, column t1"):
        source.read(source.cases()[0])


def test_a_column_of_annotations_is_no_channel_unless_it_is_named(tmp_path):
    made = scan("a", ids=(0, 1))
    made.images["second_opinion"] = made.label
    path = write_table(tmp_path, [made])
    with pytest.raises(Problems, match=r"column second_opinion would become a channel, but .* \(values 0, 1\); call the annot"):
        open_source(path)
    channels = [*CHANNELS, "second_opinion"]
    assert open_source(path, SourceConfig(channels=channels)).channels == channels


@pytest.mark.parametrize("name", ["Label", "seg_rater2", "tumor-mask", "GT"])
def test_columns_named_like_annotations_are_asked_for(tmp_path, name):
    path = write_rows(tmp_path / "cases.csv", [{"patient_id": "p", "t1": "a.nii", name: "b.nii"}])
    with pytest.raises(UserError, match=f"column {name} would become a channel; call it label if it is the annotation"):
        open_source(path)
