"""The course of every training: check, start or resume, phases of epochs, and what is said of it.

What differs between segmentation and classification is a `Task`; the commands `training.train` and `training.classify` hand
theirs to `train`.
"""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import cli
from common.errors import UserError
from common.files import lock, read_json, remove_unfinished, write_yaml
from data_prep.records.folder import Records
from training.config import TrainingConfig
from training.data.batches import Examples, RandomMap, training_batches, whole_batches
from training.data.slices import OnlineAugmentation
from training.hardware.backend import load_backend
from training.hardware.devices import device, gpus, resolve
from training.optimizers import build_optimizer
from training.phases import Phase, phase_of_state, phases
from training.run import Run, create_run, refuse_used, write_environment
from training.state.checkpoint import Progress, load_progress, load_state

if TYPE_CHECKING:
    import grain
    import keras


@dataclass(frozen=True)
class Data:
    """What a training reads.

    Attributes:
        records: where it stands.
        train, validation: case ids.
        sources: what is trained on: slices, or whose windows are drawn.
        whole: what is validated on, every voxel once, or None where there is nothing.
        steps_per_epoch: batches that make an epoch.
    """

    records: Records
    train: list[str]
    validation: list[str]
    sources: Sequence[Examples]
    whole: Examples | None
    steps_per_epoch: int


class Task(ABC):
    """What is trained: how it reads records, and the network, losses and metrics for it.

    Args:
        config: of the training.
    """

    def __init__(self, config: Any) -> None:
        self.config = config

    @abstractmethod
    def examples(self, records: Records) -> tuple[list[str], list[str], Sequence[Examples], Examples | None]:
        """Training and validation cases, what to train on, and what to validate on.

        Raises:
            UserError: the records do not serve this training.
        """

    @abstractmethod
    def facts(self, records: Records) -> dict[str, Any]:
        """What run.json says of the task: `kind`, `heads` and whatever prediction needs besides the config."""

    @abstractmethod
    def compile_arguments(self, data: Data, phase: Phase) -> dict[str, Any]:
        """`loss` and `metrics` of a phase, as `keras.Model.compile` takes them."""

    def change(self, data: Data) -> RandomMap | None:
        """What makes an example of each training element as it is read; None where it is one already and stays as it is."""
        config = self.config
        if config.augment.is_off:
            return None
        unit_range = data.records.preparation.intensity == "minmax"
        return OnlineAugmentation(config.augment, config.input.neighbours, unit_range)

    def resolved(self, records: Records) -> Any:
        """The config with what it leaves to the records filled in, so that the run stays what it is with other records."""
        return self.config

    def enter(self, model: "keras.Model", phase: Phase) -> None:  # noqa: B027 - most tasks have nothing to do
        """Make the network ready for a phase, before it is compiled for it."""


def train(config: TrainingConfig, make_task: Callable[[Any], Task]) -> None:
    """Train or resume, and say where the run is."""
    config.check()
    folder = _folder(config)
    # A mistake is told before a framework is loaded, and before a folder is made.
    records = None if config.records is None else Records(config.records)
    if config.resume is not None:
        _same_kind(Run(config.resume), config)
    with lock(folder):
        run = _started(config, records, folder, make_task) if records else _resumed(config)
        load_backend()
        try:
            _train(run, make_task(run.config))
        except UserError:
            if config.resume is None and not (folder / "state").exists():
                _remove_run(folder)  # a network that cannot be built leaves nothing to go on with
            raise


def _remove_run(folder: Path) -> None:
    """Empty a folder whose run has not come to its first epoch, so that the next start finds it as the first one did."""
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != ".lock":
            entry.unlink()


def _folder(config: TrainingConfig) -> Path:
    """The run's folder; refuses options that contradict each other."""
    if config.resume is None:
        if config.records is None or config.out is None:
            raise UserError("give --records and --out for a new training, or --resume RUN to go on with one")
        if config.extend:
            raise UserError("--extend goes with --resume")
        return config.out
    allowed = replace(type(config)(), resume=config.resume, extend=config.extend, max_minutes=config.max_minutes)
    given, expected = cli.as_dict(config), cli.as_dict(allowed)
    others = [name for name in given if given[name] != expected[name]]
    if others:
        raise UserError(f"--resume takes every setting from {config.resume}; remove --{others[0]}")
    return config.resume


