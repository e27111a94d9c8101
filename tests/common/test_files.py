import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import UserError
from common.files import (
    LOCK,
    checksum,
    copy_file,
    foreign_names,
    is_temporary,
    lock,
    read_json,
    read_lines,
    read_text,
    read_yaml,
    refuse_foreign,
    remove_files,
    remove_unfinished,
    replacing,
    write_bytes,
    write_json,
    write_serialised,
    write_text,
    write_yaml,
)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_atomic_write_makes_folders_and_leaves_nothing_but_the_file(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    with replacing(path) as file:
        file.write(b"new")
        assert not path.exists()
        (temporary,) = path.parent.iterdir()
        assert is_temporary(temporary)
        assert foreign_names(path.parent) == []
    assert path.read_text() == "new"
    assert names(path.parent) == ["file.txt"]


def fail_after_writing(file):
    file.write(b"half of the new")
    raise ZeroDivisionError


@pytest.mark.parametrize("before", [None, "old"])
def test_a_failure_leaves_the_old_file_or_none(tmp_path, before):
    path = tmp_path / "file.txt"
    if before is not None:
        path.write_text(before)
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        fail_after_writing(file)
    assert (path.read_text() if before is not None else path.exists()) == (before or False)
    assert names(tmp_path) == ([] if before is None else ["file.txt"])


@pytest.mark.parametrize("failing", ["open", "write", "fsync", "replace"])
def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path, monkeypatch, failing):
    """At each step of a write; a library that serialises does not meet it."""
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    def opened(self, *arguments, real=Path.open, **keywords):
        file = real(self, *arguments, **keywords)
        return Full(file.detach()) if failing == "write" and is_temporary(self) else file

    class Full(io.BufferedWriter):
        write = full

    monkeypatch.setattr(Path, "open", full if failing == "open" else opened)
    monkeypatch.setattr(os, "fsync", full if failing == "fsync" else lambda descriptor: None)
    monkeypatch.setattr(Path, "replace", full if failing == "replace" else Path.replace)
    for write in (lambda: write_bytes(path, b"new"), lambda: write_serialised(path, lambda file: file.write(b"new"))):
        with pytest.raises(OSError, match="No space left") as error:
            write()
        assert error.value.filename == str(path)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file.bin"]


def test_a_copy_has_the_same_bytes(tmp_path):
    (tmp_path / "a").write_bytes(bytes(range(256)) * 9000)
    copy_file(tmp_path / "a", tmp_path / "new" / "b")
    assert (tmp_path / "new" / "b").read_bytes() == (tmp_path / "a").read_bytes()


def test_only_files_of_our_own_names_are_unfinished(tmp_path):
    mine = [".tmp_notes", ".tmp", ".tmp12", ".tmp12.", ".tmp012.a", ".tmpx.a", "tmp12.a", "b.tmp12.a"]
    for name in mine:
        (tmp_path / name).touch()
    (tmp_path / ".tmp5.folder").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / ".tmp7.a.txt").touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "out" / ".tmp8.link").symlink_to(tmp_path / "elsewhere" / ".tmp7.a.txt")
    (tmp_path / "out" / ".tmp3171.a b.nii.gz").touch()
    remove_unfinished(tmp_path / "out")
    assert names(tmp_path / "out") == [".tmp8.link", "link"]
    assert names(tmp_path / "elsewhere") == [".tmp7.a.txt"]
    remove_unfinished(tmp_path)
    assert names(tmp_path) == sorted([*mine, ".tmp5.folder", "elsewhere", "out"])
    assert not any(map(is_temporary, tmp_path.rglob("*")))


def test_an_empty_folder_holds_a_lock_and_unfinished_files_at_most(tmp_path):
    refuse_foreign(tmp_path / "missing", "the records")
    (tmp_path / LOCK).touch()
    (tmp_path / ".tmp12.config.yaml").touch()
    (tmp_path / "config.yaml").touch()
    refuse_foreign(tmp_path, "the records", own=("config.yaml",))
    (tmp_path / ".tmp_notes").touch()
    with pytest.raises(UserError) as error:
        refuse_foreign(tmp_path, "the records", own=("config.yaml",))
    said = "expected an empty or new folder for the records; it holds '.tmp_notes'; choose another --out"
    assert str(error.value) == f"{tmp_path}: {said}"


def test_json_and_yaml_come_back_in_the_order_given(tmp_path):
    value = {"zeta": [1, 2.5, None], "alpha": {"ü": "x: #y", "yes": True}}
    write_json(tmp_path / "v.json", value)
    write_yaml(tmp_path / "v.yaml", value)
    for back in (read_json(tmp_path / "v.json", "values"), read_yaml(tmp_path / "v.yaml", "values")):
        assert back == value
        assert list(back) == ["zeta", "alpha"]


def test_numbers_that_json_has_not_are_refused_and_nothing_is_written(tmp_path):
    write_json(tmp_path / "v.json", 1)
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "v.json", float("nan"))
    assert read_json(tmp_path / "v.json", "value") == 1


def test_lines_are_stripped_and_empty_ones_left_out(tmp_path):
    write_text(tmp_path / "ids.txt", "a\r\n\n  b \n")
    assert read_lines(tmp_path / "ids.txt", "list") == ["a", "b"]


