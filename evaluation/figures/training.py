"""Figures of trained networks: on-line augmentation, and segmentations before and after fine-tuning."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data_prep.augmentation.draw import Augmentation, AugmentConfig, draw
from data_prep.grid.slice_pictures import display_channel
from data_prep.labels import LabelSchema, bits_to_classes
from data_prep.records.folder import CaseRecord, Records
from evaluation.figures import display, style
from training.data.augmentation import OnlineAugmentation
from training.data.batches import SEGMENTATION, InputConfig
from training.data.division import divide_cases
from training.data.patches import PatchSampler
from training.data.slices import Slices
from training.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AUGMENTED_ROWS = 3
AUGMENTED = 4  # beside each original
TITLE_WIDTH = 31  # letters that stand above a narrow picture
SMALL = 6.0  # points


@dataclass(frozen=True)
class Picture:
    """Panel of a figure, in display orientation already (`display.axial`).

    Attributes:
        title: of the panel.
        image: (H, W) of any real dtype.
        classes: (H, W) class indices, 255 where not annotated; None for the image alone.
    """

    title: str
    image: np.ndarray
    classes: np.ndarray | None = None


def draw_augmentation(
    path: Path,
    originals: Sequence[Picture],
    augmented: Sequence[Sequence[Picture]],
    schema: LabelSchema,
    title: str = "",
    aspect: float = 1.0,
) -> list[Path]:
    """Draw slices beside augmented versions of them, the annotation outlined; a row has one grey window.

    Args:
        path: the files to write, without suffix.
        originals: one a row.
        augmented: of each original, as many in every row.
        schema: names the classes.
        title: of the figure.
        aspect: height of a pixel over its width, in millimetres.

    Returns:
        The files written, PDF and PNG.

    Raises:
        ValueError: there are no rows, or rows of different lengths.
    """
    rows = [[first, *others] for first, others in zip(originals, augmented, strict=True)]
    return _draw_grid(path, rows, schema, title, aspect, filled=False)


def draw_before_after(
    path: Path, rows: Sequence[Sequence[Picture]], schema: LabelSchema, title: str = "", aspect: float = 1.0
) -> list[Path]:
    """Draw slices with truth and predictions in colour: a row per slice, a column per state.

    Args:
        path: the files to write, without suffix.
        rows: image, truth, prediction before and after.
        schema, title, aspect: as of `draw_augmentation`.

    Returns:
        The files written, PDF and PNG.

    Raises:
        ValueError: there are no rows, or rows of different lengths.
    """
    return _draw_grid(path, rows, schema, title, aspect, filled=True)


def draw_run_augmentation(path: Path, run: Run, records: Records) -> list[Path]:
    """Draw training slices with the most tumour, of different patients, beside their on-line augmented versions.

    The augmented slices are those that `OnlineAugmentation` gives the network, with generators seeded by the run's seed; of a
    run on patches they are the middle slices of patches around those patients' tumours, as `PatchSampler` gives them.

    Args:
        path: the files to write, without suffix.
        run: that augments on line.
        records: with the run's channels, and training cases.

    Returns:
        The files written, PDF and PNG; none where no training case has tumour.
    """
    train = divide_cases(records, run.config)[0]
    chosen = _most_tumour(records, train, AUGMENTED_ROWS)
    if not chosen:
        return []
    if run.config.input.patch is not None:
        made = _augmented_patches(run, records, [case for case, _ in chosen])
    else:
        rows = np.array([(place, number) for place, (_, number) in enumerate(chosen)])
        source = Slices(records, [(case, 0) for case, _ in chosen], rows, run.config.input, resize_labels=True)
        made = [_augmented(run, records, source, place) for place in range(len(source))]
    title = f"On-line augmentation of {run.path.resolve().name}: {display_channel(run.channels)[0]}, network input"
    aspect = input_aspect(records.cases[chosen[0][0]], run.config.input)
    return draw_augmentation(path, [first for first, _ in made], [others for _, others in made], records.schema, title, aspect)


def has_augmentation(run: Run) -> bool:
    """True where a run's training slices are augmented as they are read."""
    return not run.config.augment.is_off