def _same_kind(run: Run, config: TrainingConfig) -> None:
    """Refuse a run that another command trains."""
    if not isinstance(config, run.config_type):
        raise UserError(f"{run.path}: is a run of {run.command}; go on with it by that command")


def _started(config: TrainingConfig, records: Records, folder: Path, make_task: Callable[[Any], Task]) -> Run:
    """A new run of a resolved config."""
    task = make_task(config)
    data = _data(task, records)  # refuses what cannot be trained on
    refuse_used(folder)
    load_backend()
    task.compile_arguments(data, phases(config)[0])  # refuses a wrong number of class weights
    resolved = replace(
        task.resolved(records), precision=resolve(config.precision), records=records.path.resolve(), out=folder.resolve()
    )
    return create_run(folder, resolved, records, task.facts(records))


def _resumed(config: TrainingConfig) -> Run:
    """An existing run, extended if that was asked for."""
    run = Run(config.resume or Path())
    before = run.config
    # Kept in memory until everything has been found in order: a refused resume extends nothing.
    run.config = replace(
        before.extended(config.extend),
        max_minutes=before.max_minutes if config.max_minutes is None else config.max_minutes,
    )
    return run


def _train(run: Run, task: Task) -> None:
    config = run.config
    if config.records is None:
        raise UserError(f"{run.path}/config.yaml: no records")
    data = _data(task, Records(config.records))
    if data.records.fingerprint != run.facts["records"]["fingerprint"]:
        raise UserError(f"{config.records}: the records have changed since {run.path} was started; start another run")
    remove_unfinished(run.path)
    _prepare_backend(run)
    with _strategy():
        model, progress = _restored(run, task, data)
    write_yaml(run.path / "config.yaml", cli.as_dict(config))
    _tell(run, data, model, progress)
    ended = _fit_phases(run, task, data, model, progress)
    status = "finished" if progress.epoch >= config.total_epochs else "stopped"
    run.set_status(
        status, ended=ended, epoch=progress.epoch, best_epoch=progress.best_epoch, steps_per_epoch=data.steps_per_epoch
    )
    best = (
        ""
        if progress.best is None
        else f", best validation {config.monitor} {progress.best:.4f} at epoch {progress.best_epoch}"
    )
    print(f"run: {run.path} ({status} after {progress.epoch} epochs, {progress.minutes:.1f} min{best})")


def _restored(run: Run, task: Task, data: Data) -> "tuple[keras.Model, Progress]":
    """The network, seeded, or as it was after the last epoch that was finished."""
    import keras

    keras.utils.set_random_seed(run.config.seed)
    model = run.build_network(start=True)
    epoch = load_progress(run.path / "state").epoch
    compile_for(model, task, data, phase_of_state(run.config, epoch))
    return model, load_state(run.path / "state", model)


def compile_for(model: "keras.Model", task: Task, data: Data, phase: Phase) -> None:
    """Compile a network for a phase: with the phase's loss and an optimizer that begins anew."""
    config = task.config
    task.enter(model, phase)
    optimizer = build_optimizer(phase.optimizer, config.schedule, data.steps_per_epoch, phase.epochs)
    model.compile(optimizer=optimizer, **task.compile_arguments(data, phase))
    # Keras makes these variables in the first step otherwise, and TensorFlow then traces that step a second time.
    optimizer.build(model.trainable_variables)


def _fit_phases(run: Run, task: Task, data: Data, model: "keras.Model", progress: Progress) -> str:
    """Train what is left of each phase; what ended it: all epochs, patience, max_minutes, or a loss that is no number."""
    config = run.config
    if progress.epoch >= config.total_epochs:
        print(f"{run.path}: all {config.total_epochs} epochs are done; add more with --extend N")
        return "epochs"
    run.set_status("running", ended=None)
    for phase in phases(config):
        if progress.epoch >= phase.last:
            continue
        if progress.epoch == phase.first > 0:
            with _strategy():
                model.load_weights(run.keep_before())
                compile_for(model, task, data, phase)
            print(f"fine-tuning for {phase.epochs} epochs, learning rate {phase.optimizer.learning_rate:g}")
        ended = _fit(run, task, data, model, progress, phase)
        if ended is not None:
            return ended
    return "epochs"


