"""Phases of a training: stretches of epochs, each with its own optimizer, schedule, loss and frozen layers."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from common import cli
from common.errors import UserError, expect_number
from common.tables import counted
from training.optimizers import OptimizerConfig, ScheduleConfig


@dataclass
class PhaseConfig:
    """A phase of a training. What it leaves out is as in the training's own options."""

    name: str = ""
    """Name that is printed."""
    epochs: int | None = None
    """Length in epochs."""
    steps: int | None = None
    """Length in steps, a multiple of `validate_every`."""
    optimizer: dict[str, Any] = field(default_factory=dict)
    """Settings of the optimizer that differ in this phase, such as {learning_rate: 1.0e-5}."""
    schedule: dict[str, Any] = field(default_factory=dict)
    """Settings of the schedule that differ in this phase."""
    loss: dict[str, float] = field(default_factory=dict)
    """Numbers of the loss that differ in this phase, such as {dice: 2.0}."""
    freeze: list[str] = field(default_factory=list)
    """Beginnings of the names of layers that are not trained, batch statistics included, such as [encoder, bottom]."""
    patience: int | None = None
    """End the phase after this many epochs without a better validation score."""
    restart_from: Literal["best", "last"] = "best"
    """Weights that the phase begins with, if it is not the first: those of the best epoch so far, or the last ones."""


class PhasedConfig(Protocol):
    """The settings of a `training.config.TrainingConfig` that phases are made of."""

    epochs: int
    steps: int | None
    validate_every: int | None
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    phases: list[PhaseConfig]
    patience: int | None
    validate: bool
    max_minutes: float | None


@dataclass(frozen=True)
class Phase:
    """A phase, every setting resolved.

    Attributes:
        number: counted from 1.
        name: is printed; may be empty.
        epochs: length.
        optimizer, schedule: the schedule counts within the phase.
        loss: numbers of the loss that differ from the config's.
        freeze: beginnings of the names of layers that are not trained.
        patience: epochs of the phase without a better validation score, after which it ends; None: never.
        restart_from: weights that it begins with, if it is not the first: "best" or "last".
    """

    number: int
    name: str
    epochs: int
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    loss: dict[str, float]
    freeze: tuple[str, ...]
    patience: int | None
    restart_from: str


def resolved_phases(config: PhasedConfig) -> list[Phase]:
    """The phases of a training, in order; one where the config lists none.

    Raises:
        UserError: a setting that the optimizer or schedule does not have, or steps that make no whole number of epochs.
    """
    found = []
    for number, phase in enumerate(config.phases or [PhaseConfig()], start=1):
        where = f"--phases: phase {number}"
        optimizer: OptimizerConfig = _changed(config.optimizer, phase.optimizer, f"{where}: optimizer")
        schedule: ScheduleConfig = _changed(config.schedule, phase.schedule, f"{where}: schedule")
        found.append(
            Phase(
                number=number,
                name=phase.name,
                epochs=_epochs(config, phase, where),
                optimizer=optimizer,
                schedule=schedule,
                loss=phase.loss,
                freeze=tuple(phase.freeze),
                patience=phase.patience if phase.patience is not None else config.patience,
                restart_from=phase.restart_from,
            )
        )
    return found


def extended(config: Any, epochs: int) -> Any:
    """The config with more epochs in the last phase."""
    if epochs == 0:
        return config
    longer = resolved_phases(config)[-1].epochs + epochs
    if config.phases:
        return replace(config, phases=[*config.phases[:-1], replace(config.phases[-1], epochs=longer, steps=None)])
    if config.steps is not None:
        return replace(config, steps=longer * config.validate_every)
    return replace(config, epochs=longer)


def check_phases(config: PhasedConfig) -> None:
    """Refuse phases that cannot be trained.

    Raises:
        UserError: a number out of its range, or settings that exclude each other.
    """
    phases = resolved_phases(config)
    for phase in phases:
        expect_number(f"phases: phase {phase.number}: epochs", phase.epochs, 1)
        expect_number(f"phases: phase {phase.number}: patience", phase.patience, 1)
        phase.optimizer.check(f"phases: phase {phase.number}: optimizer")
        phase.schedule.check(f"phases: phase {phase.number}: schedule")
        if phase.patience is not None and not config.validate:
            raise UserError("--patience: waits for a better validation score, and --validate false gives none; leave one out")
        if phase.schedule.name == "timed" and config.max_minutes is None:
            raise UserError("--schedule.name timed: falls as --max_minutes run out; set that too, such as to 20")
    if len(phases) > 1 and any(phase.schedule.name == "timed" for phase in phases):
        raise UserError("--phases: --schedule.name timed takes all of --max_minutes; leave one of them out")


def check_warmup(phases: Sequence[Phase], steps_per_epoch: int) -> None:
    """Refuse a warm-up that is as long as its phase.

    Args:
        phases: of a training.
        steps_per_epoch: steps that make an epoch.
    """
    for phase in phases:
        steps, length = phase.schedule.warmup(steps_per_epoch), phase.epochs * steps_per_epoch
        if phase.schedule.name == "cosine" and steps >= length:
            option = "warmup_epochs" if phase.schedule.warmup_steps is None else "warmup_steps"
            raise UserError(
                f"--schedule.{option}: expected fewer than the {counted(length, 'step')} of phase {phase.number}; "
                f"received {counted(steps, 'step')} of warm-up"
            )


def _epochs(config: PhasedConfig, phase: PhaseConfig, where: str) -> int:
    """Length of a phase in epochs: its own, else the training's."""
    if phase.epochs is not None and phase.steps is not None:
        raise UserError(f"{where}: expected epochs or steps; received both")
    steps, option = phase.steps, f"{where}: steps"
    if phase.epochs is None and phase.steps is None:
        steps, option = config.steps, "--steps"
    if steps is None:
        return config.epochs if phase.epochs is None else phase.epochs
    every = config.validate_every
    if every is None:
        raise UserError(f"{option}: needs --validate_every, the steps between validations, such as 250")
    if steps < 1 or steps % every:
        raise UserError(f"{option}: expected a multiple of --validate_every {every}; received {steps}")
    return steps // every


def _changed(config: Any, changes: dict[str, Any], where: str) -> Any:
    """A config with some settings changed."""
    if not changes:
        return config
    known = cli.as_dict(config)
    unknown = [name for name in changes if name not in known]
    if unknown:
        raise UserError(f"{where}: expected settings of {', '.join(known)}; received {unknown[0]}")
    return cli.from_dict(type(config), known | changes, Path(where))
