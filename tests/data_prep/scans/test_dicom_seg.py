import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK

from common.errors import UserError
from data_prep.grid.voxel_grid import Grid
from data_prep.scans.dicom import index_files
from data_prep.scans.dicom_seg import read_seg, read_seg_reference, seg_masks, write_seg
from tests.campaigns.contents import content
from tests.dicom_files import AXIAL, BIRTH, NAME, STUDY_DATE, blob, oblique, write_enhanced, write_series

SEGMENTS = {"tumor": [1], "cyst": [2, 3]}


def written_series(folder, affine=None, **options):
    (series,) = index_files(write_series(folder, blob(), oblique() if affine is None else affine, **options)).series
    return series


def labels(shape):
    """Ids 0 to 3, on some slices none."""
    ids = blob(shape, seed=5, high=4, dtype=np.uint8)
    ids[:, :, [0, 3]] = 0
    ids[:2] = 0
    return ids


def cropped_seg(path, series, mask, rows, columns, slices, kind="BINARY"):
    """SEG of a part of the slices, and of the rows and columns of a series, as annotation tools write it."""
    headers = [pydicom.dcmread(frame.path) for frame in series.frames[slices]]
    volume = highdicom.get_volume_from_series(headers)[:, rows, columns]
    values = np.ascontiguousarray(mask[columns, rows, slices].transpose(2, 1, 0)[::-1])  # highdicom's first slice is the last
    segmentation = highdicom.seg.Segmentation(
        source_images=headers,
        pixel_array=volume.with_array(values.astype(np.float32) * 0.75 if kind == "FRACTIONAL" else values),
        segmentation_type=kind,
        segment_descriptions=[description(1, "GTV")],
        series_instance_uid=highdicom.UID(),
        series_number=5,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="tool",
        manufacturer_model_name="tool",
        software_versions="1",
        device_serial_number="1",
    )
    segmentation.save_as(path)
    return path


def description(number, name):
    code = highdicom.sr.coding.CodedConcept("52988006", "SCT", "Lesion")
    return highdicom.seg.SegmentDescription(number, name, code, code, "MANUAL")


@pytest.mark.parametrize("affine", [AXIAL, oblique()])
def test_what_is_written_is_read_equal(tmp_path, affine):
    series = written_series(tmp_path, affine)
    ids = labels((12, 10, 8))
    write_seg(tmp_path / "out" / "a.seg.dcm", series, ids, SEGMENTS, "case_1")
    seg = read_seg(tmp_path / "out" / "a.seg.dcm")
    assert (seg.names, seg.series_uid) == ({1: "tumor", 2: "cyst"}, series.uid)
    assert read_seg_reference(seg.path) == series.uid
    for own in (series, None):  # copied slice for slice, or resampled
        masks = seg_masks(seg, own, series.stack.grid)
        np.testing.assert_array_equal(masks[1], ids == 1)
        np.testing.assert_array_equal(masks[2], ids >= 2)


def test_other_libraries_read_it(tmp_path):
    series = written_series(tmp_path, AXIAL)
    ids = labels((12, 10, 8))
    write_seg(tmp_path / "a.seg.dcm", series, ids, {"tumor": [1]}, "case_1")
    image = SimpleITK.ReadImage(str(tmp_path / "a.seg.dcm"))
    frames = SimpleITK.GetArrayFromImage(image).transpose()
    places = [
        frame.PlanePositionSequence[0].ImagePositionPatient[2]
        for frame in pydicom.dcmread(tmp_path / "a.seg.dcm").PerFrameFunctionalGroupsSequence
    ]
    slices = [round(float(place) / 2) for place in places]
    assert sorted(slices) == [1, 2, 4, 5, 6, 7]
    np.testing.assert_array_equal(frames > 0, (ids == 1)[:, :, slices])
    segmentation = highdicom.seg.segread(tmp_path / "a.seg.dcm")
    referenced = {uid for _, _, uid in segmentation.get_source_image_uids()}
    assert referenced == {frame.sop_uid for frame in series.frames}
    volume = segmentation.get_volume(segment_numbers=[1])
    found = volume.array[..., 0].transpose(2, 1, 0)
    np.testing.assert_array_equal(found if volume.affine[2, 0] > 0 else found[:, :, ::-1], (ids == 1)[:, :, 1:])


