from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from data_prep.alignment.case import AlignmentConfig, CaseAligner, implausible, shares_frame, target_grid
from data_prep.alignment.registration import Registration
from data_prep.grid.resampling import IDENTITY, to_rows
from data_prep.scans.case import CaseFiles, ImageRef
from data_prep.scans.volume import Volume

AFFINE = np.array([[0, 2.0, 0, 0], [-1.0, 0, 0, 0], [0, 0, 3.0, 0], [0, 0, 0, 1]])
VOLUME = Volume(np.zeros((10, 8, 6), np.int16), AFFINE)


def test_images_of_one_frame_or_one_grid_share_it():
    moved = replace(VOLUME, affine=AFFINE + 0.5 * np.eye(4)[:, [3, 0, 1, 2]])
    assert shares_frame(VOLUME, VOLUME, 1e-3)
    assert not shares_frame(VOLUME, moved, 1e-3)
    one, same, other = (replace(each, frame_of_reference=uid) for each, uid in ((VOLUME, "1"), (moved, "1"), (VOLUME, "2")))
    assert shares_frame(one, same, 1e-3)
    assert not shares_frame(one, other, 1e-3)


def test_the_common_grid_is_the_references_with_other_voxels():
    grid = target_grid(VOLUME, AlignmentConfig(spacing_mm=None))
    assert grid.shape == (10, 8, 6)
    np.testing.assert_array_equal(grid.affine, AFFINE)
    assert target_grid(VOLUME, AlignmentConfig(spacing_mm=1.0)).shape == (10, 16, 18)
    assert target_grid(VOLUME, AlignmentConfig(spacing_mm=(3.0, 1.0, 2.0))).shape == (10, 8, 6)  # slices, rows, columns


@pytest.mark.parametrize(
    ("change", "similarity", "expected"),
    [
        ({}, (1.1, 1.2), []),
        ({}, (1.0, 1.01), ["similarity 1.010 is below 1.05"]),
        ({}, (1.3, 1.2), ["similarity fell from 1.300 to 1.200"]),
        ({"shift": 100.0}, (1.1, 1.2), ["is shifted by 100 mm, more than 60"]),
        ({"scale": 1.3}, (1.1, 1.2), ["is scaled by 1.000 to 1.300, more than a factor of 1.15"]),
        ({"half_turn": True}, (1.1, 1.2), ["is turned by 180 degrees, more than 35"]),
    ],
)
def test_implausible_transforms_are_warned_of(change, similarity, expected):
    transform = np.asarray(IDENTITY).copy()
    transform[0, 3] = change.get("shift", 0)
    transform[0, 0] = change.get("scale", 1)
    if change.get("half_turn"):
        transform[:2, :2] = -np.eye(2)
    found = implausible(Registration(to_rows(transform), *similarity), replace(VOLUME, affine=np.eye(4)), AlignmentConfig())
    assert len(found) == len(expected)
    apart = implausible(
        Registration(to_rows(transform), *similarity), replace(VOLUME, affine=np.eye(4)), AlignmentConfig(), is_apart=True
    )
    assert apart == [line for line in found if "shifted" not in line]
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


class Named:
    """Stands for a source whose annotation was drawn on the given channel."""

    def __init__(self, channel):
        self.channel = channel

    def label_channel(self, files):
        return self.channel


FILES = CaseFiles("anna", "anna", {"T1": None, "T2": None}, ImageRef(Path("label.nii.gz")))
VOLUMES = {"T1": replace(VOLUME, frame_of_reference="1"), "T2": replace(VOLUME, frame_of_reference="2")}


@pytest.mark.parametrize(
    ("option", "named", "label", "expected"),
    [
        (None, None, "1", "T1"),  # the reference
        (None, "T2", "2", "T2"),  # as the source says
        ("T1", "T2", "1", "T1"),  # the option wins
        ("T2", None, None, "T2"),  # no annotation: where predictions go back to
        ("FLAIR", None, None, "T1"),  # the case lacks it, and has no annotation
    ],
)
def test_the_channel_of_the_annotation_is_named_by_the_option_or_the_source(option, named, label, expected):
    aligner = CaseAligner(Named(named), Path("out"), AlignmentConfig(reference="T1", label_channel=option))
    drawn = None if label is None else replace(VOLUME, frame_of_reference=label)
    assert aligner._label_channel(FILES, VOLUMES, drawn) == expected


def test_an_annotation_that_no_channel_fits_is_one_line():
    aligner = CaseAligner(Named(None), Path("out"), AlignmentConfig(reference="T1"))
    with pytest.raises(UserError, match="anna: annotation: drawn in another frame of reference than T1; "):
        aligner._label_channel(FILES, VOLUMES, replace(VOLUME, frame_of_reference="2"))
    aligner = CaseAligner(Named("FLAIR"), Path("out"), AlignmentConfig(reference="T1"))
    with pytest.raises(UserError, match="anna: lacks channel FLAIR, on which its annotation was drawn"):
        aligner._label_channel(FILES, VOLUMES, VOLUME)
