"""Label schema: ids of a data set, classes of a network, and regions that are scored.

In memory and in records an annotation is bit-packed one-hot: voxel of class c holds the value 1 << c in one byte, background
(class 0) included; 0 means not annotated. Eight classes at most.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from common.errors import UserError
from common.files import read_yaml
from common.manifests import CONTENT, Fields, ListOf, MapOf, Text, WrongValueError, shown

MAX_CLASSES = 8
LOWEST_ID, HIGHEST_ID = -(1 << 15), (1 << 16) - 1  # a table of all ids between them is made
SCHEMA = Fields({"name": Text(), "classes": MapOf(CONTENT)}, {"regions": MapOf(ListOf(Text(least=1)))})
BACKGROUND = "background"
SCHEMAS = Path(__file__).resolve().parent.parent / "configs" / "labels"


@dataclass(frozen=True)
class LabelSchema:
    """Label schema: the meaning of a data set's label ids.

    Attributes:
        name: of the schema.
        classes: class name -> its ids in the files, the first is used for writing; background is the first class.
        regions: region name (such as WT, TC, ET) -> its classes.
        ignore: ids of voxels that are not annotated.
    """

    name: str
    classes: dict[str, tuple[int, ...]]
    regions: dict[str, tuple[str, ...]]
    ignore: tuple[int, ...] = ()

    @classmethod
    def load(cls, name: str) -> Self:
        """Load a schema: the name of a file in `configs/labels`, or the path of a YAML file."""
        path = Path(name) if name.endswith((".yaml", ".yml")) else SCHEMAS / f"{name}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in SCHEMAS.glob("*.yaml")))
            raise UserError(f"{path}: label schema not found; expected a YAML file's path or one of {known}")
        return cls.from_dict(read_yaml(path, "label schema"), path)

    @classmethod
    def from_dict(cls, values: Any, where: Path) -> Self:
        """Schema from the content of a YAML or JSON file; `where` names the file in errors."""
        try:
            SCHEMA.check(values, "")
            schema = cls(
                name=str(values["name"]),
                classes={str(name): _integers(ids) for name, ids in values["classes"].items()},
                regions={str(name): tuple(members) for name, members in values.get("regions", {}).items()},
                ignore=_integers(values.get("ignore", ())),
            )
        except (WrongValueError, TypeError, ValueError, OverflowError) as error:
            raise UserError(
                f"{where}: a label schema needs `name`, `classes` (name: id or list of ids), and may have `regions` "
                f"(name: list of classes) and `ignore` (list of ids); {error}"
            ) from None
        schema._check(where)
        return schema

    def to_dict(self) -> dict[str, Any]:
        """Content of the schema's YAML file."""
        return {
            "name": self.name,
            "classes": {name: list(ids) for name, ids in self.classes.items()},
            "regions": {name: list(members) for name, members in self.regions.items()},
            "ignore": list(self.ignore),
        }

    @property
    def class_names(self) -> list[str]:
        """Names of the classes in the order of a network's outputs."""
        return list(self.classes)

    @cached_property
    def known(self) -> dict[int, int]:
        """Id in the files -> bits: 1 << class, or 0 for ids that are not annotated."""
        bits = {identifier: 1 << c for c, ids in enumerate(self.classes.values()) for identifier in ids}
        return bits | dict.fromkeys(self.ignore, 0)

    def region_indices(self) -> dict[str, list[int]]:
        """Region name -> indices of its classes."""
        order = {name: c for c, name in enumerate(self.classes)}
        return {region: [order[name] for name in members] for region, members in self.regions.items()}

    def unknown_ids(self, label: np.ndarray) -> list[int]:
        """Ids of an integer array that are not in the schema, sorted."""
        return self._unknown(label, label[label != 0])

    def encode(self, label: np.ndarray) -> np.ndarray:
        """Bit-packed one-hot encoding of ids of the data set: uint8, same shape.

        Raises:
            ValueError: an id is not in the schema.
        """
        # Most voxels are 0, so only the others are looked up.
        inside = label != 0
        ids = label[inside]
        unknown = self._unknown(label, ids)
        if unknown:
            raise ValueError(f"label ids {unknown} are unknown to schema {self.name}, whose ids are {sorted(self.known)}")
        encoded = np.full_like(label, self.known.get(0, 0), np.uint8)
        lowest = min(self.known)
        table = np.zeros(max(self.known) - lowest + 1, np.uint8)
        for identifier, bits in self.known.items():
            table[identifier - lowest] = bits
        encoded[inside] = table[ids.astype(np.int64) - lowest]
        return encoded

    def _unknown(self, label: np.ndarray, nonzero: np.ndarray) -> list[int]:
        """Ids of an array that are not in the schema, sorted; `nonzero` are its non-zero elements."""
        present = [int(value) for value in np.unique(nonzero)] + ([0] if nonzero.size < label.size else [])
        return sorted(value for value in present if value not in self.known)

    def to_ids(self, classes: np.ndarray, dtype: np.dtype | type = np.uint8) -> np.ndarray:
        """Ids of the data set (each class's first id) for class indices: `dtype`, or a longer one that holds them."""
        ids = [identifiers[0] for identifiers in self.classes.values()]
        bounds = np.iinfo(dtype)
        if min(ids) < bounds.min or max(ids) > bounds.max:
            dtype = np.int16 if min(ids) >= -(2**15) and max(ids) < 2**15 else np.int32
        return np.array(ids, dtype)[classes]

    def _check(self, where: Path) -> None:
        """Refuse a schema with too few or many classes, double ids, a background that is not first, or unknown classes."""
        if not 2 <= len(self.classes) <= MAX_CLASSES:
            raise UserError(f"{where}: expected 2 to {MAX_CLASSES} classes; received {len(self.classes)}")
        ids = [identifier for group in self.classes.values() for identifier in group] + list(self.ignore)
        twice = sorted({identifier for identifier in ids if ids.count(identifier) > 1})
        if twice:
            raise UserError(f"{where}: ids {twice} stand in more than one class")
        if not all(self.classes.values()):
            raise UserError(f"{where}: every class needs at least one id")
        first, *others = self.classes
        if (0 not in self.classes[first] and first.lower() != BACKGROUND) or any(name.lower() == BACKGROUND for name in others):
            raise UserError(
                f"{where}: expected the background as the first class, such as `{BACKGROUND}: 0`; received {first} with ids "
                f"{list(self.classes[first])}; change the order of the classes"
            )
        for region, members in self.regions.items():
            unknown = [name for name in members if name not in self.classes]
            if unknown:
                raise UserError(f"{where}: region {region} names {unknown}, not among the classes {self.class_names}")


def bits_to_classes(bits: np.ndarray) -> np.ndarray:
    """Class indices of a bit-packed one-hot label: uint8, 255 where a voxel is not annotated."""
    table = np.full(256, 255, np.uint8)
    for index in range(MAX_CLASSES):
        table[1 << index] = index
    return table[bits]


def _integers(values: Any) -> tuple[int, ...]:
    """Ids as a tuple, from one id or a list.

    Raises:
        ValueError: an element is not a whole number.
    """
    listed = values if isinstance(values, list | tuple) else [values]
    if any(isinstance(value, bool) or int(value) != value or not LOWEST_ID <= value <= HIGHEST_ID for value in listed):
        raise ValueError(f"{shown(values)} is not a list of whole numbers of {LOWEST_ID} to {HIGHEST_ID}")
    return tuple(int(value) for value in listed)
