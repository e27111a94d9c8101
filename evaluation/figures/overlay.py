"""Pictures of a case: three slices, each as image, truth and prediction; one slice with the predictions of several models."""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from common.boxes import crop_box
from common.metrics.masks import Spacing
from data_prep.labels import LabelSchema
from evaluation.figures import display, style

DPI = 200
ACROSS = 5  # pictures beside each other on a page's width, at most
LARGEST = 2.0  # inches across one
SPREAD = (0.2, 0.8)  # places of the two other slices among those that hold tumour
LETTER = 0.068  # inches of a letter of the name above it


def draw_overlay(
    path: Path,
    image: np.ndarray,
    truth: np.ndarray | None,
    prediction: np.ndarray,
    schema: LabelSchema,
    title: str,
    spacing_mm: Spacing | None = (1.0, 1.0, 1.0),
) -> Path:
    """Draw the slice with the most tumour and two others, with truth (where there is one) and prediction in colour.

    Args:
        path: the file to write; its suffix names the format.
        image: (Z, H, W), one channel, any real dtype.
        truth: (Z, H, W) class indices, 255 where not annotated, or None.
        prediction: (Z, H, W) class indices.
        schema: names the classes.
        title: of the figure, such as the case's id.
        spacing_mm: (z, y, x); None where the source has no geometry: the picture then has no side marks.

    Returns:
        The file written.
    """
    columns = {"image": None, "truth": truth, "prediction": prediction}
    if truth is None:
        del columns["truth"]
    slices = displayed_slices(prediction if truth is None else truth, prediction)
    shown = _Display.from_image(image, spacing_mm)
    with style.style():
        size = 2.0 * len(columns)
        figure = style.new_figure(height=2.0 * len(slices) * shown.ratio + 0.85, width=size, gaps=(0.01, 0.03))
        grid = figure.subplots(len(slices), len(columns), squeeze=False)
        for row, z in enumerate(slices):
            for axes, (name, classes) in zip(grid[row], columns.items(), strict=True):
                shown.draw(axes, z, classes)
                axes.set_title(named_with_dice(name, truth, prediction) if row == 0 else "")
            _slice_number(grid[row][0], z, len(image))
        display.class_legend(figure, schema)
        figure.suptitle(title if truth is None else f"{title}; Dice of the foreground")
        return style.save_as(figure, path, DPI)


def draw_models(
    path: Path,
    image: np.ndarray,
    truth: np.ndarray | None,
    predictions: Mapping[str, np.ndarray],
    schema: LabelSchema,
    title: str,
    spacing_mm: Spacing | None = (1.0, 1.0, 1.0),
) -> list[Path]:
    """Draw the slice with the most tumour as image, truth (where there is one) and the prediction of each model.

    Args:
        path: the files to write, without suffix.
        image: (Z, H, W), one channel, any real dtype.
        truth: (Z, H, W) class indices, 255 where not annotated, or None.
        predictions: model -> (Z, H, W) class indices.
        schema: names the classes.
        title: of the figure, such as the case's id.
        spacing_mm: (z, y, x); None where the source has no geometry: the picture then has no side marks.

    Returns:
        The files written, PDF and PNG.
    """
    pictures = {"image": None} | ({} if truth is None else {"truth": truth}) | {**predictions}
    marked = list(predictions.values()) if truth is None or not display.tumour_slices(truth).any() else [truth]
    z = int(np.sum([display.tumour_slices(classes) for classes in marked], axis=0).argmax())
    shown = _Display.from_image(image, spacing_mm)
    rows = -(-len(pictures) // ACROSS)
    across = -(-len(pictures) // rows)  # as many in each row, or nearly so
    size = min(style.WIDTH / across, LARGEST)
    titled = [named_with_dice(name, truth, predictions[name]) if name in predictions else name for name in pictures]
    names = ["\n".join(textwrap.fill(line, int(size / LETTER)) for line in name.splitlines()) for name in titled]
    heads = 0.15 * max(name.count("\n") + 1 for name in names)
    with style.style():
        figure = style.new_figure(height=rows * (size * shown.ratio + heads) + 0.7, width=size * across, gaps=(0.02, 0.03))
        grid = figure.subplots(rows, across, squeeze=False).ravel()
        for axes, name, classes in zip(grid, names, pictures.values(), strict=False):
            shown.draw(axes, z, classes)
            axes.set_title(name)
        for axes in grid[len(pictures) :]:
            axes.set_axis_off()
        _slice_number(grid[0], z, len(image))
        display.class_legend(figure, schema)
        figure.suptitle(title if truth is None else f"{title}; Dice of the foreground")
        return style.save(figure, path)


def named_with_dice(name: str, truth: np.ndarray | None, prediction: np.ndarray) -> str:
    """Name of a picture; behind that of a prediction its Dice of all foreground in the volume, where there is a truth.

    Args:
        name: image, truth, prediction or a model's.
        truth: (Z, H, W) class indices, 255 where not annotated, or None.
        prediction: (Z, H, W) class indices.
    """
    if truth is None or name in ("image", "truth"):
        return name
    known = truth != 255
    true, found = (truth > 0) & known, (prediction > 0) & known
    total = int(true.sum()) + int(found.sum())
    return f"{name}\nDice {2 * int((true & found).sum()) / total:.3f}" if total else f"{name}\nno foreground in both"


def displayed_slices(classes: np.ndarray, other: np.ndarray) -> list[int]:
    """The slice with the most tumour, and two that are spread over the slices that hold some; rising.

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
    inside = np.flatnonzero(counts)  # of several lesions, small ones have a picture too
    below, above = (int(inside[round(share * (len(inside) - 1))]) for share in SPREAD)
    return sorted({below, most, above})


@dataclass(frozen=True)
class _Display:
    """Display of the slices of a volume.

    Attributes:
        grey: (Z, H, W) grey values of 0..1, cut to the box of the head.
        box: rows and columns of that box.
        aspect: height of a voxel over its width.
        oriented: whether the source has a geometry, which gives the patient's sides.
    """

    grey: np.ndarray
    box: tuple[slice, ...]
    aspect: float
    oriented: bool

    @classmethod
    def from_image(cls, image: np.ndarray, spacing_mm: Spacing | None) -> Self:
        """The display of one channel (Z, H, W) with spacing (z, y, x)."""
        box = crop_box((image != 0).any(axis=0), margin=3)
        return cls(display.grey(image)[:, *box], box, display.pixel_aspect(spacing_mm), spacing_mm is not None)

    @property
    def ratio(self) -> float:
        """Height of a picture over its width."""
        return self.grey.shape[1] * self.aspect / self.grey.shape[2]

    def draw(self, axes: "display.Axes", z: int, classes: np.ndarray | None) -> None:
        """Show slice z, with class indices (Z, H, W) of the whole volume in colour."""
        picture = display.axial(self.grey, z, self.oriented)
        cut = None if classes is None else display.axial(classes[:, *self.box], z, self.oriented)
        display.show(axes, picture if cut is None else display.paint(picture, cut), self.aspect, marks=self.oriented)
        if cut is not None:
            display.outline(axes, cut)


def _slice_number(axes: "display.Axes", z: int, depth: int) -> None:
    behind = {"facecolor": "black", "edgecolor": "none", "pad": 1.0, "alpha": 0.6}
    axes.text(0.02, 0.02, f"slice {z + 1} of {depth}", transform=axes.transAxes, color="white", fontsize=6.5, bbox=behind)
