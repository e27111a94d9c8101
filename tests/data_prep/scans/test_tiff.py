import os
import struct
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from common.errors import UserError
from data_prep.scans import tiff
from tests.scans import save_slice


def made(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (1, 1), (300, 300, 3)])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "packbits"])
def test_what_pillow_writes_is_read(tmp_path, shape, compression):
    array = made(shape)
    path = tmp_path / "a.tif"
    Image.fromarray(array).save(path, compression=compression)
    channels = 3 if len(shape) == 3 else 1
    assert tiff.read_header(path, channels) == tiff.Header(path, shape[:2])
    read = tiff.read_slice(path, channels)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, array)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(mask=arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.sampled_from([0, 255])))
def test_masks_come_back(tmp_path, mask):
    path = tmp_path / "new" / "mask.tif"
    tiff.write_slice(path, mask)
    np.testing.assert_array_equal(tiff.read_slice(path, 1), mask)


def test_a_mask_is_uncompressed_grey_and_whole(tmp_path):
    path = tmp_path / "a_mask.tif"
    tiff.write_slice(path, np.asfortranarray(made((256, 256))))
    with Image.open(path) as image:
        assert (image.mode, image.size, image.info["compression"]) == ("L", (256, 256), "raw")
    assert path.stat().st_size < 256 * 256 + 300
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("pixels", [np.zeros((2, 2), bool), np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2), np.int16)])
def test_what_is_no_slice_is_not_written(tmp_path, pixels):
    with pytest.raises(ValueError, match=r"expected \(rows, columns\) or \(rows, columns, 3\) uint8"):
        tiff.write_slice(tmp_path / "a.tif", pixels)
    assert list(tmp_path.iterdir()) == []


def wide(path):
    """Three channels of 16 bits, which Pillow would cut down to 8 in silence."""
    entries = [(256, 4, 1, 2), (257, 4, 1, 2), (258, 3, 3, 200), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 206)]
    entries += [(277, 3, 1, 3), (278, 4, 1, 2), (279, 4, 1, 24), (284, 3, 1, 1)]
    start = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    path.write_bytes(start.ljust(200, b"\0") + struct.pack("<HHH", 16, 16, 16) + bytes(24))
    return path


def stack(path):
    page = Image.fromarray(made((4, 4, 3)))
    page.save(path, save_all=True, append_images=[page, page])


def bomb(path):
    """A header of 65,535 x 65,535 pixels in a file of some bytes."""
    entries = [(256, 4, 1, 65535), (257, 4, 1, 65535), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 180)]
    entries += [(277, 3, 1, 1), (278, 4, 1, 65535), (279, 4, 1, 20)]
    start = struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    path.write_bytes(start.ljust(200, b"\0"))


BAD = {
    "16 bits": (wide, "expected an 8-bit TIFF image of three channels; received mode RGB of 16, 16, 16 bits; convert it"),
    "several pictures": (stack, "expected one picture; received 3; give one file per slice"),
    "grey": (lambda path: save_slice(path, made((4, 4))), "three channels; received mode L of 8 bits"),
    "bits": (lambda path: Image.new("1", (4, 4)).save(path), "received mode 1 of 1 bits"),
    "palette": (lambda path: Image.new("P", (4, 4)).save(path), "received mode P of 8 bits"),
    "floats": (lambda path: Image.new("F", (4, 4)).save(path), "received mode F of 32 bits"),
    "JPEG": (lambda path: Image.new("RGB", (4, 4)).save(path, format="JPEG"), "it is a JPEG picture"),
    "bytes": (lambda path: path.write_bytes(bytes(range(128, 256))), "not a TIFF image"),
    "text": (lambda path: path.write_text("no picture"), r"expected a TIFF image; it is text \(no picture\)"),
    "many pixels": (bomb, r"its header names too many pixels; expected at most \d+ pixels"),
    "pipe": (os.mkfifo, "slice is a named pipe"),
    "empty": (lambda path: path.write_bytes(b""), "empty file; expected a TIFF image"),
    "folder": (lambda path: path.mkdir(), "slice is a folder"),
    "nothing": (lambda path: None, "file not found"),
    "dangling link": (lambda path: path.symlink_to("nowhere"), "file not found"),
}


@pytest.mark.parametrize("read", [tiff.read_header, tiff.read_slice])
@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_slice_gives_one_line(tmp_path, kind, read):
    spoil, message = BAD[kind]
    path = tmp_path / "a.tif"
    spoil(path)
    with pytest.raises(UserError, match=message) as caught:
        read(path, 3)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 400), place=st.integers(0, 399), value=st.integers(0, 255), compressed=st.booleans())
def test_damage_gives_one_line_or_a_slice_and_no_warning(tmp_path, cut, place, value, compressed):
    path = tmp_path / "a.tif"
    Image.fromarray(made((9, 9, 3))).save(path, compression="tiff_deflate" if compressed else None)
    data = bytearray(path.read_bytes())
    data[place % len(data)] = value
    path.write_bytes(bytes(data[:-cut] if cut else data))
    said = ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            assert tiff.read_slice(path, 3).shape[2] == 3
        except UserError as error:
            said = str(error)
    assert not said or said.startswith(f"{path}: ")
    assert "\n" not in said


@pytest.mark.parametrize("cut", [1, 50, 200])
def test_a_short_file_is_found_by_its_header(tmp_path, cut):
    path = save_slice(tmp_path / "a.tif", made((20, 20, 3)))
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(
        UserError, match=rf"truncated or damaged \(expected {size} bytes, as its header says; received fewer\); fetch it again"
    ):
        tiff.read_header(path, 3)
