import json
import re

import nibabel
import numpy as np
import pytest
import yaml

from common.errors import UserError
from data_prep.scans import nifti
from data_prep.scans.dicom import index_files
from data_prep.scans.dicom_seg import read_seg, seg_masks, write_seg
from data_prep.sources import SourceConfig, open_source
from tests.dicom_files import AXIAL, BIRTH, NAME, STUDY_DATE, blob, oblique, write_junk, write_series
from tests.scans import save

SHAPE = (12, 10, 8)
RULES = {"channels": {"t1": {"description": "^t1"}, "t2": {"description": "^t2"}}}


def rules(tmp_path, **more):
    path = tmp_path.parent / f"{tmp_path.name}.yaml"
    path.write_text(yaml.safe_dump(RULES | more))
    return path


def opened(tmp_path, channels=None, missing="refuse", **more):
    return open_source(tmp_path, SourceConfig(series=rules(tmp_path, **more), channels=channels, missing_channels=missing))


def write_patient(folder, patient="1", affine=AXIAL, seed=0, **options):
    """Two series on one grid and a SEG; returns the ids of the SEG."""
    t1 = write_series(folder / "t1", blob(SHAPE, seed), affine, "t1 mpr", patient, number=1, **options)
    write_series(folder / "t2", blob(SHAPE, seed + 1), affine, "t2 tse", patient, number=2, **options)
    (series,) = index_files(t1).series
    ids = np.zeros(series.stack.grid.shape, np.uint8)
    ids[2:7, 3:8, 2:6] = 1
    write_seg(folder / "seg.dcm", series, ids, {"GTV": [1]}, "x", True)
    return ids


def problem(source):
    (files,) = source.cases()
    (line,) = source.check(files)
    assert "\n" not in line
    with pytest.raises(UserError):
        source.read(files)
    return line


def test_patients_are_cases_of_chosen_series(tmp_path):
    ids = write_patient(tmp_path / "anna", "1", oblique())
    write_patient(tmp_path / "bea", "2", AXIAL, 5)
    write_junk(tmp_path / "anna" / "junk", "1")
    source = opened(tmp_path)
    assert (source.layout, source.channels, source.schema.name) == ("dicom", ["t1", "t2"], "binary")
    assert len(source.cases()) == 2
    files = next(files for files in source.cases() if "anna" in str(files.path))
    assert source.check(files) == source.check(files, deep=True) == []
    assert source.warnings(files) == []
    (line,) = source.source_warnings()
    assert line.endswith("empty.dcm: empty; if it is a slice of a series, fetch it again")
    case = source.read(files)
    np.testing.assert_array_equal(case.channels["t1"], blob(SHAPE, 0))
    np.testing.assert_array_equal(case.channels["t2"], blob(SHAPE, 1))
    np.testing.assert_array_equal(case.label, ids)
    np.testing.assert_allclose(case.affine, oblique(), atol=1e-6)
    assert source.shape(files) == SHAPE
    assert files.paths[0].parent.name == "t1"
    assert len(files.paths) == 8 + 8 + 2  # slices, the SEG, and the rules: a change of them changes the case


CONTRAST = {"before": {"description": "^t1", "contrast": False}, "after": {"description": "^t1", "contrast": True}}


@pytest.mark.parametrize(("description", "warned"), [("t1 mpr", True), ("t1 mpr post", False)])
def test_series_of_which_none_names_a_contrast_agent_are_warned_of_once(tmp_path, description, warned):
    for patient in "12":
        write_series(tmp_path / patient / "a", blob(SHAPE), AXIAL, "t1 mpr", patient)
    write_series(tmp_path / "2" / "b", blob(SHAPE, 1), AXIAL, description, "2", number=2)
    series = rules(tmp_path, channels=CONTRAST)
    source = open_source(tmp_path, SourceConfig(series=series, missing_channels="zero"))
    lines = [line for line in source.source_warnings() if "no series names a contrast agent" in line]
    assert len(lines) == warned


