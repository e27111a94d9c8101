"""Course of every training: check, start or resume, and train one phase after the other.

The config makes the heads (`TrainingConfig.make_heads`), the records' folders make the examples (`training.data.mixture`); what
is left is the same for all of them and follows here, top to bottom.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import UserError
from common.files import lock, remove_unfinished
from common.hardware.backend import load_backend
from common.hardware.devices import chosen_precision, device, gpus
from common.hardware.distribution import Distribution
from common.manifests import CONTENT, MapOf, read_manifest
from common.tables import counted
from common.trust import trust_own
from training.config import TrainingConfig
from training.data.division import cases_lacking_channels, lacked_channels
from training.data.mixture import Mixture, check_extents, open_mixture, open_records, with_input_size
from training.divergence import Diverged, store_divergence
from training.freezing import LayerFreezing
from training.heads.base import Head, monitored_score, monitored_words
from training.initialisation import check_initial_weights, initialise, read_initial_weights, resolved_origin
from training.layer_rates import variable_factors
from training.loggers.wandb_run import WandbRun, logged
from training.optimizers import build_optimizer
from training.patients import check_validation_patients, write_patients
from training.phases import Phase, check_warmup, resolved_phases
from training.resume import check_unchanged, refuse_other_options, run_to_resume
from training.run import Run
from training.run_creation import create_run, write_config, write_environment
from training.run_disk import check_disk
from training.run_facts import COPY_AGAIN
from training.start import has_epochs, refuse_used, remove_start
from training.state.checkpoint import Progress, load_progress, load_state
from training.state.watchdog import Watchdog, beats
from training.step_memory import check_step_memory

if TYPE_CHECKING:
    import keras


def train(config: TrainingConfig) -> None:
    """Train or resume, and print where the run is."""
    named_by = (config.given_options or {}).get("model.name")
    trust_own(config.model.name, Path(named_by) if named_by else None)
    config.check()
    folder = run_folder(config)
    old = None if config.resume is None else run_to_resume(config)
    # A mistake is an error before a framework is loaded, and before a folder is made.
    settings: TrainingConfig = config if old is None else old.config
    records = open_records(settings)
    if old is not None:
        check_unchanged(old, records)
    heads = settings.make_heads(records)
    check_monitor(settings, heads)
    if old is None:
        check_initial_weights(settings)
        settings = with_input_size(settings, records)
    data = open_mixture(settings, records, heads)
    if old is None:  # the run that it began with may be gone when it is resumed
        check_validation_patients(settings, data)
    check_extents(settings, data)
    check_warmup(resolved_phases(settings), data.steps_per_epoch)
    check_validation(settings, data, heads)
    with lock(folder):
        if old is None:
            refuse_used(folder)
            remove_start(folder)
        load_backend()
        run = old or start_run(folder, settings, data, heads)
        try:
            train_run(run, data, heads)
        except UserError:
            run.mark_stopped()
            if old is None and not has_epochs(folder):
                remove_start(folder)  # a network that cannot be built leaves nothing to go on with
            raise
        except BaseException as error:
            run.mark_stopped()
            if isinstance(error, Exception):
                refuse_changed_records(run, data)  # what became of a shard may be the reason
            if isinstance(error, KeyboardInterrupt):
                print(f"\nrun: {run.path}; go on with --resume {run.path}")
            raise


def run_folder(config: TrainingConfig) -> Path:
    """The run's folder; refuses options that contradict each other."""
    if config.resume is None:
        if not config.sources or config.out is None:
            raise UserError("give --records and --out for a new training, or --resume RUN to go on with one")
        if config.extend:
            raise UserError("--extend goes with --resume")
        return config.out
    refuse_other_options(config)
    return config.resume


def check_monitor(config: TrainingConfig, heads: Mapping[str, Head]) -> None:
    """Refuse to monitor a score that no head has."""
    known = [f"{name}_{score}" for name, head in heads.items() for score in head.scores]
    shared = [score for score in next(iter(heads.values())).scores if all(score in head.scores for head in heads.values())]
    known = shared if len(heads) == 1 else [*shared, *known]
    if config.monitor not in [*known, "loss"]:
        raise UserError(f"--monitor: expected one of {', '.join(known)}; received {config.monitor}")
    unknown = [name for name in config.loss_weights if name not in heads]
    if unknown:
        raise UserError(f"--loss_weights: expected heads of {', '.join(heads)}; received {unknown[0]}")


