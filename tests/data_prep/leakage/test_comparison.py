"""Tests of the comparison of a source's patients."""

import numpy as np
import pytest

from data_prep.leakage.comparison import read_and_compare, same_paths
from data_prep.phantom.patient import PhantomConfig, make_patient
from data_prep.records.folder import Records
from data_prep.sources import SourceConfig, open_source
from tests.conftest import SMALL
from tests.scans import LPS, Scan, scan, write_brats, write_rows, write_table


def compare(root, heads=True, **options):
    source = open_source(root, SourceConfig(**options))
    return read_and_compare(source, source.cases(), heads)


def test_different_patients_are_not_mentioned(tmp_path):
    found = compare(write_brats(tmp_path, [scan("a"), scan("b")]))
    assert (found.problems, found.warnings) == ([], [])


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii"])
def test_the_same_voxels_in_two_patients_are_refused_with_both_names_and_files(tmp_path, suffix):
    one, other = scan("a"), scan("b")
    other.images["t2"] = one.images["t2"][::-1].astype(np.float32)
    write_brats(tmp_path, [one])
    (line,) = compare(write_brats(tmp_path, [other], suffix=suffix)).problems
    assert f"{tmp_path}/a/a_t2.nii.gz and {tmp_path}/b/b_t2{suffix}: patients a and b have the same voxels" in line


def test_many_copies_of_a_scan_are_as_many_lines_and_not_one_for_each_two_of_them(tmp_path):
    names = "abcde"
    root = write_brats(tmp_path, [scan(name) for name in names])
    for name in names[1:]:
        (root / name / f"{name}_t1.nii.gz").write_bytes((root / "a" / "a_t1.nii.gz").read_bytes())
    lines = compare(root).problems
    assert [line.split("patients ")[1].split(" have")[0] for line in lines] == [f"a and {name}" for name in names[1:]]


def test_the_same_bytes_are_found_without_reading_voxels(tmp_path):
    root = write_brats(tmp_path, [scan("a"), scan("b")])
    (root / "b" / "b_t1.nii.gz").write_bytes((root / "a" / "a_t1.nii.gz").read_bytes())
    for heads in (True, False):
        (line,) = compare(root, heads).problems
        assert "b_t1.nii.gz: patients a and b have the same bytes" in line


def test_a_file_in_two_rows_is_refused_unless_both_are_of_one_patient(tmp_path):
    table = write_table(tmp_path, [scan("a", ids=(0, 1)), scan("b", ids=(0, 1))])
    rows = [dict(zip(*(line.split(",") for line in pair), strict=True)) for pair in _pairs(table)]
    rows[1]["t1"] = rows[0]["t1"]
    write_rows(table, rows)
    (line,) = compare(table).problems
    assert line.startswith(f"{tmp_path}/images/a.t1.nii.gz: is an image of patients a and b; ")
    write_rows(table, [{**row, "patient_id": f"p_t{place}", "case_id": f"c{place}"} for place, row in enumerate(rows)])
    assert compare(table).problems
    assert compare(table, patient_pattern=r"(.+)_t\d").problems == []


def test_a_link_to_itself_is_compared_by_its_path(tmp_path):
    root = write_brats(tmp_path, [scan("a"), scan("b")])
    cases = open_source(root, SourceConfig()).cases()
    loop = root / "a" / "a_t1.nii.gz"
    loop.unlink()
    loop.symlink_to(loop)
    assert same_paths(cases) == []


def test_heads_that_look_alike_are_warned_about_once(tmp_path):
    size = (40, 40, 26)
    made = [make_patient(PhantomConfig(size=size), 0, number) for number in range(2)]
    label = made[0].label
    heads = {"a": made[0].channels, "b": made[1].channels, "c": {n: each[::-1] * 2 for n, each in made[0].channels.items()}}
    root = write_brats(tmp_path, [Scan(name, images, label, LPS) for name, images in heads.items()])
    found = compare(root)
    (line,) = found.warnings
    assert found.problems == []
    assert line.startswith("patients a and c have heads that look like one (correlation 1.00")
    assert compare(root, heads=False).warnings == []


def test_names_that_are_alike_are_warned_about(tmp_path):
    root = write_brats(tmp_path, [scan("p_t1"), scan("p_t2")])
    (line,) = compare(root).warnings
    assert "p_t1, p_t2 may be time points of one" in line
    assert compare(root, patient_pattern=r"(.+)_t\d").warnings == []


def test_one_patient_under_two_names_is_found_before_anything_is_built(command, tmp_path):
    root = write_brats(tmp_path / "scans", [scan("x_t1", seed=1), scan("x_t2", seed=1), scan("y"), scan("z")])
    arguments = ("--source", root, "--out", tmp_path / "out", *SMALL)
    done = command("data_prep.make_records", *arguments)
    assert done.status == 2
    assert "patients x_t1 and x_t2 have the same bytes" in done.errors[0]
    assert done.errors[-1] == f"error: {root}: 1 scan of two patients; nothing was built"
    assert "x_t1, x_t2 may be time points of one" in done.err
    assert not (tmp_path / "out").exists()
    done = command("data_prep.make_records", *arguments, "--patient_pattern", r"(.+)_t\d")
    assert (done.status, done.err) == (0, "")
    split = Records(tmp_path / "out").split
    assert any({"x_t1", "x_t2"} <= set(ids) for ids in split.values())


def _pairs(table):
    header, *rows = table.read_text().splitlines()
    return [(header, row) for row in rows]
