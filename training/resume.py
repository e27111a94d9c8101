"""Resumed training: the run that goes on, and the few settings that may differ from those that it was begun with.

Records may have moved, where their content and their division are the same. A log outside of the run's folder is asked for
anew, because the run may be that of somebody else.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import cli
from common.errors import UserError
from data_prep.records.folder import MANIFEST, Records
from training.config import TrainingConfig
from training.divergence import refuse_diverged
from training.loggers.config import FilesConfig
from training.phases import extended
from training.run import Run
from training.run_facts import COPY_AGAIN
from training.state.checkpoint import has_state
from training.state.history import read_history

MAY_CHANGE = ("records", "extend", "max_minutes", "logger")
BESIDE = ("resume", "config", "trust", *MAY_CHANGE)
"""Options that may stand beside --resume."""


def refuse_other_options(config: TrainingConfig) -> None:
    """Refuse options beside --resume that are settings of the run, default values included.

    Raises:
        UserError: names the option, and the file that gives it.
    """
    given = config.given_options
    if given is None:  # a config that was made in Python
        values, defaults = cli.as_dict(config), cli.as_dict(type(config)())
        given = {name: "" for name in values if values[name] != defaults[name]}
    for option, file in given.items():
        if option.partition(".")[0] not in BESIDE:
            name, advice = (f"{file}: {option}", "this --config") if file else (f"--{option}", "it")
            raise UserError(
                f"{name}: is a setting of {config.resume} that --resume does not change; leave {advice} out (only "
                f"{', '.join(f'--{each}' for each in MAY_CHANGE)} may be given)"
            )


def run_to_resume(config: TrainingConfig) -> Run:
    """An existing run, its config with the settings that may change; files stay as they are until it trains.

    Raises:
        UserError: a run of another command, one that diverged, or records that are not those that it was begun with.
    """
    run = Run(config.resume or Path())
    if not isinstance(config, run.config_type):
        raise UserError(f"{run.path}: is a run of {cli.command_name(run.command)}; go on with it by that command")
    if not run.config.sources:
        raise UserError(f"{run.path}/config.yaml: no records")
    refuse_diverged(run)
    _refuse_lost_state(run)
    changed: dict[str, Any] = {"logger": _logger(run, config)}
    if config.max_minutes is not None:
        changed["max_minutes"] = config.max_minutes
    run.config = replace(extended(run.config, config.extend), **changed)
    _move_records(run, config)
    return run


def _refuse_lost_state(run: Run) -> None:
    """Refuse a run whose epochs would be trained anew, over its weights, because its state is gone."""
    finished = max(len(read_history(run.path)), run.metadata.get("epoch", 0))
    ended = "epoch" in run.metadata  # else it was killed, perhaps between the first row of its history and the first state
    if not has_state(run.path / "state") and finished > (0 if ended else 1):
        raise UserError(
            f"{run.path / 'state'}: expected the state after epoch {finished}; found none; {COPY_AGAIN}, or begin another run "
            f"with its weights by --init_from {run.path}"
        )


def check_unchanged(run: Run, records: Sequence[Records]) -> None:
    """Refuse to resume on records with other content, or divided otherwise, than those that the run was started on.

    Raises:
        UserError: names the folder.
    """
    for before, now in zip(run.metadata["records"], records, strict=True):
        if before["fingerprint"] != now.fingerprint:
            raise UserError(f"{now.path}: the records have changed since {run.path} was started; start another run")


def resume_options(config: TrainingConfig) -> list[str]:
    """Options of a resume by a command that has begun the training itself: its records and its logger."""
    paths = [str(entry.path) for entry in config.sources]
    logger = [] if config.logger.name == FilesConfig.name else [f"--logger={json.dumps(cli.as_dict(config.logger))}"]
    return [*(["--records", *paths] if paths else []), *logger]


def _logger(run: Run, config: TrainingConfig) -> FilesConfig:
    """Logger that the user asks for now; that of the run alone sends nothing."""
    stored = run.config.logger
    given = any(option.partition(".")[0] == "logger" for option in config.given_options or ())
    if stored.name != FilesConfig.name and not given:
        print(f"{run.path}: was logged by {stored.name}; this training is not, unless --logger.name {stored.name} is given")
    return config.logger


def _move_records(run: Run, config: TrainingConfig) -> None:
    """Give a run the new places of its records; a folder that is not given has not moved."""
    entries, folders = list(run.config.sources), [dict(folder) for folder in run.metadata["records"]]
    if len(entries) != len(folders):
        raise UserError(
            f"{run.path}: config.yaml has {len(entries)} records folders, and run.json {len(folders)}; expected as many"
        )
    for given in config.sources:
        if given.share is not None or given.heads is not None:
            raise UserError(f"--records {given.path}: expected a path alone beside --resume; shares and heads are the run's")
        fingerprint = Records(given.path).fingerprint
        places = [number for number, folder in enumerate(folders) if folder["fingerprint"] == fingerprint]
        if not places:
            raise UserError(
                f"--records {given.path}: expected records with the content and division of those that {run.path} was begun "
                f"with ({', '.join(folder['path'] for folder in folders)}); received others; start another run"
            )
        for number in places:
            entries[number] = replace(entries[number], path=given.path.resolve())
            folders[number]["path"] = str(given.path.resolve())
    for entry in entries:
        if not (entry.path / MANIFEST).is_file():
            raise UserError(f"{entry.path}: the records of {run.path} are not there; give their new place by --records")
    if config.sources:
        single = not isinstance(run.config.records, list)
        run.config = replace(run.config, records=entries[0].path if single else [*entries])
        run.metadata["records"] = folders
