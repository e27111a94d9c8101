import sys

import numpy as np
import pytest

from common.errors import MissingPackage, UserError
from data_prep.grid.resampling import to_rows
from data_prep.scans.itk import load_sitk, read_transform, to_image, write_transform
from tests.data_prep.alignment.test_registration import POINT, displacement
from tests.synthetic_heads import centred, head


def test_transforms_of_itk_are_read_as_they_were_written(tmp_path):
    sitk = load_sitk("a test")
    transform = displacement() @ np.diag([1.05, 0.96, 1.03, 1])
    write_transform(tmp_path / "a.tfm", to_rows(transform))
    np.testing.assert_allclose(read_transform(tmp_path / "a.tfm"), transform, atol=1e-12)
    lps = np.array([-1, -1, 1])
    point = sitk.ReadTransform(str(tmp_path / "a.tfm")).TransformPoint((POINT[:3] * lps).tolist())
    np.testing.assert_allclose(point * lps, (transform @ POINT)[:3], atol=1e-9)
    (tmp_path / "b.tfm").write_text("no transform")
    with pytest.raises(UserError, match=r"b.tfm: expected a transform of ITK"):
        read_transform(tmp_path / "b.tfm")


def test_images_keep_their_positions_in_lps():
    volume = head(centred((2, 3, 4), (20, 21, 22), np.diag([-1, 1, 1])), (20, 21, 22))
    image = to_image(load_sitk("a test"), volume)
    position = np.array(image.TransformIndexToPhysicalPoint((3, 5, 7))) * (-1, -1, 1)
    np.testing.assert_allclose(position, volume.grid.position(np.array([3, 5, 7])))
    assert image[3, 5, 7] == volume.array[3, 5, 7]


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(MissingPackage, match=r"^registration needs the package 'SimpleITK': pip install SimpleITK$"):
        load_sitk("registration")
