import os
import zlib

import numpy as np
import pydicom
import pytest

from common.errors import UserError
from data_prep.scans import dicom_header
from data_prep.scans.dicom_header import has_magic, read_dataset, read_header
from tests.dicom_files import AXIAL, NAME, blob, write_enhanced, write_junk, write_series
from tests.scans import within


def test_a_slice_is_one_frame(tmp_path):
    paths = write_series(tmp_path, blob((12, 10, 3)), AXIAL, "T1 +C", contrast="x", ContrastBolusAgent="Gadovist", EchoTime=3.5)
    header = read_header(paths[1])
    (frame,) = header.frames
    assert (header.modality, header.description, header.contrast, header.colours) == ("MR", "T1 +C", "Gadovist", 1)
    assert (frame.index, frame.number, frame.size, frame.pixel_mm, frame.thickness_mm) == (None, 2, (12, 10), (0.8, 0.8), 2.0)
    np.testing.assert_allclose(frame.origin, [0, 0, 2])
    assert "3.5" in frame.splitters
    assert header.complete
    assert NAME not in repr(header)


def test_an_enhanced_object_has_a_frame_for_each_slice(tmp_path):
    header = read_header(write_enhanced(tmp_path / "a", blob((6, 5, 4)), AXIAL, echoes=(1.0, 2.0)))
    assert [frame.index for frame in header.frames] == list(range(8))
    assert {frame.origin[2] for frame in header.frames} == {0, 2, 4, 6}
    assert {frame.splitters[1] for frame in header.frames} == {"1.0", "2.0"}


def test_what_is_not_dicom_has_no_header(tmp_path):
    write_junk(tmp_path)
    for name in ("DICOMDIR", "notes.txt", "thumbs.dcm", "empty.dcm"):
        assert read_header(tmp_path / name) is None
    assert read_header(tmp_path / "report.dcm").modality == "SR"
    assert read_header(tmp_path / "report.dcm").frames == ()
    assert not has_magic(tmp_path / "notes.txt")


def test_a_file_without_preamble_is_read_by_its_ending(tmp_path):
    (path,) = write_series(tmp_path, blob((6, 5, 1)))
    bare = pydicom.Dataset(dict(pydicom.dcmread(path).items()))
    pydicom.dcmwrite(tmp_path / "raw.IMA", bare, implicit_vr=True, little_endian=True)
    pydicom.dcmwrite(tmp_path / "raw.bin", bare, implicit_vr=True, little_endian=True)
    assert not has_magic(tmp_path / "raw.IMA")
    assert read_header(tmp_path / "raw.IMA").frames[0].origin == read_header(path).frames[0].origin
    assert read_header(tmp_path / "raw.bin") is None


def test_a_short_file_is_not_complete(tmp_path):
    (path,) = write_series(tmp_path, blob((40, 40, 1)))
    path.write_bytes(path.read_bytes()[:-1000])
    assert not read_header(path).complete


def test_a_damaged_header_is_one_line(tmp_path):
    (path,) = write_series(tmp_path, blob((6, 5, 1)))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"0.80000000", b"0.8000000x"))
    with pytest.raises(UserError, match=r"truncated or damaged") as caught:
        read_header(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="cannot be read"):
        read_header(tmp_path / "gone.dcm")


def test_a_changed_file_is_read_again(tmp_path):
    (path,) = write_series(tmp_path, blob((6, 5, 1)), description="before")
    assert read_header(path).description == "before"
    (path,) = write_series(tmp_path, blob((6, 5, 1)), description="afterwards")
    assert read_header(path).description == "afterwards"


def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "a.dcm")
    for read in (has_magic, read_header, read_dataset):
        with within(20), pytest.raises(UserError, match="is a named pipe"):
            read(tmp_path / "a.dcm")


def test_more_voxels_than_a_slice_has_are_refused_by_the_header(tmp_path):
    (path,) = write_series(tmp_path, blob((6, 5, 1)))
    dataset = pydicom.dcmread(path)
    dataset.Rows = dataset.Columns = 65535
    dataset.save_as(path)
    with pytest.raises(UserError, match="its header names 65535 x 65535 x 1 voxels; expected at most 1073741824 voxels"):
        read_header(path)


def test_a_dataset_that_inflates_beyond_a_slice_is_refused_before_it_is_inflated(tmp_path, monkeypatch):
    (path,) = write_series(tmp_path, blob((6, 5, 1)))
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = dicom_header.DEFLATED
    dataset.save_as(path)
    assert read_header(path).frames[0].size == (6, 5)
    start = 144 + pydicom.filereader.read_file_meta_info(path).FileMetaInformationGroupLength
    compressor = zlib.compressobj(9, wbits=-15)
    path.write_bytes(path.read_bytes()[:start] + compressor.compress(bytes(9_000_000)) + compressor.flush())
    monkeypatch.setattr(dicom_header, "SLICE_BYTES", 8_000_000)
    for read in (read_header, read_dataset):
        with pytest.raises(UserError, match=r"is compressed, and inflates to more than 7\.629 MiB"):
            read(path)
