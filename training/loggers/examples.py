"""Example pictures of validation cases: image, annotation and prediction of the slice with the most tumour, as PNG."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data_prep.grid.geometry import Geometry
from data_prep.grid.slice_pictures import (
    CLASS_COLOURS,
    WHITE,
    Colour,
    caption,
    colours,
    display_channel,
    displayed_plane,
    displayed_ratio,
    grey_levels,
    outline,
    resized,
    rgb,
    save_rows,
)
from data_prep.labels import bits_to_classes
from models.volume import predict_volume
from training.data.mixture import Mixture
from training.heads.base import Head
from training.run import Run

if TYPE_CHECKING:
    import keras

FOLDER = "examples"  # in the run
OPACITY = 0.4


def draw_examples(run: Run, data: Mixture, heads: Mapping[str, Head], count: int) -> dict[str, Path]:
    """Predict the first validation cases with the weights to predict with, whole volumes, and draw them.

    Args:
        run: with weights.
        data: its records.
        heads: of the network; the first one of voxels is drawn, without any nothing is.
        count: cases, at most.

    Returns:
        case id -> picture in RUN/examples.
    """
    head = next((head for head in heads.values() if head.per_voxel), None)
    if head is None or count == 0:
        return {}
    cases = [
        (folder.records, case) for folder in data.folders if head.name in folder.targets.annotates for case in folder.validation
    ][:count]
    if not cases:
        return {}
    network, pictures = run.load_network(), {}
    for records, case in cases:
        shard = records.shard(case)
        image, label = np.asarray(shard.image), bits_to_classes(np.asarray(shard.label))
        classes = predicted_classes(network, image, run, head)
        channel, place = display_channel(run.channels)
        geometry = records.cases[case].geometry
        path = run.path / FOLDER / f"{case}.png"
        pictures[case] = draw_example(path, image[..., place], label, classes, geometry, f"{case}, {channel}")
    return pictures


def predicted_classes(network: "keras.Model", image: np.ndarray, run: Run, head: Head) -> np.ndarray:
    """Class indices (Z, H, W) of a head for a whole volume (Z, H, W, C), by sliding window."""
    batch = run.config.input.batch_size
    parts = [logits[head.name].argmax(axis=-1) for _, logits in predict_volume(network, image, run.sliding_window(), batch)]
    return np.concatenate(parts).astype(np.uint8)


def draw_example(
    path: Path, image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, geometry: Geometry, title: str
) -> Path:
    """Draw one slice as image, with the annotation, and with the prediction; the file written.

    Args:
        path: PNG.
        image: (Z, H, W), one channel.
        truth, prediction: (Z, H, W) class indices; 255 is not annotated.
        geometry: of the volume.
        title: stands above.
    """
    marked = truth if ((truth > 0) & (truth < 255)).any() else prediction
    z = int(((marked > 0) & (marked < 255)).sum(axis=(1, 2)).argmax())
    ratio = displayed_ratio(geometry, image[z], 0)
    grey = resized(displayed_plane(grey_levels(image), 0, z), ratio)
    panels = [colours(grey)] + [painted(grey, displayed_plane(each, 0, z), ratio) for each in (truth, prediction)]
    widths = [panel.shape[1] for panel in panels]
    words: list[list[tuple[str, Colour]]] = [
        [(f"{title}, slice {z + 1}", WHITE)],
        [("annotation", WHITE)],
        [("prediction", WHITE)],
    ]
    return save_rows(path, [[caption(width, word) for width, word in zip(widths, words, strict=True)], panels])


def painted(grey: np.ndarray, classes: np.ndarray, ratio: float) -> np.ndarray:
    """Grey picture with the classes of a slice (H, W) as translucent colours with an outline; uint8 (rows, columns, 3)."""
    picture = colours(grey)
    for index, name in enumerate(CLASS_COLOURS, start=1):
        inside = resized((classes == index).astype(np.float32), ratio) >= 0.5
        colour = np.array(rgb(name))
        picture[inside] = (1 - OPACITY) * picture[inside] + OPACITY * colour
        picture[outline(inside)] = colour
    return picture
