from dataclasses import replace

import numpy as np
import pytest

from data_prep.alignment.case import AlignmentConfig, implausible, shares_frame, target_grid
from data_prep.grid.registration import Registration
from data_prep.grid.resampling import IDENTITY, to_rows
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
    shape, affine = target_grid(VOLUME, AlignmentConfig(spacing_mm=None))
    assert shape == (10, 8, 6)
    np.testing.assert_array_equal(affine, AFFINE)
    assert target_grid(VOLUME, AlignmentConfig(spacing_mm=1.0))[0] == (10, 16, 18)
    assert target_grid(VOLUME, AlignmentConfig(spacing_mm=(3.0, 1.0, 2.0)))[0] == (10, 8, 6)  # slices, rows, columns


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
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)
