"""Pictures of slices through a scan: grey levels, orientation, square pixels, outlines, captions, rows side by side."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common.files import write_serialised
from data_prep.grid.geometry import Geometry
from data_prep.grid.masks import winsorised

HEIGHT = 320  # pixels of a slice
THICKNESS = 2  # pixels of an outline
CAPTION_HEIGHT, LETTER_HEIGHT = 26, 16  # pixels
Colour = tuple[int, int, int]
WHITE, ANNOTATION_COLOUR = (255, 255, 255), (86, 180, 233)
# Of classes, background has none: those of Okabe and Ito (2008) that differ in lightness from their neighbours on grey.
CLASS_COLOURS = ("#56B4E9", "#D55E00", "#F0E442", "#009E73", "#CC79A7", "#0072B2", "#E69F00")
PREFERRED_CHANNEL = "flair"
SIDES = ("axial, coronal: the patient's right is on the left", WHITE)
SIDES_ASSUMED = ("axial, coronal: the patient's right is assumed on the left", WHITE)


def grey_levels(array: np.ndarray) -> np.ndarray:
    """Grey levels of 0..1 of a scan, outliers clipped; float32."""
    usual = winsorised(array)
    return ((usual - float(usual.min())) / max(float(np.ptp(usual)), 1e-6)).astype(np.float32)


def display_channel(
    channels: Sequence[str], neighbours: int = 0, missing: Sequence[str] = (), drawn: str | None = None
) -> tuple[str, int]:
    """Displayed channel: its name, and its index in a network's input (with neighbours).

    Args:
        channels: of the network.
        neighbours: slices on each side in its input.
        missing: channels that a case lacks; they are passed over.
        drawn: channel on which the annotation was drawn, which comes first; else FLAIR; else the first.
    """
    names = [name.lower() if name not in missing else "" for name in channels]
    preferred = [*([drawn.lower()] if drawn else []), PREFERRED_CHANNEL, *filter(None, names)]
    place = next((names.index(name) for name in preferred if name in names), 0)
    return channels[place], neighbours * len(channels) + place


def rgb(colour: str) -> Colour:
    """Colour from its hexadecimal name, such as #56B4E9."""
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def displayed_plane(array: np.ndarray, axis: int, place: int) -> np.ndarray:
    """Slice of an array (z, y, x) in RAS+ as it is shown: front or top above, the patient's right on the left.

    A sagittal slice has the front on the right.
    """
    plane = np.take(array, place, axis)[::-1]
    return plane if axis == 2 else plane[:, ::-1]


def displayed_ratio(geometry: Geometry, plane: np.ndarray, axis: int) -> float:
    """Width of a slice (H, W) as a multiple of its height, in millimetres."""
    down, across = (length for other, length in enumerate(geometry.spacing_mm or (1.0, 1.0, 1.0)) if other != axis)
    return plane.shape[1] * across / (plane.shape[0] * down)


def resized(plane: np.ndarray, ratio: float) -> np.ndarray:
    """Plane (H, W) as a picture of HEIGHT rows, `ratio` times as wide."""
    from PIL import Image

    size = max(round(HEIGHT * ratio), 1), HEIGHT
    return np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize(size, Image.Resampling.BILINEAR))


def colours(grey: np.ndarray) -> np.ndarray:
    """Grey picture (H, W) of 0..1 as (H, W, 3) uint8."""
    return np.repeat((255 * grey).astype(np.uint8)[..., None], 3, axis=-1)


def outline(shape: np.ndarray) -> np.ndarray:
    """Pixels of a mask (H, W) within the thickness of its border."""
    from scipy.ndimage import binary_erosion

    border: np.ndarray = shape & ~binary_erosion(shape, iterations=THICKNESS)
    return border


def caption(width: int, words: Sequence[tuple[str, Colour]]) -> np.ndarray:
    """Line of coloured texts side by side; (CAPTION_HEIGHT, width, 3) uint8."""
    from PIL import Image, ImageDraw, ImageFont

    strip = Image.new("RGB", (width, CAPTION_HEIGHT))
    draw, font, left = ImageDraw.Draw(strip), ImageFont.load_default(LETTER_HEIGHT), 8.0
    for text, colour in words:
        draw.text((left, 3), text, fill=colour, font=font)
        left += draw.textlength(text, font=font) + 16
    return np.asarray(strip)


def save_rows(path: Path, rows: list[list[np.ndarray]]) -> Path:
    """Write pictures of equal height side by side, and the rows below each other; returns the file."""
    from PIL import Image

    strips = [np.concatenate(row, axis=1) for row in rows]
    width = max(strip.shape[1] for strip in strips)
    picture = Image.fromarray(np.concatenate([np.pad(s, ((0, 0), (0, width - s.shape[1]), (0, 0))) for s in strips]))
    write_serialised(path, lambda file: picture.save(file, format="PNG"))
    return path
