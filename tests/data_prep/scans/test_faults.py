import pytest

from data_prep.scans.faults import damaged, too_short, unreadable


def test_a_damaged_file_gives_one_line_with_advice(tmp_path):
    assert (
        str(damaged(tmp_path / "a.nii", "ends\n early"))
        == f"{tmp_path}/a.nii: truncated or damaged (ends early); fetch it again"
    )
    assert "(expected 9 bytes, as its header says; received fewer)" in str(too_short(tmp_path / "a.nii", 9))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda path: None, FileNotFoundError(2, "No such file"), "file not found"),
        (
            lambda path: path.symlink_to("gone.nii"),
            FileNotFoundError(2, "No such file"),
            "file not found; it is a link to {}/gone.nii, ",
        ),
        (lambda path: path.touch(), EOFError("end"), "empty file; expected a NIfTI image"),
        (lambda path: path.write_text("x"), PermissionError(13, "Permission denied"), "cannot be read (Permission denied)"),
        (lambda path: path.write_text("x"), EOFError("end of file"), "truncated or damaged (end of file); fetch it again"),
    ],
)
def test_each_fault_has_its_words(tmp_path, make, error, message):
    path = tmp_path / "a.nii"
    make(path)
    assert str(unreadable(path, error, "NIfTI")).startswith(f"{path}: {message.format(tmp_path)}")
