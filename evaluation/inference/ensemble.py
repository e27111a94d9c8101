"""Ensembles of networks over one volume: averaged class probabilities of voxels, and averaged class probabilities of slices."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from common.boxes import foreground_box
from common.errors import UserError, expect_number
from common.finite import naming
from data_prep.grid.geometry import AXES
from data_prep.records.image_view import network_input
from evaluation.inference.engines import InferenceEngine
from models.volume import predict_volume
from training.data.batches import CLASSIFICATION, SEGMENTATION
from training.heads.classification import ClassificationHead
from training.run import Run

if TYPE_CHECKING:
    from models.volume import SliceLogits, SlidingWindow

SLICES, PATCHES = 8, 1  # default batch sizes; one patch fills a processor, and several would take memory alone


@dataclass(frozen=True)
class InferenceConfig:
    """Options of inference, beyond what each run's training fixed.

    Attributes:
        least_size: rows and columns to which slices are zero-padded at least.
        flips: axes that are mirrored in turn: x, y, and z for 3D networks alone.
        batch_size: slices or patches at once; None: 8 slices, or one patch.
        overlap: share of their sides that neighbouring patches of 3D networks share.
    """

    least_size: tuple[int, int] = (0, 0)
    flips: tuple[str, ...] = ()
    batch_size: int | None = None
    overlap: float = 0.5

    def __post_init__(self) -> None:
        """Refuse numbers out of range and axes that volumes do not have.

        Raises:
            UserError: names the option.
        """
        expect_number("batch_size", self.batch_size, 1)
        expect_number("overlap", self.overlap, 0, 0.9)
        for length in self.least_size:
            expect_number("least_size", length, 0)
        unknown = [axis for axis in self.flips if axis not in AXES]
        if unknown:
            raise UserError(f"--flips: expected axes out of {', '.join(sorted(AXES))}; received {unknown[0]}")

    def sliding_window(self, run: Run) -> "SlidingWindow":
        """Sliding-window inference of a run's network with these options."""
        return run.sliding_window(self.least_size, self.flips, self.overlap)

    def refuse_unused(self, runs: Sequence[Run]) -> None:
        """Refuse options that none of the networks can use.

        Raises:
            UserError: names the option.
        """
        patches = [run.sliding_window().patch for run in runs]
        if "z" in self.flips and not any(patch is not None and patch[0] > 1 for patch in patches):
            raise UserError("--flips z: mirrors volumes, and these networks take single slices; leave z out")
        if any(self.least_size) and None not in patches:
            raise UserError("--least_size: pads whole slices, and these networks take patches; leave it out")

    def effective_batch_size(self, sliding: "SlidingWindow") -> int:
        """Slices or patches at once, the default where none was given."""
        return self.batch_size or (SLICES if sliding.patch is None else PATCHES)


@dataclass(frozen=True)
class Networks:
    """Networks with equal channels and an equal head.

    Attributes:
        runs: of the networks, in their order.
        networks: loaded, one per run.
        config: options of inference.
        head: name of the head.
    """

    runs: list[Run]
    networks: list[InferenceEngine]
    config: InferenceConfig
    head: str = SEGMENTATION

    def all_logits(self, index: int, image: np.ndarray) -> "Iterator[SliceLogits]":
        """Logits of one network for a prepared volume: slices, and the logits of every head for them."""
        sliding = self.config.sliding_window(self.runs[index])
        batch_size = self.config.effective_batch_size(sliding)
        with naming(str(self.runs[index].path)):
            yield from predict_volume(self.networks[index], network_input(image), sliding, batch_size)

    def logits(self, index: int, image: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Logits of one network for a prepared volume: slices, and the head's logits for them."""
        for part, logits in self.all_logits(index, image):
            yield part, logits[self.head]


class Ensemble(Networks):
    """Segmentation ensemble: class probabilities of every voxel, averaged over networks."""

    def probabilities(self, image: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
        """Class probabilities of a prepared volume, averaged over the networks.

        Args:
            image: (Z, H, W, C).
            inside: (Z, H, W) bool, mask of the patient, beyond which is background; None: no mask. Networks that were
                trained on volumes cut around the brain, or on patches, are given the bounding box of the mask.

        Returns:
            (Z, H, W, classes) float32.
        """
        return joint_probabilities([self], image, inside)[self.head]

    def classes(self, image: np.ndarray, inside: np.ndarray | None = None) -> np.ndarray:
        """Class indices (Z, H, W) uint8; of a single network without ever holding all its logits. Arguments as above."""
        if len(self.runs) > 1:
            return self.probabilities(image, inside).argmax(axis=-1).astype(np.uint8)
        found, box = np.zeros(image.shape[:3], np.uint8), self.view_box(0, inside)
        if found[box].size:
            for part, logits in self.logits(0, image[box]):
                found[box][part] = logits.argmax(axis=-1)
        return found

    def view_box(self, index: int, inside: np.ndarray | None) -> tuple[slice, ...]:
        """Field of view of a network: the bounding box of the mask where it was trained on such, else the whole volume."""
        if inside is None:
            return (slice(None),) * 3
        run = self.runs[index]
        is_cropped = run.preparation.crop == "brain" or self.config.sliding_window(run).patch is not None
        return foreground_box(inside) if is_cropped else (slice(None),) * 3


def joint_probabilities(
    ensembles: Sequence[Ensemble], image: np.ndarray, inside: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Class probabilities of several heads of the same networks, each of which runs once; arguments as of `probabilities`.

    Returns:
        head -> (Z, H, W, classes) float32.
    """
    first = ensembles[0]
    outputs = {each.head: each.runs[0].heads[each.head].outputs for each in ensembles}
    totals = {head: np.zeros((*image.shape[:3], count), np.float32) for head, count in outputs.items()}
    for index in range(len(first.runs)):
        box = first.view_box(index, inside)
        beyond = np.ones(image.shape[:3], np.float32)
        beyond[box] = 0
        for total in totals.values():
            total[..., 0] += beyond
        if beyond[box].size:
            for part, logits in first.all_logits(index, image[box]):
                for head, total in totals.items():
                    total[box][part] += softmax(logits[head])
    for total in totals.values():
        total /= len(first.runs)
    return totals


@dataclass(frozen=True)
class Classifiers(Networks):
    """Classification ensemble: class probabilities of every slice, averaged over networks."""

    head: str = CLASSIFICATION

    @property
    def target(self) -> ClassificationHead:
        """The trained head of the first network: attribute and classes."""
        return cast(ClassificationHead, self.runs[0].heads[self.head])

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Class probabilities (Z, classes) float32 of every slice of a volume (Z, H, W, C), averaged over the networks."""
        total = np.zeros((len(image), len(self.target.class_names)), np.float32)
        for index in range(len(self.runs)):
            for part, logits in self.logits(index, image):
                total[part] += class_probabilities(logits)
        return total / len(self.runs)


def class_probabilities(logits: np.ndarray) -> np.ndarray:
    """Class probabilities (n, classes) float32 of logits: (n, 1) where there are two classes, else (n, classes)."""
    if logits.shape[-1] > 1:
        return softmax(logits)
    return softmax(np.concatenate([np.zeros_like(logits), logits], axis=-1))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, float32."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    normalised: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return normalised
