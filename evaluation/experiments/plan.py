"""Plan of a study: its runs, each with a seed, the records that it trains on, and the run whose weights it begins with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.errors import Problems, UserError
from common.files import checksum
from common.tables import counted
from data_prep.records.folder import Records
from evaluation.experiments import runner
from evaluation.experiments.runs import training_of
from evaluation.experiments.settings import (
    Options,
    RunSettings,
    changed_setting,
    locate_config,
    parse_entry,
    training_config,
)
from training.config import RecordsConfig, TrainConfig
from training.data.batches import SEGMENTATION
from training.initialisation import resolved_origin
from training.run import Run


@dataclass(frozen=True)
class PlannedRun:
    """A training of a study, and every setting of it.

    Attributes:
        name: of the run in the study's file; runs of several seeds share it.
        seed: None where the study lists no seeds.
        training: of the run.
        config: with its records where the study names several folders.
        records: names of the study's records that it trains on.
        init_from: run that it begins with; None: random weights, or those that its config names.
    """

    name: str
    seed: int | None
    training: runner.Training
    config: TrainConfig
    records: tuple[str, ...]
    init_from: Path | None = None

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.training.folder


class StudyRecords:
    """Records folders of a study, by name.

    Args:
        given: one folder, which has the name of its path; or named ones.

    Attributes:
        path: the one folder; None where they are named.
        folders: opened, by name.

    Raises:
        UserError: no records there.
    """

    def __init__(self, given: Path | Mapping[str, Path]) -> None:
        self.path = given if isinstance(given, Path) else None
        named = {given.resolve().name: given} if isinstance(given, Path) else given
        if not named:
            raise UserError("--records: expected a folder, or named folders such as {hgg: R1, mets: R2}; received none")
        self.folders = {name: Records(path) for name, path in named.items()}

    def entries(self, run: RunSettings) -> list[RecordsConfig]:
        """Records of a run, as its training takes them.

        Raises:
            UserError: a name that the study does not have, a name twice, or none.
        """
        if run.shares is None:
            return [RecordsConfig(opened.path) for opened in self.folders.values()]
        names = [share.name for share in run.shares]
        known = ", ".join(self.folders)
        unknown = [name for name in names if name not in self.folders]
        if unknown or not names or len(set(names)) < len(names):
            received = unknown[0] if unknown else ", ".join(names) or "none"
            raise UserError(f"--runs: records: expected different names of {known}; received {received}")
        return [RecordsConfig(self.folders[share.name].path, share.share, share.heads) for share in run.shares]

    def names(self, run: RunSettings) -> tuple[str, ...]:
        """Names of the records of a run."""
        return tuple(self.folders) if run.shares is None else tuple(share.name for share in run.shares)


def plan_runs(
    runs: Sequence[dict[str, Any]],
    options: Options,
    seeds: Sequence[int],
    records: StudyRecords,
    out: Path,
    file: Path | None,
    check: Callable[[PlannedRun], None] = lambda run: None,
) -> list[PlannedRun]:
    """Plan every run of a study: all runs of one seed in the order of its file, then those of the next.

    Args:
        runs: as the study's file has them.
        options: of all runs.
        seeds: of the trainings, each with a run folder of its own; empty: the seed of each training's config.
        records: of the study.
        out: folder of the study.
        file: that holds the runs; None where they were given on the command line.
        check: raises a `UserError` for a run that the study cannot use.

    Raises:
        UserError: a seed twice.
        Problems: all mistakes in the settings of the runs.
    """
    twice = next((seed for seed in seeds if list(seeds).count(seed) > 1), None)
    if twice is not None:
        raise UserError(f"--seeds: expected different numbers; received {twice} twice")
    planned: list[PlannedRun] = []
    each_seed: list[int | None] = [*seeds] or [None]
    mistakes: dict[str, list[str]] = {}  # message -> the runs that it is about
    names = [str(values.get("name", "")) for values in runs]
    for number, values in enumerate(runs, 1):
        try:
            run: RunSettings = parse_entry(RunSettings, locate_config(values, file), "--runs")
            run.check()
            if run.init_from is not None and run.init_from not in names:
                raise UserError(f"--runs: init_from: expected another run of the study; received {run.init_from}")
            for seed in each_seed:
                planned.append(_planned(run, options, seed, records, out))
                check(planned[-1])
        except UserError as error:
            mistakes.setdefault(str(error), []).append(str(values.get("name", f"run {number}")))
    folders = [run.folder.name for run in planned]
    wrong = [f"{', '.join(named)}: {message}" for message, named in mistakes.items()]
    twice_named = [name for name in dict.fromkeys(folders) if folders.count(name) > 1]
    wrong += [f"--runs: expected different names; received {name} twice" for name in twice_named]
    if wrong:
        failed = sum(map(len, mistakes.values())) + len(twice_named)
        raise Problems(wrong, f"{failed} of {counted(len(runs), 'run')} cannot be trained")
    planned.sort(key=lambda run: 0 if run.seed is None else seeds.index(run.seed))
    training_order(planned)
    return planned


def _planned(run: RunSettings, options: Options, seed: int | None, records: StudyRecords, out: Path) -> PlannedRun:
    """Plan a run with one seed; its settings are checked."""
    suffix = "" if seed is None else f"_seed{seed}"
    config = training_config(run, options, {} if seed is None else {"seed": seed})
    init_from = None if run.init_from is None else out / "runs" / f"{run.init_from}{suffix}"
    if init_from is not None and config.init_from is not None:
        raise UserError("--runs: init_from: expected it in the run or in its training's config; received both")
    if init_from is not None:
        config = replace(config, init_from=init_from)
    entries = records.entries(run)
    for name in records.names(run):
        stored = records.folders[name].stored_channels
        unknown = [channel for channel in config.input.channels or [] if channel not in stored]
        if unknown:
            raise UserError(f"--input.channels: expected some of {', '.join(stored)}, as {name} has; received {unknown[0]}")
    if records.path is None or run.records is not None:
        config = replace(config, records=[*entries])
    config.check()
    training = training_of(out / "runs" / f"{run.name}{suffix}", None if config.records else records.path)
    return PlannedRun(run.name, seed, training, config, records.names(run), init_from)


def training_order(planned: Sequence[PlannedRun]) -> list[PlannedRun]:
    """Runs in the order of training: as given, but each after the run that it begins with.

    Raises:
        UserError: runs that begin with each other.
    """
    by_folder = {run.folder: run for run in planned}
    order: list[PlannedRun] = []
    for run in planned:
        chain: list[PlannedRun] = []
        following: PlannedRun | None = run
        while following is not None and following not in order:
            if following in chain:
                circle = " -> ".join(each.name for each in [*chain[chain.index(following) :], following])
                raise UserError(f"--runs: init_from: expected runs that do not begin with each other; received {circle}")
            chain.append(following)
            following = None if following.init_from is None else by_folder[following.init_from]
        order += reversed(chain)
    return order


def refuse_changes(planned: Sequence[PlannedRun], records: StudyRecords) -> None:
    """Refuse to mix trainings of other settings, records or initial weights with those that were begun before.

    Raises:
        Problems: a line for each run with the setting that changed.
    """
    changed = []
    for plan in planned:
        if (plan.folder / "run.json").is_file():
            run = Run(plan.folder)
            setting = changed_setting(run, plan.config)
            if _records_of(run) != _expected_records(plan, records):
                setting = "records"
            elif not _begins_alike(run, plan):
                setting = "init_from"
            if setting is not None:
                changed.append(f"{plan.folder}: was begun with another --{setting}; rename the run, or choose another --out")
    if changed:
        raise Problems(changed, "nothing was trained")


def _records_of(run: Run) -> list[tuple[Any, ...]]:
    """Content, share and heads of the records that a run was begun with; of a single folder the share does not matter."""
    folders = run.metadata["records"]
    return [(each["fingerprint"], each["share"] if len(folders) > 1 else 1.0, *each["heads"]) for each in folders]


def _expected_records(plan: PlannedRun, records: StudyRecords) -> list[tuple[Any, ...]]:
    heads = sorted(plan.config.heads or [SEGMENTATION])
    entries = plan.config.sources or [RecordsConfig(records.folders[name].path) for name in plan.records]
    return [
        (records.folders[name].fingerprint, entry.weight if len(entries) > 1 else 1.0, *sorted(entry.heads or heads))
        for name, entry in zip(plan.records, entries, strict=True)
    ]


def _begins_alike(run: Run, plan: PlannedRun) -> bool:
    """True where a run was begun with the weights that it would be begun with now, as far as both are there."""
    wanted, before = plan.config.init_from, run.metadata.get("init_from")
    if wanted is None or run.config.init_from is None:
        return wanted is None and run.config.init_from is None
    if plan.init_from is None and run.config.init_from != resolved_origin(wanted):  # a run stores the resolved path
        return False
    if not before or not (wanted / "run.json").is_file() or not list(wanted.glob("*.weights.h5")):
        return True
    return bool(before["checksum"] == checksum(Run(wanted).weights))
