"""Cases with a known class, from records or from a source of scans."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from common.errors import Problems, UserError
from common.files import checksum
from common.tables import counted
from data_prep.categories import normalised_classes
from data_prep.leakage.same_scans import ScanChecksums
from data_prep.prepare import prepare
from data_prep.records.folder import Records
from data_prep.scans.case import CaseFiles
from data_prep.sources import SourceConfig, open_source
from data_prep.sources.checks import check_cases
from evaluation.inference.provenance import scan_warnings
from training.run import Run


@dataclass(frozen=True)
class Volume:
    """Prepared volume of a case, as a run's network takes it.

    Attributes:
        image: (Z, H, W, C), in its stored dtype.
        inside: (Z, H, W) bool, mask of the patient; None in records, whose crop is kept.
        spacing_mm: distance of voxels along z, y and x; None where the source has no geometry.
    """

    image: np.ndarray
    inside: np.ndarray | None
    spacing_mm: tuple[float, float, float] | None


@dataclass(frozen=True)
class LabelledCase:
    """Case of a patient whose class is known.

    Attributes:
        id, patient: of the case.
        target: class index.
        scan: checksums of its files and, in records, of its images.
        content: text that is equal for equal voxels of equal channels.
        read: run -> its volume.
    """

    id: str
    patient: str
    target: int
    scan: ScanChecksums
    content: str
    read: Callable[[Run], Volume]


@dataclass(frozen=True)
class LabelledCases:
    """Cases with a known class, and their classes.

    Attributes:
        cases: in the order of the records or the source.
        attribute: of the patients.
        classes: name -> values of the attribute; of two the last one is the positive one.
        warnings: about the source and about scans that were read so far, a line each; none of records.
    """

    cases: list[LabelledCase]
    attribute: str
    classes: dict[str, list[str]]
    warnings: list[str] = field(default_factory=list)

    @property
    def patients(self) -> dict[str, int]:
        """Patient -> class index."""
        return {case.patient: case.target for case in self.cases}

    def counts(self) -> dict[str, int]:
        """Class -> number of patients."""
        found = Counter(self.patients.values())
        return {name: found[index] for index, name in enumerate(self.classes)}


def from_records(
    records: Records, attribute: str, classes: dict[str, list[str]], wanted: Sequence[str] | None = None
) -> LabelledCases:
    """Cases of records that have a value of an attribute.

    Args:
        records: of the cases.
        attribute: of the patients.
        classes: name -> values of the attribute; empty: the values in the records, sorted.
        wanted: ids of the cases; None: all.

    Raises:
        UserError: fewer than two classes, a value of no class, a patient with two, or an unknown case.
    """
    path = records.path
    chosen = _chosen(records.cases, wanted, path)
    values = {case: records.cases[case].attributes for case in chosen}
    classes, targets = _targets(values, attribute, classes, path)
    opened: dict[tuple[str, ...], Records] = {}

    def reader(case: str) -> Callable[[Run], Volume]:
        def read(run: Run) -> Volume:
            key = tuple(run.channels)
            if key not in opened:
                opened[key] = run.open_records(path)
            spacing = records.cases[case].grid.spacing_mm
            return Volume(np.asarray(opened[key].shard(case).image), None, spacing)

        return read

    cases = []
    for case, target in targets.items():
        record, content = records.cases[case], f"record {records.checksum(case)}"
        cases.append(LabelledCase(case, record.patient, target, record.scan, content, reader(case)))
    return _checked(cases, attribute, classes, path)


def from_source(
    root: Path,
    config: SourceConfig,
    attribute: str,
    classes: dict[str, list[str]],
    runs: Sequence[Run],
    wanted: Sequence[str] | None = None,
) -> LabelledCases:
    """Cases of a source that have a value of an attribute, prepared as each run's training data were, but not cropped.

    Args:
        root: the source.
        config: options of reading.
        attribute, classes, wanted: as of `from_records`.
        runs: by which the cases will be read; the scans are checked for the channels of each.

    Raises:
        UserError: as of `from_records`, or other channels than those of the runs.
        Problems: scans that cannot be read.
    """
    for run in runs:
        if config.channels not in (None, run.channels):
            raise UserError(f"--channels: {run.path} was trained on {', '.join(run.channels)}; leave --channels out")
    sources = {run.path: open_source(root, replace(config, channels=run.channels), run.schema) for run in runs}
    first = next(iter(sources.values()))
    by_id = {files.id: files for files in first.cases()}
    chosen = _chosen(by_id, wanted, root)
    classes, targets = _targets({case: by_id[case].attributes for case in chosen}, attribute, classes, root)
    problems = list(
        dict.fromkeys(line for each in sources.values() for line in check_cases(each, _named(each.cases(), targets)))
    )
    if problems:
        raise Problems(problems, f"{counted(len(problems), 'problem')}; leave cases out by --cases; nothing was computed")

    warnings = list(first.source_warnings())

    def reader(case: str) -> Callable[[Run], Volume]:
        def read(run: Run) -> Volume:
            source = sources[run.path]
            (files,) = _named(source.cases(), [case])
            scan = source.read(files)
            prepared = prepare(scan, None, replace(run.preparation, crop=None))
            warnings.extend([*source.warnings(files), *scan_warnings(scan, prepared.grid.spacing_mm, [run])])
            return Volume(prepared.image, prepared.inside, prepared.grid.spacing_mm)

        return read

    cases = []
    for case, target in targets.items():
        files = [(path.stat().st_size, int(checksum(path), 16)) for path in by_id[case].paths]
        content = f"scan {sorted(crc for _, crc in files)}"
        scan = ScanChecksums(case, frozenset(files))
        cases.append(LabelledCase(case, by_id[case].patient, target, scan, content, reader(case)))
    return replace(_checked(cases, attribute, classes, root), warnings=warnings)


def _named(cases: Sequence[CaseFiles], wanted: Mapping[str, int] | Sequence[str]) -> list[CaseFiles]:
    return [files for files in cases if files.id in wanted]


def _chosen(known: Mapping[str, object], wanted: Sequence[str] | None, where: Path) -> list[str]:
    """Ids of the cases that are asked for.

    Raises:
        UserError: one is unknown.
    """
    unknown = sorted(set(wanted or ()) - set(known))
    if unknown or (wanted is not None and not wanted):
        found = f"{unknown[0]}, which is no case of {where}" if unknown else "none"
        raise UserError(f"--cases: expected ids of cases, one a line; received {found}")
    return [case for case in known if wanted is None or case in wanted]


def _targets(
    attributes: Mapping[str, Mapping[str, str]], attribute: str, classes: dict[str, list[str]], where: Path
) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Classes, and case -> class index of the cases that have a value.

    Raises:
        UserError: fewer than two classes, a value twice, or a value of no class.
    """
    values = {case: given[attribute] for case, given in attributes.items() if given.get(attribute)}
    classes = normalised_classes(classes) or {value: [value] for value in sorted(set(values.values()))}
    listed = Counter(value for group in classes.values() for value in group)
    twice = [value for value, number in listed.items() if number > 1]
    if twice:
        raise UserError(f"--classes: expected classes with different values; received {twice[0]} twice")
    if len(classes) < 2:
        known = ", ".join(sorted({name for given in attributes.values() for name in given})) or "none"
        raise UserError(
            f"{where}: expected cases with two values of --attribute {attribute} at least; received "
            f"{', '.join(classes) or 'none'}; the attributes are {known}"
        )
    index = {value: place for place, group in enumerate(classes.values()) for value in group}
    strange = next((case for case, value in values.items() if value not in index), None)
    if strange is not None:
        raise UserError(
            f"{where}: case {strange}: {attribute} is {values[strange]!r}, which no class of --classes names; "
            "add it, or leave its cases out by --cases"
        )
    return classes, {case: index[value] for case, value in values.items()}


def _checked(cases: list[LabelledCase], attribute: str, classes: dict[str, list[str]], where: Path) -> LabelledCases:
    """The cases, refused where a patient has two classes."""
    targets: dict[str, int] = {}
    for case in cases:
        if targets.setdefault(case.patient, case.target) != case.target:
            raise UserError(
                f"{where}: patient {case.patient}: expected one {attribute} in all cases; received several; "
                "leave the patient out by --cases"
            )
    return LabelledCases(cases, attribute, classes)