def check_validation(config: TrainingConfig, data: Mixture, heads: Mapping[str, Head]) -> None:
    """Refuse to monitor a score of a head that no validation case annotates."""
    name, _ = monitored_score(config.monitor, heads)
    if name is None or not (data.has_validation and config.validate):
        return
    head = heads[name]
    annotating = [folder for folder in data.folders if head.name in folder.targets.annotates]
    if not any(set(folder.validation) & set(head.annotated(folder.records)) for folder in annotating):
        folders = ", ".join(str(folder.records.path) for folder in annotating)
        raise UserError(
            f"--monitor {config.monitor}: expected validation cases of the head {head.name} in {folders}; found none; monitor "
            "another head, or choose a --fold with such cases"
        )


def start_run(folder: Path, config: TrainingConfig, data: Mixture, heads: dict[str, Head]) -> Run:
    """A new run folder with the resolved config."""
    entries = [replace(entry, path=entry.path.resolve()) for entry in config.sources]
    several = len(entries) > 1 or entries[0].heads is not None
    resolved = replace(
        config.resolved(heads),
        precision=chosen_precision(config.precision),
        records=[*entries] if several else entries[0].path,
        init_from=resolved_origin(config.init_from),
        out=folder.resolve(),
    )
    write_patients(folder, resolved, data)
    return create_run(folder, resolved, data, heads)


@dataclass
class OpenTraining:
    """A training that has been opened.

    Attributes:
        run: its folder.
        config: every setting.
        data: examples of the records' folders.
        heads: of the network, by name.
        phases: in order.
        progress: updated at the end of each epoch.
        distribution: the devices.
        model: compiled for the phase of `progress`, its state that of the last finished epoch.
        freezing: of the model's layers.
    """

    run: Run
    config: TrainingConfig
    data: Mixture
    heads: dict[str, Head]
    phases: list[Phase]
    progress: Progress
    distribution: Distribution
    model: "keras.Model"
    freezing: LayerFreezing


def train_run(run: Run, data: Mixture, heads: dict[str, Head]) -> None:
    """Train what is left of a run, one phase after the other."""
    remove_unfinished(run.path)
    prepare_backend(run)
    training = open_training(run, data, heads)
    config, progress, phases = training.config, training.progress, training.phases
    write_config(run, config)
    print_start(training)
    check_step_memory(training.model, data.input_shape(config), config.input.batch_size, bool(gpus()))
    check_disk(training.model, run.path, len(phases))
    ended = "epochs"
    if progress.is_over(phases):
        print(f"{run.path}: done after {counted(progress.epoch, 'epoch')}; add more with --extend N")
    elif progress.has_used(config.max_minutes):
        ended = "max_minutes"
        print(f"{run.path}: another epoch would pass --max_minutes {config.max_minutes:g}; go on with a larger one")
    else:
        run.set_status("running", ended=None)
        with logged(run, data, heads, progress) as wandb_run:
            for phase in phases[progress.phase - 1 :]:
                if phase.number > progress.phase:
                    begin_phase(training, phase)
                if not progress.is_phase_over(phase, phases):
                    ended = train_phase(training, phase, wandb_run) or "epochs"
                if ended != "epochs":
                    break
    status = "finished" if progress.is_over(phases) else "stopped"
    run.set_status(
        status, ended=ended, epoch=progress.epoch, best_epoch=progress.best_epoch, steps_per_epoch=data.steps_per_epoch
    )
    best = ""
    if progress.best is not None:
        words = monitored_words(config.monitor, heads)
        best = f", best validation {words} {progress.best:.4f} at epoch {progress.best_epoch}"
    print(f"run: {run.path} ({status} after {counted(progress.epoch, 'epoch')}, {progress.minutes:.1f} min{best})")


