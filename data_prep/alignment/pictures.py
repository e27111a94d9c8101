"""Pictures of a registration: checkerboard of both scans, and edges of one on the other, before and after.

Three slices through the annotation, or the middle of the reference: axial, coronal and sagittal, in radiological orientation
(the patient's left is on the right of the picture). A picture of the reference alone shows the annotation on it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.grid.geometry import Geometry
from data_prep.grid.resampling import IDENTITY, Resampling, Rows, to_rows
from data_prep.grid.slice_pictures import (
    ANNOTATION_COLOUR,
    SIDES,
    WHITE,
    caption,
    colours,
    displayed_plane,
    displayed_ratio,
    grey_levels,
    outline,
    resized,
    save_rows,
)
from data_prep.grid.voxel_grid import Grid
from data_prep.scans.volume import Volume

SQUARES = 8  # along the longer side of a slice
EDGE_SHARE = 0.06  # of a slice's pixels that are drawn as edges
EDGE_COLOUR = (255, 80, 0)
MARGIN = 5  # pixels from the border of a field of view, which is an edge of its own


@dataclass(frozen=True)
class Registered:
    """Moving scan on its reference, as it is shown.

    Attributes:
        case, channel, reference: names.
        fixed, moving: scans.
        transform: (4, 4) millimetres of the reference -> millimetres of the moving scan; None: by the headers alone.
        grid: that is shown.
        annotation: mask (i, j, k) on that grid, or None.
    """

    case: str
    channel: str
    reference: str
    fixed: Volume
    moving: Volume
    transform: Rows | None
    grid: Grid
    annotation: np.ndarray | None = None


def draw_reference(path: Path, title: str, reference: Volume, grid: Grid, annotation: np.ndarray | None) -> Path:
    """Write the picture of a reference: three slices with the annotation outlined.

    Args:
        path: of the file.
        title: line above the slices.
        reference: the scan.
        grid: that is shown.
        annotation: mask (i, j, k) on that grid, or None.

    Returns:
        The file written.
    """
    places, outlines = chosen_slices(grid, annotation)
    pictures = [colours(view) for view in views(reference, IDENTITY, grid, places)]
    width = sum(picture.shape[1] for picture in pictures)
    legend = [*([("annotation", ANNOTATION_COLOUR)] if outlines else []), SIDES]
    return save_rows(path, [[caption(width, [(title, WHITE)])], outlined(pictures, outlines), [caption(width, legend)]])


def chosen_slices(grid: Grid, annotation: np.ndarray | None) -> tuple[list[int], list[np.ndarray]]:
    """Places of three slices, through the most of the annotation or the middle of the grid, and its outlines there.

    Args:
        grid: that is shown.
        annotation: mask (i, j, k) on that grid, or None.

    Returns:
        Index along z, y and x; and a mask (H, W) of each slice's outline, none without annotation.
    """
    geometry = Geometry.uncropped(grid.shape, grid.affine)
    if annotation is None or not annotation.any():
        return [length // 2 for length in geometry.size], []
    marked = geometry.reorient(annotation)
    counts = (marked.sum(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3))
    places = [int(count.argmax()) for count in counts]
    planes = displayed(geometry, marked.astype(np.float32), places)
    return places, [outline(resized(plane, ratio) >= 0.5) for plane, ratio in planes]


def outlined(pictures: list[np.ndarray], outlines: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Pictures (H, W, 3) with the outlines of the annotation drawn into them."""
    for picture, line in zip(pictures, outlines, strict=False):  # without annotation there are none
        picture[line] = ANNOTATION_COLOUR
    return pictures