def test_a_channel_on_another_grid_of_one_space_is_resampled(tmp_path):
    ramp = np.indices((14, 12, 6)).sum(axis=0).astype(np.int16) * 10
    write_series(tmp_path / "a", blob(SHAPE), AXIAL, "t1")
    write_series(tmp_path / "b", ramp, AXIAL @ np.diag([1, 1, 2.0, 1]), "t2", number=2)
    source = opened(tmp_path)
    (files,) = source.cases()
    (warning,) = source.warnings(files)
    assert "t2: resampled to the grid of series 1 (t1)" in warning
    case = source.read(files)
    i, j, k = np.indices((12, 10, 8))
    np.testing.assert_allclose(case.channels["t2"], 10 * (i + j + k / 2), atol=1e-3)
    assert source.read_image(files, "t2").array.shape == (14, 12, 6)


def test_the_reference_can_be_another_channel(tmp_path):
    write_series(tmp_path / "a", blob(SHAPE), AXIAL, "t1")
    write_series(tmp_path / "b", blob((9, 8, 7)), oblique(), "t2", number=2)
    assert opened(tmp_path, reference="t2").reference_channel == "t2"
    assert opened(tmp_path).reference_channel == "t1"
    source = opened(tmp_path, reference="t2", channels=["t1"])
    assert source.reference_channel == "t1"
    (files,) = source.cases()
    assert source.shape(files) == (9, 8, 7)
    assert source.read(files).channels["t1"].shape == (9, 8, 7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame": "other"}, "t2: series 2 .* is in another frame of reference than series 1"),
        ({"places": [0, 1, 2, 3, 6, 7, 8, 9]}, "about 2 slices missing"),
        ({"ImageType": ["DERIVED", "PRIMARY", "MOSAIC"]}, "mosaic"),
        ({"description": "flair"}, r"lacks channel t2 \(none of its 2 series fits: description \^t2, at least 5 slices\)"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, options, message):
    write_series(tmp_path / "a", blob(SHAPE), AXIAL, "t1")
    write_series(tmp_path / "b", blob(SHAPE), AXIAL, **({"description": "t2", "number": 2} | options))
    assert re.search(message, problem(opened(tmp_path)))


def test_a_patient_without_any_channel_is_one_line(tmp_path):
    write_junk(tmp_path)
    assert (
        "has none of the channels t1, t2: none of its 1 series fits a rule, such as that of t1: description ^t1, at least"
        in problem(opened(tmp_path))
    )


def test_slices_at_one_place_are_listed_and_refused(tmp_path):
    for seed in (0, 1):
        uids = [f"1.2.{seed}.{k}" for k in range(8)]
        write_series(tmp_path / str(seed), blob(SHAPE, seed), AXIAL, "t1", SOPInstanceUID=uids)
    source = opened(tmp_path, channels=["t1"])
    assert "8 places twice" in source.inventory()[1]
    assert "8 positions hold several different slices" in problem(source)


def test_several_series_that_fit_are_listed(tmp_path):
    for number in (1, 2):
        write_series(tmp_path / str(number), blob(SHAPE), AXIAL, "t1", number=number)
    line = problem(opened(tmp_path, channels=["t1"]))
    assert "2 series fit channel t1: series 1 (t1) uid ..." in line
    assert "narrow its rule" in line
    source = opened(tmp_path, channels=["t1"], prefer="last")
    assert source.series(source.cases()[0], "t1").number == 2


def test_a_choice_among_visits_is_warned_of(tmp_path):
    for visit, depth in (("before", 6), ("after", 8)):
        write_series(tmp_path / "anna" / visit, blob((6, 5, depth)), StudyInstanceUID=f"1.2.{len(visit)}", key=visit)
    (tmp_path / "rules.yaml").write_text("channels: {t1: {description: t1}}\nprefer: slices")
    source = open_source(tmp_path, SourceConfig(layout="dicom", series=tmp_path / "rules.yaml"))
    (case,) = source.cases()
    assert source.shape(case)[2] == 8
    (line,) = source.warnings(case)
    assert "t1: chosen among 2 series of 2 studies; is it the right visit?" in line


def test_a_missing_channel_may_be_zeros(tmp_path):
    write_series(tmp_path, blob(SHAPE), AXIAL, "t1")
    source = opened(tmp_path, missing="zero")
    assert source.read(source.cases()[0]).missing == ["t2"]


def test_tilt_and_gaps_are_resampled_with_a_warning(tmp_path):
    tilted = AXIAL.copy()
    tilted[1, 2] = 0.5
    write_series(tmp_path / "a", blob(SHAPE), tilted, "t1", places=[0, 1, 2, 3.3, 4, 5, 6, 7])
    source = opened(tmp_path, channels=["t1"])
    (files,) = source.cases()
    tilt, gaps = source.warnings(files)
    assert "t1: tilt 14.0 degrees: resampled" in tilt
    assert "slices 1.4 to 2.6 mm apart: resampled by their positions" in gaps
    case = source.read(files)
    assert case.shape == source.shape(files) == case.channels["t1"].shape
    assert nibabel.aff2axcodes(case.affine) == ("L", "P", "S")


def test_a_damaged_slice_is_one_line(tmp_path):
    paths = write_series(tmp_path, blob((40, 40, 8)), AXIAL, "t1")
    paths[3].write_bytes(paths[3].read_bytes()[:-500])
    assert problem(opened(tmp_path, channels=["t1"])).startswith(f"{paths[3]}: truncated")


def test_names_and_dates_reach_no_output(tmp_path, command):
    root, out = tmp_path / "scans", tmp_path / "out"
    write_patient(root / "MUSTERMANN", "PAT-4711")
    write_patient(root / "WEISS", "PAT-4712", seed=5)
    done = command(
        "data_prep.make_records",
        *(
            "--source",
            root,
            "--series",
            rules(tmp_path),
            "--out",
            out,
            "--prepare.size",
            "[8,8,8]",
            "--workers",
            1,
            "--split.fractions",
            "[0.5,0.5,0]",
        ),
    )
    assert done.status == 0, done.err
    text = (
        done.out + done.err + "".join(path.read_text() for path in out.rglob("*") if path.suffix in (".json", ".txt", ".yaml"))
    )
    for word in ("MUSTERMANN", "WEISS", "PAT-4711", STUDY_DATE, BIRTH, NAME):
        assert word not in text
    assert len(json.loads((out / "dataset.json").read_text())["cases"]) == 2


def test_a_prediction_becomes_a_seg_and_nifti_of_the_same_grid(tmp_path):
    ids = write_patient(tmp_path / "scans", affine=oblique())
    source = opened(tmp_path / "scans")
    (files,) = source.cases()
    out = tmp_path / "out"
    (path,) = source.write_prediction(files, ids, out)
    assert path == out / f"{files.id}.seg.dcm"
    series = source.reference(files)
    seg = read_seg(path)
    assert (seg.names, seg.series_uid) == ({1: "tumor"}, series.uid)
    np.testing.assert_array_equal(seg_masks(seg, series, source.grid(files))[1], ids == 1)
    nifti.write_image(out / "a.nii.gz", ids, source.grid(files).affine, like=files.paths[0])
    assert source.grid_problem(out / "a.nii.gz", files) is None
    save(out / "a.nii.gz", ids, AXIAL)
    assert "affine differs from that of" in source.grid_problem(out / "a.nii.gz", files)
    save(out / "a.nii.gz", ids[1:], oblique())
    assert "shape (11, 10, 8) differs" in source.grid_problem(out / "a.nii.gz", files)


@pytest.mark.parametrize(
    ("lost", "line"), [([6, 7], "has 6 of the 8 images that its header names"), ([0], "has 7 of the 8 images")]
)
def test_slices_missing_at_an_end_are_warned_of_where_the_header_names_their_number(tmp_path, lost, line):
    paths = write_series(tmp_path, blob(), AXIAL, "t1 mpr", ImagesInAcquisition=8)
    source = opened(tmp_path, channels=["t1"])
    assert not source.volume_warnings(source.cases()[0])
    for place in lost:
        paths[place].unlink()
    source = opened(tmp_path, channels=["t1"])
    (warning,) = source.volume_warnings(source.cases()[0])
    assert f"t1: series 1 (t1 mpr) {line}" in warning
    assert warning.endswith("are slices missing at an end?")


def test_the_table_lists_all_series(tmp_path):
    write_patient(tmp_path / "a")
    write_junk(tmp_path / "junk", "1")
    lines = opened(tmp_path).inventory()
    assert lines[0].split()[:4] == ["case", "channel", "no.", "modality"]
    assert [line.split()[1:4] for line in lines[1:4]] == [["t1", "1", "MR"], ["t2", "2", "MR"], ["90", "MR", "localizer"]]
    assert [line.split()[1:4] for line in lines[4:5]] == [["label", "1001", "SEG"]]
    assert lines[5] == "other files, not read: 1 DICOMDIR, 1 OT, 1 SR, 3 not DICOM"
    assert not any(NAME in line for line in lines)
    lines = opened(tmp_path, channels=["t1"], reference="t2").inventory()
    assert [line.split()[1:3] for line in lines[1:4]] == [["t1", "1"], ["t2", "2"], ["90", "MR"]]
    lines = opened(tmp_path, channels=["t1"]).inventory()
    assert [line.split()[1:3] for line in lines[1:4]] == [["t1", "1"], ["2", "MR"], ["90", "MR"]]


def test_without_rules_the_shipped_ones_hold(tmp_path):
    write_patient(tmp_path)
    source = open_source(tmp_path)
    assert (source.layout, source.channels) == ("dicom", ["t1", "t2"])


def write_apart(folder):
    """T1 and, in another space, T2 with a SEG; returns the series of T2 and the ids."""
    write_series(folder / "a", blob(SHAPE), AXIAL, "t1")
    (series,) = index_files(write_series(folder / "b", blob((9, 8, 7), 1), oblique(), "t2", number=2, frame="planning")).series
    ids = np.zeros(series.stack.grid.shape, np.uint8)
    ids[3:6, 2:6, 2:5] = 1
    write_seg(folder / "seg.dcm", series, ids, {"GTV": [1]}, "x", True)
    return series, ids


def test_volumes_keep_their_own_grids_and_spaces(tmp_path):
    series, ids = write_apart(tmp_path)
    source = opened(tmp_path)
    (files,) = source.cases()
    assert "register them first (glioskull align)" in problem(source)
    volumes = source.read_volumes(files)
    assert list(volumes) == ["t1", "t2", "label"]
    np.testing.assert_array_equal(volumes["t2"].array, blob((9, 8, 7), 1))
    np.testing.assert_array_equal(volumes["label"].array, ids)
    for name in ("t2", "label"):
        np.testing.assert_array_equal(volumes[name].affine, series.stack.grid.affine)
        assert volumes[name].frame_of_reference == series.frame_of_reference != volumes["t1"].frame_of_reference
    assert source.label_channel(files) == "t2"
    assert source.image_grid(files, "t2").shape == (9, 8, 7)
    (path,) = source.write_prediction(files, ids, tmp_path / "out", channel="t2")
    assert read_seg(path).series_uid == series.uid


def test_volumes_of_bad_series_are_refused(tmp_path):
    write_series(tmp_path / "a", blob(SHAPE), AXIAL, "t1", places=[0, 1, 2, 3, 6, 7, 8, 9])
    source = opened(tmp_path, channels=["t1"])
    with pytest.raises(UserError, match="about 2 slices missing"):
        source.read_volumes(source.cases()[0])
    with pytest.raises(UserError, match="lacks channel t2"):
        opened(tmp_path).image_grid(source.cases()[0], "t2")


def test_channels_that_are_not_read_are_no_reference(tmp_path):
    write_series(tmp_path / "a", blob(SHAPE), AXIAL, "t1", frame="other")
    write_series(tmp_path / "b", blob(SHAPE, 1), AXIAL, "t2", number=2)
    source = opened(tmp_path, channels=["t2"])
    (files,) = source.cases()
    assert source.check(files) == []
    assert source.reference(files).description == "t2"


def test_changed_rules_change_the_case(tmp_path):
    write_patient(tmp_path)
    path = rules(tmp_path)
    before = opened(tmp_path).cases()[0].paths
    assert path in before
    assert path not in open_source(tmp_path).cases()[0].paths  # the shipped rules


def test_warnings_of_series_are_there_on_own_grids_too(tmp_path):
    write_series(tmp_path / "a", blob(SHAPE), AXIAL, "t1")
    write_series(tmp_path / "b", blob(SHAPE), AXIAL, "t2", number=2, places=[0, 1, 2, 3.3, 4, 5, 6, 7], frame="moved")
    source = opened(tmp_path)
    (line,) = source.volume_warnings(source.cases()[0])
    assert "t2: slices 1.4 to 2.6 mm apart: resampled by their positions" in line
