"""Pictures of a registration: checkerboard of both scans, and edges of one on the other, before and after.

Three slices through the middle of the reference: axial, coronal and sagittal, in radiological orientation (the patient's left
is on the right of the picture).
"""

from pathlib import Path

import numpy as np

from data_prep.grid.geometry import Geometry
from data_prep.grid.resampling import IDENTITY, Resampling, Rows, to_rows
from data_prep.grid.slice_pictures import colours, displayed_plane, displayed_ratio, grey_levels, resized, save_rows
from data_prep.grid.voxel_grid import Grid
from data_prep.scans.volume import Volume

SQUARES = 8  # along the longer side of a slice
EDGE_SHARE = 0.06  # of a slice's pixels that are drawn as edges
EDGE_COLOUR = (255, 80, 0)


def draw_pictures(folder: Path, name: str, pair: tuple[Volume, Volume], transform: Rows | None, grid: Grid) -> list[Path]:
    """Write the pictures NAME_checkerboard.png and NAME_edges.png, a row before and (if there is a transform) one after.

    Args:
        folder: of the files.
        name: of the moving scan's channel.
        pair: reference and moving scan.
        transform: (4, 4) millimetres of the reference -> millimetres of the moving scan; None: by the headers alone.
        grid: that is shown.

    Returns:
        The files written.
    """
    reference, moving = pair
    fixed = views(reference, IDENTITY, grid)
    rows = [views(moving, each, grid) for each in (IDENTITY, transform) if each is not None]
    boards = [[checkerboard(one, other) for one, other in zip(fixed, row, strict=True)] for row in rows]
    edges = [[edge_overlay(one, other) for one, other in zip(fixed, row, strict=True)] for row in rows]
    return [
        save_rows(folder / f"{name}_checkerboard.png", boards),
        save_rows(folder / f"{name}_edges.png", edges),
    ]


def views(volume: Volume, transform: Rows, grid: Grid) -> list[np.ndarray]:
    """Axial, coronal and sagittal slice through the middle of a grid: grey values of 0..1, square pixels, equal heights."""
    geometry = Geometry.uncropped(grid.shape, grid.affine)
    resampling = Resampling(volume.grid.shape, to_rows(volume.affine), grid.shape, to_rows(grid.affine), transform)
    grey = geometry.reorient(grey_levels(resampling.forward(volume.array)))
    planes = (displayed_plane(grey, axis, length // 2) for axis, length in enumerate(grey.shape))
    return [resized(plane, displayed_ratio(geometry, plane, axis)) for axis, plane in enumerate(planes)]


def checkerboard(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Squares of two grey pictures (H, W) in turn; (H, W, 3) uint8."""
    side = max(one.shape) // SQUARES or 1
    rows, columns = np.indices(one.shape) // side
    return colours(np.where((rows + columns) % 2, other, one))


def edge_overlay(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Strongest edges of the second grey picture (H, W) in colour on the first; (H, W, 3) uint8."""
    from scipy.ndimage import gaussian_gradient_magnitude

    strength = gaussian_gradient_magnitude(other, 1.0)
    picture = colours(one)
    picture[(strength >= np.quantile(strength, 1 - EDGE_SHARE)) & (strength > 0)] = EDGE_COLOUR
    return picture
