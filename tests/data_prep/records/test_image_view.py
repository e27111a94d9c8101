"""Images as networks are given them: chosen channels, and equal numbers whichever dtype the records have."""

import numpy as np
import pytest

from common.errors import UserError
from data_prep.records.folder import Records
from data_prep.records.image_view import ImageView, network_input


@pytest.fixture(scope="module")
def both(source, command, tmp_path_factory):
    """Records of the same scans, stored as float16 and as uint8."""
    folder, found = tmp_path_factory.mktemp("both"), []
    for dtype in ("float16", "uint8"):
        options = ("--prepare.size", "[8,16,16]", "--prepare.dtype", dtype, "--split.fractions", "[1,0,0]", "--workers", 1)
        assert command("data_prep.make_records", "--source", source, "--out", folder / dtype, *options).status == 0
        found.append(Records(folder / dtype))
    return found


def test_bytes_become_fractions_and_floats_stay_as_they_are():
    image = np.array([[[0, 51, 255]]], np.uint8)
    np.testing.assert_array_equal(network_input(image), np.array([[[0, 0.2, 1]]], np.float16))
    floats = np.array([[[0.25, -3]]], np.float16)
    assert network_input(floats) is floats


@pytest.mark.parametrize("dtype", [np.uint8, np.float16])
@pytest.mark.parametrize("channels", [[0, 1, 2, 3], [2], [3, 0, 1]])
@pytest.mark.parametrize(
    "key",
    [3, np.s_[:], np.s_[1:4], np.s_[1:4, 2:5, ::-1], np.s_[..., 0], np.s_[2, ..., 0:1], np.array([4, 0, 4]), (2, 3, 4, 0)],
)
def test_a_view_is_indexed_like_the_array_that_it_stands_for(dtype, channels, key):
    stored = np.random.default_rng(0).integers(0, 255, (5, 6, 7, 4)).astype(dtype)
    view = ImageView(stored, channels)
    expected = network_input(stored[..., channels])
    assert (view.shape, view.dtype, len(view)) == (expected.shape, np.float16, 5)
    np.testing.assert_array_equal(view[key], expected[key])
    np.testing.assert_array_equal(np.asarray(view), expected)


def test_a_network_is_given_the_same_numbers_whichever_dtype_records_have(both):
    floats, stored_bytes = (np.asarray(records.shard("case_0").image) for records in both)
    assert floats.dtype == stored_bytes.dtype == np.float16
    assert stored_bytes.max() <= 1
    np.testing.assert_allclose(stored_bytes.astype(float), floats.astype(float), atol=0.5 / 255 + 5e-4)


def test_channels_are_chosen_in_any_order(both):
    for records in both:
        chosen = Records(records.path, ["t2", "flair"])
        assert chosen.channels == ["t2", "flair"]
        assert chosen.fingerprint == records.fingerprint
        places = [records.channels.index(name) for name in chosen.channels]
        expected = np.asarray(records.shard("case_1").image)[..., places]
        np.testing.assert_array_equal(np.asarray(chosen.shard("case_1").image), expected)


@pytest.mark.parametrize("channels", [["flair", "dwi"], ["t1", "t1"], []])
def test_channels_that_records_lack_are_refused(both, channels):
    with pytest.raises(UserError, match="expected different channels of flair, t1, t1ce, t2; received"):
        Records(both[0].path, channels)
