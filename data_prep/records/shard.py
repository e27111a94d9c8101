"""Shard: a TFRecord of tf.train.Example that is also a strided array.

One shard holds one case, one Example a slice. All Examples of a shard have the same length, so that any tf.data program reads
them, and every slice, patch and volume is a NumPy view of the memory-mapped file. Neither way needs TensorFlow here: the
frame (length, masked CRC-32C, payload, masked CRC-32C) and the few protobuf fields are written directly.

Features of an Example: `image` (raw bytes, H x W x C, little-endian float16 or uint8), `label` (raw bytes, H x W, one bit per
class), `shape` (H, W, C), `dtype`, `case`, `copy` and `slice` (little-endian int32 as raw bytes, because protobuf's own
integers change length with their value), `align` and `pad` (up to two bytes, so that float16 pixels and records begin at even
offsets).
"""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Self

import google_crc32c
import numpy as np

from common.errors import UserError
from common.files import write_bytes
from data_prep.records.image_view import ImageView

HEADER, FOOTER = 12, 4  # bytes around a record's payload
MASK_DELTA = 0xA282EAD8  # of TFRecord's masked checksums
ADVICE = "call glioskull make_records again, as before: it builds what is missing or damaged"


@dataclass(frozen=True)
class ShardLayout:
    """Byte layout of a shard's file.

    Attributes:
        slices, height, width, channels: shape of the volume.
        dtype: of the image, float16 or uint8.
        record_length: bytes from one record's start to the next's.
        image_offset, label_offset, slice_offset: bytes from a record's start to its image, label and slice number.
        checksum: CRC-32C over the records' checksums in order.
    """

    slices: int
    height: int
    width: int
    channels: int
    dtype: str
    record_length: int
    image_offset: int
    label_offset: int
    slice_offset: int
    checksum: int = 0

    @property
    def file_size(self) -> int:
        """Bytes of the shard's file."""
        return self.slices * self.record_length

    def image_view(self, buffer: Any) -> np.ndarray:
        """Images (Z, H, W, C) as a view of the file's bytes."""
        item = np.dtype(self.dtype).itemsize
        shape = (self.slices, self.height, self.width, self.channels)
        row = self.width * self.channels * item
        strides = (self.record_length, row, self.channels * item, item)
        return np.ndarray(shape, np.dtype(self.dtype).newbyteorder("<"), buffer, self.image_offset, strides)

    def label_view(self, buffer: Any) -> np.ndarray:
        """Labels (Z, H, W), bit-packed one-hot, as a view of the file's bytes."""
        shape = (self.slices, self.height, self.width)
        return np.ndarray(shape, np.uint8, buffer, self.label_offset, (self.record_length, self.width, 1))


@dataclass(frozen=True)
class Shard:
    """Open shard: views of a memory-mapped file, read page by page when accessed.

    Attributes:
        path: the file.
        layout: of the file.
        channels: indices of the channels in `image`, which is scaled for networks (`ImageView`); None: the stored array.
    """

    path: Path
    layout: ShardLayout
    channels: tuple[int, ...] | None = None

    @classmethod
    def open(cls, path: Path, layout: dict[str, Any], channels: tuple[int, ...] | None = None) -> Self:
        """Open a shard by the layout in its case's JSON file.

        Raises:
            UserError: the file is missing or has another size than its layout states.
        """
        shard = cls(path, ShardLayout(**layout), channels)
        found = path.stat().st_size if path.is_file() else None
        if found != shard.layout.file_size:
            state = "is missing" if found is None else f"has {found} bytes, expected {shard.layout.file_size}"
            raise UserError(f"{path}: shard {state}; {ADVICE}")
        return shard

    def verify(self, expected: int | None = None) -> None:
        """Compare the content with its checksums: those of the records, and that of the layout.

        Args:
            expected: checksum of the layout, as the manifest has it; None: that of the layout.

        Raises:
            UserError: the file is damaged, or another one.
        """
        damaged = self.damaged()
        if damaged:
            slices = f"{len(damaged)} of {self.layout.slices} slices, the first is {damaged[0]}"
            raise UserError(f"{self.path}: shard is damaged ({slices}); {ADVICE}")
        found = google_crc32c.value(self._footers().tobytes())
        if not found == self.layout.checksum == (self.layout.checksum if expected is None else expected):
            raise UserError(f"{self.path}: shard is of another build than the records; {ADVICE}")

    @cached_property
    def _bytes(self) -> np.ndarray:
        return np.memmap(self.path, np.uint8, mode="r")

    @cached_property
    def image(self) -> Any:
        """(Z, H, W, C) float16 or uint8, read-only; with `channels` a view of those, in float16."""
        stored = self.layout.image_view(self._bytes)
        return stored if self.channels is None else ImageView(stored, self.channels)

    @cached_property
    def label(self) -> np.ndarray:
        """(Z, H, W) uint8, bit-packed one-hot, read-only."""
        return self.layout.label_view(self._bytes)

    def damaged(self) -> list[int]:
        """Numbers of the slices whose length or checksum does not match their content."""
        records, checksums = self._records(), self._footers()
        header = np.frombuffer(_header(self.layout.record_length - HEADER - FOOTER), np.uint8)
        framed = (records[:, :HEADER] == header).all(axis=1)
        return [z for z in range(self.layout.slices) if not framed[z] or _masked(records[z, HEADER:-FOOTER]) != checksums[z]]

    def _records(self) -> np.ndarray:
        """Bytes (Z, record_length) of the records."""
        return self._bytes.reshape(self.layout.slices, self.layout.record_length)

    def _footers(self) -> np.ndarray:
        """Stored checksums (Z,) of the records."""
        checksums: np.ndarray = np.ascontiguousarray(self._records()[:, -FOOTER:]).view("<u4")[:, 0]
        return checksums


