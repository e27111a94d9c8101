"""Files of a case and what was read from them."""

from pathlib import Path

import numpy as np

from data_prep.scans.case import Case, CaseFiles, ImageRef

FOURTH = Path("scans/a.nii.gz")


def files(**changes):
    channels = {"t1": ImageRef(FOURTH, 0), "t2": ImageRef(FOURTH, 1), "flair": None}
    return CaseFiles(**{"id": "a", "patient": "p", "channels": channels, "label": ImageRef(Path("a_seg.nii.gz"))} | changes)


def test_a_file_of_several_images_is_listed_once_and_missing_ones_not():
    assert files().paths == [FOURTH, Path("a_seg.nii.gz")]
    assert files().path == FOURTH
    assert files(label=None).paths == [FOURTH]


def test_of_slices_every_file_is_listed_and_the_path_is_their_folder():
    slices = (Path("p/1.tif"), Path("p/2.tif"))
    case = files(channels={"t1": ImageRef(Path("p"), 0)}, label=None, slices=slices)
    assert case.paths == list(slices)
    assert case.path == Path("p")


def test_a_case_without_images_has_no_path():
    empty = files(channels={"t1": None}, label=None)
    assert (empty.paths, empty.path) == ([], None)


def test_an_image_is_named_with_its_index():
    assert str(ImageRef(FOURTH, 1)) == "scans/a.nii.gz[1]"
    assert str(ImageRef(FOURTH)) == "scans/a.nii.gz"


def test_missing_channels_are_named():
    array = np.zeros((2, 2, 2), np.int16)
    assert Case(files(), {"t1": array, "t2": array, "flair": None}, None, None, (2, 2, 2)).missing == ["flair"]


def test_images_of_one_value_are_named_with_it():
    array = np.arange(8).reshape(2, 2, 2)
    case = Case(files(), {"t1": array, "t2": 0.5 + 0 * array, "flair": None}, 0 * array, None, (2, 2, 2))
    assert case.constant == {"t2": 0.5, "label": 0.0}
    lines = ["scans/a.nii.gz[1]: t2: all voxels are 0.5", "a_seg.nii.gz: label: all voxels are 0"]
    assert case.files.constant_warnings(case.constant) == lines
