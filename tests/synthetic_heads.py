"""Synthetic heads for tests of registration: asymmetric, of two modalities, on any grid."""

import numpy as np

from data_prep.scans.volume import Volume


def head(affine, shape, modality="T1", transform=None):
    """Image of an asymmetric head about the origin, with skull, ventricle and a tumour at (12, 14, -8) mm.

    `transform`: (4, 4) millimetres of this head -> millimetres of the scan, which is displaced by it.
    """
    index = np.moveaxis(np.indices(shape), 0, -1)
    positions = index @ affine[:3, :3].T + affine[:3, 3]
    if transform is not None:
        inverse = np.linalg.inv(transform)
        positions = positions @ inverse[:3, :3].T + inverse[:3, 3]
    tissues = {"T1": (0, 60, 100, 20, 70), "T2": (0, 20, 60, 120, 95), "CT": (-1000, 1000, 35, 5, 50)}[modality]
    array = np.full(shape, tissues[0], np.float32)
    ellipsoids = (
        ((0, 0, 0), (36, 46, 40), 1),
        ((0, 0, 0), (32, 42, 36), 2),
        ((6, -10, 5), (7, 16, 6), 3),
        ((-10, 8, 12), (6, 5, 11), 3),
        ((12, 14, -8), (8, 7, 6), 4),
    )
    for centre, radii, tissue in ellipsoids:
        array[(((positions - centre) / radii) ** 2).sum(axis=-1) < 1] = tissues[tissue]
    folds = np.sin(positions / (4.0, 5.0, 6.0) + (0.3, 1.0, 2.0)).prod(axis=-1)  # texture, as of gyri
    array[array == tissues[2]] += ({"T1": 50, "T2": -40, "CT": 10}[modality] * folds)[array == tissues[2]]
    return Volume(array.astype(np.int16), affine)


def tumour(affine, shape):
    """Label of the tumour of an undisplaced head."""
    positions = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    return ((((positions - (12, 14, -8)) / (8, 7, 6)) ** 2).sum(axis=-1) < 1).astype(np.uint8)


def centred(spacing, shape, directions=None):
    """Affine of a grid about the origin."""
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if directions is None else directions) @ np.diag(spacing)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine
