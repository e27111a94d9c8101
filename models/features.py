"""Bottleneck features of a network, pooled over a whole volume into one vector.

Three poolings of the features (..., F) of one layer: mean and maximum over the volume, and the mean weighted by the predicted
tumour probability, which is averaged within each cell of the layer's coarser grid.

A volume is covered by slices (2D), overlapping patches (3D) or tiles side by side (networks without padding). Where they
overlap, each voxel has the weight 1, which its patches share in proportion to a Gaussian around the middle of each, as logits
are blended (`models.volume`); what is padded has no weight. So every place of the volume counts once, however many patches hold
it, and features from the edge of a patch, where the network lacks context, count little. A cell has the weights of its voxels.
The maximum is taken over the cells in which a patch has the largest share, so that edges do not decide it. Patches begin at
multiples of the network's stride: a place falls into the same cell in each of them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, product
from typing import TYPE_CHECKING, Protocol

import numpy as np

from common.errors import UserError, did_you_mean
from data_prep.grid.geometry import Triple
from data_prep.grid.neighbours import with_neighbours
from data_prep.grid.resize import resize_image
from models.outputs import predict_batch
from models.volume import SlidingWindow, bell, cut_patches, padding

if TYPE_CHECKING:
    import keras

FEATURES, LOGITS = "features", "logits"
POOLINGS = ("mean", "max", "tumour")
EXAMPLE = 4  # strides along each axis of the input by which the sizes of all layers are compared


class FeatureNetwork(Protocol):
    """Network of `feature_network`; a `keras.Model` is one."""

    def predict_on_batch(self, x: np.ndarray, /) -> dict[str, np.ndarray]:
        """Features (N, ..., F) and logits (N, ..., classes), the background's first, of images (N, ..., C)."""


@dataclass(frozen=True)
class _Span:
    """Part of an axis that one patch covers.

    Attributes:
        start: first voxel of the patch's output in the volume.
        share: (voxels,) weight of each voxel; those of all patches sum to 1 in the volume, and are 0 beyond it.
        core: (voxels,) bool, whether no other patch has a larger share.
    """

    start: int
    share: np.ndarray
    core: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """Voxels that lie in the volume, (voxels,) bool."""
        return self.share > 0


Spans = tuple[_Span, _Span, _Span]


def feature_network(network: "keras.Model", head: str, sliding: SlidingWindow, layer: str = "") -> tuple["keras.Model", str]:
    """Build the network that gives the features of a layer and the logits of a head.

    Args:
        network: images -> {head: logits}.
        head: a segmentation head of it.
        sliding: how its input is cut from a volume.
        layer: name; empty: the bottleneck, the last layer with the coarsest grid.

    Returns:
        images -> {"features": (N, ..., F), "logits": (N, ..., classes)}, with the same weights; and the layer's name.

    Raises:
        UserError: no such layer, or one without features of places.
    """
    import keras

    models = [network, *(each for each in network.layers if isinstance(each, keras.Model))]
    owners = {each.name: model for model in reversed(models) for each in model.layers if each not in models}
    chosen = layer or _coarsest(models, sliding)
    if chosen not in owners:
        example = _coarsest(models, sliding)
        raise UserError(
            f"--layer {chosen}: expected a layer of the network {network.name}, such as {example}{did_you_mean(chosen, owners)}"
        )
    owner = owners[chosen]
    features = owner.get_layer(chosen).output
    if len(getattr(features, "shape", ())) != len(network.inputs[0].shape):
        received = getattr(features, "shape", "several outputs")
        raise UserError(f"--layer {chosen}: expected features of places, of the rank of the image; received {received}")
    if owner is not network:  # a model that is called as one layer: its inner outputs belong to a graph of its own
        features = keras.Model(owner.inputs, features)(network.inputs[0])
    return keras.Model(network.inputs, {FEATURES: features, LOGITS: network.output[head]}), chosen


