import os
from pathlib import Path

import pytest

from common.errors import Problems, UserError
from common.files import write_json, write_yaml
from data_prep.alignment.outcome import (
    CaseOutcome,
    checksums,
    file_state,
    finish,
    moved_settings,
    remove_other_cases,
    written_case,
)
from data_prep.scans.case import CaseFiles, ImageRef


@pytest.fixture
def files(tmp_path):
    (tmp_path / "a.nii").write_bytes(b"1")
    return CaseFiles("a", "a", {"t1": ImageRef(tmp_path / "a.nii")})


def test_a_case_is_written_once_and_again_where_its_scans_have_changed(files, tmp_path):
    path, calls = tmp_path / "case.json", []

    def write(case):
        calls.append(case.id)
        write_json(path, {"sources": file_state(case)})

    for _ in range(2):
        found = written_case(path, files, write)
    assert (calls, found.problem, list(found.facts), found.is_renewed) == (["a"], [], ["sources"], False)
    (tmp_path / "a.nii").write_bytes(b"12")
    assert written_case(path, files, write).is_renewed
    assert calls == ["a", "a"]


@pytest.mark.parametrize(
    "change", [Path.unlink, lambda path: path.write_bytes(b"other"), lambda path: (path.parent / "case.json").write_text("{")]
)
def test_a_case_whose_own_files_are_missing_or_damaged_is_written_again(files, tmp_path, change):
    folder, calls = tmp_path / "a", []

    def write(case):
        calls.append(case.id)
        (folder / "t1.nii.gz").write_bytes(b"voxels")
        write_json(folder / "case.json", {"files": checksums(folder), "sources": file_state(case)})

    for _ in range(2):
        written_case(folder / "case.json", files, write)
    assert calls == ["a"]
    change(folder / "t1.nii.gz")
    assert written_case(folder / "case.json", files, write).is_renewed
    assert (calls, (folder / "t1.nii.gz").read_bytes()) == (["a", "a"], b"voxels")
    (folder / "notes.nii.gz").write_bytes(b"somebody's")
    assert not written_case(folder / "case.json", files, write).is_renewed


def test_a_mistake_and_a_scan_that_is_gone_become_lines(files, tmp_path):
    def fail(case):
        raise UserError("one\na: two")

    assert written_case(tmp_path / "case.json", files, fail) == ({}, ["a: one", "a: two"], False)
    write_json(tmp_path / "case.json", {"sources": file_state(files)})
    (tmp_path / "a.nii").unlink()
    facts, (line,), _ = written_case(tmp_path / "case.json", files, fail)
    assert (facts, line.endswith("a.nii: cannot be read (No such file or directory)")) == ({}, True)


def test_of_several_problems_the_summary_is_left_out(files, tmp_path):
    def fail(case):
        raise Problems(["one", "two"], "case a: cannot be read")

    assert written_case(tmp_path / "case.json", files, fail).problem == ["a: one", "a: two"]


def test_a_source_that_was_moved_has_the_same_files(files, tmp_path):
    out, moved = tmp_path / "out", tmp_path / "moved.nii"
    before, now = {"source": "old", "series": None}, {"source": "new", "series": None}
    assert moved_settings(out, now, [files]) == []
    (out / "a").mkdir(parents=True)
    write_yaml(out / "config.yaml", before)
    assert moved_settings(out, now, [files]) == ["source"]
    write_json(out / "a" / "case.json", {"sources": file_state(files)})
    (tmp_path / "a.nii").rename(moved)
    there = CaseFiles("a", "a", {"t1": ImageRef(moved)})
    assert moved_settings(out, now, [there]) == ["source"]
    assert moved_settings(out, before, []) == []
    assert moved_settings(out, now, [CaseFiles("b", "b", {"t1": ImageRef(moved)})]) == []
    os.utime(moved, (0, 0))
    assert moved_settings(out, now, [there]) == []
    assert "1970" not in file_state(there)


def test_failures_are_listed_after_the_warnings(capsys):
    finish([CaseOutcome("a", [], ["a: look"])], "aligned")
    assert capsys.readouterr().err == "warning: a: look\n"
    finish([CaseOutcome("a", is_renewed=True), CaseOutcome("b")], "aligned")
    assert (
        capsys.readouterr().err
        == "warning: 1 case was aligned again: scans, annotation or rules have changed since, or files are damaged\n"
    )
    with pytest.raises(Problems, match="1 of 2 cases could not be aligned; the others are written"):
        finish([CaseOutcome("a"), CaseOutcome("b", ["b: wrong"])], "aligned")


def test_cases_that_left_the_source_are_removed_finished_or_not(files, tmp_path, capsys):
    def stop(case):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written_case(tmp_path / "c" / "case.json", files, stop)
    (tmp_path / "a.nii").unlink()
    for name, file in (("a", "case.json"), ("b", "case.json"), ("notes", "t1.nii.gz")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_bytes(b"1")
    (tmp_path / "cases.csv").write_text("x")
    remove_other_cases(tmp_path, ["a"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "cases.csv", "notes"]
    assert capsys.readouterr().out == f"removed from {tmp_path}, because they are not in the source any more: b, c\n"
    remove_other_cases(tmp_path, ["a"])
    assert capsys.readouterr().out == ""


def test_files_of_others_in_a_case_that_left_stay_and_links_are_not_followed(tmp_path, capsys):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    for folder in (out / "b", elsewhere):
        folder.mkdir(parents=True)
        for name in ("case.json", "t1.nii.gz", "t1_edges.png", "t1.tfm", "thesis.tex"):
            (folder / name).touch()
    (out / "link").symlink_to(elsewhere)
    remove_other_cases(out, ["a"])
    assert [path.name for path in (out / "b").iterdir()] == ["thesis.tex"]
    assert len(list(elsewhere.iterdir())) == 5
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("kept for the sake of other files: b\n")) == ("", 1)
