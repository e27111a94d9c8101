"""Command: register the channels of every case to a reference and resample them to one grid."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import mean
from typing import Any

from common import cli
from common.errors import UserError, expect_number
from common.files import lock, refuse_inside, remove_unfinished, write_yaml
from common.parallel import check_workers, map_cases
from common.tables import counted
from data_prep.alignment.case import AlignedCase, AlignmentConfig, CaseAligner
from data_prep.alignment.outcome import finish, moved_settings, remove_other_cases
from data_prep.grid.resampling import expect_spacing
from data_prep.records.consistency import refuse_other_config
from data_prep.scans.itk import load_sitk
from data_prep.sources import Source, SourceConfig, open_source
from data_prep.sources.aligned import scans_of, write_aligned, write_manifest
from data_prep.sources.checks import warn_of_kinds


@dataclass(kw_only=True)
class AlignConfig(AlignmentConfig, SourceConfig):
    """Register every channel of a case to a reference channel and resample all to one voxel size, with the annotation.

    Images are interpolated once. The output is a folder that every command takes as --source. A call that was stopped goes on
    where it was; a case that fails is listed, and the others are kept.
    """

    source: Path
    """Folder of scans or a table; the channels of a case may have grids of their own. Never written to."""
    out: Path
    """Folder for the aligned cases."""
    workers: int | str = 1
    """Processes that align cases in parallel; or a Dask scheduler: its address, such as tcp://host:8786, or its file."""


def main(config: AlignConfig) -> None:
    """Align the cases, and print similarities and warnings.

    Raises:
        Problems: a case failed; all others are written.
    """
    check_workers(config.workers)
    expect_number("least_similarity", config.least_similarity, 1, 2)
    expect_number("seed", config.seed, 0)
    expect_number("largest_shift_mm", config.largest_shift_mm, 0)
    expect_number("largest_degrees", config.largest_degrees, 0, 180)
    expect_number("largest_scale", config.largest_scale, 1)
    expect_spacing("spacing_mm", config.spacing_mm)
    if config.register == "never" and config.transform != AlignmentConfig().transform:
        raise UserError(f"--transform {config.transform}: --register never finds no transform; leave one of both out")
    refuse_inside(config.out, config.source)
    if config.register != "never":
        load_sitk("--register")
    source = open_source(config.source, config)
    alignment = AlignmentConfig(**{item.name: getattr(config, item.name) for item in fields(AlignmentConfig)})
    alignment.reference = _channel("reference", config.reference or source.reference_channel, source)
    if config.label_channel is not None:
        _channel("label_channel", config.label_channel, source)
    with lock(config.out):
        cases, settings = source.cases(), _settings(config)
        refuse_other_config(config.out, settings, "aligned scans", moved_settings(config.out, settings, cases))
        remove_unfinished(config.out)
        write_yaml(config.out / "config.yaml", settings)
        scans = scans_of(source)
        write_manifest(config.out, source, source.channels, scans)
        remove_other_cases(config.out, [files.id for files in cases])
        aligner = CaseAligner(source, config.out, alignment)
        found = map_cases(aligner.align, cases, config.workers, title="aligning")
        done = [files for files, each in zip(cases, found, strict=True) if not each.problem]
        if done:
            write_aligned(config.out, source, done, scans)
    lines = [*source.source_warnings(), *(line for files in done for line in source.volume_warnings(files))]
    warn_of_kinds(lines, "glioskull check --own_grids true")
    print("\n".join([*_similarity_lines(found), f"aligned scans: {config.out} ({counted(len(done), 'case')})"]))
    finish(found, "aligned")


def _channel(option: str, name: str, source: Source) -> str:
    """A channel of the source, which an option names."""
    if name not in source.channels:
        raise UserError(f"--{option}: expected one of {', '.join(source.channels)}; received {name}")
    return name


def _settings(config: AlignConfig) -> dict[str, Any]:
    """Settings that decide the output: all options but its place and the workers."""
    settings: dict[str, Any] = cli.as_dict(config)
    for name in ("out", "workers"):
        del settings[name]
    return settings | {"source": str(config.source.resolve())}


def _similarity_lines(found: Sequence[AlignedCase]) -> list[str]:
    """Mean similarity before and after of each channel that was moved, a line for each channel and origin of its transforms."""
    words = {"registration": "registered", "source": "moved by the source's transforms"}
    groups: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for each in found:
        for moved in each.moved:
            groups[moved.channel, words[moved.origin]].append((moved.before, moved.after))
    lines = []
    for (name, how), pairs in groups.items():
        before, after = (mean(values) for values in zip(*pairs, strict=True))
        lines.append(f"{name}: {how} in {counted(len(pairs), 'case')}, mean similarity {before:.3f} -> {after:.3f}")
    return lines


if __name__ == "__main__":
    cli.run(main, AlignConfig)
