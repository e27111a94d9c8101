"""Channel dropout: channels of training examples set to zero, so that one network serves any subset of the channels."""

from typing import Any

import numpy as np

from training.data.batches import Example, RandomMap


class ChannelDropout:
    """Random map that leaves channels of an example out, as a case that lacks them would: they become zeros.

    Each channel is left out with one probability, independently; where that would leave none, one that is drawn stays. Neverova
    et al. (2016, "ModDrop") drop whole modalities so. Augmentation comes first, so what is absent holds no noise.

    Args:
        before: makes an example of each element; None: the elements are examples.
        probability: of leaving out a channel.
        channels: of the records; 2.5D examples carry them once for each slice, one slice after the other.
    """

    def __init__(self, before: RandomMap | None, probability: float, channels: int) -> None:
        self._before = before
        self._probability = probability
        self._channels = channels

    def __call__(self, element: Any, rng: np.random.Generator) -> Example:
        """One example, some of its channels zero."""
        example: Example = element if self._before is None else self._before(element, rng)
        image, labels = example
        kept = rng.random(self._channels) >= self._probability
        if not kept.any():
            kept[rng.integers(self._channels)] = True
        slices = image.shape[-1] // self._channels
        return np.where(np.tile(kept, slices), image, np.zeros((), image.dtype)), labels
