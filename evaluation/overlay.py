"""The overlay picture of a case: three slices, each as image, truth and prediction."""

from pathlib import Path

import numpy as np

from data_prep.labels import LabelSchema
from evaluation import display, figures

DPI = 200


def draw_overlay(
    path: Path,
    image: np.ndarray,
    truth: np.ndarray | None,
    prediction: np.ndarray,
    schema: LabelSchema,
    title: str,
    spacing_mm: display.Spacing | None = (1.0, 1.0, 1.0),
) -> Path:
    """Draw the slice with the most tumour and two others, with truth (where there is one) and prediction in colour.

    Args:
        path: the file to write; its suffix names the format.
        image: (Z, H, W), one channel, any real dtype.
        truth: (Z, H, W) class indices, 255 where not annotated, or None.
        prediction: (Z, H, W) class indices.
        schema: names the classes.
        title: what stands above, such as the case's id.
        spacing_mm: (z, y, x); None where the source has no geometry: the picture then has no side marks.

    Returns:
        The file written.
    """
    columns = {"image": None, "truth": truth, "prediction": prediction}
    if truth is None:
        del columns["truth"]
    slices = choose_slices(prediction if truth is None else truth, prediction)
    rows, lines = display.box((image != 0).any(axis=0))
    shown = display.grey(image)[:, rows, lines]
    oriented = spacing_mm is not None
    aspect = spacing_mm[1] / spacing_mm[2] if spacing_mm else 1.0
    height, width = shown.shape[1] * aspect, shown.shape[2]
    with figures.style():
        size = 2.0 * len(columns)
        figure = figures.new_figure(height=2.0 * len(slices) * height / width + 0.7, width=size, gaps=(0.01, 0.03))
        grid = figure.subplots(len(slices), len(columns), squeeze=False)
        for row, z in enumerate(slices):
            picture = display.axial(shown, z, oriented)
            for axes, (name, classes) in zip(grid[row], columns.items(), strict=True):
                cut = None if classes is None else display.axial(classes[:, rows, lines], z, oriented)
                display.show(axes, picture if cut is None else display.paint(picture, cut), aspect, marks=oriented)
                if cut is not None:
                    display.outline(axes, cut)
                axes.set_title(name if row == 0 else "")
            _slice_number(grid[row][0], z, len(shown))
        display.class_legend(figure, schema)
        figure.suptitle(title)
        return figures.save_as(figure, path, DPI)


def choose_slices(classes: np.ndarray, other: np.ndarray) -> list[int]:
    """The slice with the most tumour, and one below and one above it that still hold some; rising.

    Args:
        classes: (Z, H, W) class indices that decide.
        other: class indices that decide where `classes` holds no tumour; without any, slices spread over the volume.
    """
    counts = display.tumour_slices(classes)
    if not counts.any():
        counts = display.tumour_slices(other)
    depth = len(counts)
    if not counts.any():
        return sorted({depth // 4, depth // 2, 3 * depth // 4})
    most = int(counts.argmax())
    share = counts.cumsum() / counts.sum()
    below, above = int(np.searchsorted(share, 0.15)), int(np.searchsorted(share, 0.85))
    return sorted({min(below, most), most, max(above, most)})


def _slice_number(axes: "display.Axes", z: int, depth: int) -> None:
    behind = {"facecolor": "black", "edgecolor": "none", "pad": 1.0, "alpha": 0.6}
    axes.text(0.02, 0.02, f"slice {z + 1} of {depth}", transform=axes.transAxes, color="white", fontsize=6.5, bbox=behind)
