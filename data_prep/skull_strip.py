"""Command: find the brain, or the head, in every case, and write a source of stripped scans."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import mean
from typing import Any

from common import cli
from common.errors import UserError, expect_number
from common.files import lock, refuse_inside, remove_unfinished, write_yaml
from common.parallel import map_cases
from common.tables import counted
from data_prep.alignment.outcome import finish, moved_settings, remove_other_cases
from data_prep.brain.case import CaseStripper, StrippedCase, StrippingConfig
from data_prep.brain.extraction import BrainExtractor
from data_prep.brain.hd_bet_weights import NETWORKS, find_weights
from data_prep.grid.geometry import AXES
from data_prep.grid.resampling import expect_spacing
from data_prep.records.consistency import refuse_other_config
from data_prep.scans.itk import load_sitk
from data_prep.sources import Source, SourceConfig, open_source
from data_prep.sources.aligned import AlignedSource, scans_of, write_aligned, write_manifest
from data_prep.sources.checks import warn_of_kinds


@dataclass(kw_only=True)
class SkullStripConfig(StrippingConfig, SourceConfig):
    """Find the brain in every case by HD-BET, or the head by a threshold; store the mask and clear what lies outside.

    The output is a folder that every command takes as --source; its masks serve crops, statistics and predictions. A call that
    was stopped goes on where it was; a case that fails is listed, and the others are kept.
    """

    source: Path
    """Folder of scans or a table; the channels of a case share a grid. Never written to."""
    out: Path
    """Folder for the stripped cases."""


def main(config: SkullStripConfig) -> None:
    """Strip the cases, and print volumes and warnings.

    Raises:
        Problems: a case failed; all others are written.
    """
    check_options(config)
    refuse_inside(config.out, config.source)
    if config.bias_correction:
        load_sitk("--bias_correction")
    if config.method == "hd_bet":
        for number in range(config.networks):
            find_weights(number)
    source = open_source(config.source, config)
    options = StrippingConfig(**{item.name: getattr(config, item.name) for item in fields(StrippingConfig)})
    options.channel = config.channel or source.channels[0]
    check_source(source, options)
    with lock(config.out):
        cases, settings = source.cases(), _settings(config)
        refuse_other_config(config.out, settings, "stripped scans", moved_settings(config.out, settings, cases))
        remove_unfinished(config.out)
        write_yaml(config.out / "config.yaml", settings)
        scans = source.origin_scans if isinstance(source, AlignedSource) else scans_of(source)
        write_manifest(config.out, source, source.channels, scans)
        remove_other_cases(config.out, [files.id for files in cases])
        extractor = BrainExtractor(config.networks, config.flips, config.precision)
        stripper = CaseStripper(source, config.out, options, extractor)
        found = map_cases(stripper.strip, cases, title="stripping")
        done = [files for files, each in zip(cases, found, strict=True) if not each.problem]
        if done:
            write_aligned(config.out, source, done, scans)
    lines = [*source.source_warnings(), *(line for files in done for line in source.warnings(files))]
    warn_of_kinds(lines, "glioskull check")
    lines = _summary_lines([each for each in found if not each.problem], config.method, options.channel)
    print("\n".join([*lines, f"stripped scans: {config.out} ({counted(len(done), 'case')})"]))
    finish(found, "stripped")


def check_options(config: StrippingConfig) -> None:
    """Refuse options that are out of range or of the other method.

    Raises:
        UserError: names the option.
    """
    expect_number("networks", config.networks, 1, NETWORKS)
    expect_number("margin_mm", config.margin_mm, 0)
    wrong = [axis for axis in config.flips if axis not in AXES or config.flips.count(axis) > 1]
    if wrong:
        known, received = ", ".join(sorted(AXES)), ", ".join(config.flips)
        raise UserError(f"--flips: expected different axes out of {known}; received {received}")
    if config.spacing_mm is not None and len(config.spacing_mm) != len(AXES):
        received = " ".join(f"{length:g}" for length in config.spacing_mm)
        raise UserError(f"--spacing_mm: expected millimetres of slices, rows and columns; received {received}")
    expect_spacing("spacing_mm", config.spacing_mm)
    if config.method == "head":
        defaults = StrippingConfig()
        for name in ("networks", "flips", "precision"):
            if getattr(config, name) != getattr(defaults, name):
                raise UserError(f"--{name}: belongs to --method hd_bet; leave it out")


def check_source(source: Source, options: StrippingConfig) -> None:
    """Refuse a channel that the source lacks, and a spacing where it has its own or none is given.

    Raises:
        UserError: names the option.
    """
    if options.channel not in source.channels:
        raise UserError(f"--channel: expected one of {', '.join(source.channels)}; received {options.channel}")
    if not source.has_geometry and options.spacing_mm is None:
        raise UserError(f"{source.root}: layout {source.layout} has no voxel sizes; give --spacing_mm, such as 5 0.94 0.94")
    if source.has_geometry and options.spacing_mm is not None:
        raise UserError(f"--spacing_mm: layout {source.layout} has voxel sizes of its own; leave it out")


def _settings(config: SkullStripConfig) -> dict[str, Any]:
    """Settings that decide the output: all options but its place."""
    settings: dict[str, Any] = cli.as_dict(config)
    del settings["out"]
    return settings | {"source": str(config.source.resolve())}


def _summary_lines(found: Sequence[StrippedCase], method: str, channel: str) -> list[str]:
    """Volumes of the masks, and the share of the annotations inside them, a line each."""
    if not found:
        return []
    noun, volumes = "brain" if method == "hd_bet" else "head", [each.millilitres for each in found]
    lines = [f"{noun} (found in {channel}): mean {mean(volumes):.0f} ml, {min(volumes):.0f} to {max(volumes):.0f} ml"]
    shares = {each.id: each.annotation_inside for each in found if each.annotation_inside is not None}
    if shares:
        worst = min(shares, key=lambda case: shares[case])
        lines.append(f"annotation inside the mask: mean {mean(shares.values()):.2%}, least {shares[worst]:.2%} ({worst})")
    return lines


if __name__ == "__main__":
    cli.run(main, SkullStripConfig)