def test_the_person_is_left_out_unless_asked_for(tmp_path):
    series = written_series(tmp_path, StudyDescription=NAME, PatientAddress="Hauptstr. 1")
    for keep in (False, True):
        write_seg(tmp_path / "a.seg.dcm", series, labels((12, 10, 8)), SEGMENTS, "case_1", keep)
        content = (tmp_path / "a.seg.dcm").read_bytes()
        for word in (NAME, BIRTH, STUDY_DATE, "WEISS", "A77"):
            assert (word.encode() in content) == keep
        dataset = pydicom.dcmread(tmp_path / "a.seg.dcm")
        assert (str(dataset.PatientID) == "case_1") != keep
        assert dataset.StudyInstanceUID == series.study_uid


def test_a_prediction_without_tumour_is_written(tmp_path):
    series = written_series(tmp_path)
    write_seg(tmp_path / "a.seg.dcm", series, np.zeros((12, 10, 8), np.uint8), SEGMENTS, "case_1")
    masks = seg_masks(read_seg(tmp_path / "a.seg.dcm"), series, series.stack.grid)
    assert sorted(masks) == [1, 2]
    assert not any(mask.any() for mask in masks.values())


def test_a_series_with_few_attributes_can_be_referred_to(tmp_path):
    paths = write_series(tmp_path, blob())
    for path in paths:
        dataset = pydicom.dcmread(path)
        for name in (
            "StudyDate",
            "StudyTime",
            "AccessionNumber",
            "StudyID",
            "PatientBirthDate",
            "ReferringPhysicianName",
            "SeriesNumber",
        ):
            delattr(dataset, name)
        dataset.save_as(path)
    (series,) = index_files(paths).series
    write_seg(tmp_path / "a.seg.dcm", series, labels((12, 10, 8)), SEGMENTS, "case_1", True)
    assert read_seg(tmp_path / "a.seg.dcm").names == {1: "tumor", 2: "cyst"}


def test_a_tilted_series_gets_a_seg_on_its_rectangular_grid(tmp_path):
    tilted = AXIAL.copy()
    tilted[1, 2] = 0.6
    series = written_series(tmp_path, tilted)
    ids = np.zeros(series.stack.grid.shape, np.uint8)
    ids[3:6, 4:9, 2:5] = 1
    write_seg(tmp_path / "a.seg.dcm", series, ids, {"tumor": [1]}, "case_1")
    masks = seg_masks(read_seg(tmp_path / "a.seg.dcm"), None, series.stack.grid)
    np.testing.assert_array_equal(masks[1], ids == 1)


def test_an_enhanced_series_can_be_referred_to(tmp_path):
    (series,) = index_files([write_enhanced(tmp_path / "a.dcm", blob((6, 5, 4)), AXIAL)]).series
    ids = labels((6, 5, 4))
    write_seg(tmp_path / "a.seg.dcm", series, ids, SEGMENTS, "case_1")
    np.testing.assert_array_equal(seg_masks(read_seg(tmp_path / "a.seg.dcm"), series, series.stack.grid)[1], ids == 1)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_a_seg_on_a_part_of_the_grid_is_copied_voxel_for_voxel(tmp_path, kind):
    series = written_series(tmp_path)
    mask = np.zeros((12, 10, 8), np.uint8)
    mask[4:9, 3:7, 2:6] = blob((5, 4, 4), seed=3, high=2, dtype=np.uint8)
    cropped_seg(tmp_path / "seg.dcm", series, mask, slice(2, 9), slice(3, 11), slice(1, 7), kind)
    seg = read_seg(tmp_path / "seg.dcm")
    assert seg.frames[0].mask.shape == (7, 8)
    np.testing.assert_array_equal(seg_masks(seg, series, series.stack.grid)[1], mask == 1)


def test_a_seg_on_another_grid_is_resampled(tmp_path):
    series = written_series(tmp_path, AXIAL)
    mask = np.zeros((12, 10, 8), np.uint8)
    mask[3:9, 2:8, 2:6] = 1
    cropped_seg(tmp_path / "seg.dcm", series, mask, slice(0, 10), slice(0, 12), slice(0, 8))
    fine = AXIAL @ np.diag([0.5, 0.5, 0.5, 1])
    fine[:3, 3] = (AXIAL @ [-0.25, -0.25, -0.25, 1])[:3]
    found = seg_masks(read_seg(tmp_path / "seg.dcm"), None, Grid((24, 20, 16), fine))[1]
    expected = np.kron(mask, np.ones((2, 2, 2))) == 1
    corners = expected & ~found  # of which less than half of a voxel's surroundings are inside
    assert (corners.sum(), (found & ~expected).sum()) == (8, 0)


