"""Command: train a segmentation network on records, or go on with a run that was stopped."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import cli
from common.errors import UserError
from common.files import lock, read_json, write_yaml
from data_prep.records import Records
from training.backend import load_backend
from training.checkpoint import Progress, load_state
from training.config import TrainConfig
from training.input import SEGMENTATION, check_sizes, training_batches, training_slices, whole_batches, whole_slices
from training.optimizers import build_optimizer
from training.precision import device, gpus, resolve
from training.run import Run, build_network, create_run, refuse_used, write_environment

if TYPE_CHECKING:
    import grain
    import keras


@dataclass(frozen=True)
class Data:
    """What a training reads.

    Attributes:
        records: where it stands.
        train, validation: case ids.
        sources: of the training slices.
        steps_per_epoch: batches that make an epoch.
    """

    records: Records
    train: list[str]
    validation: list[str]
    sources: list[Any]
    steps_per_epoch: int


def main(config: TrainConfig) -> None:
    """Train or resume, and say where the run is."""
    config.check()
    folder = _folder(config)
    # A mistake is told before a framework is loaded, and before a folder is made.
    records = None if config.records is None else Records(config.records)
    if config.resume is not None:
        Run(config.resume)
    with lock(folder):
        run = _started(config, records, folder) if records else _resumed(config)
        load_backend()
        _train(run)


def _folder(config: TrainConfig) -> Path:
    """The run's folder; refuses options that contradict each other."""
    if config.resume is None:
        if config.records is None or config.out is None:
            raise UserError("give --records and --out for a new training, or --resume RUN to go on with one")
        if config.extend:
            raise UserError("--extend goes with --resume")
        return config.out
    allowed = replace(TrainConfig(), resume=config.resume, extend=config.extend, max_minutes=config.max_minutes)
    given, expected = cli.as_dict(config), cli.as_dict(allowed)
    others = [name for name in given if given[name] != expected[name]]
    if others:
        raise UserError(f"--resume takes every setting from {config.resume}; remove --{others[0]}")
    return config.resume


def _started(config: TrainConfig, records: Records, folder: Path) -> Run:
    """A new run of a resolved config."""
    _data(config, records)  # refuses what cannot be trained on
    refuse_used(folder)
    load_backend()
    config.loss.build(len(records.schema.classes))  # refuses a wrong number of class weights
    resolved = replace(config, precision=resolve(config.precision), records=records.path.resolve(), out=folder.resolve())
    return create_run(folder, resolved, records)


def _resumed(config: TrainConfig) -> Run:
    """An existing run, extended if that was asked for."""
    run = Run(config.resume or Path())
    before = run.config
    # Kept in memory until everything has been found in order: a refused resume extends nothing.
    run.config = replace(
        before,
        epochs=before.epochs + config.extend,
        max_minutes=before.max_minutes if config.max_minutes is None else config.max_minutes,
    )
    return run


def _train(run: Run) -> None:
    config = run.config
    if config.records is None:
        raise UserError(f"{run.path}/config.yaml: no records")
    data = _data(config, Records(config.records))
    if data.records.fingerprint != run.facts["records"]["fingerprint"]:
        raise UserError(f"{config.records}: the records have changed since {run.path} was started; start another run")
    _prepare_backend(run)
    with _strategy():
        model = compiled(config, data)
        progress = load_state(run.path / "state", model)
    write_yaml(run.path / "config.yaml", cli.as_dict(config))
    _tell(run, data, model, progress)
    _fit(run, data, model, progress)
    status = "finished" if progress.epoch >= config.epochs else "stopped"
    run.set_status(status, epoch=progress.epoch, best_epoch=progress.best_epoch, steps_per_epoch=data.steps_per_epoch)
    best = (
        ""
        if progress.best is None
        else f", best validation {config.monitor} {progress.best:.4f} at epoch {progress.best_epoch}"
    )
    print(f"run: {run.path} ({status} after {progress.epoch} epochs, {progress.minutes:.1f} min{best})")


def _fit(run: Run, data: Data, model: "keras.Model", progress: Progress) -> None:
    from training.callbacks import EpochKeeper, tensorboard

    config, steps = run.config, data.steps_per_epoch
    if progress.epoch >= config.epochs:
        print(f"{run.path}: all {config.epochs} epochs are done; add more with --extend N")
        return
    done = progress.epoch * steps
    batches = training_batches(data.sources, config.input, config.seed, done)
    validation, validation_steps = _validation(config, data)
    keeper = EpochKeeper(run.path, config, progress, steps * config.input.batch_size)
    try:
        model.fit(
            batches,
            epochs=config.epochs,
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


def _validation(config: TrainConfig, data: Data) -> "tuple[grain.IterDataset | None, int | None]":
    if not data.validation:
        return None, None
    return whole_batches(whole_slices(data.records, data.validation, config.input), config.input, even=len(gpus()) > 1)


def _data(config: TrainConfig, records: Records) -> Data:
    """The cases and slices to train on."""
    train, validation = records.subset("train", config.fold), records.subset("validation", config.fold)
    check_sizes(records, [*train, *validation], config.input, config.model.stride)
    sources = training_slices(records, train, config.input)
    for case in {*train, *validation}:  # a shard that is missing or cut short is told now, not when a step comes to it
        for copy in range(records.copies_of(case) + 1 if case in train else 1):
            records.shard(case, copy)
    slices = sum(len(source) for source in sources)
    steps = config.steps_per_epoch or max(slices // config.input.batch_size, 1)
    return Data(records, train, validation, sources, steps)


def compiled(config: TrainConfig, data: Data) -> "keras.Model":
    """A network with its loss, metric and optimizer, seeded."""
    import keras

    from training.objective import ConfusionMatrix

    keras.utils.set_random_seed(config.seed)
    schema = data.records.schema
    model = build_network(config, len(data.records.channels), schema)
    model.compile(
        optimizer=build_optimizer(config.optimizer, config.schedule, data.steps_per_epoch, config.epochs),
        loss={SEGMENTATION: config.loss.build(len(schema.classes))},
        metrics={SEGMENTATION: [ConfusionMatrix(schema.class_names)]},
    )
    return model


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
    slices = sum(len(source) for source in data.sources)
    print(f"device: {device()}; {run.config.precision}")
    channels = ", ".join(data.records.channels)
    print(f"network: {run.config.model.name}, {model.count_params() / 1e6:.2f} M parameters, channels {channels}")
    print(
        f"data: {len(data.train)} training cases ({slices} slices with their copies, {data.steps_per_epoch} steps an epoch), "
        f"{len(data.validation)} validation cases"
    )
    if not data.validation:
        print("no validation cases: the last model is kept, and patience does nothing")
    if progress.epoch:
        print(f"resuming after epoch {progress.epoch}")


if __name__ == "__main__":
    cli.run(main, TrainConfig)
