"""Display of slices of a prepared volume: radiological convention, grey window, translucent classes, legend.

Prepared volumes are indexed [z, y, x] in RAS+: y runs to anterior, x to the patient's right, z upwards. Axial slices have
anterior up and coronal ones superior up, both with the patient's left on the right of the picture, as radiologists look at
them. A volume without geometry (no spacing) is displayed as it is in the file, without side marks.
"""

from typing import TYPE_CHECKING

import numpy as np

from common.metrics.masks import Spacing
from data_prep.labels import LabelSchema
from evaluation.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OPACITY = 0.65  # so that classes differ in lightness in a black-and-white print
PERCENTILES = (0.5, 99.5)


def grey(image: np.ndarray) -> np.ndarray:
    """An image of any real dtype as float32 of 0..1, from percentiles of its non-zero voxels; background stays black."""
    image = image.astype(np.float32)
    inside = image[image != 0]
    if inside.size == 0:
        return np.zeros_like(image)
    low, high = (float(bound) for bound in np.percentile(inside, PERCENTILES))
    low = min(low, 0.0) if inside.min() >= 0 else low  # already non-negative: black is zero
    scaled = np.clip((image - low) / (high - low or 1.0), 0, 1)
    return np.where(image == 0, np.float32(0), scaled)


def axial(volume: np.ndarray, z: int, oriented: bool) -> np.ndarray:
    """Slice z of (Z, H, W, ...) in display orientation: anterior up, the patient's left on the right."""
    return volume[z, ::-1, ::-1] if oriented else volume[z]


def coronal(volume: np.ndarray, y: int, oriented: bool) -> np.ndarray:
    """Row y of every slice of (Z, H, W, ...) in display orientation: superior up, the patient's left on the right."""
    return volume[::-1, y, ::-1] if oriented else volume[:, y]


def pixel_aspect(spacing_mm: Spacing | None) -> float:
    """Height of an axial pixel over its width, from the spacing (z, y, x) in millimetres; 1 without geometry."""
    return spacing_mm[1] / spacing_mm[2] if spacing_mm else 1.0


def paint(picture: np.ndarray, classes: np.ndarray, opacity: float = OPACITY) -> np.ndarray:
    """Lay the classes translucently over a grey picture.

    Args:
        picture: (H, W) float of 0..1.
        classes: (H, W) class indices; background and 255 (not annotated) stay clear.
        opacity: of the colours, 0..1.

    Returns:
        (H, W, 3) float32 of 0..1.
    """
    from matplotlib.colors import to_rgb

    painted = np.repeat(picture[..., None], 3, axis=-1).astype(np.float32)
    for index, colour in enumerate(style.CLASS_COLOURS, start=1):
        inside = classes == index
        painted[inside] = (1 - opacity) * painted[inside] + opacity * np.array(to_rgb(colour), np.float32)
    return painted


def outline(axes: "Axes", classes: np.ndarray) -> None:
    """Draw a line around each class of (H, W) indices, solid, dashed or dotted by class."""
    for index, colour in enumerate(style.CLASS_COLOURS, start=1):
        inside = classes == index
        if inside.any():
            line = style.CLASS_LINES[index - 1]
            axes.contour(inside.astype(np.float32), levels=[0.5], colors=[colour], linewidths=0.6, linestyles=[line])


def show(axes: "Axes", picture: np.ndarray, aspect: float = 1.0, marks: bool = False) -> None:
    """Put a picture (H, W) grey or (H, W, 3) on axes without ticks.

    Args:
        axes: where.
        picture: float of 0..1.
        aspect: height of a voxel over its width, in millimetres.
        marks: write R and L for the patient's sides.
    """
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, aspect=aspect, interpolation="nearest")
    axes.set_axis_off()
    if marks:
        for text, x, side in (("R", 0.02, "left"), ("L", 0.98, "right")):
            axes.text(x, 0.98, text, transform=axes.transAxes, ha=side, va="top", color="white", fontsize=7)


def class_legend(figure: "Figure", schema: LabelSchema) -> None:
    """A legend of the foreground classes below a figure, as they look on black."""
    from matplotlib.patches import Patch

    names = schema.class_names[1:]
    handles = [
        Patch(facecolor=colour, edgecolor="black", linewidth=0.4, label=name)
        for name, colour in zip(names, style.CLASS_COLOURS, strict=False)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(names), 4))


def tumour_slices(classes: np.ndarray) -> np.ndarray:
    """Voxels of any class but background in each slice of (Z, H, W) class indices; int64 (Z,)."""
    counts: np.ndarray = ((classes > 0) & (classes != 255)).sum(axis=(1, 2))
    return counts