def _coarsest(models: list["keras.Model"], sliding: SlidingWindow) -> str:
    """Name of the last layer with the fewest places, more than one, for an example input.

    Raises:
        UserError: no layer has a known size.
    """
    import keras

    found: dict[str, int] = {}
    for model in models:
        if not isinstance(getattr(model, "output", None), keras.KerasTensor | dict):
            continue
        shape = tuple(model.inputs[0].shape)
        given = (sliding.patch or (1,) * 3)[-(len(shape) - 2) :] if sliding.patch else (EXAMPLE * sliding.stride,) * 2
        example = keras.KerasTensor((1, *(fixed or side for fixed, side in zip(shape[1:-1], given, strict=True)), shape[-1]))
        outputs = {each.name: getattr(each, "output", None) for each in model.layers if each not in models}
        layers = {name: given for name, given in outputs.items() if len(getattr(given, "shape", ())) == len(shape)}
        sizes = keras.Model(model.inputs, layers).compute_output_spec(example)
        found |= {name: math.prod(spec.shape[1:-1]) for name, spec in sizes.items()}
    places = {name: number for name, number in found.items() if number > 1}
    if not places:
        raise UserError("--layer: expected the name of a layer, because this network's layers have no known sizes")
    return [name for name, number in places.items() if number == min(places.values())][-1]


def pooled_features(
    network: FeatureNetwork, image: np.ndarray, sliding: SlidingWindow, batch_size: int
) -> dict[str, np.ndarray]:
    """Pool the features of a whole volume.

    Args:
        network: of `feature_network`.
        image: (Z, H, W, C), as prepared and scaled for the network.
        sliding: how its input is cut from the volume; mirrored views are not used.
        batch_size: slices or patches at once.

    Returns:
        "mean", "max" and "tumour" (mean weighted by the tumour probability): (F,) float32 each.
    """
    pool = _Pool()
    windows = _slices(image, sliding) if sliding.patch is None else _patches(image, sliding)
    while batch := list(islice(windows, batch_size)):
        images = np.stack([picture for picture, _ in batch]).astype(np.float32)
        # The last batch is filled up with repeats, so that the network is compiled for one shape.
        images = np.concatenate([images, images[:1].repeat(batch_size - len(batch), axis=0)])
        outputs = predict_batch(network, images)
        features, logits = (np.asarray(outputs[name]).astype(np.float32) for name in (FEATURES, LOGITS))
        tumour = _foreground(logits)
        for place, (_, spans) in enumerate(batch):
            flat = (1,) * (4 - features[place].ndim)  # a slice is a volume of one
            pool.add(
                features[place].reshape(*flat, *features[place].shape),
                tumour[place].reshape(*flat, *tumour[place].shape),
                spans,
            )
    return pool.values()


class _Pool:
    """Weighted sums and maxima of features over the patches of a volume."""

    def __init__(self) -> None:
        self._sum: np.ndarray | float = 0.0
        self._tumour_sum: np.ndarray | float = 0.0
        self._max: np.ndarray | float = -np.inf
        self._weight = self._tumour_weight = 0.0

    def add(self, features: np.ndarray, tumour: np.ndarray, spans: Spans) -> None:
        """Add the features (z, y, x, F) and the tumour probabilities (Z, Y, X) of one patch."""
        cells = [_overlaps(len(span.share), count) for span, count in zip(spans, features.shape[:3], strict=True)]
        shares = [matrix * span.share for matrix, span in zip(cells, spans, strict=True)]
        z, y, x = (matrix.sum(axis=1) for matrix in shares)
        weight = z[:, None, None] * y[:, None] * x
        tumour_weight = np.einsum("zyx,az,by,cx->abc", tumour, *shares, optimize=True)
        self._sum = self._sum + np.tensordot(weight, features, 3)
        self._tumour_sum = self._tumour_sum + np.tensordot(tumour_weight, features, 3)
        self._weight += float(weight.sum())
        self._tumour_weight += float(tumour_weight.sum())
        core = [_in_core(matrix, span) for matrix, span in zip(cells, spans, strict=True)]
        chosen = features[np.ix_(*core)]
        if chosen.size:
            self._max = np.maximum(self._max, chosen.max(axis=(0, 1, 2)))

    def values(self) -> dict[str, np.ndarray]:
        """The three poolings; without any tumour probability the weighted mean is the plain one."""
        mean = self._sum / self._weight
        tumour = self._tumour_sum / self._tumour_weight if self._tumour_weight > 0 else mean
        found = zip(POOLINGS, (mean, self._max, tumour), strict=True)
        return {name: np.asarray(values, np.float32) for name, values in found}


