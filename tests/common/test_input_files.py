import os
import socket

import pytest

from common.errors import UserError
from common.input_files import GIB, MIB, decoded, expect_file, open_input, path_of, size_text


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(str(path))


@pytest.mark.parametrize(("make", "said"), [(os.mkfifo, "a named pipe"), (os.mkdir, "a folder"), (make_socket, "a socket")])
def test_what_is_no_ordinary_file_is_refused_without_waiting(tmp_path, monkeypatch, make, said):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    make("there")
    for read in (expect_file, open_input):
        with pytest.raises(UserError, match=f"scan is {said}.*; expected an ordinary file"):
            read(tmp_path / "there", MIB, "scan")


def test_a_device_is_refused(tmp_path):
    (tmp_path / "scan").symlink_to(os.devnull)
    with pytest.raises(UserError, match="file is a device"):
        open_input(tmp_path / "scan", MIB)


def test_a_sparse_file_beyond_the_limit_is_refused(tmp_path):
    with (tmp_path / "scan").open("wb") as file:
        file.truncate(100 * GIB)
    with pytest.raises(UserError, match=r"has 100 GiB; expected at most 1.5 GiB: is it the right file"):
        open_input(tmp_path / "scan", 3 * GIB // 2)


def test_an_ordinary_file_is_opened_and_its_size_known(tmp_path):
    (tmp_path / "scan").write_bytes(b"abc")
    assert expect_file(tmp_path / "scan", 3) == 3
    with open_input(tmp_path / "scan", 3) as file:
        assert file.read() == b"abc"
    with pytest.raises(FileNotFoundError):
        open_input(tmp_path / "none", 3)


def test_text_without_a_mark_is_utf8():
    assert decoded("ü\r\na\rb\n".encode()) == "ü\na\nb\n"
    with pytest.raises(UnicodeDecodeError):
        decoded("ü".encode("cp1252"))


def test_sizes_in_words():
    assert [size_text(size) for size in (12, 3 * MIB, 5 * GIB // 2)] == ["12 bytes", "3 MiB", "2.5 GiB"]


def test_backslashes_of_windows_stand_for_slashes_unless_a_file_is_named_so(tmp_path):
    assert path_of(tmp_path, "a\\b.nii") == tmp_path / "a" / "b.nii"
    (tmp_path / "a\\b.nii").touch()
    assert path_of(tmp_path, "a\\b.nii") == tmp_path / "a\\b.nii"
