import base64
import io
import zlib

import numpy as np
import pytest
from PIL import Image

from evaluation.reports.volumes import MARGIN, Scan, cropped, halved, mosaic, packed, size


@pytest.fixture
def scan(rng):
    image = np.zeros((12, 20, 16), np.float32)
    image[2:10, 5:15, 4:12] = 1 + rng.random((8, 10, 8))
    truth = np.zeros(image.shape, np.uint8)
    truth[4:8, 7:12, 5:9] = 2
    truth[0] = 255
    return Scan(image, {"truth": truth}, (2.0, 1.0, 0.5))


def unpacked(made):
    """Image levels and labels of a packed scan, as a browser reads them."""
    width, height, slices = made["shape"]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(made["image"]))).convert("L"))
    columns = made["columns"]
    tiles = picture.reshape(-1, height, columns, width).swapaxes(1, 2).reshape(-1, height, width)
    labels = {
        name: np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(slices, height, width)
        for name, text in made["labels"].items()
    }
    return tiles[:slices], labels


def test_a_scan_is_cut_to_head_and_labels(scan):
    assert cropped(scan).image.shape == (12, 10 + 2 * MARGIN, 8 + 2 * MARGIN)
    scan.labels["truth"][11, 19, 15] = 1
    assert cropped(scan).image.shape == (12, 19, 16)
    empty = Scan(np.zeros((3, 4, 5)), {}, None)
    assert cropped(empty) is empty


def test_labels_are_exact_and_the_image_nearly_so(scan):
    made = packed(scan, 90)
    image, labels = unpacked(made)
    assert made["shape"] == [16, 20, 12]
    assert made["spacing"] == [0.5, 1.0, 2.0]
    np.testing.assert_array_equal(labels["truth"], np.where(scan.labels["truth"] == 255, 0, scan.labels["truth"]))
    expected = 255 * np.clip(scan.image / np.percentile(scan.image[scan.image > 0], 99.5), 0, 1)
    assert np.abs(image.astype(float) - expected).mean() < 6
    assert size(made) == len(made["image"]) + len(made["labels"]["truth"])


def test_without_geometry_slices_lie_as_in_their_file(scan):
    turned = Scan(scan.image, scan.labels, None)
    image, labels = unpacked(packed(turned, 90))
    straight, straight_labels = unpacked(packed(scan, 90))
    np.testing.assert_array_equal(labels["truth"], straight_labels["truth"][:, ::-1, ::-1])
    assert np.abs(image.astype(float) - straight[:, ::-1, ::-1]).mean() < 6
    assert packed(turned, 90)["oriented"] is False
    assert packed(scan, 90)["oriented"] is True


def test_half_as_many_voxels_are_as_large_a_volume():
    image = np.ones((30, 81, 80), np.float32)
    image[:, ::2] = 3
    label = np.zeros(image.shape, np.uint8)
    label[:, 40, 40] = 1
    small = halved(Scan(image, {"truth": label}, (5.0, 1.0, 1.0)))
    assert small.image.shape == small.labels["truth"].shape == (30, 40, 40)
    assert small.spacing_mm == (5.0, 2.0, 2.0)
    np.testing.assert_array_equal(small.image, 2)
    assert small.labels["truth"][0, 20, 20] == 1
    assert halved(Scan(image, {}, None)).spacing_mm is None


@pytest.mark.parametrize("shape", [(1, 5, 7), (7, 3, 4), (2, 8000, 9000)])
def test_slices_lie_side_by_side(shape):
    volume = np.arange(shape[0], dtype=np.uint8)[:, None, None] + np.zeros(shape, np.uint8)
    picture, columns = mosaic(volume)
    assert max(picture.shape) <= 16383
    for number in range(shape[0]):
        row, column = divmod(number, columns)
        assert picture[row * shape[1], column * shape[2]] == number
