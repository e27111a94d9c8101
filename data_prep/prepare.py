"""Preprocessing of a scan into the input of a network; the builder of records and prediction both call `prepare`.

Order: resampling to `spacing_mm` (if any), canonical orientation, intensities (statistics over the whole scan, whatever the
crop), crop. Because intensities are scaled voxel by voxel, the crop is taken first and only what is kept is scaled: the result
is the same, the work a fifth.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from common.boxes import crop_box
from common.errors import UserError
from data_prep.grid.geometry import Geometry, Triple, centred_start, middle_start
from data_prep.grid.masks import brain_mask, head_mask, inside_mask
from data_prep.grid.prepared_grid import PreparedGrid
from data_prep.grid.resampling import ImageInterpolation, LabelInterpolation, Resampling, expect_spacing, native_spacing
from data_prep.labels import LabelSchema
from data_prep.scans.case import Case

Intensity = Literal["minmax", "zscore", "median", "window"]
UNIT_RANGE = ("minmax", "window")  # intensities that become 0..1
LATER = ("spacing_mm", "interpolation", "label_interpolation", "window", "statistics")
"""Options that older records do not have; manifests hold them only where they are not the default."""
LARGEST = float(np.finfo(np.float16).max)  # of a stored intensity
TABLE_LIMIT = 1 << 18  # integers of a smaller range are scaled through a table of all their values


@dataclass
class PrepareConfig:
    """Preprocessing of scans: voxel size, intensities, crop and stored dtype."""

    spacing_mm: float | tuple[float, float, float] | None = None
    """Voxel size to which scans are resampled, such as 1.0, or of slices, rows and columns, such as [3, 1, 1]; null: scans keep
    their own, and nothing is interpolated. Predictions are brought back to each scan's own grid."""
    interpolation: ImageInterpolation = "linear"
    """Interpolation of images where `spacing_mm` is given."""
    label_interpolation: LabelInterpolation = "gaussian"
    """Interpolation of labels where `spacing_mm` is given: the nearest voxel, or the likeliest class of a Gaussian
    neighbourhood, which loses less where voxels become larger."""
    intensity: Intensity | dict[str, Intensity] = "minmax"
    """minmax: each channel of each patient to 0..1 (as the glioma paper); zscore: mean 0 and deviation 1 over its non-zero
    voxels, zero elsewhere (for skull-stripped scans); median: divided by the median of the voxels above its mean, which in a
    scan with skull and air are tissue, so that tissue is about 1 and zero stays 0; window: `window` to 0..1 (for CT). Channels
    may differ: {CT: window, T1: zscore}; those that a source lacks are passed over."""
    window: tuple[float, float] | None = None
    """Lowest and highest value of `intensity: window`, in Hounsfield units: [-160, 240] for soft tissue, [-450, 1050] bone."""
    statistics: Literal["nonzero", "head", "brain"] = "nonzero"
    """Voxels of which percentiles, mean, deviation and median are taken: the non-zero ones (the brain of skull-stripped scans),
    those of the head, which is found by a threshold in each channel (for scans with skull and noise in the air), or those of
    the stored mask (see glioskull skull_strip)."""
    clip: tuple[float, float] | None = None
    """Percentiles of a channel's non-zero voxels (or of its head or mask: `statistics`) to which its values are clipped first,
    such as [0.5, 99.5]."""
    crop: Literal["middle", "brain"] | None = "middle"
    """Place of the crop of `size`: around the middle of the volume (as the glioma paper), around the middle of the brain
    (the stored mask, else voxels that are non-zero in any channel), or no crop (null)."""
    size: tuple[int, int, int] | None = (128, 128, 128)
    """Slices, rows and columns of the crop; null with `crop: brain` takes each brain's own box."""
    dtype: Literal["float16", "uint8"] = "float16"
    """Stored type of intensities; uint8 (256 steps, half the disk) needs `intensity: minmax`."""

    @property
    def unit_range(self) -> bool:
        """True where prepared intensities run from 0 to 1 (min-max, window); augmentation then keeps them there."""
        return all(intensity in UNIT_RANGE for intensity in self.intensities)

    @property
    def intensities(self) -> list[Intensity]:
        """Intensities of the channels: one for all of them, or one of each."""
        return list(self.intensity.values()) if isinstance(self.intensity, dict) else [self.intensity]

    @property
    def network_range(self) -> Literal["minmax", "zscore", "median"]:
        """Intensity with whose range networks that expect pictures read all channels; z-scores where the channels differ."""
        if self.unit_range:
            return "minmax"
        first, *others = self.intensities
        return "zscore" if first == "window" or any(other != first for other in others) else first

    def intensity_of(self, channel: str) -> Intensity:
        """Intensity of a channel.

        Raises:
            UserError: the channels differ, and this one has none.
        """
        if not isinstance(self.intensity, dict):
            return self.intensity
        if channel not in self.intensity:
            raise UserError(f"--prepare.intensity: expected one for channel {channel}; received {', '.join(self.intensity)}")
        return self.intensity[channel]

    @property
    def is_clipped(self) -> bool:
        """True where the brightest voxels do not decide how the others are scaled: percentiles, or a window."""
        return self.clip is not None or set(self.intensities) == {"window"}

    @property
    def needs_background(self) -> bool:
        """True where statistics are taken of the voxels that are not zero, so that the background must be 0."""
        return self.statistics == "nonzero" and (self.clip is not None or "zscore" in self.intensities)

    def to_dict(self) -> dict[str, Any]:
        """Content of a manifest: all options, but those of `LATER` only where they are not the default."""
        defaults = {item.name: item.default for item in fields(self)}
        return {name: value for name, value in asdict(self).items() if name not in LATER or value != defaults[name]}

    def of_channels(self, channels: Sequence[str]) -> "PrepareConfig":
        """Settings of the channels of a source: without intensities, and the window, of channels that it lacks.

        Raises:
            UserError: a channel has no intensity.
        """
        if not isinstance(self.intensity, dict):
            return self
        intensity = {name: self.intensity_of(name) for name in channels}
        return replace(self, intensity=intensity, window=self.window if "window" in intensity.values() else None)

    def check(self) -> None:
        """Refuse settings that contradict each other.

        Raises:
            UserError: two settings exclude each other, or one is out of its range.
        """
        if self.dtype == "uint8" and not self.unit_range:
            raise UserError(
                "--prepare.dtype: uint8 holds 0..1 alone and needs --prepare.intensity minmax; take --prepare.dtype float16"
            )
        if "window" in self.intensities and self.window is None:
            raise UserError("--prepare.intensity: window needs --prepare.window, such as [-160, 240]; received none")
        if "window" not in self.intensities and self.window is not None:
            raise UserError(
                f"--prepare.window: received {list(self.window)}, but no channel has --prepare.intensity window; "
                "give --prepare.window null"
            )
        if self.window is not None and self.window[0] >= self.window[1]:
            raise UserError(f"--prepare.window: expected two rising values; received {list(self.window)}")
        expect_spacing("prepare.spacing_mm", self.spacing_mm)
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
        """Scale an array of any real dtype; float32, same shape. Results beyond float16 become its largest number."""
        scaled = np.clip(values.astype(np.float32), np.float32(self.low), np.float32(self.high))
        spread = np.float32(self.spread) or np.float32(1)  # float32 has no smaller number: the channel is constant
        scaled = (scaled - np.float32(self.centre)) / spread
        if max(self.high - self.centre, self.centre - self.low) > LARGEST * float(spread):
            scaled = np.clip(scaled, -LARGEST, LARGEST)
        return np.where(values == 0, np.float32(0), scaled) if self.keep_zero else scaled


