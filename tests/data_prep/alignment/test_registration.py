from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from common.errors import UserError
from data_prep.alignment import registration
from data_prep.alignment.registration import Registration, register, similarity_of
from data_prep.grid.resampling import IDENTITY, to_rows
from data_prep.scans.itk import load_sitk, matrix_of
from data_prep.scans.volume import Volume
from tests.synthetic_heads import centred, head

SHAPE, FINE = (46, 56, 50), (2.0, 2.0, 2.0)
POINT = np.array([12.0, 14.0, -8.0, 1.0])  # of the tumour


def displacement():
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_euler("xyz", (8, -6, 12), degrees=True).as_matrix()
    transform[:3, 3] = (9, -7, 5)
    return transform


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(registration, "LEVELS_MM", (8.0, 4.0, 2.0))
    monkeypatch.setattr(registration, "STEPS_MM", (2.0, 1.0, 0.5))


@pytest.fixture(scope="module")
def pair():
    oblique = Rotation.from_euler("x", 15, degrees=True).as_matrix() @ np.diag([-1, 1, 1])  # left-handed
    moving = head(centred((2.2, 1.8, 3.0), (50, 70, 34), oblique), (50, 70, 34), "T2", displacement())
    return head(centred(FINE, SHAPE), SHAPE), moving


def test_a_displacement_is_recovered_across_modalities_and_gives_equal_bits(pair):
    found = register(*pair)
    error = np.linalg.norm((np.asarray(found.transform) - displacement()) @ POINT)
    assert error < 1
    assert found.after > found.before + 0.05
    np.testing.assert_allclose(found.scales, 1)
    assert found.rotation_degrees == pytest.approx(np.degrees(Rotation.from_matrix(displacement()[:3, :3]).magnitude()), abs=1)
    assert register(*pair) == found


def test_an_affine_displacement_needs_an_affine_transform():
    stretched = displacement() @ np.diag([1.05, 0.96, 1.03, 1])
    moving = head(centred(FINE, SHAPE), SHAPE, "T1", stretched)
    fixed = head(centred(FINE, SHAPE), SHAPE)
    found = register(fixed, moving, "affine")
    assert np.linalg.norm((np.asarray(found.transform) - stretched) @ POINT) < 1
    assert max(found.scales) == pytest.approx(1.05, abs=0.02)


def test_metal_and_padding_in_ct_leave_bins_for_the_head(pair):
    moving = head(pair[1].affine, pair[1].array.shape, "CT", displacement())
    array = moving.array.astype(np.float32)
    i, j = np.indices(array.shape[:2])
    array[np.hypot(i - 25, (j - 35) * 50 / 70) > 25] = -3024
    for tooth in ((0, 34, -20, 1), (10, 30, -25, 1)):
        i, j, k = np.rint(np.linalg.inv(moving.affine) @ displacement() @ tooth).astype(int)[:3]
        array[i - 2 : i + 3, j - 2 : j + 3, k - 1 : k + 2] = 30000
    clean, spoiled = (register(pair[0], scan).transform for scan in (moving, replace(moving, array=array)))
    assert np.linalg.norm((np.asarray(clean) - spoiled) @ POINT) < 2  # of a coarse head; 15 without clipping


def test_a_scan_without_a_head_is_one_line(pair):
    empty = Volume(np.zeros((20, 20, 20), np.int16), centred((3, 3, 3), (20, 20, 20)))
    with pytest.raises(UserError, match=r"^the moving scan has no head in it"):
        register(pair[0], empty)
    with pytest.raises(UserError, match=r"^the fixed scan has no head in it"):
        register(empty, pair[0])


def test_similarity_is_highest_where_scans_are_aligned():
    fixed, moving = (head(centred(FINE, SHAPE), SHAPE, modality) for modality in ("T1", "T2"))
    off = Volume(moving.array, moving.affine + np.array([[0, 0, 0, 8.0], *[[0.0] * 4] * 3]))
    assert similarity_of(fixed, fixed) > similarity_of(fixed, moving) > similarity_of(fixed, off) > 1
    assert similarity_of(fixed, fixed) == pytest.approx(2)


def test_an_euler_transform_becomes_the_same_matrix():
    sitk = load_sitk("a test")
    euler = sitk.Euler3DTransform((1.0, 2.0, 3.0), 0.1, 0.2, 0.3, (4.0, 5.0, 6.0))
    affine = registration.as_affine(sitk, euler)
    np.testing.assert_allclose(matrix_of(affine), matrix_of(euler), atol=1e-12)


def test_sizes_of_a_transform():
    found = Registration(to_rows(displacement()), 1.0, 1.2)
    assert found.shift_mm(np.zeros(3)) == pytest.approx(np.sqrt(81 + 49 + 25))
    assert Registration(IDENTITY, 1, 1).rotation_degrees == 0