@lru_cache(maxsize=64)
def _overlaps(voxels: int, cells: int) -> np.ndarray:
    """Share of each voxel of an axis that lies in each cell: (cells, voxels) float64, each column summing to 1."""
    edges = np.arange(cells + 1) * (voxels / cells)
    first, last = edges[:-1, None], edges[1:, None]
    start = np.arange(voxels)[None]
    return np.clip(np.minimum(last, start + 1) - np.maximum(first, start), 0, 1)


def _in_core(matrix: np.ndarray, span: _Span) -> np.ndarray:
    """Indices of the cells of an axis of which at least half of the voxels in the volume are in the patch's core."""
    inside = matrix @ span.inside
    return np.flatnonzero((inside > 0) & (matrix @ span.core >= inside / 2))


def _foreground(logits: np.ndarray) -> np.ndarray:
    """Tumour probability (...) of logits (..., classes): that of all classes but the first, the background."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probability: np.ndarray = powers[..., 1:].sum(axis=-1) / powers.sum(axis=-1)
    return probability


def _slices(image: np.ndarray, sliding: SlidingWindow) -> Iterator[tuple[np.ndarray, Spans]]:
    """Whole slices (h, w, C), resized and padded as for prediction, and what each covers."""
    height, width = sliding.resize or image.shape[1:3]
    rows, columns = (
        padding(length, sliding.stride, least) for length, least in zip((height, width), sliding.least_size, strict=True)
    )
    axes = [_padded(*axis) for axis in ((height, rows), (width, columns))]
    for z in range(len(image)):
        picture = with_neighbours(image, np.array([z]), sliding.neighbours)[0]
        picture = picture if sliding.resize is None else resize_image(picture, sliding.resize)
        yield np.pad(picture, (rows, columns, (0, 0))), (_whole(z, 1), axes[0], axes[1])


def _patches(image: np.ndarray, sliding: SlidingWindow) -> Iterator[tuple[np.ndarray, Spans]]:
    """Patches as the network takes them, and what the output of each covers."""
    patch = sliding.patch or (1, 1, 1)
    single = patch[0] == 1
    axes, margins = [], []
    for axis, (length, side) in enumerate(zip(image.shape[:3], patch, strict=True)):
        flat = axis == 0 and single
        margins.append(0 if flat else sliding.margin)
        if flat or sliding.margin:
            inner = side - 2 * margins[-1]
            axes.append(_spans(length, list(range(0, length, inner)), np.ones(inner)))
        else:
            axes.append(_spans(length, _aligned_starts(length, side, sliding), bell(side).astype(float)))
    for spans in product(*axes):
        z, y, x = (span.start - margin for span, margin in zip(spans, margins, strict=True))
        corner: Triple = (z, y, x)
        yield cut_patches(image, [corner], sliding)[0], (spans[0], spans[1], spans[2])


def _aligned_starts(length: int, patch: int, sliding: SlidingWindow) -> list[int]:
    """Starts of patches along an axis at multiples of the stride, overlapping at least as configured; a long one is centred."""
    if patch >= length:
        return [(length - patch) // 2]
    stride = sliding.stride
    last = math.ceil((length - patch) / stride)
    step = max(int(patch * (1 - sliding.overlap) / stride), 1)
    return sorted({round(start) * stride for start in np.linspace(0, last, math.ceil(last / step) + 1)})


def _spans(length: int, starts: list[int], weight: np.ndarray) -> list[_Span]:
    """Spans of patches along an axis: each voxel's weight of 1 is shared in proportion to `weight`."""
    weights = np.zeros((len(starts), length))
    for row, start in zip(weights, starts, strict=True):
        low, high = max(start, 0), min(start + len(weight), length)
        row[low:high] = weight[low - start : high - start]
    shares, core = weights / weights.sum(axis=0), weights.argmax(axis=0)
    spans = []
    for number, start in enumerate(starts):
        places = np.arange(start, start + len(weight))
        inside = (places >= 0) & (places < length)
        share, largest = np.zeros(len(weight)), np.zeros(len(weight), bool)
        share[inside] = shares[number, places[inside]]
        largest[inside] = core[places[inside]] == number
        spans.append(_Span(start, share, largest))
    return spans


def _whole(start: int, length: int) -> _Span:
    """Span of one patch alone."""
    return _Span(start, np.ones(length), np.ones(length, bool))


def _padded(length: int, zeros: tuple[int, int]) -> _Span:
    """Span of a whole axis with zeros before and behind it."""
    share = np.pad(np.ones(length), zeros)
    return _Span(-zeros[0], share, share > 0)
