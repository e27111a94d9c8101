"""Look at somebody's scans before work starts: what they are, and all that is wrong with them."""

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from common import cli
from common.errors import Problems, UserError
from data_prep.scans.case import Case, CaseFiles
from data_prep.sources.base import Source, SourceConfig

MOST_VALUES = 8  # of one property that are printed


@dataclass(kw_only=True)
class CheckConfig(SourceConfig):
    """Read every voxel of a source's scans; print a summary, and all that is wrong with any case (exit status 2)."""

    source: Path
    """Folder of scans, or a CSV table."""
    workers: int = 1
    """Processes that read cases at the same time."""


@dataclass
class Facts:
    """What is told of one case.

    Attributes:
        problems: what is wrong with it; the rest is empty then.
        warnings: what is odd but legal.
        shape: native (i, j, k).
        spacing_mm: along i, j, k.
        orientation: where i, j and k lead, such as RAS.
        voxels: label id -> number of voxels.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    shape: str = ""
    spacing_mm: str = ""
    orientation: str = ""
    missing: list[str] = field(default_factory=list)
    voxels: Counter[int] = field(default_factory=Counter)


def main(config: CheckConfig) -> None:
    """Check the source and print what was found.

    Raises:
        Problems: something is wrong.
    """
    from data_prep.sources import open_source
    from data_prep.sources.checks import each_case

    source = open_source(config.source, config)
    cases = source.cases()
    found = each_case(partial(inspect, source), cases, config.workers, "checking")
    print("\n".join(summary(source, cases, found)))
    warnings = [line for facts in found for line in facts.warnings]
    if warnings:
        print("\n".join(f"warning: {line}" for line in warnings), file=sys.stderr)
    problems = [line for facts in found for line in facts.problems]
    if problems:
        bad = sum(bool(facts.problems) for facts in found)
        raise Problems(problems, f"{config.source}: {bad} of {len(cases)} cases cannot be used")


def inspect(source: Source, files: CaseFiles) -> Facts:
    """Read one case whole, and tell what it is or all that is wrong with it."""
    try:
        case = source.read(files)
    except UserError as error:
        return Facts(problems=source.check(files, deep=True) or str(error).splitlines())
    return _facts(case, source.schema.known if source.schema else (), source.warnings(files))


def summary(source: Source, cases: list[CaseFiles], found: list[Facts]) -> list[str]:
    """The lines that describe a source: a property and its values, then the label ids."""
    good = [facts for facts in found if not facts.problems]
    missing = Counter(name for facts in good for name in facts.missing)
    rows = {
        "source": f"{source.root} (layout {source.layout})",
        "cases": f"{len(cases)}, of {len({case.patient for case in cases})} patients; {len(cases) - len(good)} cannot be used",
        "labelled": str(sum(case.label is not None for case in cases)),
        "channels": ", ".join(source.channels),
        "missing (zeros)": _counted(missing),
        "shape": _counted(Counter(facts.shape for facts in good)),
        "spacing in mm": _counted(Counter(facts.spacing_mm for facts in good)),
        "orientation": _counted(Counter(facts.orientation for facts in good)),
    }
    names = dict.fromkeys(name for case in cases for name in case.attributes)
    rows |= {name: _counted(Counter(case.attributes.get(name, "none") for case in cases)) for name in names}
    return [f"{name:<16} {value}" for name, value in rows.items() if value] + _label_table(source, good)


def _facts(case: Case, known: Iterable[int], warnings: list[str]) -> Facts:
    import numpy as np
    from nibabel.orientations import aff2axcodes

    facts = Facts(warnings=warnings, shape=" x ".join(map(str, case.shape)), missing=case.missing)
    if case.affine is not None:
        lengths = np.linalg.norm(case.affine[:3, :3], axis=0)
        facts.spacing_mm = " x ".join(f"{length:.4g}" for length in lengths)
        facts.orientation = "".join(aff2axcodes(case.affine))
    if case.label is not None:
        facts.voxels = +Counter({identifier: int(np.count_nonzero(case.label == identifier)) for identifier in known})
    return facts


def _counted(values: Counter[str]) -> str:
    """Each value and how many cases have it, the commonest first."""
    shown = [f"{value} ({count})" for value, count in values.most_common(MOST_VALUES) if value]
    rest = len(values) - MOST_VALUES
    return ", ".join(shown) + (f" and {rest} others" if rest > 0 else "")


def _label_table(source: Source, good: list[Facts]) -> list[str]:
    """A line per label id: its class, voxels, share of all voxels, and in how many cases it occurs."""
    voxels: Counter[int] = sum((facts.voxels for facts in good), Counter())
    if not voxels or source.schema is None:
        return []
    names = {identifier: name for name, ids in source.schema.classes.items() for identifier in ids}
    rows = [
        (
            str(identifier),
            names.get(identifier, "not annotated"),
            f"{count}",
            f"{count / voxels.total():.4%}",
            _cases(good, identifier),
        )
        for identifier, count in sorted(voxels.items())
    ]
    title = f"labels           schema {source.schema.name}, over the {len(good)} cases that can be used"
    return [title, *_aligned([("id", "class", "voxels", "share", "cases"), *rows])]


def _cases(good: list[Facts], identifier: int) -> str:
    return str(sum(identifier in facts.voxels for facts in good))


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Rows as columns of even width; the second, of words, to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [f"  {_line(row, widths)}" for row in rows]


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    first, words, *others = row
    left = [first.rjust(widths[0]), words.ljust(widths[1])]
    return "  ".join(left + [cell.rjust(width) for cell, width in zip(others, widths[2:], strict=True)])


if __name__ == "__main__":
    cli.run(main, CheckConfig)
