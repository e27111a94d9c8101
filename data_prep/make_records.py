"""Command: build records from a source of scans."""

import shutil
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import cli
from common.errors import Problems, UserError, expect_number
from common.files import lock, refuse_inside, remove_unfinished, write_json, write_text, write_yaml
from common.parallel import check_workers, map_cases
from common.tables import counted
from data_prep.augmentation.draw import CopiesConfig
from data_prep.labels import LabelSchema
from data_prep.leakage.comparison import read_and_compare
from data_prep.prepare import PrepareConfig, uncropped_grid, without_mask
from data_prep.records import croissant
from data_prep.records.build import Builder, BuiltCase
from data_prep.records.consistency import ADVICE as OTHERWISE
from data_prep.records.consistency import refuse_other_config, refuse_other_files, refuse_other_scans
from data_prep.records.folder import MANIFEST, Item, Records, case_path
from data_prep.records.manifests import FORMAT, read_case, read_dataset
from data_prep.records.shard import ADVICE, shard_layout
from data_prep.records.verification import Damage, damaged_shards, properties_checksums
from data_prep.scans.case import CaseFiles
from data_prep.scans.unusual import doubt_lines
from data_prep.sources import Source, SourceConfig, open_source
from data_prep.sources.checks import check_cases, warn_of, warn_of_kinds, without_label
from data_prep.split import Split, SplitConfig, make_folds, make_split, stratify_warning

WORTH_A_WARNING = 0.01  # share of a tumour that a crop may cut off in silence


@dataclass(kw_only=True)
class MakeRecordsConfig(SourceConfig):
    """Build records (TFRecord) from a folder or table of scans: check, normalise, crop, encode, augment, split.

    A build that was stopped goes on where it was. A finished one is verified, and what is missing or damaged is built again.
    """

    source: Path
    """Folder of scans in a layout that --layout lists, such as BraTS, DICOM or the output of glioskull align, or a CSV table;
    never written to."""
    out: Path
    """Folder for the records."""
    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    """Orientation, intensities and crop."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """Training, validation and test patients."""
    augment: CopiesConfig = field(default_factory=CopiesConfig)
    """Augmented copies of the cases that are not for test."""
    seed: int = 0
    """Seed of the augmented copies."""
    compare_patients: bool = True
    """Compare voxels and heads of different patients before anything is built, to find one patient under two names; else names
    and bytes of files alone."""
    workers: int | str = 2
    """Processes that build cases in parallel; or a Dask scheduler: its address, such as tcp://host:8786, or its file."""


def main(config: MakeRecordsConfig) -> None:
    """Build the records and print their summary."""
    config.prepare.check()
    expect_number("seed", config.seed, 0)
    check_workers(config.workers)
    refuse_inside(config.out, config.source)
    source = open_source(config.source, config)
    if source.schema is None:
        raise UserError(
            f"{config.source}: none of its cases has a label, which records need (glioskull check lists what it has)"
        )
    warn_of_kinds(source.source_warnings(), "glioskull check")
    config.prepare = config.prepare.of_channels(source.channels)
    if config.augment.fill:
        expect_number("augment.fill_from", config.augment.fill_from, 0, len(source.channels) - 1)
    with lock(config.out):
        refuse_other_config(config.out, _settings(config))
        cases = source.cases()
        split = make_split(cases, config.split)
        if warning := stratify_warning(cases, config.split):
            print(f"warning: {warning}", file=sys.stderr)
        named = {case for subset in split.values() for case in subset}
        if len(named) < len(cases):
            left_out = len(cases) - len(named)
            print(f"{left_out} of {counted(len(cases), 'case')} left out: in no list of {config.split.file}")
        cases = [case for case in cases if case.id in named]
        folds = make_folds([case for case in cases if case.id not in split["test"]], config.split)
        copies = {case.id: 0 if case.id in split["test"] else config.augment.copies for case in cases}
        damaged = _damaged(config.out, copies)
        unread = {case for (case, copy), damage in damaged.items() if copy == 0 and damage.file.suffix == ".json"}
        refuse_other_scans(config.out, cases, unread)
        refuse_other_files(config.out, split, source.schema)
        is_finished = (config.out / MANIFEST).is_file()
        if is_finished and damaged:
            _build(
                source,
                source.schema,
                [case for case in cases if any(case.id == name for name, _ in damaged)],
                copies,
                config,
                damaged,
            )
            _commit_repair(config.out, copies, damaged)
        if not is_finished:
            built = _build(source, source.schema, cases, copies, config, damaged)
            _warn_of_contents(list(zip(cases, built, strict=True)))
            _commit(source, source.schema, cases, copies, split, folds, config)
    records = Records(config.out)
    parts = ", ".join(f"{len(ids)} {name}" for name, ids in records.split.items())
    divided = f"; {counted(len(records.folds), 'fold')}" if records.folds else ""
    channels = ", ".join(records.channels)
    print(f"records: {config.out} ({parts}{divided}; channels {channels}; fingerprint {records.fingerprint})")


