"""On-line augmentation of slices, as they are read while training; patches are augmented by their `PatchSampler`."""

import numpy as np

from data_prep.augmentation.apply import apply
from data_prep.augmentation.draw import AugmentConfig, draw
from training.data.batches import LABEL, Example


class OnlineAugmentation:
    """Random map that augments each example as it is read.

    Args:
        config: what may be changed.
        neighbours: slices on each side that an example carries as further channels; they are changed alike.
        unit_range: whether intensities run from 0 to 1 and must stay there.
    """

    def __init__(self, config: AugmentConfig, neighbours: int, unit_range: bool) -> None:
        self._config = config
        self._neighbours = neighbours
        self._unit_range = unit_range

    def __call__(self, example: Example, rng: np.random.Generator) -> Example:
        """One augmented example; labels that are not pictures pass as they are."""
        image, labels = example
        channels = image.shape[-1] // (2 * self._neighbours + 1)
        drawn = draw(self._config, rng, channels).with_neighbours(self._neighbours)
        label = labels.get(LABEL)
        given = np.zeros(image.shape[:2], np.uint8) if label is None else label
        image, changed = (array[0] for array in apply(drawn, image[None], given[None], unit_range=self._unit_range))
        return image, labels if label is None else labels | {LABEL: changed}