def _fit(run: Run, task: Task, data: Data, model: "keras.Model", progress: Progress, phase: Phase) -> str | None:
    """Train what is left of a phase; what ended the training early, if anything did."""
    from training.state.callbacks import EpochKeeper, tensorboard

    config, steps = run.config, data.steps_per_epoch
    from training.data.stopwatch import StopWatch

    watch = StopWatch()
    batches = training_batches(data.sources, config.input, config.seed, progress.epoch * steps, task.change(data), watch)
    validation, validation_steps = _validation(config, data)
    keeper = EpochKeeper(run.path, config, progress, phase, steps * config.input.batch_size, watch)
    try:
        model.fit(
            batches,
            epochs=phase.last,
            initial_epoch=progress.epoch,
            steps_per_epoch=steps,
            validation_data=validation,
            validation_steps=validation_steps,
            callbacks=[keeper, *tensorboard(run.path / "logs")],
            shuffle=False,
            verbose=0,
        )
    except KeyboardInterrupt:
        run.set_status("stopped")
        print(f"\nrun: {run.path}; go on with --resume {run.path}")
        raise
    return keeper.ended


def _validation(config: TrainingConfig, data: Data) -> "tuple[grain.IterDataset | None, int | None]":
    if data.whole is None or not config.validate:
        return None, None
    return whole_batches(data.whole, config.input, even=len(gpus()) > 1)


def _data(task: Task, records: Records) -> Data:
    """The cases and examples to train on."""
    config = task.config
    train, validation, sources, whole = task.examples(records)
    for case in {*train, *validation}:  # a shard that is missing or cut short is told now, not when a step comes to it
        for copy in range(records.copies_of(case) + 1 if case in train else 1):
            records.shard(case, copy)
    examples = sum(len(source) for source in sources)
    steps = config.steps_per_epoch or max(examples // config.input.batch_size, 1)
    return Data(records, train, validation, sources, whole, steps)


def _prepare_backend(run: Run) -> None:
    """Set determinism, and warn where a resumed run finds another machine than it began on."""
    import keras

    deterministic = run.config.deterministic == "on" or (run.config.deterministic == "auto" and not gpus())
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if deterministic:
            tf.config.experimental.enable_op_determinism()
    file = run.path / "environment.json"
    before = read_json(file, "environment of the run") if file.is_file() else None
    now = write_environment(file, device(), deterministic)
    changed = [name for name in now if before is not None and before.get(name) != now[name]]
    if changed and before is not None:
        print(f"warning: {changed[0]} was {before[changed[0]]!r} and is now {now[changed[0]]!r}: equal bits are not promised")


def _strategy() -> AbstractContextManager[Any]:
    """All GPUs where TensorFlow sees several; other backends and single devices need nothing."""
    import keras

    if keras.backend.backend() == "tensorflow" and len(gpus()) > 1:
        import tensorflow as tf

        scope: AbstractContextManager[Any] = tf.distribute.MirroredStrategy().scope()
        return scope
    return nullcontext()


def _tell(run: Run, data: Data, model: "keras.Model", progress: Progress) -> None:
    """Say what is trained, on what, and from where."""
    examples = sum(len(source) for source in data.sources)
    what = "slices with their copies" if run.config.input.patch is None else "windows make one pass"
    print(f"device: {device()}; {run.config.precision}")
    channels = ", ".join(data.records.channels)
    print(f"network: {run.config.model.name}, {model.count_params() / 1e6:.2f} M parameters, channels {channels}")
    print(
        f"data: {len(data.train)} training cases ({examples} {what}, {data.steps_per_epoch} steps an epoch), "
        f"{len(data.validation)} validation cases"
    )
    if run.config.split == "slice":
        print("slice split: slices of one patient train and validate; the scores are too good")
    if data.whole is None or not run.config.validate:
        print(f"no validation{' cases' if data.whole is None else ''}: the last model is kept, and patience does nothing")
    if progress.epoch:
        print(f"resuming after epoch {progress.epoch}")
