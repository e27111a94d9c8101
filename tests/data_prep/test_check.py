import numpy as np
import pytest

from common import cli
from data_prep.check import CheckConfig, main
from tests.dicom_files import blob, write_series
from tests.scans import save, scan, write_brats, write_rows, write_table


def run(capsys, *arguments):
    """Exit status, standard output and the error lines of the command."""
    status = 0
    try:
        cli.run(main, CheckConfig, [str(argument) for argument in arguments])
    except SystemExit as end:
        status = end.code
    shown = capsys.readouterr()
    return status, shown.out, [line for line in shown.err.splitlines() if line.startswith(("error:", "warning:"))]


def test_a_good_source_is_described(tmp_path, capsys):
    scans = [scan("a", seed=1), scan("b", seed=2, affine=np.diag([1, 1, 2.5, 1]))]
    write_brats(tmp_path / "HGG", scans[:1])
    write_brats(tmp_path / "LGG", scans[1:])
    status, out, errors = run(capsys, "--source", tmp_path)
    assert (status, errors) == (0, [])
    for expected in (
        "2, of 2 patients; 0 cannot be used",
        "flair, t1, t1ce, t2",
        "10 x 9 x 8 (2)",
        "1 x 1 x 1 (1), 1 x 1 x 2.5 (1)",
        "LPS (1), RAS (1)",
        "grade            HGG (1), LGG (1)",
    ):
        assert expected in out
    voxels = sum(int((made.label == 4).sum()) for made in scans)
    (row,) = [line.split() for line in out.splitlines() if "enhancing tumor" in line and "non-" not in line]
    assert row == ["4", "enhancing", "tumor", str(voxels), f"{voxels / 1440:.4%}", "2"]


def test_every_bad_case_is_listed(tmp_path, capsys):
    root = write_brats(tmp_path, [scan(name) for name in "abc"])
    (root / "a" / "a_t1.nii.gz").unlink()
    (root / "c" / "c_t2.nii.gz").write_bytes(b"")
    (root / "c" / "c_seg.nii.gz").write_bytes(b"")
    status, out, errors = run(capsys, "--source", root)
    assert status == 2
    assert "3, of 3 patients; 2 cannot be used" in out
    assert len(errors) == 4
    assert "case a lacks channel t1" in errors[0]
    assert errors[-1] == f"error: {root}: 2 of 3 cases cannot be used"


def test_options_of_the_source_are_taken(tmp_path, capsys):
    table = write_table(tmp_path, [scan("a", ids=(0, 1, 2, 4))])
    assert run(capsys, "--source", table)[0] == 2
    status, out, _ = run(capsys, "--source", table, "--labels", "brats2017-2021", "--channels", "t2", "t1")
    assert status == 0
    assert "channels         t2, t1\n" in out


def test_values_of_long_attribute_names_are_aligned(tmp_path, capsys):
    table = write_table(tmp_path, [scan("a", ids=(0, 1))])
    lines = table.read_text().splitlines()
    table.write_text(f"{lines[0]},neoplasm_histologic_grade\n{lines[1]},2\n")
    _, out, _ = run(capsys, "--source", table)
    rows = dict(line.split(maxsplit=1) for line in out.splitlines() if line.startswith(("source", "labels", "neoplasm")))
    assert rows["neoplasm_histologic_grade"] == "2 (1)"
    assert {line.index(rows[line.split()[0]]) for line in out.splitlines() if line.split()[0] in rows} == {26}


def test_missing_channels_taken_as_zeros_are_counted(tmp_path, capsys):
    root = write_brats(tmp_path, [scan("a"), scan("b", channels=("flair", "t1"))])
    status, out, _ = run(capsys, "--source", root, "--missing_channels", "zero")
    assert status == 0
    assert "missing (zeros)  t1ce (1), t2 (1)" in out


def test_a_file_without_affine_is_a_warning(tmp_path, capsys):
    root = write_brats(tmp_path, [scan("a")])
    save(root / "a" / "a_t1.nii.gz", np.ones((10, 9, 8), np.int16), None)
    status, _, lines = run(capsys, "--source", root)
    assert status == 0
    assert [line.split(": ")[0] for line in lines] == ["warning"] * 3
    assert "a: 100.0% of its voxels are not 0" in lines[-1]
    assert "neither sform nor qform" in lines[0]
    assert lines[1] == f"warning: {root}/a/a_t1.nii.gz: t1: all voxels are 1"


def test_an_image_of_one_value_is_a_warning(tmp_path, capsys):
    root = write_brats(tmp_path, [scan("a"), scan("b")])
    for name in ("a_flair", "b_seg"):
        save(root / name[0] / f"{name}.nii.gz", np.zeros((10, 9, 8), np.int16))
    status, _, lines = run(capsys, "--source", root)
    assert status == 0
    assert lines == [
        f"warning: {root}/a/a_flair.nii.gz: flair: all voxels are 0",
        f"warning: {root}/b/b_seg.nii.gz: label: all voxels are 0",
    ]