def test_a_seg_of_a_tilted_series_lies_where_its_slices_lie(tmp_path):
    tilted = AXIAL.copy()
    tilted[1, 2] = 0.6
    series = written_series(tmp_path, tilted)
    mask = np.zeros((12, 10, 8), np.uint8)
    mask[3:9, 3:7, 2:6] = 1
    write = [np.ascontiguousarray(mask[:, :, k].T) for k in range(8)]
    headers = [pydicom.dcmread(frame.path) for frame in series.frames]
    highdicom.seg.Segmentation(
        headers, np.stack(write), "BINARY", [description(1, "GTV")], highdicom.UID(), 5, highdicom.UID(), 1, "t", "t", "1", "1"
    ).save_as(tmp_path / "seg.dcm")
    found = seg_masks(read_seg(tmp_path / "seg.dcm"), series, series.stack.grid)[1]
    assert found.sum() == pytest.approx(mask.sum(), rel=0.1)
    centre = (series.stack.grid.affine @ [*np.argwhere(found).mean(axis=0), 1])[:3]
    np.testing.assert_allclose(centre, (tilted @ [*np.argwhere(mask).mean(axis=0), 1])[:3], atol=0.2)


def test_what_is_no_seg_is_one_line(tmp_path):
    series = written_series(tmp_path)
    for path, message in (
        (series.frames[0].path, "expected a DICOM SEG; received MR"),
        (tmp_path / "gone.dcm", "truncated or damaged"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            read_seg(path)
        assert "\n" not in str(caught.value)


def test_slices_of_a_seg_have_the_distance_that_the_file_names(tmp_path):
    coarse = np.diag([-1.0, -1.0, 5.0, 1.0])
    drawn = written_series(tmp_path / "drawn", coarse)  # 12 x 10 x 8 voxels of 5 mm3
    ids = np.zeros((12, 10, 8), np.uint8)
    ids[2:7, 2:6, 1] = ids[2:7, 2:6, 5] = 1
    write_seg(tmp_path / "a.dcm", drawn, ids, {"a": [1]}, "x", True)
    fine = coarse @ np.diag([0.5, 0.5, 0.1, 1])
    fine[2, 3] = -5.0
    mask = seg_masks(read_seg(tmp_path / "a.dcm"), None, Grid((24, 20, 90), fine))[1]
    assert mask.sum() * 0.125 == pytest.approx(2 * 20 * 5, rel=0.15)
    assert not mask[:, :, 30].any()


def test_frames_beside_the_series_are_left_out(tmp_path):
    series = written_series(tmp_path / "a", AXIAL)
    far = AXIAL.copy()
    far[:3, 3] = (AXIAL @ [40, 40, 0, 1])[:3]
    other = written_series(tmp_path / "b", far)
    write_seg(tmp_path / "a.dcm", other, np.ones((12, 10, 8), np.uint8), {"a": [1]}, "x", True)
    assert not seg_masks(read_seg(tmp_path / "a.dcm"), series, series.stack.grid)[1].any()


def test_the_points_of_a_seg_are_those_of_its_voxels(tmp_path):
    series = written_series(tmp_path, oblique())
    ids = labels((12, 10, 8))
    write_seg(tmp_path / "a.dcm", series, ids, {"a": [1, 2, 3]}, "x", True)
    found = read_seg(tmp_path / "a.dcm").marked_points
    expected = np.argwhere(ids) @ oblique()[:3, :3].T + oblique()[:3, 3]
    assert len(found) == len(expected)
    np.testing.assert_allclose(found[np.lexsort(found.round(3).T)], expected[np.lexsort(expected.round(3).T)], atol=1e-3)


def test_equal_voxels_are_equal_files_but_for_the_time(tmp_path):
    series = written_series(tmp_path / "scan")
    for name in ("a", "b"):
        write_seg(tmp_path / f"{name}.dcm", series, labels((12, 10, 8)), SEGMENTS, "case_1")
    first, second = (content(tmp_path / f"{name}.dcm") for name in "ab")
    assert first == second
