"""Annotations of DICOM patients, by way of the source that reads them."""

import numpy as np
import pydicom

from data_prep.scans.dicom import index_files
from data_prep.scans.dicom_seg import write_seg
from data_prep.sources import SourceConfig, open_source
from tests.data_prep.sources.test_dicom import SHAPE, opened, problem, write_patient
from tests.dicom_files import AXIAL, blob, oblique, write_rtstruct, write_series
from tests.scans import save

SQUARE = np.array([[1.5, 1.5, 2, 1], [6.5, 1.5, 2, 1], [6.5, 5.5, 2, 1], [1.5, 5.5, 2, 1]])


def test_contours_and_files_are_annotations_too(tmp_path):
    paths = write_series(tmp_path / "a", blob(SHAPE), AXIAL, "t1")
    square = np.array([[1.5, 1.5], [6.5, 1.5], [6.5, 5.5], [1.5, 5.5]])
    polygons = [(np.column_stack([square, np.full(4, k), np.ones(4)]) @ AXIAL.T)[:, :3] for k in (2.0, 3.0)]
    write_rtstruct(tmp_path / "plan" / "rt.dcm", paths[0], {"GTV": polygons, "Brain": polygons})
    source = opened(tmp_path, channels=["t1"], label={"structures": {"gtv.*": 1}})
    assert source.read_label(source.cases()[0])[0].sum(axis=(0, 1)).tolist() == [0, 0, 20, 20, 0, 0, 0, 0]
    assert (
        "structures: expected one, or names of classes (background, tumor); received GTV, Brain"
        in opened(tmp_path, channels=["t1"]).check(source.cases()[0])[0]
    )
    label = np.zeros(SHAPE, np.uint8)
    label[:4] = 1
    save(tmp_path / "x_mask.nii.gz", label, AXIAL)
    source = opened(tmp_path, channels=["t1"], label={"file": "*_mask.nii.gz"})
    np.testing.assert_array_equal(source.read(source.cases()[0]).label, label)


def test_unclear_annotations_are_one_line(tmp_path):
    write_patient(tmp_path)
    source = opened(tmp_path)
    (series,) = index_files(source.cases()[0].paths[:8]).series
    write_seg(tmp_path / "second.dcm", series, np.ones(SHAPE, np.uint8), {"b": [1]}, "other", True)
    assert "2 annotations fit: SEG 1001 (Segmentation), SEG 1001" in problem(opened(tmp_path))
    assert opened(tmp_path, label={"description": "nothing"}).cases()[0].label is None


def test_an_annotation_of_another_space_is_refused(tmp_path):
    write_patient(tmp_path / "a")
    write_series(tmp_path / "b", blob(SHAPE), AXIAL, "t3", "1", frame="moved", number=3)
    path = tmp_path.parent / "other.yaml"
    path.write_text("channels: {t3: {description: t3}, t1: {description: t1}}")
    line = problem(open_source(tmp_path, SourceConfig(series=path, channels=["t3"])))
    assert "label: drawn on series 1 (t1 mpr), in another frame of reference than series 3 (t3)" in line


def test_a_label_moves_with_a_channel_of_its_space(tmp_path):
    paths = write_series(tmp_path / "a", blob(SHAPE), AXIAL, "t3", number=3, frame="planning")
    polygon = (SQUARE @ AXIAL.T)[:, :3]
    write_rtstruct(tmp_path / "plan" / "rt.dcm", paths[0], {"GTV": [polygon]})
    write_series(tmp_path / "b", blob(SHAPE), AXIAL, "t1")
    write_series(tmp_path / "c", blob((9, 8, 7)), oblique(), "t2", number=2, frame="planning")
    source = opened(tmp_path)
    (files,) = source.cases()
    label = source.read_volumes(files)["label"]
    assert (label.array.shape, label.array.sum()) == (SHAPE, 20)  # on the grid of t3, which is no channel
    assert source.label_channel(files) == "t2"
    save(tmp_path / "x_mask.nii.gz", np.ones((9, 8, 7), np.uint8), oblique())
    by_grid = opened(tmp_path, label={"file": "*_mask.nii.gz"})
    assert by_grid.label_channel(by_grid.cases()[0]) == "t2"
    without = opened(tmp_path, label={"description": "none"})
    assert without.label_channel(without.cases()[0]) is None


