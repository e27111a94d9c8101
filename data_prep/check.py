"""Command: check a source of scans, or records, and print a summary and problems."""

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from common import cli
from common.errors import Problems, UserError, problem_lines
from common.parallel import check_workers, map_cases
from common.tables import counted
from data_prep.leakage.comparison import Findings, alike_heads, alike_patients, same_images, same_paths
from data_prep.leakage.fingerprint import Fingerprint, file_fingerprint, fingerprint
from data_prep.records.folder import Records
from data_prep.records.inspection import faults_of_records
from data_prep.scans.case import BRAIN, LABEL, CaseFiles
from data_prep.scans.unusual import WHOLE_CASE, case_doubts, doubt_lines, volume_doubts
from data_prep.sources import open_source
from data_prep.sources.base import Source, SourceConfig
from data_prep.sources.checks import warn_of, without_label

MOST_VALUES = 8  # of one property that are printed


@dataclass(kw_only=True)
class CheckConfig(SourceConfig):
    """Read every voxel of scans, or of records; print a summary, and all that is wrong with any case (exit status 2)."""

    source: Path | None = None
    """Folder of scans, or a CSV table."""
    records: Path | None = None
    """Finished records instead: checksums, counts, labels, intensities, split and folds, and patients with equal voxels."""
    purpose: Literal["records", "prediction"] = "records"
    """What the scans are for: records need an annotation of every case, predictions do not."""
    own_grids: bool = False
    """Channels may have grids and spaces of their own, as glioskull align takes them: each is read by itself."""
    compare_patients: bool = True
    """Compare voxels and heads of patients, to find one patient under two names; else names and bytes of files alone."""
    workers: int | str = 1
    """Processes that read cases in parallel; or a Dask scheduler: its address, such as tcp://host:8786, or its file."""


