import pickle
from dataclasses import replace

import pytest

from common.errors import MissingPackage, Problems, UserError
from data_prep.labels import LabelSchema
from data_prep.sources import SourceConfig, open_source
from tests.scans import scan, write_brats, write_msd, write_table


@pytest.mark.parametrize(("write", "layout"), [(write_brats, "brats"), (write_msd, "msd"), (write_table, "table")])
def test_the_layout_is_recognised_or_named(tmp_path, write, layout):
    root = write(tmp_path, [scan("a")])
    assert open_source(root).layout == open_source(root, SourceConfig(layout=layout)).layout == layout
    assert open_source(tmp_path).layout == layout
    assert [files.id for files in pickle.loads(pickle.dumps(open_source(root))).cases()] == ["a"]


@pytest.mark.parametrize(
    ("name", "layout", "message"),
    [
        ("nowhere", "auto", "source not found"),
        (
            "empty",
            "auto",
            "empty folder; expected scans in one of the layouts aligned, brats, dicom, kaggle_3m, msd, table, "
            "vestibular_schwannoma",
        ),
        ("empty", "msd", "empty folder"),
        ("texts", "auto", "no layout recognised in this folder; .*table: a CSV file.*msd: .*dataset.json.*brats: .*--layout"),
        ("texts", "brats", "layout brats looks for files named .*; found none"),
        ("texts", "msd", "layout msd looks for a file dataset.json; found none"),
        ("texts", "table", "layout table looks for a CSV file, or a folder with cases.csv; found none"),
        ("texts/note.txt", "auto", "no layout recognised in this file"),
        ("texts/note.txt", "brats", "layout brats looks for"),
    ],
)
def test_what_is_no_source_gives_one_line(tmp_path, name, layout, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "note.txt").write_text("no scans here")
    with pytest.raises(UserError, match=message) as caught:
        open_source(tmp_path / name, SourceConfig(layout=layout))
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


def test_rules_of_series_are_refused_for_other_layouts(tmp_path):
    root = write_brats(tmp_path, [scan("a")])
    with pytest.raises(UserError, match=r"--series: belongs to layout dicom, and .* has layout brats; leave it out$"):
        open_source(root, SourceConfig(series=tmp_path / "rules.yaml"))


@pytest.mark.parametrize("write", [write_brats, write_msd, write_table])
def test_an_unknown_schema_gives_one_line(tmp_path, write):
    with pytest.raises(UserError, match=r"label schema not found; expected .* or one of binary, brats2012-2015"):
        open_source(write(tmp_path, [scan("a")]), SourceConfig(labels="brats1999"))


@pytest.mark.parametrize("error", [UserError("one line"), Problems(["a", "b"], "two"), MissingPackage("dask", "many machines")])
def test_errors_come_whole_out_of_another_process(error):
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_a_table_has_the_expected_schema_unless_another_is_named(tmp_path):
    expected = LabelSchema.load("brats2023")
    table = write_table(tmp_path / "t", [scan("a", ids=(0, 1))])
    assert open_source(table, expected=expected).schema == expected
    assert open_source(table).schema == LabelSchema.load("binary")
    named = SourceConfig(labels="brats2012-2015")
    assert open_source(table, named, expected).schema == LabelSchema.load("brats2012-2015")
    unlabelled = write_table(tmp_path / "u", [replace(scan("a"), label=None)])
    assert open_source(unlabelled, expected=expected).schema is None


def test_a_layout_that_implies_a_schema_keeps_it(tmp_path):
    folder = write_brats(tmp_path / "b", [scan("a")])
    assert open_source(folder, expected=LabelSchema.load("brats2023")).schema == LabelSchema.load("brats2017-2021")
