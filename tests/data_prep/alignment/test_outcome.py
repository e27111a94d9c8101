import pytest

from common.errors import Problems, UserError
from common.files import write_json
from data_prep.alignment.outcome import CaseOutcome, file_state, finish, written_facts
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
        facts, lines = written_facts(path, files, write)
    assert (calls, lines, list(facts)) == (["a"], [], ["sources"])
    (tmp_path / "a.nii").write_bytes(b"12")
    written_facts(path, files, write)
    assert calls == ["a", "a"]


def test_a_mistake_and_a_scan_that_is_gone_become_lines(files, tmp_path):
    def fail(case):
        raise UserError("one\na: two")

    assert written_facts(tmp_path / "case.json", files, fail) == ({}, ["a: one", "a: two"])
    write_json(tmp_path / "case.json", {"sources": file_state(files)})
    (tmp_path / "a.nii").unlink()
    facts, (line,) = written_facts(tmp_path / "case.json", files, fail)
    assert (facts, line.endswith("a.nii: cannot be read (No such file or directory)")) == ({}, True)


def test_failures_are_listed_after_the_warnings(capsys):
    finish([CaseOutcome("a", [], ["a: look"])], "aligned")
    assert capsys.readouterr().err == "warning: a: look\n"
    with pytest.raises(Problems, match="1 of 2 cases could not be aligned; the others are written"):
        finish([CaseOutcome("a"), CaseOutcome("b", ["b: wrong"])], "aligned")
