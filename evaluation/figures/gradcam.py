"""Figures of Grad-CAM: slices beside heat maps of the evidence for a classifier's predicted class."""

import textwrap
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.finite import naming
from common.hardware.backend import load_backend
from data_prep.grid.slice_pictures import display_channel
from data_prep.records.folder import Records
from evaluation.figures import display, style
from evaluation.figures.training import display_orientation, input_aspect
from evaluation.inference.ensemble import class_probabilities
from models.gradcam import grad_cam
from models.outputs import predict_batch
from training.data.mixture import open_folder
from training.data.slices import Slices
from training.data.targets import FolderTargets
from training.heads.classification import ClassificationHead
from training.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HeatPair = tuple[str, np.ndarray, np.ndarray]
HEAT = "inferno"  # lighter is hotter, in a black-and-white print as well
HEAT_OPACITY = 0.75
PAIRS = 3  # of image and heat map, beside each other
SLICES = 6
LETTERS = 95  # that a figure's title has room for


def draw_run_gradcam(path: Path, run: Run, records: Records, head: ClassificationHead) -> list[Path]:
    """Draw Grad-CAM heat maps of a classifier's predicted class, on validation slices of every true class.

    Args:
        path: the files to write, without suffix.
        run: with a classification head.
        records: with the run's channels.
        head: of the run.

    Returns:
        The files written, PDF and PNG; none where there are no validation slices.
    """
    source = open_folder(run.config, FolderTargets(records, run.heads, frozenset([head.name]))).validation_examples
    if not isinstance(source, Slices):
        return []
    chosen = _of_every_class(records, source, head.indices(records), SLICES)
    images, truth = _examples(source, chosen, head.name)
    probabilities, heat = _explained(run, images, head.name)
    name, channel = display_channel(run.channels, run.config.input.neighbours)
    rows, names = [], head.class_names
    for place, index in enumerate(chosen):
        item, number = source.rows[index]
        facts, predicted = records.cases[source.items[item][0]], int(probabilities[place].argmax())
        words = style.named(f"{facts.patient}, ") + f"slice {number + 1}: {names[truth[place]]}"
        words += f"\npredicted {names[predicted]}, probability {probabilities[place, predicted]:.2f}"
        rows.append((words, display_orientation(images[place][..., channel], facts), display_orientation(heat[place], facts)))
    lines = [
        f"Grad-CAM of {run.path.resolve().name} ({name}): evidence for the predicted {head.attribute}",
        f"validation slices; weights before training: {run.metadata['pretrained']}",
    ]
    width = LETTERS * min(PAIRS, len(rows)) // PAIRS
    title = "\n".join(textwrap.fill(line, width) for line in lines)
    facts = records.cases[source.items[source.rows[chosen[0]][0]][0]]
    return draw_gradcam(path, rows, title, input_aspect(facts, run.config.input))


def draw_gradcam(path: Path, rows: Sequence[HeatPair], title: str = "", aspect: float = 1.0) -> list[Path]:
    """Draw images, each beside its Grad-CAM heat map.

    Args:
        path: the files to write, without suffix.
        rows: (title, image (H, W) of any real dtype, heat (H, W) of 0..1), in display orientation (`display.axial`).
        title: of the figure.
        aspect: height of a pixel over its width, in millimetres.

    Returns:
        The files written, PDF and PNG.

    Raises:
        ValueError: there are no rows.
    """
    if not rows:
        raise ValueError("expected at least one image")
    pairs = min(PAIRS, len(rows))
    lines = -(-len(rows) // pairs)
    shape = aspect * rows[0][1].shape[0] / rows[0][1].shape[1]
    with style.style():
        width = max(style.WIDTH * pairs / PAIRS, 3.2)
        words = [name.count("\n") + 1 for name, _, _ in rows]
        heads = 0.13 * max(words) + 0.1
        height = lines * (shape * width / (2 * pairs) + heads) + 0.5 + 0.17 * (title.count("\n") + 1) * bool(title)
        figure = style.new_figure(height=height, width=width)
        grid = figure.subplots(lines, pairs, squeeze=False).ravel()
        for axes, row in zip(grid, rows, strict=False):
            picture = _draw_pair(axes, row, aspect)
        for axes in grid:
            axes.set_box_aspect(shape / 2)
            axes.set_axis_off()
        bar = figure.colorbar(picture, ax=list(grid), location="bottom", shrink=2.9 / width, aspect=35, ticks=[0, 1])
        bar.ax.set_xticklabels(["none", "most"])
        bar.set_label("evidence for the class (Grad-CAM)", labelpad=-7, fontsize=7)
        bar.outline.set_linewidth(0.4)
        if title:
            figure.suptitle(title)
        return style.save(figure, path)


def _of_every_class(records: Records, source: Slices, known: dict[str, int], count: int) -> list[int]:
    """Places in a source of slices with much tumour, one of each patient: classes alternate; sorted by class.

    Args:
        records: where the slices stand.
        source: to choose from.
        known: case -> class index.
        count: how many at most.
    """
    facts = [records.cases[source.items[item][0]] for item, _ in source.rows]
    tumour = [int(each.voxels[number, 1:].sum()) for each, (_, number) in zip(facts, source.rows, strict=True)]
    order = sorted(range(len(facts)), key=lambda index: -tumour[index])
    most = {facts[index].patient: index for index in reversed(order)}  # of each patient the one with most tumour
    order = [index for index in order if most[facts[index].patient] == index]
    order = _in_turns(order, lambda index: known[facts[index].id])
    return sorted(order[:count], key=lambda index: known[facts[index].id])


def _in_turns(indices: Sequence[int], key: Callable[[int], Hashable]) -> list[int]:
    """Indices in an order in which the keys alternate; those of one key stay in the order given."""
    seen: Counter[Hashable] = Counter()
    turns = {}
    for index in indices:
        turns[index] = seen[key(index)]
        seen[key(index)] += 1
    return sorted(indices, key=turns.__getitem__)


def _examples(source: Slices, chosen: Sequence[int], head: str) -> tuple[np.ndarray, list[int]]:
    """Network input (n, H, W, C) float32, and true class indices."""
    examples = [source[index] for index in chosen]
    images = np.stack([image for image, _ in examples]).astype(np.float32)
    return images, [int(target[head][0]) for _, target in examples]


def _explained(run: Run, images: np.ndarray, head: str) -> tuple[np.ndarray, np.ndarray]:
    """Class probabilities (n, classes), and Grad-CAM heat (n, H, W) of the most probable class of each image."""
    load_backend()
    network: Any = run.load_network()
    with naming(str(run.path)):
        probabilities = class_probabilities(np.asarray(predict_batch(network, images)[head], np.float32))
    predicted = probabilities.argmax(axis=1)
    heat = np.zeros(images.shape[:3], np.float32)
    for index in np.unique(predicted):
        heat[predicted == index] = grad_cam(network, images[predicted == index], head, int(index))
    return probabilities, heat


def _draw_pair(axes: "Axes", row: HeatPair, aspect: float) -> Any:
    """An image and its heat map on axes of one title."""
    name, image, heat = row
    axes.set_title(name, fontsize=6.5)
    grey = display.grey(image)
    left, right = (axes.inset_axes((start, 0, 0.495, 1)) for start in (0, 0.505))
    display.show(left, grey, aspect)
    display.show(right, grey, aspect)
    # The hotter, the less of the image shows through: pixels without evidence stay as they are.
    return right.imshow(heat, cmap=HEAT, vmin=0, vmax=1, alpha=HEAT_OPACITY * heat, aspect=aspect, interpolation="bilinear")