def _damaged(records: Path, copies: dict[str, int]) -> dict[Item, Damage]:
    """Shards of a build that are damaged, and missing ones of a finished build; the first is printed."""
    items = [(case, copy) for case, count in copies.items() for copy in range(count + 1)]
    if (records / MANIFEST).is_file():
        manifest = read_dataset(records / MANIFEST)
        items = [(case, copy) for case, copy in items if copy < len(manifest["cases"].get(case, []))]
    else:
        manifest = {}
        items = [(case, copy) for case, copy in items if case_path(records, case, copy, ".json").is_file()]
    damaged = damaged_shards(records, items, manifest)
    if damaged:
        first = next(iter(damaged.values())).problem.removesuffix(f"; {ADVICE}")
        print(f"{records}: {counted(len(damaged), 'shard')} missing or damaged, which will be built again; the first: {first}")
    return damaged


def _build(
    source: Source,
    schema: LabelSchema,
    cases: list[CaseFiles],
    copies: dict[str, int],
    config: MakeRecordsConfig,
    damaged: Collection[Item],
) -> list[BuiltCase]:
    """Check the scans and the disk, and build what the cases lack, damaged shards included."""
    _refuse_bad_cases(source, cases, config)
    voxels = {} if (config.out / MANIFEST).is_file() else _compare_patients(source, cases, config)
    for case, copy in damaged:
        case_path(config.out, case, copy, ".json").unlink(missing_ok=True)
    _check_disk(source, cases, copies, config)
    remove_unfinished(config.out)
    write_yaml(config.out / "config.yaml", _settings(config))
    builder = Builder(source, schema, config.out, config.prepare, config.augment, copies, config.seed, voxels)
    return map_cases(builder.build, cases, config.workers, title="building records")


def _commit_repair(records: Path, copies: dict[str, int], repaired: Collection[Item]) -> None:
    """Expect that shards that were built again equal those of before, and store the checksums of their JSON files.

    Raises:
        Problems: a line per shard that differs.
    """
    before = read_dataset(records / MANIFEST)
    manifest = before | {"properties": properties_checksums(records, copies)}
    others = damaged_shards(records, list(repaired), manifest)
    if others:
        lines = [f"{damage.file}: was built again from its scans, and is not what it was" for damage in others.values()]
        raise Problems(lines, f"{records}: built by other versions of the packages; {OTHERWISE}")
    if manifest != before:
        write_json(records / MANIFEST, manifest)


def _settings(config: MakeRecordsConfig) -> dict[str, Any]:
    """Settings that decide the records' content: all options but their place and the workers."""
    settings: dict[str, Any] = cli.as_dict(config)
    prepare = {name: settings["prepare"][name] for name in config.prepare.to_dict()}
    for name in ("out", "workers", "compare_patients"):
        del settings[name]
    return settings | {"prepare": prepare, "source": str(config.source.resolve())}


def _refuse_bad_cases(source: Source, cases: list[CaseFiles], config: MakeRecordsConfig) -> None:
    """Check all cases before work starts, and print a warning of each kind.

    Raises:
        Problems: a line per problem of any case.
    """
    problems = [without_label(case.id) for case in cases if case.label is None]
    if config.prepare.statistics == "brain":
        problems += [without_mask(case.id) for case in cases if case.brain is None]
    problems += check_cases(source, cases, config.workers)
    if problems:
        raise Problems(
            problems,
            f"{counted(len(problems), 'problem')} in {counted(len(cases), 'case')} of {config.source}; nothing was built",
        )
    warn_of_kinds([line for case in cases for line in source.warnings(case)], "glioskull check")
    if config.prepare.spacing_mm is not None and any(source.scanner_grid(case) is not None for case in cases):
        advice = "leave --prepare.spacing_mm out, and give glioskull align that voxel size"
        print(f"warning: these scans were resampled by glioskull align and are resampled once more; {advice}", file=sys.stderr)


