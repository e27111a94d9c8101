"""Targets of examples: one for each head, annotated or not."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from data_prep.records.folder import Records
from training.data.batches import LABEL, Example, Examples
from training.heads.base import Head, Targets


@dataclass(frozen=True)
class FolderTargets:
    """Targets of the examples of one records folder, by head.

    Attributes:
        records: the folder.
        heads: all heads of the network, by name.
        annotates: names of those that the folder annotates.
    """

    records: Records
    heads: Mapping[str, Head]
    annotates: frozenset[str]

    @property
    def tumour_only(self) -> bool:
        """True where examples without tumour are annotated for no head."""
        return all(head.tumour_only for name, head in self.heads.items() if name in self.annotates)

    def cases(self, cases: list[str]) -> list[str]:
        """Those of some cases that are annotated for a head at least."""
        annotated = {case for name in self.annotates for case in self.heads[name].annotated(self.records)}
        return [case for case in cases if case in annotated]

    def read(self, case: str, tumour: Callable[[], bool], label: Callable[[], np.ndarray]) -> Targets:
        """Targets of an example before augmentation: the label by `LABEL` where a head needs it, others by head.

        Args:
            case: the example's case.
            tumour: True where the example has tumour; called where a head needs it.
            label: gives the bit-packed label; called where a head needs it.
        """
        targets = {}
        if any(head.per_voxel for head in self.heads.values()):
            targets[LABEL] = label()
        for name, head in self.heads.items():
            if not head.per_voxel:
                target = head.read(self.records, case, tumour() if head.tumour_only else True, name in self.annotates)
                if target is not None:
                    targets[name] = target
        return targets

    @property
    def final(self) -> Callable[[Example], Example] | None:
        """Map from an augmented example to one with a target for each head; None where it has that already."""
        plain = [LABEL if head.per_voxel else name for name, head in self.heads.items()]
        if plain == list(self.heads) and self.annotates == set(self.heads):
            return None
        return lambda example: (
            example[0],
            {name: head.augmented(example[1], name in self.annotates) for name, head in self.heads.items()},
        )

    def unannotated(self, example: Example) -> Example:
        """The example with targets that weigh nothing."""
        return example[0], {name: self.heads[name].unannotated(target) for name, target in example[1].items()}


class Mapped:
    """Source whose examples are mapped as they are read."""

    def __init__(self, source: Examples, function: Callable[[Example], Example]) -> None:
        self._source = source
        self._function = function

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Example:
        return self._function(self._source[index])


class Joined:
    """Sources one behind the other."""

    def __init__(self, sources: list[Examples]) -> None:
        self._sources = sources
        self._ends = np.cumsum([len(source) for source in sources])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Example:
        place = int(np.searchsorted(self._ends, index, side="right"))
        example: Example = self._sources[place][index - (int(self._ends[place - 1]) if place else 0)]
        return example