def write_shard(path: Path, image: np.ndarray, label: np.ndarray | None, case: str, copy: int = 0) -> ShardLayout:
    """Write one case's volume as a shard, atomically.

    Args:
        path: the file.
        image: (Z, H, W, C) float16 or uint8.
        label: (Z, H, W) uint8, bit-packed one-hot; None stores zeros, which mean not annotated.
        case: the case's id.
        copy: 0 for the original, else the number of the augmented copy.

    Returns:
        Layout, to be stored beside the shard.
    """
    template, layout = _template(image, case, copy)
    records = np.tile(template, (image.shape[0], 1))
    buffer = records.reshape(-1)
    layout.image_view(buffer)[...] = image
    if label is not None:
        layout.label_view(buffer)[...] = label
    numbers = np.arange(layout.slices, dtype="<i4").view(np.uint8).reshape(-1, 4)
    records[:, layout.slice_offset : layout.slice_offset + 4] = numbers
    checksums = np.array([_masked(record[HEADER:-FOOTER]) for record in records], "<u4")
    records[:, -FOOTER:] = checksums.view(np.uint8).reshape(-1, FOOTER)
    write_bytes(path, buffer.data)
    return replace(layout, checksum=google_crc32c.value(checksums.tobytes()))


def shard_layout(shape: tuple[int, int, int, int], dtype: str, case: str) -> ShardLayout:
    """Layout of a shard for an image of this shape, to compute its size beforehand."""
    return _template(np.broadcast_to(np.zeros((), dtype), shape), case, 0)[1]


def _template(image: np.ndarray, case: str, copy: int) -> tuple[np.ndarray, ShardLayout]:
    """Template record with an empty image, label and slice number, and the layout of every record."""
    slices, height, width, channels = image.shape
    image_bytes, label_bytes = height * width * channels * image.dtype.itemsize, height * width
    features = {
        "case": _bytes_feature("case", case.encode()),
        "copy": _bytes_feature("copy", np.int32(copy).astype("<i4").tobytes()),
        "dtype": _bytes_feature("dtype", image.dtype.name.encode()),
        "shape": _numbers_feature("shape", [height, width, channels]),
        "slice": _bytes_feature("slice", bytes(4)),
        "align": _bytes_feature("align", b""),
        "image": _bytes_feature("image", bytes(image_bytes)),
        "pad": _bytes_feature("pad", b""),
        "label": _bytes_feature("label", bytes(label_bytes)),
    }
    features = _evened(features)
    ends = _ends(features)
    example = _field(1, b"".join(features.values()))
    record = np.frombuffer(_header(len(example)) + example + bytes(FOOTER), np.uint8)
    offsets = (ends["image"] - image_bytes, ends["label"] - label_bytes, ends["slice"] - 4)
    return record, ShardLayout(slices, height, width, channels, image.dtype.name, len(record), *offsets)


def _evened(features: dict[str, bytes]) -> dict[str, bytes]:
    """Features with `align` and `pad` filled so that image and label end at even offsets.

    Tried one after the other: a byte more can lengthen the length field in front of the body.
    """
    tries = (
        features | {"align": _bytes_feature("align", bytes(align)), "pad": _bytes_feature("pad", bytes(pad))}
        for align, pad in product(range(3), repeat=2)
    )
    return next(filled for filled in tries if _ends(filled)["image"] % 2 == _ends(filled)["label"] % 2 == 0)


def _ends(features: dict[str, bytes]) -> dict[str, int]:
    """End offset of each feature's value in the record."""
    body = sum(len(feature) for feature in features.values())
    end = HEADER + len(_varint(1 << 3 | 2)) + len(_varint(body))
    ends = {}
    for name, feature in features.items():
        end += len(feature)
        ends[name] = end
    return ends


def _header(length: int) -> bytes:
    """Header of a record: length of its payload, and the masked checksum of that number."""
    number = np.uint64(length).astype("<u8").tobytes()
    return number + np.uint32(_masked(number)).astype("<u4").tobytes()


def _masked(payload: Any) -> int:
    """Masked CRC-32C of TFRecord; of bytes or a contiguous array, which is not copied."""
    crc = google_crc32c.value(payload)
    return ((crc >> 15 | crc << 17) + MASK_DELTA) & 0xFFFFFFFF


def _varint(number: int) -> bytes:
    """Variable-length integer of protobuf."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def _field(number: int, payload: bytes) -> bytes:
    """Length-delimited field of protobuf."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _feature(name: str, feature: bytes) -> bytes:
    """Entry of Features.feature (field 1): key (1) and Feature (2)."""
    return _field(1, _field(1, name.encode()) + _field(2, feature))


def _bytes_feature(name: str, value: bytes) -> bytes:
    """Feature.bytes_list (1) of one value (1); the value's bytes come last."""
    return _feature(name, _field(1, _field(1, value)))


def _numbers_feature(name: str, values: list[int]) -> bytes:
    """Feature.int64_list (3) of packed values (1)."""
    return _feature(name, _field(3, _field(1, b"".join(_varint(value) for value in values))))