def draw_pictures(folder: Path, shown: Registered) -> list[Path]:
    """Write CHANNEL_checkerboard.png and CHANNEL_edges.png, a row by the headers and (if there is a transform) one with it.

    Slices go through the annotation, which is outlined, or through the middle of the grid.

    Returns:
        The files written.
    """
    places, outlines = chosen_slices(shown.grid, shown.annotation)
    fixed = views(shown.fixed, IDENTITY, shown.grid, places)
    rows: dict[str, list[list[np.ndarray]]] = {"checkerboard": [], "edges": []}
    for transform, how in ((IDENTITY, "by the headers"), (shown.transform, "with the transform")):
        if transform is None:
            continue
        moved = views(shown.moving, transform, shown.grid, places)
        seen = fields_of_view(shown.moving.grid, transform, shown.grid, places)
        title = caption(
            sum(plane.shape[1] for plane in moved), [(f"{shown.case}: {shown.channel} on {shown.reference}, {how}", WHITE)]
        )
        boards = [checkerboard(one, other) for one, other in zip(fixed, moved, strict=True)]
        edges = [edge_overlay(*pictures) for pictures in zip(fixed, moved, seen, strict=True)]
        for name, pictures in (("checkerboard", boards), ("edges", edges)):
            rows[name] += [[title], outlined(pictures, outlines)]
    legend = [*([("annotation", ANNOTATION_COLOUR)] if outlines else []), SIDES]
    width = sum(plane.shape[1] for plane in fixed)
    rows["checkerboard"].append([caption(width, legend)])
    rows["edges"].append([caption(width, [(f"edges of {shown.channel}", EDGE_COLOUR), *legend])])
    return [save_rows(folder / f"{shown.channel}_{name}.png", content) for name, content in rows.items()]


def displayed(geometry: Geometry, array: np.ndarray, places: Sequence[int]) -> Iterator[tuple[np.ndarray, float]]:
    """Axial, coronal and sagittal slice of a prepared array (z, y, x) at places along its axes, each with its ratio."""
    for axis, place in enumerate(places):
        plane = displayed_plane(array, axis, place)
        yield plane, displayed_ratio(geometry, plane, axis)


def views(volume: Volume, transform: Rows, grid: Grid, places: Sequence[int]) -> list[np.ndarray]:
    """Axial, coronal and sagittal slice of a scan on a grid: grey values of 0..1, square pixels, equal heights."""
    geometry = Geometry.uncropped(grid.shape, grid.affine)
    resampling = Resampling(volume.grid.shape, to_rows(volume.affine), grid.shape, to_rows(grid.affine), transform)
    grey = geometry.reorient(grey_levels(resampling.forward(volume.array)))
    return [resized(plane, ratio) for plane, ratio in displayed(geometry, grey, places)]


def fields_of_view(moving: Grid, transform: Rows, grid: Grid, places: Sequence[int]) -> list[np.ndarray]:
    """Pixels, bool (H, W), of the same three slices that lie well inside a scan's field of view."""
    from scipy.ndimage import binary_erosion

    geometry = Geometry.uncropped(grid.shape, grid.affine)
    resampling = Resampling(moving.shape, to_rows(moving.affine), grid.shape, to_rows(grid.affine), transform)
    covered = geometry.reorient(resampling.forward_label(np.ones(moving.shape, np.uint8))).astype(np.float32)
    planes = (resized(plane, ratio) >= 0.5 for plane, ratio in displayed(geometry, covered, places))
    return [binary_erosion(plane, iterations=MARGIN, border_value=1) for plane in planes]


def checkerboard(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Squares of two grey pictures (H, W) in turn; (H, W, 3) uint8."""
    side = max(one.shape) // SQUARES or 1
    rows, columns = np.indices(one.shape) // side
    return colours(np.where((rows + columns) % 2, other, one))


def edge_overlay(one: np.ndarray, other: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Strongest edges of the second grey picture (H, W), where it is `seen`, in colour on the first; (H, W, 3) uint8."""
    from scipy.ndimage import gaussian_gradient_magnitude

    strength = gaussian_gradient_magnitude(other, 1.0) * seen
    picture = colours(one)
    picture[(strength >= np.quantile(strength, 1 - EDGE_SHARE)) & (strength > 0)] = EDGE_COLOUR
    return picture