@dataclass(frozen=True)
class Prepared:
    """Preprocessed case.

    Attributes:
        image: (Z, H, W, C) float16 or uint8.
        label: (Z, H, W) uint8, bit-packed one-hot, or None where the case has no annotation.
        grid: transform between the native and this grid.
        scaling: channel -> its scaling; a missing channel has none and is all zeros.
        tumour_lost: share of the tumour's voxels that the crop cut off, 0 to 1.
        brain: (Z, H, W) bool, the stored mask of brain or head; None where the case has none.
        brain_unknown: `crop: brain` had no mask, and the voxels that are not zero reach all sides of the scan.
    """

    image: np.ndarray
    label: np.ndarray | None
    grid: PreparedGrid
    scaling: dict[str, Scaling]
    tumour_lost: float
    brain: np.ndarray | None = None
    brain_unknown: bool = False

    @property
    def inside(self) -> np.ndarray:
        """Mask of the patient, bool (Z, H, W): the stored one, else the voxels that are non-zero in any channel."""
        return inside_mask(self.image) if self.brain is None else self.brain

    @property
    def geometry(self) -> Geometry:
        """Exact part of `grid`: orientation and crop."""
        return self.grid.geometry


def prepare(case: Case, schema: LabelSchema | None, config: PrepareConfig) -> Prepared:
    """Preprocess one case; with `crop: null` the uncropped volume, as in prediction.

    Args:
        case: as read; its label, if it has one, needs a schema.
        schema: of the label's ids; None leaves the label out.
        config: options.

    Raises:
        UserError: `spacing_mm` for a scan without geometry, or `statistics: brain` for one without mask.
    """
    if config.statistics == "brain" and case.brain is None:
        raise UserError(without_mask(case.files.id))
    uncropped = uncropped_grid(case, config)
    channels = {
        name: None if array is None else uncropped.reorient(array, config.interpolation)
        for name, array in case.channels.items()
    }
    brain = None
    if case.brain is not None:
        brain = uncropped.reorient_label(case.brain.view(np.uint8), config.label_interpolation) != 0
    size = uncropped.geometry.size
    box = _brain_box(channels, brain) if config.crop == "brain" else None
    grid = uncropped.cropped(*_crop(size, box, config))
    geometry = grid.geometry
    brain_unknown = brain is None and box is not None and all(part == slice(0, n) for part, n in zip(box, size, strict=True))
    scaling = {name: fit_scaling(array, config, name, brain) for name, array in channels.items() if array is not None}
    image = np.zeros((*geometry.size, len(channels)), config.dtype)
    for place, (name, array) in enumerate(channels.items()):
        if array is not None:
            image[..., place] = _stored(geometry.cut(array), scaling[name], config.dtype)
    label, lost = None, 0.0
    if case.label is not None and schema is not None:
        encoded = _encoded_label(case.label, schema, uncropped, config)
        label = np.ascontiguousarray(geometry.cut(encoded))
        tumour = np.count_nonzero(encoded > 1)  # bits of any class but background
        lost = (tumour - np.count_nonzero(label > 1)) / tumour if tumour else 0.0
    return Prepared(image, label, grid, scaling, lost, None if brain is None else geometry.cut(brain), brain_unknown)


