"""Figures of one volume: the mosaic of its slices, and the uncropped against the cropped volume."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.boxes import crop_box
from common.metrics.masks import Spacing
from data_prep.grid.geometry import Geometry
from data_prep.labels import LabelSchema
from evaluation.figures import display, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TILES_ACROSS = 13
MOST_TILES = 78  # six rows, which a page has room for


def draw_mosaic(
    path: Path,
    image: np.ndarray,
    classes: np.ndarray | None,
    schema: LabelSchema,
    title: str,
    spacing_mm: Spacing | None = (1.0, 1.0, 1.0),
) -> list[Path]:
    """Draw slices of a volume side by side, from inferior to superior, with the annotation in colour.

    Slices that are zero everywhere at the ends are left out; of more than `MOST_TILES` others every second, third and so on is
    drawn.

    Args:
        path: the files to write, without suffix.
        image: (Z, H, W), one channel, any real dtype.
        classes: (Z, H, W) class indices, 255 where not annotated, or None.
        schema: names the classes.
        title: of the figure.
        spacing_mm: (z, y, x), or None where the source has no geometry.

    Returns:
        The files written, PDF and PNG.
    """
    oriented = spacing_mm is not None
    aspect = display.pixel_aspect(spacing_mm)
    rows, lines = crop_box((image != 0).any(axis=0), margin=2)
    grey = display.grey(image)[:, rows, lines]
    marked = np.zeros(grey.shape, np.uint8) if classes is None else classes[:, rows, lines]
    numbers = mosaic_slices(image)
    tiles = [display.paint(display.axial(grey, z, oriented), display.axial(marked, z, oriented)) for z in numbers]
    picture = _tiled(tiles)
    with style.style():
        height, width = picture.shape[0] * aspect, picture.shape[1]
        figure = style.new_figure(height=style.WIDTH * height / width + 0.6)
        axes = figure.subplots()
        display.show(axes, picture, aspect)
        _number_tiles(axes, numbers, grey.shape[1:])
        if classes is not None:
            display.class_legend(figure, schema)
        if oriented:
            _mark_tiles(axes, len(tiles), grey.shape[1:])
        step = numbers[1] - numbers[0] if len(numbers) > 1 else 1
        which = f"every {step}th of the" if step > 3 else {1: "the", 2: "every second of the", 3: "every third of the"}[step]
        which = f"{which} axial slices with head, numbered from inferior to superior; R: the patient's right"
        figure.suptitle(f"{title}\n{which}" if oriented else title)
        return style.save(figure, path)


def draw_crop(
    path: Path,
    image: np.ndarray,
    classes: np.ndarray,
    geometry: Geometry,
    schema: LabelSchema,
    title: str,
) -> list[Path]:
    """Draw the uncropped volume with the crop marked, and the cropped volume, each beside its mask, axial and coronal.

    A crop that is the whole volume has one row, and the title says so.

    Args:
        path: the files to write, without suffix.
        image: (Z, H, W) of the uncropped prepared grid, one channel, any real dtype.
        classes: (Z, H, W) class indices of the uncropped prepared grid, 255 where not annotated.
        geometry: of the cropped volume.
        schema: names the classes.
        title: of the figure.

    Returns:
        The files written, PDF and PNG.
    """
    whole_grey, oriented = display.grey(image), geometry.spacing_mm is not None
    z, y = _busiest(classes, geometry)
    views = {"axial": (display.axial, z, 0), "coronal": (display.coronal, y, 1)}
    spacing = geometry.spacing_mm or (1.0, 1.0, 1.0)
    aspects = {"axial": display.pixel_aspect(spacing), "coronal": spacing[0] / spacing[2]}
    volumes = {
        "uncropped": (whole_grey, np.where(classes == 255, 0, classes), (0, 0, 0)),
        "cropped": (geometry.cut(whole_grey), geometry.cut(np.where(classes == 255, 0, classes)), geometry.start),
    }
    is_whole = geometry.start == (0, 0, 0) and geometry.size == geometry.uncropped_size
    if is_whole:
        del volumes["cropped"]
    lost = f"annotated voxels outside the crop: {100 * share_lost(classes, geometry):.2g} %"
    with style.style():
        figure = style.new_figure(height=0.5 + 2.1 * len(volumes))
        grid = figure.subplots(len(volumes), 4, squeeze=False)
        for row, (state, (grey, marked, start)) in enumerate(volumes.items()):
            for column, (plane, (view, index, axis)) in enumerate(views.items()):
                picture, mask = (view(volume, index - start[axis], oriented) for volume in (grey, marked))
                image_axes, mask_axes = grid[row, 2 * column], grid[row, 2 * column + 1]
                display.show(image_axes, picture, aspects[plane], marks=oriented)
                display.show(mask_axes, display.paint(np.zeros_like(picture), mask, opacity=1.0), aspects[plane])
                size = " x ".join(str(length) for length in picture.shape)
                image_axes.set_title(f"{plane}, {state} ({size})")
                mask_axes.set_title("mask")
                if state == "uncropped" and not is_whole:
                    for axes in (image_axes, mask_axes):
                        _mark_window(axes, geometry, plane, oriented)
        display.class_legend(figure, schema)
        figure.suptitle(f"{title}\n{'the crop takes the whole volume' if is_whole else lost}")
        return style.save(figure, path)


def mosaic_slices(image: np.ndarray) -> list[int]:
    """Slices of a mosaic: from the first to the last that is not zero everywhere, evenly spaced, at most `MOST_TILES`."""
    inside = np.flatnonzero((image != 0).any(axis=(1, 2)))
    first, last = (int(inside[0]), int(inside[-1])) if inside.size else (0, len(image) - 1)
    step = -(-(last - first + 1) // MOST_TILES)
    return list(range(first, last + 1, step))


def share_lost(classes: np.ndarray, geometry: Geometry) -> float:
    """Share of the tumour's voxels that lie outside the window, 0 to 1; 0 where there is no tumour."""
    total = int(display.tumour_slices(classes).sum())
    kept = int(display.tumour_slices(geometry.cut(classes)).sum())
    return (total - kept) / total if total else 0.0


