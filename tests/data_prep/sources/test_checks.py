import sys

import pytest

from data_prep.sources import open_source
from data_prep.sources.checks import MOST_KINDS, check_cases, warn_of_kinds
from tests.scans import scan, write_brats


@pytest.fixture
def source(tmp_path):
    root = write_brats(tmp_path, [scan(name, shape=(30, 30, 30)) for name in "abc"])
    (root / "a" / "a_t1.nii.gz").write_bytes(b"")
    (root / "c" / "c_seg.nii.gz").write_text("no scan")
    data = bytearray((root / "b" / "b_t2.nii.gz").read_bytes())
    data[-6] ^= 255  # of the checksum
    (root / "b" / "b_t2.nii.gz").write_bytes(data)
    return open_source(root)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("deep", "expected"), [(False, "ac"), (True, "abc")])
def test_every_problem_of_every_case_is_found_in_order(source, workers, deep, expected):
    lines = check_cases(source, source.cases(), workers, deep, progress=False)
    assert [line.split("/")[-1][0] for line in lines] == list(expected)


def test_progress_goes_to_standard_error_alone(source, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    check_cases(source, source.cases())
    shown = capsys.readouterr()
    assert "checking: 100%" in shown.err
    assert shown.out == ""


def test_a_warning_of_each_kind_is_printed(capsys):
    lines = [f"/scans/{n}/x.dcm: T1: tilt {n}.5 degrees: resampled" for n in range(3)]
    warn_of_kinds([*lines, "/scans/4/x.dcm: T1: slices 2 to 3.1 mm apart", "b: has neither sform nor qform"], "check")
    assert capsys.readouterr().err.splitlines() == [
        "warning: /scans/0/x.dcm: T1: tilt 0.5 degrees: resampled (and 2 such lines more: check lists all)",
        "warning: /scans/4/x.dcm: T1: slices 2 to 3.1 mm apart",
        "warning: b: has neither sform nor qform",
    ]
    warn_of_kinds([f"a: {letter}" for letter in "abcdefghij"], "check")
    assert capsys.readouterr().err.splitlines()[MOST_KINDS:] == ["warning: 2 lines of other kinds: check lists all"]
    warn_of_kinds([], "check")
    assert capsys.readouterr().err == ""


def test_no_cases_are_no_problem(source):
    assert check_cases(source, [], workers=4, progress=False) == []
