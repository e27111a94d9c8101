"""Tests of the search for copies of scans."""

import pytest

from data_prep.leakage.same_scans import ScanChecksums, ScanIndex

EMPTY = (10, 0)  # bytes and checksum of a slice without annotation


def scan(case, files=(), voxels=(), others=0):
    return ScanChecksums(case, frozenset((10, each) for each in files), frozenset(voxels), others)


@pytest.mark.parametrize(
    ("other", "is_copy"),
    [
        (scan("other", files=(1, 2, 3, 4)), True),
        (scan("other", files=(1, 2, 7, 8)), True),
        (scan("other", files=(1, 7, 8)), False),
        (scan("other", files=(1,), others=2), False),
        (scan("a", files=(1, 7, 8)), True),
        (scan("a", files=(7,)), False),
        (scan("other", voxels=("x",)), True),
        (scan("other", voxels=("x", "u", "v")), True),
        (scan("other", voxels=("u", "v")), False),
        (scan("other", files=(7, 8, 9), voxels=("x", "y")), True),
        (scan("other"), False),
    ],
)
def test_a_copy_shares_half_of_the_files_or_an_image(other, is_copy):
    index = ScanIndex([(scan("a", (1, 2, 3, 4), ("x", "y", "z")), "first"), (scan("b", (5, 6)), "second")])
    assert index.find(other) == ["first"] * is_copy


def test_an_index_holds_the_sizes_of_files_and_whether_images_are_known():
    index = ScanIndex([(ScanChecksums("a", frozenset({EMPTY, (20, 1)})), None)])
    assert (index.sizes, index.has_voxels) == ({10, 20}, False)
    assert ScanIndex([(scan("a", voxels="x"), None)]).has_voxels