def _tiled(tiles: list[np.ndarray]) -> np.ndarray:
    """Tiles (H, W, 3) in rows of `TILES_ACROSS` on one picture; black where there is none."""
    height, width, _ = tiles[0].shape
    across = min(TILES_ACROSS, len(tiles))
    picture = np.zeros((-(-len(tiles) // across) * height, across * width, 3), np.float32)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, across)
        picture[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
    return picture


def _number_tiles(axes: "Axes", numbers: Sequence[int], shape: tuple[int, ...]) -> None:
    """Write the number of each tile's slice, counted from 1, into its corner."""
    across = min(TILES_ACROSS, len(numbers))
    for index, number in enumerate(numbers):
        row, column = divmod(index, across)
        place = ((column + 0.03) * shape[1], (row + 0.03) * shape[0])
        axes.text(*place, str(number + 1), color="white", fontsize=4.5, ha="left", va="top")


def _mark_tiles(axes: "Axes", count: int, shape: tuple[int, ...]) -> None:
    """Write R and L for the patient's sides at the left and right edge of each row of tiles, at its bottom."""
    across = min(TILES_ACROSS, count)
    for row in range(-(-count // across)):
        for text, column, side in (("R", 0.03, "left"), ("L", min(across, count - row * across) - 0.03, "right")):
            place = (column * shape[1], (row + 0.97) * shape[0])
            axes.text(*place, text, color="white", fontsize=5.5, ha=side, va="bottom")


def _busiest(classes: np.ndarray, geometry: Geometry) -> tuple[int, int]:
    """The slice z and row y with the most tumour inside the window; the window's middle where there is none."""
    inside = geometry.cut(np.where(classes == 255, 0, classes)) > 0
    found = []
    for axis, others in ((0, (1, 2)), (1, (0, 2))):
        counts = inside.sum(axis=others)
        place = int(counts.argmax()) if counts.any() else geometry.size[axis] // 2
        found.append(min(max(place + geometry.start[axis], 0), classes.shape[axis] - 1))
    return found[0], found[1]


def _mark_window(axes: "Axes", geometry: Geometry, plane: str, oriented: bool) -> None:
    """A dashed frame where the window lies in a picture of the whole grid."""
    from matplotlib.patches import Rectangle

    vertical = 1 if plane == "axial" else 0
    top, left = geometry.start[vertical], geometry.start[2]
    height, width = geometry.size[vertical], geometry.size[2]
    if oriented:  # both axes of the picture run backwards
        top = geometry.uncropped_size[vertical] - top - height
        left = geometry.uncropped_size[2] - left - width
    frame = Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor="white", linewidth=0.9, linestyle="--")
    axes.add_patch(frame)
