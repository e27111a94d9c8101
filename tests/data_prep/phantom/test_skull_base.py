import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data_prep.grid.masks import head_mask
from data_prep.grid.resampling import Resampling, to_rows
from data_prep.phantom.head import HeadTissue
from data_prep.phantom.patient import PhantomConfig
from data_prep.phantom.skull_base import (
    CHANNELS,
    DRAWN_ON,
    MOTION_SHARE,
    draw_label,
    make_head,
    make_skull_base_patient,
    random_motion,
    scan_head,
    subtype_of,
)

SIZE = (48, 48, 36)
CONFIG = PhantomConfig(tumour="skull_base", size=SIZE)


@pytest.fixture(scope="module")
def patients():
    return [make_skull_base_patient(CONFIG, 0, index) for index in range(2)]


def on_t1(patient, name, volume):
    """A channel's image, or the label, on the grid of T1 by its true transform."""
    t1 = patient.scans["T1"]
    grids = volume.grid.shape, to_rows(volume.affine), t1.grid.shape, to_rows(t1.affine)
    return Resampling(*grids, to_rows(patient.motions[name])).forward(volume.array)


def test_a_patient_is_a_pure_function_of_seed_and_number(patients):
    again = make_skull_base_patient(CONFIG, 0, 1)
    for name in CHANNELS:
        np.testing.assert_array_equal(again.scans[name].array, patients[1].scans[name].array)
        np.testing.assert_array_equal(again.motions[name], patients[1].motions[name])
    assert (make_skull_base_patient(CONFIG, 1, 1).scans["T1"].array != again.scans["T1"].array).mean() > 0.5


def test_every_scan_has_a_grid_of_its_own(patients):
    grids = [volume.grid for volume in patients[0].scans.values()]
    assert grids[0].shape == SIZE
    assert all(one.distance_mm(other) > 1 for place, one in enumerate(grids) for other in grids[:place])
    spacings = {name: volume.grid.spacing_mm for name, volume in patients[0].scans.items()}
    assert all(lengths.max() / lengths.min() > 1.1 for lengths in spacings.values())
    assert np.linalg.det(patients[0].scans["FLAIR"].affine[:3, :3]) < 0 < np.linalg.det(patients[0].scans["T2"].affine[:3, :3])
    assert patients[1].scans["CT"].grid.shape[2] < 0.7 * patients[0].scans["CT"].grid.shape[2]
    assert patients[0].label.grid.distance_mm(patients[0].scans[DRAWN_ON].grid) == 0


def test_motions_are_rigid_and_within_their_bounds(rng):
    for share in MOTION_SHARE.values():
        motion = random_motion(rng, share, CONFIG)
        np.testing.assert_allclose(motion[:3, :3] @ motion[:3, :3].T, np.eye(3), atol=1e-12)
        assert Rotation.from_matrix(motion[:3, :3]).magnitude() <= np.radians(share * CONFIG.motion_degrees) + 1e-9
        assert np.linalg.norm(motion[:3, 3]) <= share * CONFIG.motion_mm + 1e-9
    np.testing.assert_array_equal(random_motion(rng, 0.0, CONFIG), np.eye(4))


def test_the_true_transforms_bring_the_heads_together(patients):
    for patient in patients:
        t1 = head_mask(patient.scans["T1"].array)
        for name in ("T2", "FLAIR"):
            moved = head_mask(on_t1(patient, name, patient.scans[name]))
            assert 2 * (t1 & moved).sum() / (t1.sum() + moved.sum()) > 0.85


def test_ct_is_in_hounsfield_units_and_mr_is_not_negative(patients):
    for patient in patients:
        ct = patient.scans["CT"].array
        assert ct.dtype == np.int16
        assert -1024 <= ct.min() < -950
        assert 700 < np.percentile(ct, 99.9) < 3071
        soft = ct[(ct > -20) & (ct < 90)]
        assert soft.size > 0.2 * ct.size
        assert all(patient.scans[name].array.min() >= 0 for name in CHANNELS if name != "CT")


def test_the_tumour_lies_at_the_skull_base_and_is_no_bone_in_ct(patients):
    for patient in patients:
        millilitres = patient.label.array.sum() * np.prod(patient.label.grid.spacing_mm) / 1000
        assert 3 < millilitres < 40
        label = on_t1(patient, DRAWN_ON, patient.label) > 0.9
        places = np.argwhere(label) @ patient.scans["T1"].affine[:3, :3].T + patient.scans["T1"].affine[:3, 3]
        assert np.linalg.norm(places.mean(axis=0) - (0, 5, -20)) < 45
        assert 0 < np.median(on_t1(patient, "CT", patient.scans["CT"])[label]) < 250  # of voxels of 4 mm, beside bone


def test_bone_is_eroded(rng):
    head = make_head(rng, 4.0, "secondary")
    assert not np.isin(head.tissues[head.tumour], (HeadTissue.BONE, HeadTissue.DENSE_BONE, HeadTissue.MARROW)).any()


@pytest.mark.parametrize("subtype", ["primary", "secondary"])
def test_subtypes_have_tissues_of_their_own(rng, subtype):
    head = make_head(rng, 4.0, subtype)
    own, other = (HeadTissue.PRIMARY, HeadTissue.SECONDARY)[:: 1 if subtype == "primary" else -1]
    assert (head.tissues[head.tumour] == own).mean() > 0.5
    assert not (head.tissues == other).any()
    assert (HeadTissue.EDEMA in head.tissues) == (subtype == "secondary")


def test_a_tilted_gantry_is_a_sheared_grid(rng):
    head = make_head(rng, 4.0, "primary")
    patient = make_skull_base_patient(CONFIG, 0, 0)
    grid = patient.scans["CT"].grid
    grid.affine[1, 2] = 0.2 * grid.affine[2, 2]
    assert scan_head(rng, head, "CT", grid, np.eye(4), CONFIG).array.shape == grid.shape
    volume = draw_label(head, grid, np.eye(4)).array.sum() * abs(np.linalg.det(grid.affine[:3, :3]))
    assert volume == pytest.approx(head.tumour.sum() * 64, rel=0.25)


def test_subtypes_alternate_as_the_share_says():
    assert [subtype_of(CONFIG, index) for index in range(4)] == ["primary", "secondary"] * 2
    few = PhantomConfig(tumour="skull_base", secondary_share=0.25)
    assert sum(subtype_of(few, index) == "secondary" for index in range(8)) == 2
