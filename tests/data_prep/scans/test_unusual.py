from pathlib import Path

import numpy as np
import pytest

from data_prep.scans.case import Case, CaseFiles, ImageRef
from data_prep.scans.unusual import WHOLE_CASE, case_doubts, doubt_lines, image_doubts, looks_like_mask, volume_doubts
from data_prep.scans.volume import Volume
from tests.scans import scan, write_table

MADE = scan("a", shape=(20, 20, 20)).images["t1"]

EYE = np.eye(4)


def case(array, brain=None, affine=EYE):
    files = CaseFiles("a", "a", {"t1": ImageRef(Path("a_t1.nii"))})
    return Case(files, {"t1": array}, None, affine, array.shape, brain)


def test_an_ordinary_scan_raises_no_doubt():
    assert case_doubts(case(MADE)) == {}
    assert case_doubts(case(MADE.astype(np.float64) / 1000)) == {}


def test_a_few_bright_voxels_are_named_with_what_is_left_of_the_range():
    hot = MADE.astype(np.float32)
    hot[5, 5, 5] = 1e9
    (line,) = doubt_lines(case(hot).files, case_doubts(case(hot)))
    assert line.startswith("a_t1.nii: t1: 99.9 % of its voxels lie in the lowest 0.00% of its range 0 to 1e+09: a few bright")
    assert case_doubts(case(hot), is_clipped=True) == {}


def test_a_background_that_is_not_zero_is_named_with_its_share():
    doubts = case_doubts(case(MADE + 7))
    assert list(doubts) == [WHOLE_CASE]
    assert doubts[WHOLE_CASE][0].startswith("100.0% of its voxels are not 0")
    assert case_doubts(case(MADE + 7), needs_background=False) == {}
    assert case_doubts(case(MADE + 7, brain=MADE > 0)) == {}


@pytest.mark.parametrize(
    ("values", "is_mask"),
    [((0, 1), True), ((0, 1, 2, 4), True), ((0, 255), True), ((0, 0.5), False), ((-1, 1), False), ((3,), False)],
)
def test_few_whole_values_look_like_a_mask(values, is_mask):
    array = np.resize(np.array(values), (10, 10, 10))
    assert looks_like_mask(array) == is_mask
    assert bool(image_doubts(array)) == is_mask
    assert not looks_like_mask(MADE)


def test_voxel_sizes_of_another_unit_are_named():
    large = Volume(MADE, np.diag([1000.0, 1000, 1000, 1]))
    assert "has voxels of 1000 x 1000 x 1000 mm" in volume_doubts({"t1": large, "label": large})["t1"][0]
    assert "1000 x 1000" in case_doubts(case(MADE, affine=large.affine))[WHOLE_CASE][0]


def test_an_anonymous_case_is_named_by_its_id():
    files = CaseFiles("p1", "p1", {"t1": ImageRef(Path("Smith/t1.dcm"))}, anonymous=True)
    assert doubt_lines(files, {"t1": ["text"]}) == ["p1: t1: text"]


@pytest.mark.parametrize(
    ("name", "options"),
    [("data_prep.align", ("--register", "never")), ("data_prep.skull_strip", ("--method", "head", "--channel", "t1"))],
)
def test_commands_that_write_scans_warn_of_what_they_read(command, tmp_path, name, options):
    made = scan("a", channels=("t1", "t2"), shape=(12, 12, 12), ids=(0, 1))
    made.images["t2"][3, 3, 3] = 32000
    source = write_table(tmp_path / "scans", [made])
    done = command(name, "--source", source, "--out", tmp_path / "out", *options)
    assert done.status == 0, done.err
    assert "warning: a: t2: 99.9 % of its voxels lie in the lowest" in done.err
