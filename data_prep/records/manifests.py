"""Schema of the JSON files of records: of a case, and of the folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.manifests import (
    CONTENT,
    Content,
    Fields,
    Flag,
    Kind,
    ListOf,
    MapOf,
    Maybe,
    Number,
    Text,
    Whole,
    WrongValueError,
    checked,
    read_manifest,
)
from data_prep.grid.manifests import GEOMETRY, LONGEST_AXIS, RESAMPLING

FORMAT = 1
WHAT, WHAT_CASE = "records", "case of the records"
ADVICE = "build the records again"
CRC = Whole(0, 2**32 - 1)
_LENGTH = Whole(1, LONGEST_AXIS)
_NUMBERS: dict[str, Kind] = {
    "slices": _LENGTH,
    "height": _LENGTH,
    "width": _LENGTH,
    "channels": Whole(1, 1024),
    "dtype": Text(("float16", "uint8")),
    "record_length": Whole(1),
    "image_offset": Whole(1),
    "label_offset": Whole(1),
    "slice_offset": Whole(1),
    "checksum": CRC,
}


@dataclass(frozen=True)
class Layout:
    """Layout of a shard: image, label and slice number lie inside of a record."""

    def check(self, value: Any, key: str) -> dict[str, Any]:
        """The layout."""
        found = Fields(_NUMBERS).check(value, key)
        label = found["height"] * found["width"]
        image = label * found["channels"] * (2 if found["dtype"] == "float16" else 1)
        for name, size in (("image_offset", image), ("label_offset", label), ("slice_offset", 4)):
            if found[name] + size > found["record_length"]:
                raise WrongValueError(f"{key}.{name}", f"{size} bytes inside a record of {found['record_length']}", found[name])
        if set(found) != set(_NUMBERS):
            raise WrongValueError(key, f"the keys {', '.join(_NUMBERS)}", list(found))
        return found


SOURCES = ListOf(Fields({"path": Text(least=1), "bytes": Whole(0), "crc32c": CRC}))
CASE = Fields(
    {
        "id": Text(least=1),
        "patient": Text(least=1),
        "copy": Whole(0),
        "attributes": MapOf(Text()),
        "missing": ListOf(Text(least=1)),
        "constant": Content(),
        "geometry": GEOMETRY,
        "tumour_lost": Number(0, 1),
        "sources": SOURCES,
        "layout": Layout(),
        "voxels": ListOf(ListOf(Whole(0), 1, 8)),
        "brain": ListOf(Whole(0)),
    },
    {
        "resampling": Maybe(RESAMPLING),
        "brain_unknown": Flag(),
        "unusual": MapOf(CONTENT),
        "voxel_checksums": MapOf(Text(least=1)),
    },
)
_SPLIT = MapOf(ListOf(Text(least=1)))
DATASET = Fields(
    {
        "source": Fields({"path": Text(least=1), "layout": Text()}),
        "channels": ListOf(Text(least=1), least=1),
        "schema": Fields({"name": Text()}),
        "preparation": MapOf(CONTENT),
        "copies": Whole(0),
        "split": _SPLIT,
        "folds": ListOf(_SPLIT),
        "cases": MapOf(ListOf(CRC, least=1), least=1),
    },
    {"properties": MapOf(ListOf(Text(least=1), least=1))},
)


def read_dataset(manifest: Path) -> dict[str, Any]:
    """Content of a records folder's manifest.

    Raises:
        UserError: of another version, a value of another type, or a subset that names no case.
    """
    values: dict[str, Any] = read_manifest(manifest, WHAT, DATASET, FORMAT, ADVICE)
    known = Text(tuple(values["cases"]))
    for case, shards in values["cases"].items() if "properties" in values else ():
        count = len(shards)
        checked(values["properties"].get(case), ListOf(CONTENT, count, count), f"{manifest}: properties.{case}", ADVICE)
    subsets = Fields({"train": CONTENT, "validation": CONTENT, "test": CONTENT})
    checked(values["split"], subsets, f"{manifest}: split", ADVICE)
    for place, split in enumerate([values["split"], *values["folds"]]):
        where = "split" if place == 0 else f"folds[{place - 1}]"
        for name, cases in split.items():
            for case in cases:
                if case not in values["cases"]:
                    checked(case, known, f"{manifest}: {where}.{name}", ADVICE)
    return values


def read_sources(path: Path) -> list[dict[str, Any]]:
    """Files of a case's scans, when it was built: `path`, `bytes` and `crc32c` of each; errors as of `read_case`."""
    values = read_manifest(path, WHAT_CASE, Fields({"sources": SOURCES}), advice=ADVICE)
    return list(values["sources"])


def read_case(path: Path) -> dict[str, Any]:
    """Content of the JSON file of a case.

    Raises:
        UserError: a value of another type, or numbers of voxels of other slices than the shard's.
    """
    values: dict[str, Any] = read_manifest(path, WHAT_CASE, CASE, advice=ADVICE)
    slices = values["layout"]["slices"]
    classes = len(values["voxels"][0]) if values["voxels"] else 1
    checked(values["voxels"], ListOf(ListOf(CONTENT, classes, classes), slices, slices), f"{path}: voxels", ADVICE)
    checked(values["brain"], ListOf(CONTENT, slices, slices), f"{path}: brain", ADVICE)
    size = [values["layout"][name] for name in ("slices", "height", "width")]
    if values["geometry"]["size"] != size:
        checked(values["geometry"]["size"], _Equal(size), f"{path}: geometry.size", ADVICE)
    return values


@dataclass(frozen=True)
class _Equal:
    """A given value."""

    wanted: Any

    def check(self, value: Any, key: str) -> Any:
        """The value."""
        if value != self.wanted:
            raise WrongValueError(key, str(self.wanted), value)
        return value