@dataclass
class CaseSummary:
    """Properties or problems of one case.

    Attributes:
        problems: errors, a line each; the rest is empty then.
        warnings: unusual but legal, a line each.
        doubts: about the case as a whole, such as its background, a line each; of each kind the first is printed.
        shape: native (i, j, k).
        spacing_mm: along i, j, k.
        orientation: directions of i, j and k, such as RAS.
        missing: names of channels that it lacks.
        has_mask: a mask of brain or head is stored.
        voxels: label id -> number of voxels.
        images: with own grids: channel or `label` -> shape, spacing and orientation; the three above are empty then.
        fingerprint: by which patients are compared.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    shape: str = ""
    spacing_mm: str = ""
    orientation: str = ""
    missing: list[str] = field(default_factory=list)
    has_mask: bool = False
    voxels: Counter[int] = field(default_factory=Counter)
    images: dict[str, str] = field(default_factory=dict)
    fingerprint: Fingerprint = field(default_factory=Fingerprint)


def main(config: CheckConfig) -> None:
    """Check a source or records, and print a summary.

    Raises:
        UserError: both were given, or neither.
        Problems: of any case.
    """
    check_workers(config.workers)
    if config.records is not None and config.source is None:
        check_records(config.records)
    elif config.source is not None and config.records is None:
        check_source(config, config.source)
    else:
        received = "both" if config.source is not None else "neither"
        raise UserError(f"expected either --source, scans, or --records, what make_records made of them; received {received}")


def check_records(path: Path) -> None:
    """Inspect finished records and print their size.

    Raises:
        Problems: a line per fault.
    """
    records = Records(path)
    faults, warnings = faults_of_records(records)
    subsets = ", ".join(f"{len(ids)} {name}" for name, ids in records.split.items())
    print(f"records: {path} ({subsets}; {counted(len(records.folds), 'fold')}; fingerprint {records.fingerprint})")
    warn_of(warnings)
    if faults:
        raise Problems(faults, f"{path}: {counted(len(faults), 'fault')}; nothing was changed")


def check_source(config: CheckConfig, root: Path) -> None:
    """Check the scans of a source and print their summary.

    Raises:
        Problems: of any case.
    """
    source = open_source(root, config)
    if inventory := source.inventory():
        print("\n".join(inventory), flush=True)
    cases = source.cases()
    look = inspect_volumes if config.own_grids else inspect
    found = map_cases(partial(look, source, config.compare_patients), cases, config.workers, title="checking")
    lacking = set()
    if config.purpose == "records" and not config.own_grids:
        lacking = {files.id for files in cases if files.label is None}
    bad = lacking | {files.id for files, case in zip(cases, found, strict=True) if case.problems}
    print("\n".join(summary(source, cases, found, len(bad))))
    leaks = compare(cases, found)
    warn_of([*source.source_warnings(), *(line for case in found for line in case.warnings), *leaks.warnings])
    warn_of([line for case in found for line in case.doubts])
    unlabelled = [without_label(case) for case in sorted(lacking)]
    if len(lacking) == len(cases):
        unlabelled = [without_label(str(root), f"none of {counted(len(cases), 'case')} has a label")]
    problems = [*(line for case in found for line in case.problems), *unlabelled]
    if leaks.problems and not problems:
        raise Problems(leaks.problems, f"{root}: {counted(len(leaks.problems), 'scan')} of two patients")
    if problems:
        problems += leaks.problems
        raise Problems(problems, f"{root}: {len(bad)} of {counted(len(cases), 'case')} cannot be used")


def inspect(source: Source, heads: bool, files: CaseFiles) -> CaseSummary:
    """Read every voxel of one case and summarise it."""
    from nibabel.orientations import aff2axcodes

    try:
        case = source.read(files)
    except UserError as error:
        return CaseSummary(problems=source.check(files, deep=True) or problem_lines(error))
    doubts = case_doubts(case)
    whole = doubt_lines(files, {WHOLE_CASE: doubts.pop(WHOLE_CASE, [])})
    warnings = source.warnings(files) + files.constant_warnings(case.constant) + doubt_lines(files, doubts)
    shape = " x ".join(map(str, case.shape))
    found = CaseSummary(warnings=warnings, doubts=whole, shape=shape, missing=case.missing, has_mask=case.brain is not None)
    if case.affine is not None:
        lengths = np.linalg.norm(case.affine[:3, :3], axis=0)
        found.spacing_mm = " x ".join(f"{length:.4g}" for length in lengths)
        found.orientation = "".join(aff2axcodes(case.affine))
    if case.label is not None:
        found.voxels = _label_voxels(source, case.label)
    found.fingerprint = fingerprint(case.channels) if heads else file_fingerprint(files)
    return found


def inspect_volumes(source: Source, heads: bool, files: CaseFiles) -> CaseSummary:
    """Read every voxel of one case, each image on its own grid, and summarise it."""
    from nibabel.orientations import aff2axcodes

    try:
        volumes = source.read_volumes(files)
    except UserError as error:
        return CaseSummary(problems=problem_lines(error))
    found = CaseSummary(missing=[name for name, image in files.channels.items() if image is None])
    for name, volume in volumes.items():
        spacing = " x ".join(f"{length:.4g}" for length in volume.grid.spacing_mm)
        shape = " x ".join(map(str, volume.grid.shape))
        found.images[name] = f"{shape}, {spacing} mm, {''.join(aff2axcodes(volume.affine))}"
    constant = {name: float(volume.array.flat[0]) for name, volume in volumes.items() if np.ptp(volume.array) == 0}
    doubts = doubt_lines(files, volume_doubts(volumes))
    found.warnings = source.volume_warnings(files) + files.constant_warnings(constant) + doubts
    if LABEL in volumes:
        found.voxels = _label_voxels(source, volumes[LABEL].array)
    channels = {name: volume.array for name, volume in volumes.items() if name not in (LABEL, BRAIN)}
    found.fingerprint = fingerprint(channels) if heads else file_fingerprint(files)
    return found


def compare(cases: list[CaseFiles], found: list[CaseSummary]) -> Findings:
    """Compare the patients with each other, by what was read of each case."""
    prints = [case.fingerprint for case in found]
    return Findings([*same_paths(cases), *same_images(cases, prints)], [*alike_patients(cases), *alike_heads(cases, prints)])


def summary(source: Source, cases: list[CaseFiles], found: list[CaseSummary], bad: int) -> list[str]:
    """Lines that describe a source: properties and their values, then a table of label ids.

    Args:
        source, cases: of the check.
        found: a summary for each case.
        bad: number of cases that cannot be used.
    """
    good = [case for case in found if not case.problems]
    patients = len({case.patient for case in cases})
    rows = {
        "source": f"{source.root} (layout {source.layout})",
        "cases": f"{len(cases)}, of {counted(patients, 'patient')}; {bad} cannot be used",
        "labelled": str(sum(case.label is not None for case in cases)),
        "brain masks": str(sum(case.has_mask for case in good) or ""),
        "channels": ", ".join(source.channels),
        "missing (zeros)": _counted(Counter(name for case in good for name in case.missing)),
        "shape": _counted(Counter(case.shape for case in good)),
        "spacing in mm": _counted(Counter(case.spacing_mm for case in good)),
        "orientation": _counted(Counter(case.orientation for case in good)),
    }
    images = dict.fromkeys(name for case in good for name in case.images)
    rows |= {f"grid of {name}": _counted(Counter(case.images.get(name, "") for case in good)) for name in images}
    names = dict.fromkeys(name for case in cases for name in case.attributes)
    rows |= {name: _counted(Counter(case.attributes.get(name, "none") for case in cases)) for name in names}
    table = _label_table(source, good)
    named = [*rows.items(), *([("labels", table[0])] if table else [])]
    width = max(16, *(len(name) for name, value in named if value))
    return [f"{name:<{width}} {value}" for name, value in named if value] + table[1:]


def _label_voxels(source: Source, label: np.ndarray) -> Counter[int]:
    """Number of voxels of each id of the schema that a label has."""
    known = source.schema.known if source.schema else ()
    return +Counter({identifier: int(np.count_nonzero(label == identifier)) for identifier in known})


def _counted(values: Counter[str]) -> str:
    """Values and the number of cases that have each, the commonest first."""
    listed = [f"{value} ({count})" for value, count in values.most_common(MOST_VALUES) if value]
    rest = len(values) - MOST_VALUES
    return ", ".join(listed) + (f" and {rest} others" if rest > 0 else "")


def _label_table(source: Source, good: list[CaseSummary]) -> list[str]:
    """Table of label ids under its title: class, voxels, share of all voxels, and number of cases that have it."""
    voxels: Counter[int] = sum((case.voxels for case in good), Counter())
    if not voxels or source.schema is None:
        return []
    names = {identifier: name for name, ids in source.schema.classes.items() for identifier in ids}
    rows = [("id", "class", "voxels", "share", "cases")]
    for identifier, count in sorted(voxels.items()):
        having = sum(identifier in case.voxels for case in good)
        name, share = names.get(identifier, "not annotated"), f"{count / voxels.total():.4%}"
        rows.append((str(identifier), name, str(count), share, str(having)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    title = f"schema {source.schema.name}, over the {counted(len(good), 'case')} that can be used"
    lines = []
    for first, words, *others in rows:
        numbers = [cell.rjust(width) for cell, width in zip(others, widths[2:], strict=True)]
        lines.append("  " + "  ".join([first.rjust(widths[0]), words.ljust(widths[1]), *numbers]))
    return [title, *lines]


if __name__ == "__main__":
    cli.run(main, CheckConfig)
