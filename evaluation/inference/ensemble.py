"""Networks of several runs over one volume: class probabilities of voxels, averaged, and categories of slices."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.boxes import foreground_box
from common.errors import UserError, expect_number
from data_prep.records.image_view import network_input
from training.data.batches import CATEGORY, SEGMENTATION
from training.run import Run

if TYPE_CHECKING:
    import keras

    from models.volume import View


AXES = ("x", "y", "z")
SLICES, WINDOWS = 8, 1  # at once by default; a window fills a processor, and several would take memory alone


@dataclass(frozen=True)
class Showing:
    """How prediction shows volumes to networks, beyond what each run's training fixed.

    Attributes:
        least_size: rows and columns to which slices are zero-padded at least.
        flips: axes that are mirrored in turn: x, y, and z for 3D networks alone.
        batch_size: slices or windows at once; None: 8 slices, or one window.
        overlap: share of their sides that neighbouring windows of 3D networks share.
    """

    least_size: tuple[int, int] = (0, 0)
    flips: tuple[str, ...] = ()
    batch_size: int | None = None
    overlap: float = 0.5

    def __post_init__(self) -> None:
        """Refuse axes that slices do not have.

        Raises:
            UserError: says which.
        """
        expect_number("batch_size", self.batch_size, 1)
        expect_number("overlap", self.overlap, 0, 0.9)
        strangers = [axis for axis in self.flips if axis not in AXES]
        if strangers:
            raise UserError(f"--flips: expected axes out of {', '.join(AXES)}; received {strangers[0]}")

    def view(self, run: Run) -> "View":
        """How a run's network sees slices."""
        return run.view(self.least_size, self.flips, self.overlap)

    def refuse_idle(self, runs: Sequence[Run]) -> None:
        """Refuse what none of the networks can be shown.

        Raises:
            UserError: says what.
        """
        windows = [run.view().window for run in runs]
        if "z" in self.flips and not any(window is not None and window[0] > 1 for window in windows):
            raise UserError("--flips z: mirrors volumes, and these networks see single slices; leave z out")
        if any(self.least_size) and None not in windows:
            raise UserError("--least_size: pads whole slices, and these networks see windows; leave it out")

    def at_once(self, view: "View") -> int:
        """Slices or windows at once."""
        return self.batch_size or (SLICES if view.window is None else WINDOWS)


@dataclass(frozen=True)
class Networks:
    """Networks that see the same channels and tell the same.

    Attributes:
        runs: where they come from.
        networks: loaded, one per run.
        showing: how volumes are shown to them.
    """

    runs: list[Run]
    networks: list["keras.Model"]
    showing: Showing

    def logits(self, place: int, image: np.ndarray, head: str) -> Iterator[tuple[slice, np.ndarray]]:
        """Slices of a prepared volume and the logits of a head for them, of the network at a place."""
        from models.volume import predict_volume

        view = self.showing.view(self.runs[place])
        image = network_input(image)
        for part, logits in predict_volume(self.networks[place], image, view, self.showing.at_once(view)):
            yield part, logits[head]


class Ensemble(Networks):
    """Networks that tell the class of every voxel."""

    def probabilities(self, image: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
        """Class probabilities of a prepared volume, averaged over the networks.

        Args:
            image: (Z, H, W, C).
            inside: (Z, H, W) bool, the head, where there can be more than background; None: anywhere. Networks trained on what
                was cut around the brain, or on windows, are shown the box around it, and beyond it there is background.

        Returns:
            (Z, H, W, classes) float32.
        """
        total = np.zeros((*image.shape[:3], len(self.runs[0].schema.classes)), np.float32)
        for place in range(len(self.runs)):
            box = self._box(place, inside)
            beyond = np.ones(image.shape[:3], np.float32)
            beyond[box] = 0
            total[..., 0] += beyond
            if total[box].size:
                for part, logits in self.logits(place, image[box], SEGMENTATION):
                    total[box][part] += softmax(logits)
        total /= len(self.runs)
        return total

    def classes(self, image: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
        """Class indices (Z, H, W) uint8; of a single network without ever holding all its logits. Arguments as above."""
        if len(self.runs) > 1:
            return self.probabilities(image, inside).argmax(axis=-1).astype(np.uint8)
        found, box = np.zeros(image.shape[:3], np.uint8), self._box(0, inside)
        if found[box].size:
            for part, logits in self.logits(0, image[box], SEGMENTATION):
                found[box][part] = logits.argmax(axis=-1)
        return found

    def _box(self, place: int, inside: np.ndarray | None) -> tuple[slice, ...]:
        """The part of a volume that a network is shown: what it was trained on decides."""
        if inside is None:
            return (slice(None),) * 3
        run = self.runs[place]
        around = run.preparation.crop == "brain" or self.showing.view(run).window is not None
        return foreground_box(inside) if around else (slice(None),) * 3


class Classifiers(Networks):
    """Networks that tell the category of every slice."""

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Probability of each category (Z, categories) float32 of every slice, averaged over the networks."""
        total = np.zeros((len(image), len(self.runs[0].facts["categories"])), np.float32)
        for place in range(len(self.runs)):
            for part, logits in self.logits(place, image, CATEGORY):
                total[part] += category_probabilities(logits)
        return total / len(self.runs)


def category_probabilities(logits: np.ndarray) -> np.ndarray:
    """Probabilities (n, categories) float32 of logits: (n, 1) where there are two categories, else (n, categories)."""
    if logits.shape[-1] > 1:
        return softmax(logits)
    return softmax(np.concatenate([np.zeros_like(logits), logits], axis=-1))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, float32."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    normalised: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return normalised