def open_training(run: Run, data: Mixture, heads: dict[str, Head]) -> OpenTraining:
    """Build the network, seeded, or as it was after the last epoch that was finished."""
    import keras

    config, phases, distribution = run.config, resolved_phases(run.config), Distribution()
    progress = load_progress(run.path / "state")
    if progress.phase > len(phases):
        raise UserError(f"{run.path}: expected a state of phase 1 to {len(phases)}; received one of phase {progress.phase}")
    with distribution.scope():
        given = None if progress.epoch else read_initial_weights(config)
        keras.utils.set_random_seed(config.seed)
        model = run.build_network(start=True)
        if given is not None:
            run.set_status(run.metadata["status"], init_from=initialise(model, run, given))
        freezing = LayerFreezing(model, config.model.fixed_layers(model))
        training = OpenTraining(run, config, data, heads, phases, progress, distribution, model, freezing)
        for phase in phases:  # a prefix of a later phase that no layer has is an error now
            variable_factors(model, phase.optimizer.rates)
            freezing.apply(config.frozen_layers(phase), f"--phases: phase {phase.number}: freeze")
        prepare_phase(training, phases[progress.phase - 1])
        training.progress = load_state(run.path / "state", model)
    return training


def prepare_phase(training: OpenTraining, phase: Phase) -> None:
    """Freeze the layers of a phase, and compile the network for it."""
    training.freezing.apply(training.config.frozen_layers(phase), f"--phases: phase {phase.number}: freeze")
    compile_for(training.model, phase, training.config, training.data, training.heads)


def compile_for(model: "keras.Model", phase: Phase, config: TrainingConfig, data: Mixture, heads: Mapping[str, Head]) -> None:
    """Compile a network with the losses and metrics of a phase, and an optimizer that begins anew."""
    from training.objectives.keras_objects import AnnotatedShare

    examples = {
        name: [(folder.records, part) for folder in data.folders if name in folder.targets.annotates for part in folder.sources]
        for name in heads
    }
    several = len(heads) > 1
    losses = {name: head.loss(phase.loss, examples[name]) for name, head in heads.items()}
    if config.learns_loss_weights:
        from training.objectives.uncertainty import UncertainLoss

        losses = {
            name: UncertainLoss(losses[name], model.log_variances[name], head.any_annotated) for name, head in heads.items()
        }
    model.compile(
        optimizer=build_optimizer(phase.optimizer, phase.schedule, data.steps_per_epoch, phase.epochs, model),
        loss=losses,
        loss_weights={name: config.loss_weights.get(name, 1.0) for name in heads} if several else None,
        metrics={
            name: [*head.metrics(f"{name}_"), AnnotatedShare(head.any_annotated)] if several else head.metrics("")
            for name, head in heads.items()
        },
    )
    # Keras makes the variables of both in the first step otherwise, and TensorFlow then traces that step a second time.
    model.optimizer.build(model.trainable_variables)
    if several and (compiled := getattr(model, "_compile_loss", None)) is not None:
        compiled.build(dict.fromkeys(heads, 0), model.output)


def begin_phase(training: OpenTraining, phase: Phase) -> None:
    """Load the weights that a phase begins with, and compile the network for it."""
    from training.state.weights import load_weights

    with training.distribution.scope():
        before = training.run.keep_weights_before(phase.number, phase.restart_from)
        training.run.verify_weights(before)
        load_weights(training.model, before)  # the last ones too: in memory they may be those that a moving average follows
        prepare_phase(training, phase)
    training.progress.begin_phase(phase.number)
    name = f" ({phase.name})" if phase.name else ""
    frozen = f", frozen: {', '.join(phase.freeze)}" if phase.freeze else ""
    print(
        f"phase {phase.number}{name}: {counted(phase.epochs, 'epoch')}, learning rate {phase.optimizer.learning_rate:g}{frozen}"
    )


def train_phase(training: OpenTraining, phase: Phase, wandb_run: WandbRun) -> str | None:
    """Train what is left of a phase, and log its epochs; what ended the training early, if anything did."""
    import keras

    from training.data.stopwatch import StopWatch
    from training.loggers.tensorboard import tensorboard
    from training.state.callbacks import EpochKeeper

    run, config, data, progress = training.run, training.config, training.data, training.progress
    steps, watch = data.steps_per_epoch, StopWatch()
    batches = data.training_batches(config, progress.epoch * steps, watch)
    validation, validation_steps = data.validation_batches(config, even=training.distribution.devices > 1)
    examples = steps * config.input.batch_size
    keeper = EpochKeeper(run, config, training.heads, progress, training.phases, phase, examples, watch)
    # Before the keeper: an epoch of other examples is not kept.
    unchanged = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: refuse_changed_records(run, data))
    try:
        with Watchdog(run.path) as watchdog:
            training.model.fit(
                batches,
                epochs=progress.epoch - progress.phase_epoch + phase.epochs,
                initial_epoch=progress.epoch,
                steps_per_epoch=steps,
                validation_data=validation,
                validation_steps=validation_steps,
                callbacks=[
                    unchanged,
                    keeper,
                    *wandb_run.callbacks(progress),
                    *tensorboard(run.path / "logs"),
                    *beats(watchdog),
                ],
                shuffle=False,
                verbose=0,
            )
    except Diverged as error:
        raise store_divergence(run, progress, str(error)) from None
    return keeper.ended


