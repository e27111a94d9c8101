from pathlib import Path

import pytest

from data_prep.scans.faults import damaged, foreign, foreign_file, too_large, too_long, too_short, unreadable


def test_a_damaged_file_gives_one_line_with_advice(tmp_path):
    assert (
        str(damaged(tmp_path / "a.nii", "ends\n early"))
        == f"{tmp_path}/a.nii: truncated or damaged (ends early); fetch it again"
    )
    assert "(expected 9 bytes, as its header says; received fewer)" in str(too_short(tmp_path / "a.nii", 9))
    assert "(expected 9 bytes, as its header says; received more)" in str(too_long(tmp_path / "a.nii", 9))
    assert "names 9 x 9 pixels; expected at most 80 pixels" in str(too_large(tmp_path / "a.tif", "9 x 9 pixels", "80 pixels"))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda path: None, FileNotFoundError(2, "No such file"), "file not found"),
        (
            lambda path: path.symlink_to("gone.nii"),
            FileNotFoundError(2, "No such file"),
            "file not found; it is a link to {}/gone.nii, ",
        ),
        (
            lambda path: path.symlink_to(".git/annex/objects/x"),
            FileNotFoundError(2, "No such file"),
            "file not found; it is a link to {}/.git/annex/objects/x, which does not exist; it is managed by git-annex",
        ),
        (lambda path: path.write_text("x"), OSError("CRC check failed"), "its bytes changed after it was compressed"),
        (lambda path: path.touch(), EOFError("end"), "empty file; expected a NIfTI image"),
        (lambda path: path.write_text("x"), PermissionError(13, "Permission denied"), "cannot be read (Permission denied)"),
        (lambda path: path.write_text("x"), EOFError("end of file"), "truncated or damaged (end of file); fetch it again"),
    ],
)
def test_each_fault_has_its_words(tmp_path, make, error, message):
    path = tmp_path / "a.nii"
    make(path)
    assert str(unreadable(path, error, "NIfTI")).startswith(f"{path}: {message.format(tmp_path)}")


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "is a Git LFS pointer, not the file itself: run git lfs pull",
        ),
        (b"/annex/objects/SHA256E-s9--0.nii.gz\n", "is a git-annex pointer, not the file itself: run git annex get"),
        (b"\n<HTML><body>", "is a web page, such as of a login or an error, not the file itself: download it again"),
        (b"PK\x03\x04\x00", "expected a NIfTI image; it is a ZIP archive; unpack it"),
        (b"ObjectType = Image\nNDims = 3\n", "expected a NIfTI image; it is a MetaImage (.mha); convert it to NIfTI"),
        (bytes(128) + b"DICM\x02\x00", "expected a NIfTI image; it is a DICOM file; give its folder as the source"),
        (b'{"error": "no such file"}', 'expected a NIfTI image; it is text ({"error": "no such file"}); download it again'),
        (b"word " * 20, "expected a NIfTI image; it is text (word word word word word word word word  ...); download it again"),
    ],
)
def test_a_file_of_another_kind_is_named_by_its_first_bytes(tmp_path, start, message):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(start)
    assert foreign(path, start, "NIfTI") == foreign_file(path, "NIfTI") == f"{path}: {message}"


@pytest.mark.parametrize("start", [b"", b"   ", bytes(20), bytes(range(128, 200))])
def test_bytes_of_no_known_kind_have_no_name(tmp_path, start):
    assert foreign(tmp_path, start, "NIfTI") is None


def test_a_damaged_file_of_the_expected_kind_is_none_of_another():
    assert foreign(Path("a.tif"), b"II*\0\x08", "TIFF") is None
    assert foreign(Path("a.nii"), b"II*\0\x08", "NIfTI") == "a.nii: expected a NIfTI image; it is a TIFF picture"