def without_mask(case: str) -> str:
    """Error line for a case whose missing mask `statistics: brain` needs."""
    return (
        f"{case}: has no brain mask, which --prepare.statistics brain needs; make one by glioskull skull_strip, "
        "or name it in a table's column brain"
    )


def uncropped_grid(case: Case, config: PrepareConfig) -> PreparedGrid:
    """Uncropped prepared grid of a case: its own voxels re-oriented, or resampled to `spacing_mm`.

    Raises:
        UserError: `spacing_mm` for a scan without geometry.
    """
    native = Geometry.uncropped(case.shape, case.affine)
    if config.spacing_mm is None:
        return PreparedGrid(native)
    if case.affine is None:
        raise UserError(f"{case.files.id}: has no voxel size, so --prepare.spacing_mm cannot be used; leave it out")
    spacing = native_spacing(case.shape, case.affine, config.spacing_mm)
    resampling = Resampling.to_spacing(case.shape, case.affine, spacing)
    return PreparedGrid(Geometry.uncropped(resampling.target_shape, np.asarray(resampling.target_affine)), resampling)


def fit_scaling(channel: np.ndarray, config: PrepareConfig, name: str = "", brain: np.ndarray | None = None) -> Scaling:
    """Scaling of one channel, from the statistics of the uncropped scan.

    Args:
        channel: the uncropped volume, any real dtype.
        config: intensities, `clip` and `statistics` are used. A constant channel becomes zeros.
        name: of the channel, where intensities differ between channels.
        brain: mask of the channel's shape, bool, for `statistics: brain`.
    """
    intensity = config.intensity_of(name)
    if intensity == "window" and config.window is not None:
        low, high = config.window
        return Scaling(low, high, low, high - low, keep_zero=False)
    if config.statistics == "head":
        return _masked_scaling(channel, head_mask(channel), config, intensity)
    if config.statistics == "brain" and brain is not None:
        return _masked_scaling(channel, brain, config, intensity)
    low, high = float(channel.min()), float(channel.max())
    inside = channel[channel != 0] if config.clip or intensity == "zscore" else channel
    if config.clip and inside.size:
        low, high = (float(bound) for bound in np.percentile(inside, config.clip))
    if intensity == "median":
        clipped = np.clip(channel, low, high)
        above = clipped[clipped > clipped.mean()]
        return Scaling(low, high, 0.0, (float(np.median(above)) if above.size else 0.0) or 1.0, keep_zero=True)
    if intensity == "minmax":
        low = low if low < high else float(channel.min())  # a brain of one value stays above its background
        return Scaling(low, high, low, (high - low) or 1.0, keep_zero=False)
    values = np.clip(inside, low, high).astype(np.float64)
    mean, deviation = (float(values.mean()), float(values.std())) if values.size else (0.0, 0.0)
    return Scaling(low, high, mean, deviation or 1.0, keep_zero=True)


