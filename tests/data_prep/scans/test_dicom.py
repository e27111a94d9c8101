import shutil

import numpy as np
import pytest

from data_prep.scans.dicom import DESCRIPTION_HEADING, description_row, index_files
from tests.dicom_files import AXIAL, LPS, blob, oblique, write_enhanced, write_junk, write_rtstruct, write_series


def index(root):
    return index_files(sorted(path for path in root.rglob("*") if path.is_file()))


def test_series_are_found_among_junk(tmp_path):
    t1 = write_series(tmp_path / "a" / "b", blob(), description="t1", number=2)
    write_series(tmp_path / "a" / "b", blob(), description="t2", number=1, suffix=".IMA")
    write_junk(tmp_path / "junk")
    write_rtstruct(tmp_path / "plan", t1[0], {"TV": [np.eye(3)]})
    shutil.copytree(tmp_path / "a", tmp_path / "copy of a")
    found = index(tmp_path)
    assert [(series.number, series.description, series.size) for series in found.series] == [
        (1, "t2", (12, 10, 8)),
        (2, "t1", (12, 10, 8)),
        (90, "localizer", (6, 6, 2)),
    ]
    assert [series.is_scout for series in found.series] == [False, False, True]
    assert [header.modality for header in found.annotations] == ["RTSTRUCT"]
    assert dict(found.others) == {"SR": 1, "OT": 1, "not DICOM": 3, "DICOMDIR": 1}
    assert (found.duplicates, found.damaged) == (16, {})
    assert [path.name for path in found.empty] == ["empty.dcm"]


def test_slices_are_sorted_by_position_not_by_name_or_number(tmp_path):
    write_series(tmp_path, blob(), oblique(), InstanceNumber=list(range(8, 0, -1)))
    (series,) = index(tmp_path).series
    assert [frame.number for frame in series.frames] == list(range(8, 0, -1))
    lps = LPS @ oblique()
    np.testing.assert_allclose(series.frames[0].origin, lps[:3, 3], atol=1e-6)
    np.testing.assert_allclose(series.stack.grid.affine, oblique(), atol=1e-6)


def test_a_series_is_described(tmp_path):
    write_series(tmp_path, blob(), oblique((0.5, 0.5, 3), (0, 20, 0)), "T1 post", ContrastBolusAgent="Gd-DTPA", number=7)
    (series,) = index(tmp_path).series
    row = dict(zip(DESCRIPTION_HEADING, description_row(series, 1.5), strict=True))
    assert row == {
        "no.": "7",
        "modality": "MR",
        "description": "T1 post",
        "plane": "axial 20°",
        "size": "12 x 10 x 8",
        "spacing in mm": "0.5 x 0.5 x 3",
        "gaps": "even",
        "tilt": "0",
        "contrast agent": "Gd-DTPA",
    }


def test_tilt_and_gaps_are_described(tmp_path):
    tilted = AXIAL.copy()
    tilted[1, 2] = np.tan(np.radians(15)) * 2
    write_series(tmp_path / "a", blob(), tilted, "ct", modality="CT")
    write_series(tmp_path / "b", blob(), AXIAL, "t1", places=[0, 1, 2, 4, 5, 6, 7, 8])
    write_series(tmp_path / "c", blob(), AXIAL, "t2", places=[0, 1, 2.2, 3, 4, 5, 6, 7])
    rows = [description_row(series, 1.5) for series in sorted(index(tmp_path).series, key=lambda each: each.description)]
    assert [row[6:8] for row in rows] == [["even", "15.0"], ["missing, 2 to 4", "0"], ["1.6 to 2.4", "0"]]


@pytest.mark.parametrize(
    ("tag", "name"),
    [("EchoTime", "echo"), ("AcquisitionNumber", "acquisition"), ("TemporalPositionIdentifier", "time")],
)
def test_volumes_at_one_place_are_series_of_their_own(tmp_path, tag, name):
    for value in (1, 2):
        write_series(
            tmp_path / str(value),
            blob(seed=value),
            key="",
            **{tag: value, "SOPInstanceUID": [f"1.2.{value}.{k}" for k in range(8)]},
        )
    found = index(tmp_path).series
    assert [(series.size, series.doubled) for series in found] == [((12, 10, 8), 0)] * 2
    assert [series.part for series in found] == [
        f"{name} {value}" for value in (("1.0", "2.0") if name == "echo" else ("1", "2"))
    ]


