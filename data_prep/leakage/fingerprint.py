"""Fingerprint of a case: checksums of its images whatever their container and orientation, and thumbnails of the head."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from common.files import checksum
from data_prep.leakage.thumbnail import thumbnail
from data_prep.leakage.voxel_checksum import voxel_checksums
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
    voxels = voxel_checksums(images)
    small = ((name, thumbnail(np.asarray(images[name]))) for name in voxels)
    heads = dict(islice(((name, each) for name, each in small if each is not None), HEAD_CHANNELS))
    return Fingerprint(voxels, thumbnails=heads)


def file_fingerprint(files: CaseFiles) -> Fingerprint:
    """Fingerprint by the bytes of the files of the channels alone; folders of slices are left out."""
    paths = {name: image.path for name, image in files.channels.items() if image is not None and image.path.is_file()}
    return Fingerprint(files={name: f"{path.stat().st_size} {checksum(path)}" for name, path in paths.items()})
