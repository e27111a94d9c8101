import errno
import os
from pathlib import Path

import pytest

from common.errors import UserError
from data_prep.sources import open_source, walk
from data_prep.sources.walk import content_words, passed_by, visible_files


def test_hidden_files_are_left_out_and_linked_folders_visited_once(tmp_path):
    for name in ("b/2.nii", "b/.hidden", ".git/x.nii", "__MACOSX/y.nii", "a/1.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in visible_files(tmp_path)] == ["a/1.nii", "b/2.nii"]


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.nii").touch()
    scandir = os.scandir

    def without_right(path):
        if Path(path).name == "b":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", without_right)
    with pytest.raises(UserError, match=r"/b: folder cannot be read \(Permission denied\)$"):
        list(visible_files(tmp_path))


@pytest.mark.parametrize("name", ["a\nerror: b", "a\r"])
def test_a_line_break_in_a_name_is_refused_in_one_line(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=r"expected names of files without line breaks; received 'a.*; rename it") as error:
        list(visible_files(tmp_path))
    assert len(str(error.value).splitlines()) == 1


def test_a_name_that_is_not_utf8_is_refused_in_a_line_that_can_be_printed(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / os.fsdecode(b"t1\xff.nii")).touch()
    with pytest.raises(UserError, match=r"/a: expected names of files in UTF-8; received t1\\xff.nii; rename it") as error:
        list(visible_files(tmp_path))
    assert str(error.value).encode()


def test_a_link_to_a_folder_that_holds_the_source_is_not_followed(tmp_path):
    (tmp_path / "source" / "a").mkdir(parents=True)
    (tmp_path / "other.nii").touch()
    (tmp_path / "source" / "a" / "1.nii").touch()
    (tmp_path / "source" / "up").symlink_to("..")
    (tmp_path / "source" / "root").symlink_to("/")
    assert [path.name for path in visible_files(tmp_path / "source")] == ["1.nii"]


def test_a_linked_folder_elsewhere_belongs_to_the_source(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "1.nii").touch()
    (tmp_path / "source" / "a").symlink_to("../store")
    assert [path.name for path in visible_files(tmp_path / "source")] == ["1.nii"]


def test_a_walk_has_limits_and_prints_how_far_it_is(tmp_path, monkeypatch, capsys):
    for name in ("a/b/c/1.nii", "a/b/2.nii", "a/3.nii"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.setattr(walk, "TOLD_AFTER", 2)
    assert len(list(visible_files(tmp_path))) == 3
    assert capsys.readouterr().err == f"{tmp_path}: 2 files so far\n"
    monkeypatch.setattr(walk, "FOLDER_DEPTH", 2)
    with pytest.raises(
        UserError, match=f"/a/b/c: expected at most 2 folders in one another below {tmp_path}; give a folder of"
    ):
        list(visible_files(tmp_path))
    monkeypatch.setattr(walk, "FOLDER_FILES", 1)
    with pytest.raises(UserError, match="expected a folder of scans with at most 1 files below it; received more"):
        list(visible_files(tmp_path))


def test_images_of_no_case_are_counted_and_named(tmp_path):
    for name in ("a.nii", "b.nii.gz", "c.mha", "notes.txt"):
        (tmp_path / name).touch()
    assert passed_by(tmp_path, {tmp_path / "a.nii"}) == [f"{tmp_path}: 2 images were passed by: b.nii.gz, c.mha"]
    assert passed_by(tmp_path, set()) == [f"{tmp_path}: 3 images were passed by, such as a.nii, b.nii.gz"]
    assert passed_by(tmp_path, set(), [tmp_path / "b.nii.gz"]) == [f"{tmp_path}: 1 image was passed by: b.nii.gz"]
    assert passed_by(tmp_path, set(), []) == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["x/VSD.Brain.XX.O.MR_Flair.1.mha", "x/VSD.Brain.XX.O.OT.2.mha"],
            "files: 2 .mha; convert VSD.Brain",
        ),
        (["imagesTr/a_0000.nii.gz"], "it has imagesTr, as nnU-Net's folders: add their dataset.json"),
        (["Dataset001_x/dataset.json", "y/z.txt"], "give one of its folders with dataset.json: Dataset001_x"),
        (
            ["a/scan.nii.gz", "a/what.nii.gz", "a/readme"],
            "it holds other files: 2 .nii.gz, 1 without ending, such as a/scan",
        ),
        (["a/.hidden"], "it holds no files"),
    ],
)
def test_a_folder_of_no_layout_is_described(tmp_path, names, message):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert message in content_words(tmp_path)
    with pytest.raises(UserError, match=r"no layout recognised in this folder; looked for .*; \w+") as error:
        open_source(tmp_path)
    assert str(error.value).endswith(content_words(tmp_path))