def test_planes_of_a_scout_are_series_of_their_own(tmp_path):
    for place, affine in enumerate((AXIAL, oblique(angles=(90, 0, 0)), oblique(angles=(0, 90, 0)))):
        write_series(tmp_path / str(place), blob((6, 6, 3)), affine, SOPInstanceUID=[f"1.2.{place}.{k}" for k in range(3)])
    assert [(series.size[2], series.part) for series in index(tmp_path).series] == [
        (3, "stack 1"),
        (3, "stack 2"),
        (3, "stack 3"),
    ]
    assert {series.stack.plane for series in index(tmp_path).series} == {"axial", "coronal", "sagittal"}


def test_slices_that_were_exported_twice_count_once(tmp_path):
    write_series(tmp_path / "a", blob())
    write_series(tmp_path / "b", blob(), SOPInstanceUID=[f"1.2.{k}" for k in range(8)])
    (series,) = index(tmp_path).series
    assert (series.size, series.problem(1.5)) == ((12, 10, 8), None)
    write_series(tmp_path / "b", blob(seed=1), SOPInstanceUID=[f"1.2.{k}" for k in range(8)])
    (series,) = index(tmp_path).series
    assert "8 positions hold several different slices" in series.problem(1.5)
    assert description_row(series, 1.5)[6] == "8 places twice"


def test_of_duplicates_the_complete_one_is_taken(tmp_path):
    paths = write_series(tmp_path / "a", blob((40, 40, 4)))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    paths[2].write_bytes(paths[2].read_bytes()[:-2000])
    (series,) = index(tmp_path).series
    assert series.problem(1.5) is None
    shutil.rmtree(tmp_path / "b")
    (series,) = index(tmp_path).series
    assert series.problem(1.5).startswith(f"{paths[2]}: truncated: shorter than its pixels")


def test_an_enhanced_object_is_divided_by_its_echoes(tmp_path):
    write_enhanced(tmp_path / "a.dcm", blob((6, 5, 4)), AXIAL, echoes=(10.0, 80.0))
    first, second = index(tmp_path).series
    assert (first.part, second.part) == ("echo 10.0", "echo 80.0")
    assert [frame.index for frame in first.frames] == [6, 4, 2, 0]
    assert first.paths == [tmp_path / "a.dcm"]


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "MOSAIC"]}, "mosaic of many slices"),
        ({"places": [0, 1, 2, 5, 6, 7, 8, 9]}, "2 slices missing"),
    ],
)
def test_what_cannot_become_a_volume_is_one_line(tmp_path, tags, problem):
    paths = write_series(tmp_path, blob(), **tags)
    (series,) = index(tmp_path).series
    line = series.problem(1.5)
    assert problem in line
    assert line.startswith(f"{paths[0]}: series 1 (t1 mpr): ")
    assert "\n" not in line


def test_frames_of_one_file_at_one_place_are_no_copies(tmp_path):
    array = blob((6, 5, 4))
    (series,) = index_files([write_enhanced(tmp_path / "a.dcm", array, AXIAL, echoes=(0.0, 0.0, 0.0))]).series
    assert series.doubled == 8
    assert "8 positions hold several different slices" in series.problem(1.5)


def test_colours_of_a_palette_and_inverted_grey_values_are_refused(tmp_path):
    for name, modality, problem in (
        ("PALETTE COLOR", "CT", "received 3 colours"),
        ("MONOCHROME1", "MR", "its grey values are inverted"),
        ("MONOCHROME1", "CT", None),  # Hounsfield units do not depend on how they are shown
    ):
        folder = tmp_path / f"{name}{modality}"
        paths = write_series(folder, blob((6, 5, 6)), modality=modality, PhotometricInterpretation=name)
        (series,) = index_files(paths).series
        found = series.problem(1.5)
        assert (found is None) == (problem is None)
        assert problem is None or problem in found


def test_a_file_that_was_cut_off_early_is_damaged(tmp_path):
    paths = write_series(tmp_path, blob((6, 5, 6)))
    whole = paths[2].read_bytes()
    for size in range(140, len(whole) - 12, 37):
        paths[2].write_bytes(whole[:size])
        index = index_files(paths)
        assert list(index.damaged) == [paths[2]] or index.series[0].truncated == (paths[2],)