def display_orientation(picture: np.ndarray, facts: CaseRecord) -> np.ndarray:
    """A slice (H, W) of a prepared case in display orientation: radiological where the case has a geometry."""
    return display.axial(picture[None], 0, facts.geometry.spacing_mm is not None)


def input_aspect(facts: CaseRecord, config: InputConfig) -> float:
    """Pixel aspect of a network's input, after slices were cropped or padded and resized."""
    aspect = display.pixel_aspect(facts.geometry.spacing_mm)
    if config.resize is None:
        return aspect
    height, width = config.size or (facts.layout["height"], facts.layout["width"])
    return aspect * (height / config.resize[0]) / (width / config.resize[1])


def describe(augmentation: Augmentation, channels: Sequence[str], channel: int, slices: int = 1) -> list[str]:
    """Description of an augmentation's visible changes of a channel, a few words each: "flipped x", "rotated 12°".

    Args:
        augmentation: drawn for as many channels as there are names.
        channels: their names.
        channel: index of the displayed one.
        slices: that are augmented together; changes along z are left out of a single one.
    """
    flips = [axis for axis in ("x", "y", "z") if axis in augmentation.flips and (axis != "z" or slices > 1)]
    about_y, about_x = (round(degrees) for degrees in augmentation.tilt_degrees)
    height, width = (f"{100 * share:.0f}" for share in augmentation.crop)
    brightness, contrast, gamma = (getattr(augmentation, name)[channel] for name in ("brightness", "contrast", "gamma"))
    bias, blur = (values[channel] if values else 0.0 for values in (augmentation.bias, augmentation.blur))
    source = augmentation.sources[channel]
    # A change that its number, rounded, does not show is left out.
    changes = {
        f"flipped {' and '.join(flips)}": bool(flips),
        f"rotated {augmentation.rotate_degrees:.0f}°": round(augmentation.rotate_degrees) != 0,
        f"tilted {about_y}° and {about_x}°": (about_y, about_x) != (0, 0),
        f"size {100 * augmentation.scale:.0f} %": round(100 * augmentation.scale) != 100,
        f"crop {height} x {width} %": {height, width} != {"100"},
        f"elastic {augmentation.elastic:g} px": augmentation.elastic > 0,
        f"brightness {brightness:+.2f}": round(brightness, 2) != 0,
        f"contrast {100 * contrast:.0f} %": round(100 * contrast) != 100,
        f"gamma {gamma:.2f}": round(gamma, 2) != 1,
        f"bias field {bias:+.2f}": round(bias, 2) != 0,
        f"blur {blur:.1f} px": round(blur, 1) != 0,
        f"noise {augmentation.noise:.2f}": round(augmentation.noise, 2) != 0,
        f"tumour fainter by {100 * augmentation.fade:.0f} %": round(100 * augmentation.fade) != 0,
        "a part erased": bool(augmentation.erase),
        f"filled by {channels[source]}": source != channel,
    }
    return [words for words, visible in changes.items() if visible] or ["unchanged"]


def _folded(words: Sequence[str], width: int) -> str:
    """Words with commas between them, on lines that break between two of them alone."""
    lines = [words[0]]
    for word in words[1:]:
        lines[-1] += ","
        if len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)


def _draw_grid(
    path: Path, rows: Sequence[Sequence[Picture]], schema: LabelSchema, title: str, aspect: float, filled: bool
) -> list[Path]:
    """Pictures in rows and columns, a grey window per row; classes outlined, and painted if `filled`."""
    lengths = {len(row) for row in rows}
    if len(lengths) != 1:
        raise ValueError(f"expected rows of one length; received lengths {sorted(lengths)}")
    columns = lengths.pop()
    lines = [max(len(picture.title.splitlines()) for picture in row) for row in rows]
    with style.style():
        height, width = rows[0][0].image.shape
        each = aspect * height / width * style.WIDTH / columns
        figure = style.new_figure(height=len(rows) * (each + 0.04) + 0.1 * sum(lines) + 0.6, gaps=(0.015, 0.025))
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for places, row in zip(grid, rows, strict=True):
            greys = display.grey(np.stack([picture.image for picture in row]))
            for axes, picture, grey in zip(places, row, greys, strict=True):
                _draw_panel(axes, picture, grey, aspect, filled)
        display.class_legend(figure, schema)
        figure.suptitle(title)
        return style.save(figure, path)


