"""Fingerprint of a case: checksums of its images whatever their container and orientation, and thumbnails of the head."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice

import numpy as np

from common.boxes import foreground_box
from common.files import checksum
from data_prep.leakage.thumbnail import thumbnail
from data_prep.scans.case import CaseFiles

HEAD_CHANNELS = 2  # of which thumbnails are made: two tell thin scans of different patients apart better than one


@dataclass(frozen=True)
class Fingerprint:
    """Checksums and thumbnails by which cases are compared.

    Attributes:
        voxels: channel -> checksum of its voxels; images of one value, which many patients may have, are left out.
        files: channel -> checksum of its file; only without voxels.
        thumbnails: channel -> (16, 16, 16) float32, of the first two channels that have one.
    """

    voxels: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    thumbnails: Mapping[str, np.ndarray] = field(default_factory=dict)


def fingerprint(images: Mapping[str, np.ndarray | None]) -> Fingerprint:
    """Fingerprint of images: channel -> array (i, j, k) of any real dtype, None where it is missing."""
    present = {name: array for name, array in images.items() if array is not None and array.size}
    found = {name: voxel_checksum(array) for name, array in present.items()}
    voxels = {name: value for name, value in found.items() if value is not None}
    small = ((name, thumbnail(present[name])) for name in voxels)
    heads = dict(islice(((name, each) for name, each in small if each is not None), HEAD_CHANNELS))
    return Fingerprint(voxels, thumbnails=heads)


def file_fingerprint(files: CaseFiles) -> Fingerprint:
    """Fingerprint by the bytes of the files of the channels alone; folders of slices are left out."""
    paths = {name: image.path for name, image in files.channels.items() if image is not None and image.path.is_file()}
    return Fingerprint(files={name: f"{path.stat().st_size} {checksum(path)}" for name, path in paths.items()})


def voxel_checksum(array: np.ndarray) -> str | None:
    """Checksum of the voxels of an image (i, j, k) that is the same for any order and direction of its axes and any dtype.

    What counts is the box of the voxels that are not the smallest value, so that an empty margin may be cut off or added. Along
    each axis the half with the smaller sum of values comes first; axes come in the order of their lengths, then of their
    imbalance. Values are compared as float32. None of an image of one value.
    """
    low = array.min()
    part = array[foreground_box(array != low)]
    if not part.size:
        return None
    imbalance = []
    for axis, length in enumerate(part.shape):
        profile = part.sum(axis=tuple(other for other in range(3) if other != axis), dtype=np.float64)
        imbalance.append(float(profile @ (np.arange(length) - (length - 1) / 2)))
    i, j, k = (slice(None, None, -1 if each < 0 else 1) for each in imbalance)
    order = sorted(range(3), key=lambda axis: (part.shape[axis], abs(imbalance[axis])))
    canonical = np.ascontiguousarray(np.transpose(part[i, j, k], order), np.float32) + np.float32(0)  # -0 becomes 0
    return blake2b(canonical.data, digest_size=16, person=repr(canonical.shape).encode()[:16]).hexdigest()
