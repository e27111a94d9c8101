import nibabel
import numpy as np
import pytest

from data_prep.labels import LabelSchema
from data_prep.scans import nifti
from data_prep.sources.nifti_rules import (
    affine_text,
    as_integers,
    finite_problem,
    geometry_warnings,
    label_problem,
    mask_problem,
    schema_hint,
)


def test_an_affine_on_one_line():
    assert affine_text(np.diag([-1.0, 2.5, 3, 1]) * 1.0) == "[-1 0 0 0; 0 2.5 0 0; 0 0 3 0]"


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [("u1", 4, "u1"), ("i4", -7, "i4"), ("u8", 4, "i2"), ("f4", -3.0, "i2"), ("f8", 1e9, "i8"), ("f8", -40000.0, "i8")],
)
def test_labels_become_integers_that_hold_them(dtype, value, expected):
    ids = as_integers(np.array([[value, 0]], dtype))
    assert ids.dtype == np.dtype(expected)
    assert ids.tolist() == [[value, 0]]


def test_labels_close_to_whole_numbers_are_rounded():
    near = np.array([[0.0, 3.9996, 1.0004]], np.float32)
    assert label_problem("x", near, LabelSchema.load("brats2017-2021"), ()) is None
    assert as_integers(near).tolist() == [[0, 4, 1]]
    far = np.array([[0.0, 3.998]], np.float32)
    assert "received 3.998 and the like" in label_problem("x", far, None, ())
    assert mask_problem("x", np.array([0.0, 0.9996], np.float32)) is None


@pytest.mark.parametrize(
    ("present", "likely", "expected"),
    [
        (
            {0, 1, 2, 3, 4},
            ("brats2017-2021", "brats2012-2015"),
            "if they mean 1 necrosis, 2 edema, 3 non-enhancing tumor, 4 enh",
        ),
        ({0, 1, 2, 4}, ("brats2024", "brats2024-ped"), "2 schemas of"),
        ({0, 7}, ("brats2024", "binary"), "write a schema"),
    ],
)
def test_a_hint_says_what_the_ids_would_mean_and_chooses_none_of_two(present, likely, expected):
    assert expected in schema_hint(present, likely)


@pytest.mark.parametrize("values", [(0, 1e39), (-3e38, 3e38)])
def test_values_beyond_float32_are_refused(values):
    assert "expected voxels of at most 3.4e+38" in finite_problem("x.nii", np.array(values))
    assert finite_problem("x.nii", np.array([0, 1e38])) is None


@pytest.mark.parametrize(
    ("size", "words"), [(2.0, "orientation and position"), (0.0, "orientation, position and voxel size (1 mm)")]
)
def test_what_a_header_without_forms_leaves_to_guess_is_named(tmp_path, size, words):
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 4, 4), np.int16), None), path)
    content = bytearray(path.read_bytes())
    content[80:92] = np.full(3, size, np.float32).tobytes()  # pixdim[1:4]
    content[252:256] = bytes(4)  # qform_code, sform_code
    path.write_bytes(content)
    assert geometry_warnings(nifti.read_header(path)) == [f"{path}: has neither sform nor qform: {words} are guessed"]