def _draw_panel(axes: "Axes", picture: Picture, grey: np.ndarray, aspect: float, filled: bool) -> None:
    axes.set_title(picture.title, fontsize=SMALL, pad=2.5, linespacing=1.05)
    if picture.classes is None:
        display.show(axes, grey, aspect)
        return
    display.show(axes, display.paint(grey, picture.classes) if filled else grey, aspect)
    display.outline(axes, picture.classes)


def _augmented(run: Run, records: Records, source: Slices, row: int) -> tuple[Picture, list[Picture]]:
    """A training slice and its augmented versions, each with a generator of its own."""
    config, (item, number) = run.config, source.rows[row]
    facts = records.cases[source.items[item][0]]
    augment = OnlineAugmentation(config.augment, config.input.neighbours, records.preparation.unit_range)
    _, channel = display_channel(run.channels)
    example = source[row]
    made = []
    for column in range(AUGMENTED):
        seeds = [config.seed, row, column]
        drawn = draw(config.augment, np.random.default_rng(seeds), len(run.channels))  # the same numbers, for the title
        words = _folded(describe(drawn, run.channels, channel), TITLE_WIDTH)
        made.append(_panel(run, words, augment(example, np.random.default_rng(seeds)), facts))
    return _panel(run, style.named(f"{facts.patient}\n") + f"slice {number + 1}, original", example, facts), made


def _augmented_patches(run: Run, records: Records, cases: Sequence[str]) -> list[tuple[Picture, list[Picture]]]:
    """Middle slice of a patch around the tumour of each case, and of the augmented patch."""
    config, (_, channel), rows = run.config, display_channel(run.channels), []
    sampler = PatchSampler(records, [(case, 0) for case in cases], config.input, config.augment)
    slices = config.input.patch[0] + 2 * config.input.neighbours
    still = draw(AugmentConfig(probability=0.0), np.random.default_rng(), len(run.channels))
    for row, case in enumerate(cases):
        facts, element = records.cases[case], np.array([row, 1])
        start, _ = sampler.drawn(element, np.random.default_rng([config.seed, row]))
        title = style.named(f"{facts.patient}\n") + f"slice {start[0] + slices // 2 + 1}, original"
        original, made = _panel(run, title, sampler.patch(element, start, still), facts), []
        for column in range(AUGMENTED):
            drawn = sampler.drawn(element, np.random.default_rng([config.seed, row, column]))[1]
            words = _folded(describe(drawn, run.channels, channel, slices), TITLE_WIDTH)
            made.append(_panel(run, words, sampler.patch(element, start, drawn), facts))
        rows.append((original, made))
    return rows


def _panel(run: Run, title: str, example: tuple[np.ndarray, dict[str, np.ndarray]], facts: CaseRecord) -> Picture:
    """An example in display orientation, of a patch of several slices the middle one."""
    image, label = example[0], example[1][SEGMENTATION]
    if label.ndim == 3:
        image, label = image[len(image) // 2], label[len(label) // 2]
    _, channel = display_channel(run.channels, run.config.input.neighbours)
    return Picture(title, display_orientation(image[..., channel], facts), display_orientation(bits_to_classes(label), facts))


def _most_tumour(records: Records, cases: Sequence[str], count: int) -> list[tuple[str, int]]:
    """(case, slice) of the most tumour, the most first, each of another patient."""
    best: dict[str, tuple[int, str, int]] = {}
    for case in cases:
        facts = records.cases[case]
        voxels = facts.voxels[:, 1:].sum(axis=1)
        number = int(voxels.argmax())
        best[facts.patient] = max(best.get(facts.patient, (0, "", 0)), (int(voxels[number]), case, number))
    found = sorted((each for each in best.values() if each[0]), reverse=True)
    return [(case, number) for _, case, number in found[:count]]