def refuse_changed_records(run: Run, data: Mixture) -> None:
    """End a training whose records were deleted or changed while it read them.

    Raises:
        UserError: names the file, and how to go on.
    """
    try:
        data.refuse_changed()
    except UserError as error:
        again = f"go on with --resume {run.path}" if has_epochs(run.path) else "train again"
        raise UserError(f"{error}; then {again}") from None


def prepare_backend(run: Run) -> None:
    """Set determinism, and warn where a resumed run is on another machine than it began on."""
    import keras

    deterministic = run.config.deterministic == "on" or (run.config.deterministic == "auto" and not gpus())
    if keras.backend.backend() == "tensorflow" and deterministic:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    file = run.path / "environment.json"
    before = read_manifest(file, "environment of the run", MapOf(CONTENT), advice=COPY_AGAIN) if file.is_file() else None
    now = write_environment(file, device(), deterministic)
    changed = [name for name in now if before is not None and before.get(name) != now[name]]
    if changed and before is not None:
        print(f"warning: {changed[0]} was {before[changed[0]]!r} and is now {now[changed[0]]!r}: equal bits are not promised")


def print_start(training: OpenTraining) -> None:
    """Print what is trained, on what, and from where."""
    config, data = training.config, training.data
    copies = config.input.copies and any(folder.records.copies for folder in data.folders)
    what = counted(data.examples, "slice" if config.input.patch is None else "patch")
    what += " in one pass" if config.input.patch is not None else ", stored copies included" if copies else ""
    train, validation = (sum(len(getattr(folder, side)) for folder in data.folders) for side in ("train", "validation"))
    channels = ", ".join(data.records.channels)
    print(f"device: {device()}; {config.precision}")
    print(f"network: {config.model.name}, {training.model.count_params() / 1e6:.2f} M parameters, channels {channels}")
    print(
        f"data: {counted(train, 'training case')} ({what}, {counted(data.steps_per_epoch, 'step')} an epoch), "
        f"{counted(validation, 'validation case')}"
    )
    for folder in data.folders:
        if lacking := cases_lacking_channels(folder.records, config):
            sides = {"training": "train", "validation": "validation"}
            numbers = {side: len(lacking.keys() & folder.records.subset(name, config.fold)) for side, name in sides.items()}
            parts = [counted(number, f"{side} case") for side, number in numbers.items() if number]
            if parts:
                print(
                    f"left out: {' and '.join(parts)} of {folder.records.path} that lack {lacked_channels(lacking)}; "
                    "--input.channel_dropout trains with channels absent"
                )
    for name, head in training.heads.items():
        own = [folder for folder in data.folders if name in folder.targets.annotates]
        if line := head.description([folder.records for folder in own], [folder.train for folder in own]):
            print(f"{name}: {line}" if len(training.heads) > 1 else line)
    if len(data.folders) > 1:
        total = sum(folder.share for folder in data.folders)
        several = len(training.heads) > 1
        parts = [
            f"{each.share / total:.0%} from {each.records.path} ({counted(len(each.train), 'case')}"
            + (f" for {', '.join(each.targets.annotates)})" if several else ")")
            for each in data.folders
        ]
        print(f"batches: {', '.join(parts)}")
    if config.split == "slice":
        print("slice split: slices of one patient train and validate; the scores are too good")
    if not data.has_validation or not config.validate:
        unused = "" if config.patience is None else ", and --patience is not used"
        print(f"no validation{' (validate: false)' if data.has_validation else ' cases'}: the last model is kept{unused}")
    if training.progress.epoch:
        print(f"resuming after epoch {training.progress.epoch}")