def _masked_scaling(channel: np.ndarray, mask: np.ndarray, config: PrepareConfig, intensity: Intensity) -> Scaling:
    """Scaling by the statistics of a mask. Zero stays zero only in channels without negative values: in CT it is water."""
    inside = channel[mask] if mask.any() else channel
    low, high = float(channel.min()), float(channel.max())
    if config.clip:
        low, high = (float(bound) for bound in np.percentile(inside, config.clip))
    elif intensity == "minmax":
        low, high = float(inside.min()), float(inside.max())
    if intensity == "minmax":
        return Scaling(low, high, low, (high - low) or 1.0, keep_zero=False)
    values = np.clip(inside, low, high).astype(np.float64)
    keep_zero = bool(channel.min() >= 0)
    if intensity == "median":
        return Scaling(low, high, 0.0, float(np.median(values)) or 1.0, keep_zero)
    return Scaling(low, high, float(values.mean()), float(values.std()) or 1.0, keep_zero)


def _encoded_label(label: np.ndarray, schema: LabelSchema, uncropped: PreparedGrid, config: PrepareConfig) -> np.ndarray:
    """Bit-packed label on the uncropped prepared grid; not annotated (0) outside the scan."""
    if uncropped.resampling is None:
        return schema.encode(uncropped.reorient_label(label))
    return uncropped.reorient_label(schema.encode(label), config.label_interpolation)


def _brain_box(channels: dict[str, np.ndarray | None], brain: np.ndarray | None) -> tuple[slice, ...]:
    """Box (z, y, x) of the mask, without one that of the voxels that are not zero in any channel."""
    if brain is None:
        brain = brain_mask(array for array in channels.values() if array is not None)
    return crop_box(brain)


def _crop(uncropped: Triple, box: tuple[slice, ...] | None, config: PrepareConfig) -> tuple[Triple, Triple]:
    """Start and size of the crop (z, y, x); `box` is that of the brain, for `crop: brain`."""
    if box is None:
        if config.crop == "middle" and config.size is not None:
            return middle_start(uncropped, config.size), config.size
        return (0, 0, 0), uncropped
    z, y, x = box
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