def _compare_patients(source: Source, cases: list[CaseFiles], config: MakeRecordsConfig) -> Mapping[str, Mapping[str, str]]:
    """Warn of patients that may be one, whom the split may put on two sides; checksums of the images that were read.

    Raises:
        Problems: a line per scan that two patients have.
    """
    found = read_and_compare(source, cases, config.compare_patients, config.workers)
    warn_of(found.warnings)
    if found.problems:
        raise Problems(
            found.problems, f"{config.source}: {counted(len(found.problems), 'scan')} of two patients; nothing was built"
        )
    return found.voxels


def _check_disk(source: Source, cases: list[CaseFiles], copies: dict[str, int], config: MakeRecordsConfig) -> None:
    """Print the disk space that the records need.

    Raises:
        UserError: the disk has less.
    """
    size = config.prepare.size if config.prepare.crop is not None else None
    z, y, x = size or _scan_size(source, cases[0], config)  # without a fixed size that of a scan: an upper bound
    layout = shard_layout((z, y, x, len(cases[0].channels)), config.prepare.dtype, cases[0].id)
    shards = [(case.id, copy) for case in cases for copy in range(copies[case.id] + 1)]
    missing = sum(not case_path(config.out, case, copy, ".json").is_file() for case, copy in shards)
    need, free = missing * layout.file_size, shutil.disk_usage(config.out).free
    built = f"{counted(len(cases), 'case')}, {counted(missing, 'shard')} to build"
    print(f"{built}: about {need / 1e9:.2f} GB of disk, {free / 1e9:.0f} GB free")
    if need > free:
        raise UserError(f"{config.out}: the records need {need / 1e6:,.0f} MB and the disk has {free / 1e6:,.0f} MB free")


def _scan_size(source: Source, files: CaseFiles, config: MakeRecordsConfig) -> tuple[int, int, int]:
    """Voxels of an uncropped prepared scan along z, y, x; with `spacing_mm` the scan is read."""
    if config.prepare.spacing_mm is None:
        i, j, k = source.shape(files)
        return k, j, i
    return uncropped_grid(source.read(files), config.prepare).geometry.size


def _warn_of_contents(built: list[tuple[CaseFiles, BuiltCase]]) -> None:
    """Print what is unusual about images, brains that the crop did not find, and the shares of the tumours that it cuts off."""
    for files, facts in built:
        for line in files.constant_warnings(facts.constant):
            print(f"warning: {line}", file=sys.stderr)
    warn_of_kinds([line for files, facts in built for line in doubt_lines(files, facts.unusual)], "glioskull check")
    if unknown := [files.id for files, facts in built if facts.brain_unknown]:
        print(
            f"warning: --prepare.crop brain found no brain in {len(unknown)} of {counted(len(built), 'case')} ({unknown[0]}"
            f"{', ...' if len(unknown) > 1 else ''}): no mask, and voxels that are not zero on all sides; "
            "make masks by glioskull skull_strip",
            file=sys.stderr,
        )
    cut = sorted(
        ((facts.tumour_lost, files.id) for files, facts in built if facts.tumour_lost >= WORTH_A_WARNING), reverse=True
    )
    if cut:
        worst = ", ".join(f"{case} {share:.1%}" for share, case in cut[:5])
        print(
            f"warning: the crop cuts off at least {WORTH_A_WARNING:.0%} of the tumour of {len(cut)} of "
            f"{counted(len(built), 'case')}: {worst}{', ...' if len(cut) > 5 else ''}; "
            "a larger --prepare.size or --prepare.crop brain keeps more",
            file=sys.stderr,
        )


def _commit(
    source: Source,
    schema: LabelSchema,
    cases: list[CaseFiles],
    copies: dict[str, int],
    split: Split,
    folds: list[Split],
    config: MakeRecordsConfig,
) -> None:
    """Write the lists of the subsets, then the manifest that commits the records."""
    checksums = {
        case.id: [
            read_case(case_path(config.out, case.id, copy, ".json"))["layout"]["checksum"]
            for copy in range(copies[case.id] + 1)
        ]
        for case in cases
    }
    manifest = {
        "format": FORMAT,
        "source": {"path": str(config.source.resolve()), "layout": source.layout},
        "channels": source.channels,
        "schema": schema.to_dict(),
        "preparation": config.prepare.to_dict(),
        "copies": config.augment.copies,
        "split": split,
        "folds": folds,
        "cases": checksums,
        "properties": properties_checksums(config.out, copies),
    }
    for name, ids in split.items():  # for the --cases of other commands
        write_text(config.out / f"{name}.txt", "".join(f"{case}\n" for case in ids))
    write_json(config.out / croissant.FILE, croissant.croissant(manifest))
    write_json(config.out / MANIFEST, manifest)


if __name__ == "__main__":
    cli.run(main, MakeRecordsConfig)
