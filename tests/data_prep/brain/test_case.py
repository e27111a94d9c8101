import numpy as np
import pytest

from common.errors import UserError
from data_prep.brain.case import CaseStripper, StrippingConfig, assumed_affine, foreground
from data_prep.brain.extraction import ExtractedMask
from data_prep.grid.geometry import Geometry
from data_prep.labels import LabelSchema
from data_prep.scans.case import Case, CaseFiles
from data_prep.scans.volume import Volume


def test_slices_without_geometry_run_to_the_back_to_the_left_and_upwards():
    shape = (10, 8, 5)
    affine = assumed_affine(shape, [5.0, 0.9, 0.8])
    geometry = Geometry.uncropped(shape, affine)
    assert geometry.spacing_mm == pytest.approx((5.0, 0.9, 0.8))
    assert (geometry.axes, geometry.flips) == ((2, 0, 1), (False, True, True))
    np.testing.assert_allclose(affine @ [4.5, 3.5, 2, 1], [0, 0, 0, 1], atol=1e-12)
    with pytest.raises(UserError, match=r"has no voxel size; give it by --spacing_mm, such as 5 0.94 0.94"):
        assumed_affine(shape, None)


def test_the_foreground_is_every_class_but_background():
    label = np.array([[[0, 1, 2, 9]]])
    case = Case(CaseFiles("a", "a", {}), {}, label, None, label.shape)
    schema = LabelSchema("own", {"background": (0, 2), "tumour": (1,)}, {}, (9,))
    assert foreground(case, schema).ravel().tolist() == [False, True, False, False]
    assert foreground(case, None).ravel().tolist() == [False, True, True, True]
    assert foreground(Case(case.files, {}, None, None, label.shape), schema) is None


def test_scans_that_hd_bet_does_not_suit_are_warned_of(tmp_path):
    stripper = CaseStripper(None, tmp_path, StrippingConfig(channel="T1"), None)
    stripped, ct = np.zeros((120, 120, 120), np.int16), np.full((120, 120, 120), -1000, np.int16)
    stripped[:100, :100, :100] = 100
    files = CaseFiles("a", "a", {})
    found = ExtractedMask(stripped > 0)
    for array, expected in ((stripped, "stripped already (1000 ml are not zero)?"), (ct, "T1 is CT, by its values")):
        case = Case(files, {"T1": array}, None, np.eye(4), array.shape)
        (line,) = stripper._doubts(case, Volume(array, np.eye(4)), found, None)
        assert line.startswith(expected)
    whole = np.full((120, 120, 120), 7, np.int16)
    case = Case(files, {"T1": whole}, None, np.eye(4), whole.shape)
    assert stripper._doubts(case, Volume(whole, np.eye(4)), found, None) == []
