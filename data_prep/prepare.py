"""Preprocessing of a scan into the input of a network; the builder of records and prediction both call `prepare`.

Order: canonical orientation, intensities (statistics over the whole scan, whatever the crop), crop. Because intensities are
scaled voxel by voxel, the crop is taken first and only what is kept is scaled: the result is the same, the work a fifth.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from common.boxes import crop_box
from common.errors import UserError
from data_prep.grid.geometry import Geometry, Triple, centred_start, middle_start
from data_prep.grid.masks import brain_mask
from data_prep.labels import LabelSchema
from data_prep.scans.case import Case

TABLE_LIMIT = 1 << 18  # integers of a smaller range are scaled through a table of all their values


@dataclass
class PrepareConfig:
    """Preprocessing of scans: intensities, crop and stored dtype."""

    intensity: Literal["minmax", "zscore", "median"] = "minmax"
    """minmax: each channel of each patient to 0..1 (as the glioma paper); zscore: mean 0 and deviation 1 over its non-zero
    voxels, zero elsewhere (for skull-stripped scans); median: divided by the median of the voxels above its mean, which in a
    scan with skull and air are tissue, so that tissue is about 1 and zero stays 0."""
    clip: tuple[float, float] | None = None
    """Percentiles of a channel's non-zero voxels to which its values are clipped first, such as [0.5, 99.5]."""
    crop: Literal["middle", "brain"] | None = "middle"
    """Place of the crop of `size`: around the middle of the volume (as the glioma paper), around the middle of the brain
    (voxels that are non-zero in any channel), or no crop (null)."""
    size: tuple[int, int, int] | None = (128, 128, 128)
    """Slices, rows and columns of the crop; null with `crop: brain` takes each brain's own box."""
    dtype: Literal["float16", "uint8"] = "float16"
    """Stored type of intensities; uint8 (256 steps, half the disk) needs `intensity: minmax`."""

    @property
    def unit_range(self) -> bool:
        """True where prepared intensities run from 0 to 1 (min-max); augmentation then keeps them there."""
        return self.intensity == "minmax"

    def check(self) -> None:
        """Refuse settings that contradict each other.

        Raises:
            UserError: two settings exclude each other, or one is out of its range.
        """
        if self.dtype == "uint8" and self.intensity != "minmax":
            raise UserError(
                "--prepare.dtype: uint8 holds 0..1 alone and needs --prepare.intensity minmax; take --prepare.dtype float16"
            )
        if self.crop == "middle" and self.size is None:
            raise UserError(
                "--prepare.crop: middle needs --prepare.size, such as [128, 128, 128]; size null goes with crop brain"
            )
        if self.size is not None and min(self.size) < 1:
            raise UserError(f"--prepare.size: expected three positive numbers; received {list(self.size)}")
        if self.clip is not None and not 0 <= self.clip[0] < self.clip[1] <= 100:
            raise UserError(f"--prepare.clip: expected two rising percentiles of 0..100; received {list(self.clip)}")