def test_the_series_of_a_folder_of_dicom_are_listed(tmp_path, capsys):
    write_series(tmp_path / "a", blob(), description="t1 mpr", patient="1")
    write_series(tmp_path / "b", blob(), description="t1 mpr +C", patient="1", number=2, places=[0, 1, 2, 5, 6, 7, 8, 9])
    status, out, errors = run(capsys, "--source", tmp_path, "--purpose", "prediction")
    assert status == 2
    rows = [line.split() for line in out.splitlines()[:3]]
    assert [row[1:5] for row in rows[1:]] == [["t1", "1", "MR", "t1"], ["t1ce", "2", "MR", "t1"]]
    assert "missing, 2 to 6" in out.splitlines()[2]
    assert len(errors) == 2
    assert "series 2 (t1 mpr +C): about 2 slices missing: slices 3 and 4 of 8 are 6 mm apart; expected 2 mm" in errors[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--source", "nowhere"],
        [],
        ["--source", ".", "--layout", "analyze"],
        ["--source", ".", "--tolerance_mm", "-1"],
        ["--source", ".", "--workers", "0"],
    ],
)
def test_a_wrong_option_is_one_line(capsys, arguments):
    status, out, errors = run(capsys, *arguments)
    assert (status, out, len(errors)) == (2, "", 1)


def test_channels_may_have_grids_of_their_own(tmp_path, capsys):
    images = {"T1": ((10, 9, 8), np.diag([1, 1, 2.5, 1])), "T2": ((8, 8, 6), np.diag([-2, -2, 3.0, 1]))}
    row = {"patient_id": "a", "label": "label.nii.gz"} | {name: f"{name}.nii.gz" for name in images}
    for name, (shape, affine) in images.items():
        save(tmp_path / f"{name}.nii.gz", blob(shape), affine)
    save(tmp_path / "label.nii.gz", blob((8, 8, 6), high=2, dtype=np.uint8), images["T2"][1])
    table = write_rows(tmp_path / "cases.csv", [row])
    assert run(capsys, "--source", table)[0] == 2
    status, out, errors = run(capsys, "--source", table, "--own_grids", "true")
    assert (status, errors) == (0, [])
    assert "grid of T1       10 x 9 x 8, 1 x 1 x 2.5 mm, RAS (1)" in out
    assert "grid of label    8 x 8 x 6, 2 x 2 x 3 mm, LPS (1)" in out
    assert "1  tumor" in out
    save(tmp_path / "T2.nii.gz", np.zeros((8, 8, 6), np.int16), images["T2"][1])
    status, _, lines = run(capsys, "--source", table, "--own_grids", "true")
    assert (status, len(lines)) == (0, 1)
    assert lines[0].endswith("T2.nii.gz: T2: all voxels are 0")
    (tmp_path / "T1.nii.gz").unlink()
    assert run(capsys, "--source", table, "--own_grids", "true")[0] == 2


def test_a_case_without_annotation_is_a_problem_for_records_alone(tmp_path, capsys):
    root = write_brats(tmp_path, [scan("a"), scan("b")])
    (root / "b" / "b_seg.nii.gz").unlink()
    status, _, lines = run(capsys, "--source", root)
    assert status == 2
    assert lines[0].startswith("error: b: has no label; records need one")
    assert run(capsys, "--source", root, "--purpose", "prediction")[0] == 0
    (root / "a" / "a_seg.nii.gz").unlink()
    status, _, lines = run(capsys, "--source", root)
    assert status == 2
    assert lines[0].startswith(f"error: {root}: none of 2 cases has a label; records need one")


def test_a_scan_of_two_patients_is_refused(tmp_path, capsys):
    root = write_brats(tmp_path, [scan("a", seed=1), scan("b", seed=1)])
    status, _, errors = run(capsys, "--source", root)
    assert status == 2
    assert "patients a and b have the same bytes" in errors[0]
    assert errors[-1] == f"error: {root}: 1 scan of two patients"
    assert run(capsys, "--source", root, "--compare_patients", "false")[0] == 2  # by the bytes of the files


def test_time_points_are_joined_by_a_pattern(tmp_path, capsys):
    root = write_brats(tmp_path, [scan("x_t1"), scan("x_t2")])
    status, _, (warning,) = run(capsys, "--source", root)
    assert status == 0
    assert "x_t1, x_t2 may be time points of one" in warning
    status, out, warnings = run(capsys, "--source", root, "--patient_pattern", r"(.+)_t\d")
    assert (status, warnings) == (0, [])
    assert "2, of 1 patient;" in out
