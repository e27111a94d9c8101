"""Brain extraction: mask of the brain on a scan's own grid, from the probabilities of HD-BET at 1.5 mm; or mask of the head."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, Literal, Protocol

import numpy as np

from common.boxes import crop_box
from common.errors import UserError
from common.hardware.backend import load_backend
from common.hardware.devices import chosen_precision
from data_prep.grid.geometry import AXES, Geometry
from data_prep.grid.masks import head_mask
from data_prep.grid.prepared_grid import PreparedGrid
from data_prep.grid.resampling import Resampling
from data_prep.scans.volume import Volume

SPACING_MM = 1.5
SIDE = 16  # the sides of the network's input are multiples of it
THRESHOLD = 0.5
FormatName = Literal["auto", "float32", "bfloat16"]


class Network(Protocol):
    """Network for brain extraction; a `keras.Model` is one."""

    def predict_on_batch(self, x: np.ndarray, /) -> Any:
        """Compute logits (1, D, H, W, 2) of background and brain for an image (1, D, H, W, 1) float32."""


@dataclass(frozen=True)
class ExtractedMask:
    """Mask of brain or head.

    Attributes:
        mask: (i, j, k) bool, one component without holes.
        components: that were found, of which the largest was kept.
        largest_share: of the voxels found that belong to the largest component.
    """

    mask: np.ndarray
    components: int = 1
    largest_share: float = 1.0


class BrainExtractor:
    """Brain extraction by HD-BET on the backend of Keras; the networks are loaded at the first scan.

    Args:
        networks: how many of the five are averaged.
        flips: axes, of x, y and z, that are mirrored in turn.
        precision: number format; auto: bfloat16 where the hardware multiplies it.
    """

    def __init__(self, networks: int = 1, flips: Sequence[str] = (), precision: FormatName = "auto") -> None:
        self._count = networks
        self._flips = tuple(flips)
        self._precision = precision

    def extract(self, volume: Volume) -> ExtractedMask:
        """Mask of the brain in a scan.

        Raises:
            UserError: there is none, or weights are missing or damaged.
        """
        return largest_component(brain_probability(volume, self._networks, self._flips) > THRESHOLD)

    @cached_property
    def _networks(self) -> list[Network]:
        load_backend()
        from data_prep.brain.hd_bet import load_network

        wanted = chosen_precision("auto") if self._precision == "auto" else self._precision
        dtype = "mixed_bfloat16" if "bfloat16" in wanted else "float32"
        return [load_network(number, dtype) for number in range(self._count)]


def brain_probability(volume: Volume, networks: Sequence[Network], flips: Sequence[str] = ()) -> np.ndarray:
    """Probability of brain, averaged over networks and mirrored views.

    Args:
        volume: MR scan of a head.
        networks: with equal inputs and outputs.
        flips: axes, of x, y and z, that are mirrored in turn, so that n axes give 2 ** n views.

    Returns:
        (i, j, k) float32 on the scan's own grid.
    """
    resampling = Resampling.to_spacing(volume.grid.shape, volume.affine, (SPACING_MM,) * 3)
    uncropped = PreparedGrid(Geometry.uncropped(resampling.target_shape, np.asarray(resampling.target_affine)), resampling)
    image = uncropped.reorient(volume.array)
    z, y, x = (-(-length // SIDE) * SIDE for length in image.shape)
    grid = uncropped.cropped((0, 0, 0), (z, y, x))  # padded at the upper ends
    padded = grid.geometry.cut((image - image.mean()) / (image.std() or 1))[None, ..., None]
    places = [AXES.index(axis) for axis in flips]
    views = [axes for count in range(len(places) + 1) for axes in combinations(places, count)]
    total = np.zeros((z, y, x), np.float32)
    for network in networks:
        for axes in views:
            mirrored = np.ascontiguousarray(np.flip(padded, tuple(axis + 1 for axis in axes)))
            logits = np.asarray(network.predict_on_batch(mirrored))[0]
            probability = (1 + np.tanh((logits[..., 1] - logits[..., 0]) / 2)) / 2  # softmax of two classes
            total += np.flip(probability, axes)
    return grid.to_native(total / (len(networks) * len(views)))


def extract_head(volume: Volume) -> ExtractedMask:
    """Mask of the head in an MR or CT scan, by a threshold.

    Raises:
        UserError: there is none.
    """
    mask = head_mask(volume.array)
    if not mask.any():
        raise UserError("found no head: all voxels are alike")
    return ExtractedMask(mask)


def largest_component(mask: np.ndarray) -> ExtractedMask:
    """Largest component of a mask (i, j, k), bool, its holes filled.

    Raises:
        UserError: the mask is empty.
    """
    from scipy.ndimage import binary_fill_holes, label

    components, count = label(mask)
    if count == 0:
        raise UserError("found no brain; expected an MR scan of a head (--method head finds heads in any scan)")
    sizes = np.bincount(components.ravel())[1:]
    largest = binary_fill_holes(components == sizes.argmax() + 1)
    return ExtractedMask(largest, int(count), float(sizes.max() / sizes.sum()))


def grown(mask: np.ndarray, spacing_mm: np.ndarray, margin_mm: float) -> np.ndarray:
    """Mask (i, j, k), bool, with all voxels within a distance of it.

    Args:
        mask: not empty.
        spacing_mm: along i, j, k.
        margin_mm: the distance; 0 changes nothing.
    """
    from scipy.ndimage import distance_transform_edt

    if margin_mm == 0:
        return mask
    box = crop_box(mask, int(np.ceil(margin_mm / spacing_mm.min())))
    result = mask.copy()
    result[box] = distance_transform_edt(~mask[box], spacing_mm) <= margin_mm
    return result
