"""Comparison of the patients of a source with each other, before a split is made.

In rising cost: ids that are alike, images in the same files, of the same bytes or voxels, and heads that look alike.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations
from os.path import realpath
from pathlib import Path

import numpy as np

from common.files import checksum
from common.parallel import map_cases
from common.tables import counted
from data_prep.leakage.fingerprint import Fingerprint, file_fingerprint, fingerprint
from data_prep.leakage.names import OPTION, alike_names
from data_prep.leakage.thumbnail import CELLS, correlations
from data_prep.scans.case import CaseFiles
from data_prep.sources.base import Source

ALIKE = 0.65
"""Correlation of two thumbnails above which patients are warned about; measured by benchmarks.leakage (docs/data.md)."""
MOST_PAIRS = 20  # of heads that look alike, that are listed


@dataclass(frozen=True)
class Findings:
    """Leaks found between cases of different patients.

    Attributes:
        problems: patients with the same scan, a line each.
        warnings: patients that may be one, a line each.
        voxels: case -> checksums of its images by channel, of the cases whose voxels were read.
    """

    problems: list[str]
    warnings: list[str]
    voxels: dict[str, Mapping[str, str]] = field(default_factory=dict)


def case_fingerprint(source: Source, heads: bool, files: CaseFiles) -> Fingerprint:
    """Fingerprint of a case whose channels are read for it; with `heads` false by the bytes of its files alone.

    Raises:
        UserError: it cannot be read.
    """
    if not heads:
        return file_fingerprint(files)
    return fingerprint(source.read(replace(files, label=None, brain=None)).channels)


def read_and_compare(source: Source, cases: Sequence[CaseFiles], heads: bool, workers: int | str = 1) -> Findings:
    """Compare the patients of some cases, of which each is read once.

    Args:
        source: of the cases.
        cases: that can be read.
        heads: compare voxels and thumbnails too, not only names and bytes.
        workers: as of `common.parallel.map_cases`.
    """
    if len({files.patient for files in cases}) < 2:
        return Findings([], [])
    shared = same_paths(cases)
    found = map_cases(partial(case_fingerprint, source, heads), cases, workers, title="comparing patients")
    voxels = {files.id: each.voxels for files, each in zip(cases, found, strict=True)} if heads else {}
    return Findings([*shared, *same_images(cases, found)], [*alike_patients(cases), *alike_heads(cases, found)], voxels)


def alike_patients(cases: Sequence[CaseFiles]) -> list[str]:
    """Warnings about patients whose ids are alike, a line each."""
    return alike_names([files.patient for files in cases])


def same_paths(cases: Sequence[CaseFiles]) -> list[str]:
    """Files of a channel that several patients name, a line for the first of them with each other."""
    users: defaultdict[tuple[str, int | None], dict[str, CaseFiles]] = defaultdict(dict)
    for files in cases:
        for image in files.channels.values():
            if image is not None:
                users[realpath(image.path), image.index].setdefault(files.patient, files)
    lines: dict[tuple[str, str], str] = {}
    for (path, _), named in users.items():
        one, *others = named.values()
        for other in others:
            place = "" if one.anonymous else f"{path}: "
            lines.setdefault((one.id, other.id), f"{place}is an image of {_pair(one, other)}; {_remedy()}")
    return list(lines.values())


def same_images(cases: Sequence[CaseFiles], found: Sequence[Fingerprint]) -> list[str]:
    """Patients with the same image in two files, a line for the first patient with each other."""
    holders: defaultdict[str, list[tuple[CaseFiles, str]]] = defaultdict(list)
    for files, each in zip(cases, found, strict=True):
        for name, value in {**each.files, **each.voxels}.items():
            holders[value].append((files, name))
    lines: dict[tuple[str, str], str] = {}
    for (one, first), *others in holders.values():
        for other, second in others:
            paths = [files.channels[name] for files, name in ((one, first), (other, second))]
            if one.patient == other.patient or paths[0] == paths[1] or None in paths or (one.id, other.id) in lines:
                continue
            same = "bytes" if _same_bytes([image.path for image in paths if image is not None]) else "voxels"
            places = f"{first} and {second}" if one.anonymous or other.anonymous else f"{paths[0]} and {paths[1]}"
            lines[one.id, other.id] = f"{places}: {_pair(one, other)} have the same {same}; {_remedy()}"
    return list(lines.values())


def alike_heads(cases: Sequence[CaseFiles], found: Sequence[Fingerprint], bound: float = ALIKE) -> list[str]:
    """Warnings about patients whose heads look alike and whose images are not the same: a line for each pair of cases, the most
    alike first, and one for those beyond `MOST_PAIRS`.
    """
    alike = [
        (value, i, j)
        for (i, j), value in head_correlations(cases, found).items()
        if value > bound and not set(found[i].voxels.values()) & set(found[j].voxels.values())
    ]
    lines = [
        f"{_pair(cases[i], cases[j])} have heads that look like one (correlation {value:.2f}, of different patients below "
        f"{bound:g}): {_remedy('let it be')}"
        for value, i, j in sorted(alike, key=lambda each: (-each[0], *each[1:]))[:MOST_PAIRS]
    ]
    rest = len(alike) - len(lines)
    return [*lines, *([f"{counted(rest, 'more pair')} of patients have heads that look like one"] if rest else [])]


def head_correlations(cases: Sequence[CaseFiles], found: Sequence[Fingerprint]) -> Mapping[tuple[int, int], float]:
    """Correlation of the heads of cases of different patients: places of both, the smaller first -> largest correlation."""
    places = [place for place, each in enumerate(found) if each.thumbnails]
    if len(places) < 2:
        return {}
    channels = list(dict.fromkeys(name for each in found for name in each.thumbnails))
    empty = np.zeros((CELLS,) * 3, np.float32)
    table = correlations(np.stack([[found[place].thumbnails.get(name, empty) for name in channels] for place in places]))
    pairs = combinations(range(len(places)), 2)
    return {
        (places[i], places[j]): float(table[i, j]) for i, j in pairs if cases[places[i]].patient != cases[places[j]].patient
    }


def _same_bytes(paths: Sequence[Path]) -> bool:
    """True for two files of equal bytes; False where one is a folder of slices."""
    one, other = paths
    if not (one.is_file() and other.is_file()) or one.stat().st_size != other.stat().st_size:
        return False
    return checksum(one) == checksum(other)


def _pair(one: CaseFiles, other: CaseFiles) -> str:
    names = [files.id if files.id == files.patient else f"{files.patient} (case {files.id})" for files in (one, other)]
    return f"patients {names[0]} and {names[1]}"


def _remedy(otherwise: str = "remove one") -> str:
    return f"if they are one, give both one patient id (a table's patient_id, or {OPTION}), else {otherwise}"