@pytest.mark.parametrize(
    ("read", "content", "said"),
    [
        (read_json, b'{"a": 1,\n "b" 2}', "is not JSON (line 2"),
        (read_json, b"", "is not JSON (line 1"),
        (read_yaml, b"a: 1\nb: [1,\n", "is not YAML (line 3"),
        (read_yaml, b"a: 1\n\tb: 2", "is not YAML (line 2"),
        (read_yaml, b"a: \x01", "is not YAML (line 1"),
        (read_text, "a;b\n".encode("utf-16-le"), "is not text, or UTF-16 without its mark; save it as UTF-8"),
        (read_yaml, b"a: 1\nb: {c: 1, d: 2,\n  c: 3}\n", "is not YAML (line 3: key c stands in line 2 too; remove one)"),
        (read_yaml, b"a: b: c", "is not YAML (line 1: mapping values are not allowed here)"),
        (read_text, "a\nü".encode("latin-1"), "is not UTF-8 text (line 2); save it as UTF-8 (Excel: CSV UTF-8)"),
        (read_text, None, "not found"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_in_one_line(tmp_path, read, content, said):
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read(path, "settings")
    assert str(error.value).startswith(f"{path}: settings ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_marks_of_unicode_and_ends_of_lines_of_windows_are_read(tmp_path, encoding):
    path = tmp_path / "file"
    path.write_bytes("a: Müller\r\nb: 1\r\n".encode(encoding))
    assert read_text(path, "settings") == "a: Müller\nb: 1\n"
    assert read_yaml(path, "settings") == {"a": "Müller", "b": 1}
    path.write_bytes('{"a": "ü"}\r\n'.encode(encoding))
    assert read_json(path, "settings") == {"a": "ü"}
    path.write_bytes("007\r\n008\r\n".encode(encoding))
    assert read_lines(path, "settings") == ["007", "008"]


@pytest.mark.parametrize("below", ["", "file/below"])
def test_a_folder_or_a_file_on_the_way_is_told_in_one_line(tmp_path, below):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="settings"):
        read_text(tmp_path / below, "settings")


HOLD = "import sys; from pathlib import Path; from common.files import lock\n"
HOLD += "with lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"


def test_a_folder_is_locked_against_another_process_until_it_ends(tmp_path):
    folder = tmp_path / "out"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another command is writing here"), lock(folder):
            pass
        other.kill()
    with lock(folder):
        assert folder.is_dir()
    with lock(folder):
        pass


def _write_and_fail(path):
    path.touch()
    raise ZeroDivisionError


def test_an_error_before_anything_is_written_leaves_no_folder(tmp_path):
    (tmp_path / "there").mkdir()
    for folder in (tmp_path / "new" / "out", tmp_path / "there"):
        with pytest.raises(ZeroDivisionError), lock(folder):
            raise ZeroDivisionError
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]
    (tmp_path / "there" / "thesis.tex").touch()
    with pytest.raises(ZeroDivisionError), lock(tmp_path / "there"):
        raise ZeroDivisionError
    assert names(tmp_path / "there") == ["thesis.tex"]
    with pytest.raises(ZeroDivisionError), lock(tmp_path / "out"):
        _write_and_fail(tmp_path / "out" / "work")
    assert (tmp_path / "out" / "work").exists()


def test_a_folder_of_somebody_else_is_not_locked_for_new_content(tmp_path):
    (tmp_path / "label.nii.gz").touch()
    for _ in range(2):  # the first call leaves nothing by which the second would take the folder for ours
        with pytest.raises(UserError, match=r"it holds 'label.nii.gz'; choose another"), lock(tmp_path, "predictions"):
            pass
    with lock(tmp_path, "predictions", own=["label.nii.gz"]):
        (tmp_path / "a.nii.gz").touch()
    with lock(tmp_path, "predictions"):  # of an earlier call
        pass


def test_files_are_deleted_by_their_names_and_others_stay(tmp_path):
    inside, elsewhere = tmp_path / "case" / "scanner", tmp_path / "elsewhere"
    inside.mkdir(parents=True)
    elsewhere.mkdir()
    for folder in (inside, inside.parent, elsewhere):
        (folder / "a.nii.gz").touch()
    (inside / ".tmp12.b").touch()
    (inside.parent / "link").symlink_to(elsewhere)
    (inside.parent / "b.nii.gz").symlink_to(elsewhere / "a.nii.gz")
    (inside.parent / "notes.txt").touch()
    assert not remove_files(inside.parent, ["*.nii.gz"])
    assert names(inside.parent) == ["b.nii.gz", "link", "notes.txt"]
    assert names(elsewhere) == ["a.nii.gz"]
    (tmp_path / "linked").symlink_to(elsewhere)
    assert not remove_files(tmp_path / "linked", ["*"])
    assert remove_files(elsewhere, ["*.nii.gz"])
    assert remove_files(tmp_path / "missing", ["*"])
    assert names(tmp_path) == ["case", "linked"]


def test_a_lock_is_released_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), lock(tmp_path):
        raise ZeroDivisionError
    with lock(tmp_path):
        pass


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_file_in_the_place_of_the_folder_is_told_in_one_line(tmp_path, name):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="file"), lock(tmp_path / name):
        pass


def test_a_checksum_is_crc32c(tmp_path):
    (tmp_path / "file").write_bytes(b"123456789")
    assert checksum(tmp_path / "file") == "e3069283"
