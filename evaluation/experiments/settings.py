"""Settings of an experiment's trainings: a config, and options that differ from it."""

import json
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from common import cli
from common.configs import CONFIGS, config_names
from common.errors import UserError, did_you_mean
from common.files import read_yaml
from common.trust import trust_own
from training.config import TrainConfig
from training.run import Run

Options = dict[str, Any]
FREE_MAPPINGS = ("heads", "loss_weights")  # options of a training whose keys are names that the user chooses
GIVEN = ("config", "records", "out", "resume", "extend")  # options that an experiment gives to its trainings by itself


@dataclass(kw_only=True)
class TrainingSettings:
    """A training's config and options that differ from it."""

    train: Options | Path
    """Config of the training: a file such as configs/glioma/train_model1.yaml, or its content."""
    options: Options = field(default_factory=dict)
    """Options that differ from the config, such as {input.copies: false, epochs: 3}."""


@dataclass(kw_only=True)
class RecordsShare:
    """One of the named records folders of a study, in a run that trains on several or on chosen ones."""

    name: str
    """Name of the folder in the study's `records`."""
    share: float | None = None
    """Share of the batches, relative to those of the other folders; left out for all: equal shares."""
    heads: list[str] | None = None
    """Heads that the folder annotates; null: all."""


@dataclass(kw_only=True)
class RunSettings(TrainingSettings):
    """A run of a study."""

    name: str
    """Name of the run's folder, and of its row in the table."""
    records: list[str | RecordsShare] | None = None
    """Records folders of the run by their names in the study, such as [{name: hgg, share: 0.6, heads: [hgg]}, mets]; null:
    all, with equal shares."""
    init_from: str | None = None
    """Another run of the study, which is trained first; this one begins with its weights, those of the same seed."""

    @property
    def shares(self) -> list[RecordsShare] | None:
        """Records folders of the run; None: all."""
        if self.records is None:
            return None
        return [entry if isinstance(entry, RecordsShare) else RecordsShare(name=entry) for entry in self.records]

    def check(self) -> None:
        """Refuse a name that makes no folder.

        Raises:
            UserError: other letters than a folder's name may have.
        """
        if not re.fullmatch(r"\w[\w.+-]*", self.name):
            raise UserError(f"--name: expected letters, digits, '_', '.', '+' and '-', such as model1; received {self.name!r}")


def parse_entry(config: type, values: Options, where: str) -> Any:
    """Parse a part of a study's file into the dataclass `config`; `where` names it in errors.

    Raises:
        UserError: an unknown key, a missing one, a value of the wrong type.
    """
    known = [item.name for item in fields(config)]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise UserError(f"{where}: expected {', '.join(known)}; received {unknown[0]}")
    return cli.from_dict(config, values, Path(where))


def training_config(training: TrainingSettings, common: Options, chosen: Options | None = None) -> TrainConfig:
    """Every setting of a training.

    Args:
        training: its config and options.
        common: options of all trainings, over which its own win.
        chosen: options that win over all.

    Returns:
        The config, not yet checked (`TrainConfig.check`): its values are of the right types, but may not go together.

    Raises:
        UserError: no such config, an unknown option, a value of the wrong type.
    """
    values: Options = {}
    for given in (_content(training.train), common, training.options, chosen or {}):
        values = merged(values, given)
    reserved = [name for name in GIVEN if values.get(name)]
    if reserved:
        raise UserError(f"{reserved[0]} is given by the study itself; leave it out of the training's options")
    where = training.train if isinstance(training.train, Path) else Path("train")
    config: TrainConfig = cli.from_dict(TrainConfig, values, where, cli.command_name("training.train"))
    trust_own(config.model.name, training.train if isinstance(training.train, Path) else None)
    return config


def locate_config(values: Options, file: Path | None) -> Options:
    """Part of a study's file with its `train` as a path: relative to the file, or the name of a shipped config.

    Args:
        values: of a run or of the sweep.
        file: that holds them; None where they were given on the command line: relative to the working directory.

    Raises:
        UserError: no such file.
    """
    train = values.get("train")
    if not isinstance(train, str | Path):
        return values
    path = Path(train) if file is None else file.parent / train
    shipped = CONFIGS / f"{str(train).removesuffix('.yaml')}.yaml"
    found = next((candidate for candidate in (path, shipped) if candidate.is_file()), None)
    if found is None:
        hint = "" if file is None else f"; paths in {file} are relative to its folder"
        raise UserError(
            f"{train}: config of the training not found; expected a YAML file or the name of a shipped one"
            f"{did_you_mean(str(train), config_names())}{hint}"
        )
    return values | {"train": str(found)}


def _content(train: Options | Path) -> Options:
    if isinstance(train, dict):
        return train
    content = read_yaml(train, "config of the training")
    if not isinstance(content, dict):
        raise UserError(f"{train}: expected a config of a training: a YAML mapping of options to values")
    return content


def merged(values: Options, options: Options) -> Options:
    """Values with options merged in; their names may be dotted (`input.copies: false`) or nested (`input: {copies: false}`).

    An empty mapping takes the place of one whose keys are names of the user (`heads: {}` leaves one head), and changes nothing
    in a group of options (`input: {}`).
    """
    result = dict(values)
    for name, value in options.items():
        first, _, rest = name.partition(".")
        inner = {rest: value} if rest else value
        before = result.get(first)
        replaces = inner == {} and first in FREE_MAPPINGS
        if isinstance(inner, dict) and not replaces:
            inner = merged(before if isinstance(before, dict) else {}, inner)
        result[first] = inner
    return result


def dotted(values: Options, prefix: str = "") -> Options:
    """Nested options by their dotted names."""
    found: Options = {}
    for name, value in values.items():
        found |= dotted(value, f"{prefix}{name}.") if value and isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def changed_setting(run: Run, wanted: TrainConfig) -> str | None:
    """Dotted name of a setting that a run was begun with and that is another one now; None where it is the same training.

    Records and the weights that a run begins with are compared by their content (`plan.refuse_changes`).
    """
    before, now = dotted(cli.as_dict(run.config)), dotted(cli.as_dict(wanted))
    # A run's config holds its own folder, and the number format that `auto` has chosen.
    free = {"records", "out", "init_from", *(["precision"] if wanted.precision == "auto" else [])}
    return next((name for name in now | before if name not in free and before.get(name) != now.get(name)), None)


def option_words(options: Options) -> list[str]:
    """Options as a command line takes them."""
    return [f"--{name}={option_text(value)}" for name, value in dotted(options).items()]


def option_text(value: Any) -> str:
    """Text of an option's value on a command line: words as they are, else JSON."""
    return value if isinstance(value, str) else json.dumps(value)