def test_contours_of_a_series_that_is_not_here_keep_their_frame_of_reference(tmp_path):
    write_series(tmp_path / "a", blob(SHAPE), AXIAL, "t1")
    polygon = (SQUARE @ AXIAL.T)[:, :3]
    for frame, expected in (
        ("scanner", ""),
        ("planning", "in another frame of reference"),
        ("", "taken as that of series 1 (t1)"),
    ):
        (image, *others) = write_series(tmp_path / "b", blob(SHAPE), AXIAL, "t3", number=3, frame=frame)
        path = write_rtstruct(tmp_path / "plan" / "rt.dcm", image, {"GTV": [polygon]})
        if not frame:
            dataset = pydicom.dcmread(path)
            del dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID
            dataset.save_as(path)
        for gone in (image, *others):
            gone.unlink()
        source = opened(tmp_path, channels=["t1"])
        (files,) = source.cases()
        lines = [*source.check(files), *source.warnings(files)]
        assert len(lines) == bool(expected)
        assert all(expected in line for line in lines)
        if frame != "planning":
            assert source.read(files).label.sum() == 20


def test_a_file_on_a_turned_grid_belongs_to_its_series(tmp_path):
    """Converters from DICOM flip rows; a file that fits no series has an unknown space."""
    write_series(tmp_path / "a", blob(SHAPE), AXIAL, "t1")
    write_series(tmp_path / "b", blob((9, 8, 7)), oblique(), "t2", number=2, frame="planning")
    label = blob((9, 8, 7), high=2, dtype=np.uint8)
    flip = np.diag([1.0, -1.0, 1.0, 1.0])
    flip[1, 3] = 7
    save(tmp_path / "x_mask.nii.gz", label[:, ::-1], oblique() @ flip)
    source = opened(tmp_path, label={"file": "*_mask.nii.gz"})
    (files,) = source.cases()
    assert source.label_channel(files) == "t2"
    np.testing.assert_array_equal(source.read_volumes(files)["label"].array, label)
    save(tmp_path / "x_mask.nii.gz", label[1:], oblique())
    other = opened(tmp_path, label={"file": "*_mask.nii.gz"})
    drawn = other.read_volumes(files)["label"]
    assert (other.label_channel(files), drawn.frame_of_reference, drawn.array.shape) == (None, "", (8, 8, 7))


def test_parts_of_an_annotation_outside_the_scan_are_warned_of_and_one_elsewhere_is_refused(tmp_path):
    paths = write_series(tmp_path / "a", blob(SHAPE), AXIAL, "t1")
    (series,) = index_files(paths).series
    ids = np.zeros(SHAPE, np.uint8)
    ids[2:6, 2:6, 4:8] = 1
    write_seg(tmp_path / "seg.dcm", series, ids, {"GTV": [1]}, "x", True)
    for path in sorted(paths, key=lambda each: pydicom.dcmread(each).InstanceNumber)[6:]:
        path.unlink()
    source = opened(tmp_path, channels=["t1"])
    (files,) = source.cases()
    assert source.check(files) == []
    (line,) = source.warnings(files)
    assert "label: 50% of it lies outside series 1 (t1); are slices missing?" in line
    for path in (tmp_path / "a").iterdir():
        path.unlink()
    write_series(tmp_path / "a", blob(SHAPE), AXIAL + np.array([[0, 0, 0, 500.0], *[[0.0] * 4] * 3]), "t1")
    far = opened(tmp_path, channels=["t1"])
    assert "label: lies outside series 1 (t1); does it belong to another scan?" in problem(far)


def test_a_file_on_another_grid_is_warned_of(tmp_path):
    write_series(tmp_path / "a", blob(SHAPE), AXIAL, "t1")
    save(tmp_path / "x_mask.nii.gz", np.ones((5, 5, 5), np.uint8), AXIAL)
    source = opened(tmp_path, channels=["t1"], label={"file": "*_mask.nii.gz"})
    (line,) = source.warnings(source.cases()[0])
    assert line.endswith("x_mask.nii.gz: label: resampled to the grid of series 1 (t1)")


def test_annotations_that_no_rule_fits_are_warned_of(tmp_path):
    write_patient(tmp_path)
    source = opened(tmp_path, label={"description": "nothing"})
    (line,) = source.warnings(source.cases()[0])
    assert "no label: none of 1 SEG or RTSTRUCT fits the rule" in line
