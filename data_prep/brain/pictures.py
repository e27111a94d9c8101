"""Picture of a mask: outlines of mask and annotation on five slices of a scan, to be looked at.

Three axial slices, a coronal and a sagittal one, in radiological orientation (the patient's right is on the left), through the
annotation where there is one.
"""

from pathlib import Path

import numpy as np

from common.boxes import crop_box
from data_prep.grid.geometry import Geometry
from data_prep.grid.slice_pictures import colours, displayed_plane, displayed_ratio, grey_levels, resized, save_rows
from data_prep.scans.volume import Volume

MASK_COLOUR, ANNOTATION_COLOUR = (255, 80, 0), (86, 180, 233)
THICKNESS = 2  # pixels of an outline
AXIAL_AT = (0.25, 0.5, 0.75)  # of the mask's height
CAPTION_HEIGHT, LETTER_HEIGHT = 26, 16  # pixels


def draw_outlines(path: Path, volume: Volume, mask: np.ndarray, annotation: np.ndarray | None) -> Path:
    """Write the picture.

    Args:
        path: of the file.
        volume: the scan.
        mask: (i, j, k) bool, not empty.
        annotation: (i, j, k) bool, or None.

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
    width = sum(picture.shape[1] for picture in pictures)
    return save_rows(path, [pictures, [caption(width, marked is not None)]])


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


def outline(shape: np.ndarray) -> np.ndarray:
    """Pixels of a mask (H, W) within the thickness of its border."""
    from scipy.ndimage import binary_erosion

    border: np.ndarray = shape & ~binary_erosion(shape, iterations=THICKNESS)
    return border


def caption(width: int, annotated: bool) -> np.ndarray:
    """Line of text that names the colours; (H, width, 3) uint8."""
    from PIL import Image, ImageDraw, ImageFont

    strip = Image.new("RGB", (width, CAPTION_HEIGHT))
    draw, font, left = ImageDraw.Draw(strip), ImageFont.load_default(LETTER_HEIGHT), 8.0
    words = [("mask", MASK_COLOUR), *([("annotation", ANNOTATION_COLOUR)] if annotated else [])]
    for text, colour in [*words, ("the patient's right is on the left", (255, 255, 255))]:
        draw.text((left, 3), text, fill=colour, font=font)
        left += draw.textlength(text, font=font) + 16
    return np.asarray(strip)