@dataclass(frozen=True)
class Scaling:
    """Intensity scaling of one channel: (clip(value, low, high) - centre) / spread.

    Attributes:
        low, high: bounds of the values.
        centre, spread: subtracted, and divided by.
        keep_zero: voxels of value 0 stay 0.
    """

    low: float
    high: float
    centre: float
    spread: float
    keep_zero: bool

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Scale an array of any real dtype; float32, same shape."""
        scaled = np.clip(values.astype(np.float32), np.float32(self.low), np.float32(self.high))
        scaled = (scaled - np.float32(self.centre)) / np.float32(self.spread)
        return np.where(values == 0, np.float32(0), scaled) if self.keep_zero else scaled


@dataclass(frozen=True)
class Prepared:
    """Preprocessed case.

    Attributes:
        image: (Z, H, W, C) float16 or uint8.
        label: (Z, H, W) uint8, bit-packed one-hot, or None where the case has no annotation.
        geometry: transform between the native and this grid.
        scaling: channel -> its scaling; a missing channel has none and is all zeros.
        tumour_lost: share of the tumour's voxels that the crop cut off, 0 to 1.
    """

    image: np.ndarray
    label: np.ndarray | None
    geometry: Geometry
    scaling: dict[str, Scaling]
    tumour_lost: float


def prepare(case: Case, schema: LabelSchema | None, config: PrepareConfig) -> Prepared:
    """Preprocess one case; with `crop: null` the uncropped volume, as in prediction.

    Args:
        case: as read; its label, if it has one, needs a schema.
        schema: of the label's ids; None leaves the label out.
        config: options.
    """
    uncropped = Geometry.uncropped(case.shape, case.affine)
    channels = {name: None if array is None else uncropped.reorient(array) for name, array in case.channels.items()}
    geometry = uncropped.cropped(*_crop(uncropped.size, channels, config))
    scaling = {name: fit_scaling(array, config) for name, array in channels.items() if array is not None}
    image = np.zeros((*geometry.size, len(channels)), config.dtype)
    for place, (name, array) in enumerate(channels.items()):
        if array is not None:
            image[..., place] = _stored(geometry.cut(array), scaling[name], config.dtype)
    label, lost = None, 0.0
    if case.label is not None and schema is not None:
        encoded = schema.encode(uncropped.reorient(case.label))
        label = np.ascontiguousarray(geometry.cut(encoded))
        tumour = np.count_nonzero(encoded > 1)  # bits of any class but background
        lost = (tumour - np.count_nonzero(label > 1)) / tumour if tumour else 0.0
    return Prepared(image, label, geometry, scaling, lost)


def fit_scaling(channel: np.ndarray, config: PrepareConfig) -> Scaling:
    """Scaling of one channel, from the statistics of the uncropped scan.

    Args:
        channel: the uncropped volume, any real dtype.
        config: `intensity` and `clip` are used. A constant channel becomes zeros.
    """
    low, high = float(channel.min()), float(channel.max())
    inside = channel[channel != 0] if config.clip or config.intensity == "zscore" else channel
    if config.clip and inside.size:
        low, high = (float(bound) for bound in np.percentile(inside, config.clip))
    if config.intensity == "median":
        clipped = np.clip(channel, low, high)
        above = clipped[clipped > clipped.mean()]
        return Scaling(low, high, 0.0, (float(np.median(above)) if above.size else 0.0) or 1.0, keep_zero=True)
    if config.intensity == "minmax":
        low = low if low < high else float(channel.min())  # a brain of one value stays above its background
        return Scaling(low, high, low, (high - low) or 1.0, keep_zero=False)
    values = np.clip(inside, low, high).astype(np.float64)
    mean, deviation = (float(values.mean()), float(values.std())) if values.size else (0.0, 0.0)
    return Scaling(low, high, mean, deviation or 1.0, keep_zero=True)


def _crop(uncropped: Triple, channels: dict[str, np.ndarray | None], config: PrepareConfig) -> tuple[Triple, Triple]:
    """Start and size of the crop (z, y, x)."""
    if config.crop is None:
        return (0, 0, 0), uncropped
    if config.crop == "middle" and config.size is not None:
        return middle_start(uncropped, config.size), config.size
    z, y, x = crop_box(brain_mask(array for array in channels.values() if array is not None))
    size = config.size or (z.stop - z.start, y.stop - y.start, x.stop - x.start)
    start = [
        centred_start(length, wanted, part.start + part.stop)
        for length, wanted, part in zip(uncropped, size, (z, y, x), strict=True)
    ]
    return (start[0], start[1], start[2]), size


def _stored(values: np.ndarray, scaling: Scaling, dtype: str) -> np.ndarray:
    """Cropped channel, scaled and converted to the stored dtype; a table of all values gives the same bits."""
    if values.dtype.kind in "iu" and values.size:
        low, high = int(values.min()), int(values.max())
        if high - low < min(TABLE_LIMIT, values.size):
            table = _convert(scaling(np.arange(low, high + 1)), dtype)
            return table.take(values if low == 0 else values.astype(np.intp) - low)
    return _convert(scaling(values), dtype)


def _convert(scaled: np.ndarray, dtype: str) -> np.ndarray:
    """Round to uint8 steps of 1/255, or to float16."""
    return np.rint(scaled * 255).astype(np.uint8) if dtype == "uint8" else scaled.astype(np.float16)
