"""Picture of a mask: outlines of mask and annotation on five slices of a scan, to be looked at.

Three axial slices, and below them a coronal and a sagittal one, in radiological orientation (the patient's right is on the
left), through the annotation where there is one.
"""

from pathlib import Path

import numpy as np

from common.boxes import crop_box
from data_prep.grid.geometry import Geometry
from data_prep.grid.slice_pictures import (
    ANNOTATION_COLOUR,
    SIDES,
    SIDES_ASSUMED,
    caption,
    colours,
    displayed_plane,
    displayed_ratio,
    grey_levels,
    outline,
    resized,
    save_rows,
)
from data_prep.scans.volume import Volume

MASK_COLOUR = (255, 80, 0)
AXIAL_AT = (0.25, 0.5, 0.75)  # of the mask's height


def draw_outlines(
    path: Path, volume: Volume, mask: np.ndarray, annotation: np.ndarray | None, sides_known: bool = True
) -> Path:
    """Write the picture.

    Args:
        path: of the file.
        volume: the scan.
        mask: (i, j, k) bool, not empty.
        annotation: (i, j, k) bool, or None.
        sides_known: False where the orientation of the scan is assumed.

    Returns:
        The file written.
    """
    geometry = Geometry.uncropped(volume.grid.shape, volume.affine)
    grey = geometry.reorient(grey_levels(volume.array))
    inside = geometry.reorient(mask)
    marked = None if annotation is None or not annotation.any() else geometry.reorient(annotation)
    pictures = []
    for axis, place in displayed_places(inside, marked):
        plane = displayed_plane(grey, axis, place)
        ratio = displayed_ratio(geometry, plane, axis)
        picture = colours(resized(plane, ratio))
        for region, colour in ((inside, MASK_COLOUR), (marked, ANNOTATION_COLOUR)):
            if region is not None:
                shape = resized(displayed_plane(region, axis, place).astype(np.float32), ratio) >= 0.5
                picture[outline(shape)] = colour
        pictures.append(picture)
    axial, others = pictures[: len(AXIAL_AT)], pictures[len(AXIAL_AT) :]
    sides = SIDES if sides_known else SIDES_ASSUMED
    named = [("mask", MASK_COLOUR), *([] if marked is None else [("annotation", ANNOTATION_COLOUR)]), sides]
    return save_rows(path, [axial, others, [caption(sum(picture.shape[1] for picture in axial), named)]])


def displayed_places(mask: np.ndarray, annotation: np.ndarray | None) -> list[tuple[int, int]]:
    """Axis and index of the five slices of masks (z, y, x): through the middle of the mask, or the most of the annotation."""
    box = crop_box(mask)
    if annotation is None:
        middle = [(part.start + part.stop) // 2 for part in box]
    else:
        counts = [annotation.sum(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3)]
        middle = [int(count.argmax()) for count in counts]
    z = [box[0].start + int(share * (box[0].stop - box[0].start)) for share in AXIAL_AT]
    z[1] = middle[0]
    return [*((0, place) for place in sorted(z)), (1, middle[1]), (2, middle[2])]
