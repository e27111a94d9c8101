"""Command: cost of augmentation while training, as a share of a training step.

    python -m benchmarks.augment --records records/glioma --train configs/glioma/train_3d.yaml

Two tables for each training config. CPU time: a batch read by one thread, as it is and augmented, beside a step of the config's
own network with its loss, metric and optimizer. Wall time: what share of a short training, its threads reading ahead, is spent
waiting for batches.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.timing import interleaved
from common import cli
from common.errors import expect_number
from common.files import read_yaml
from data_prep.augmentation.draw import AugmentConfig
from data_prep.records.folder import Records
from training.config import TrainConfig
from training.data.batches import SEGMENTATION
from training.data.mixture import Mixture, open_mixture, with_input_size
from training.engine import compile_for
from training.phases import resolved_phases

if TYPE_CHECKING:
    import keras

STEP, PLAIN, OWN, ALL = "training step", "reading, not augmented", "reading, as configured", "reading, all at probability 1"
GROUPS = {
    "flips": ("flips",),
    "rotation, tilt, scale, crop": ("rotate_degrees", "tilt_degrees", "scale", "crop"),
    "elastic": ("elastic",),
    "brightness, contrast, gamma": ("brightness", "contrast", "gamma"),
    "bias field": ("bias",),
    "blur": ("blur",),
    "noise": ("noise",),
    "erasing": ("erase",),
    "fainter tumours": ("fade",),
    "filled channels": ("fill",),
}
"""Transforms that are timed alone, and their options."""
TILT = 10.0  # degrees, for configs of volumes without augmentation


@dataclass(kw_only=True)
class AugmentBenchmarkConfig:
    """Cost of augmentation while training, as a share of a training step: CPU time of reading a batch, and waiting time."""

    records: Path
    """Folder of records."""
    train: list[Path] = field(
        default_factory=lambda: [Path("configs/glioma/train_model1.yaml"), Path("configs/glioma/train_3d.yaml")]
    )
    """Training configs, each a table. One without augmentation is timed with the defaults of augmentation."""
    slices: int | None = 8
    """Slices a batch for configs that read slices; null: that of the config."""
    batches: int = 2
    """Batches read per repeat."""
    rounds: int = 7
    """Interleaved repeats."""
    steps: int = 20
    """Steps of a short training; 0: no trainings."""
    trainings: int = 3
    """Interleaved short trainings of each kind."""

    def check(self) -> None:
        """Refuse numbers that measure nothing."""
        for name in ("slices", "batches", "rounds", "trainings"):
            expect_number(name, getattr(self, name), 1)
        expect_number("steps", self.steps, 0)


@dataclass(frozen=True)
class Bench:
    """Data and network of one training config.

    Attributes:
        config: of the training, with augmentation.
        data: sources and records.
        model: compiled as in training.
    """

    config: TrainConfig
    data: Mixture
    model: "keras.Model"

    def batches(self, augment: AugmentConfig, threads: int, watch: Any = None) -> Any:
        """Endless batches, from the same places of the records for any augmentation."""
        config = replace(self.config, augment=augment, input=replace(self.config.input, threads=threads))
        return open_mixture(config, [self.data.records], self.data.folders[0].targets.heads).training_batches(config, 0, watch)


def main(config: AugmentBenchmarkConfig) -> None:
    """Print two tables for each training config."""
    from common.hardware.backend import load_backend

    config.check()
    records = Records(config.records)
    trainings = [_training(path, config.slices) for path in config.train]
    load_backend()  # first of all: sets the C library and oneDNN up as training does
    for path, training in zip(config.train, trainings, strict=True):
        bench = _bench(training, records)
        print(f"{path}: {_words(bench)}")
        medians = interleaved(_contenders(bench, config.batches), config.rounds, cpu=True)
        medians |= {name: seconds / config.batches for name, seconds in medians.items() if name != STEP}
        print(f"CPU time, median of {config.rounds} repeats\n{shares(medians)}")
        if config.steps:
            print(f"wall time, median of {config.trainings} trainings of {config.steps} steps, ", end="")
            print(f"{training.input.threads} threads reading ahead")
            print(_waits(bench, config.steps, config.trainings))


def ways(own: AugmentConfig) -> dict[str, AugmentConfig]:
    """Augmentations to time, by row: none, that of the config, all at probability 1, each transform alone."""
    off: dict[str, Any] = {name: [] if name == "flips" else 0.0 for names in GROUPS.values() for name in names}
    still, every = replace(own, **off, probability=0.0), replace(own, probability=1.0)
    found = {PLAIN: still, f"{OWN} (probability {own.probability or 0:g})": own, ALL: every}
    for group, names in GROUPS.items():
        asked = {name: getattr(own, name) for name in names}
        if any(asked.values()):
            found[f"  {group} alone"] = replace(every, **(off | asked))
    return found


def shares(seconds: Mapping[str, float]) -> str:
    """Table with a row per contender: milliseconds of CPU time a batch, share of the step, and difference to plain reading."""
    width = max(map(len, seconds))
    rows = [f"{'':{width}}  ms a batch  of a step  added by augmentation"]
    for name, value in seconds.items():
        added = "" if name in (STEP, PLAIN) else f"{(value - seconds[PLAIN]) / seconds[STEP]:10.2%}"
        rows.append(f"{name:{width}}  {value * 1e3:10.1f}  {value / seconds[STEP]:9.2%}  {added}".rstrip())
    return "\n".join(rows)


def _training(path: Path, slices: int | None) -> TrainConfig:
    """Training config; one without augmentation gets the defaults."""
    config: TrainConfig = cli.from_dict(TrainConfig, read_yaml(path, "training config"), path)
    if config.input.patch is None and slices is not None:
        config = replace(config, input=replace(config.input, batch_size=slices))
    if not config.augment.probability:
        volumes = config.input.patch is not None and config.input.patch[0] > 1
        config = replace(config, augment=AugmentConfig(rank=3, tilt_degrees=TILT) if volumes else AugmentConfig())
    config.check()
    return config


def _bench(config: TrainConfig, records: Records) -> Bench:
    """Open the records of a config, and build and compile its network as in training."""
    import keras

    from common.hardware.devices import chosen_precision, gpus

    if keras.backend.backend() == "tensorflow" and config.deterministic != "off" and not gpus():
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    config = replace(config, records=records.path)
    config = replace(config, input=with_input_size(config, [records]).input)
    heads = config.make_heads([records])
    data = open_mixture(config, [records], heads)
    keras.utils.set_random_seed(config.seed)
    keras.config.set_dtype_policy(chosen_precision(config.precision))
    channels = len(records.channels) * (2 * config.input.neighbours + 1)
    model = config.model.build(channels, {SEGMENTATION: len(records.schema.classes)})
    compile_for(model, resolved_phases(config)[0], config, data, heads)
    return Bench(config, data, model)


def _words(bench: Bench) -> str:
    """Title of a table: batch, network, device."""
    from common.hardware.devices import device

    batch, _ = next(iter(bench.batches(bench.config.augment, 0)))
    what = "slices" if bench.config.input.patch is None else "patches"
    size = " x ".join(str(side) for side in batch.shape[1:-1])
    policy = bench.model.dtype_policy.name
    parameters = f"{bench.model.count_params() / 1e6:.2f} M parameters"
    return f"{len(batch)} {what} of {size} a step; {bench.config.model.name}, {parameters}, {policy}; {device()}"


def _contenders(bench: Bench, batches: int) -> dict[str, Callable[[], None]]:
    """Contenders: a training step, and reading of batches in this thread."""
    contenders: dict[str, Callable[[], None]] = {}
    for name, augment in ways(bench.config.augment).items():
        contenders[name] = partial(_read, iter(bench.batches(augment, 0)), batches)
    image, targets = next(iter(bench.batches(bench.config.augment, 0)))
    return {STEP: partial(_step, bench.model, image, targets)} | contenders


def _read(iterator: Any, batches: int) -> None:
    for _ in range(batches):
        next(iterator)


def _step(model: "keras.Model", image: Any, targets: Any) -> None:
    model.train_on_batch(image, targets)


def _waits(bench: Bench, steps: int, rounds: int) -> str:
    """Table with a row per augmentation: share of a short training that is spent waiting for batches, and its time a step."""
    chosen = list(ways(bench.config.augment).items())[:3]
    found: dict[str, list[tuple[float, float]]] = {name: [] for name, _ in chosen}
    for _ in range(rounds):
        for name, augment in chosen:
            found[name].append(_short_training(bench, augment, steps))
    width = max(map(len, found))
    rows = [f"{'':{width}}  waiting for data   ms a step  relative"]
    first = statistics.median(seconds for _, seconds in found[PLAIN])
    for name, pairs in found.items():
        waited, seconds = (statistics.median(values) for values in zip(*pairs, strict=True))
        rows.append(f"{name:{width}}  {waited:16.2%}  {seconds * 1e3:10.1f}  {seconds / first:8.3f}")
    return "\n".join(rows)


def _short_training(bench: Bench, augment: AugmentConfig, steps: int) -> tuple[float, float]:
    """Share of the time spent waiting, and seconds a step; the first step, while threads start, is not counted."""
    import keras

    from training.data.stopwatch import StopWatch

    watch, marks = StopWatch(), []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: marks.append((time.perf_counter(), watch.seconds))
    )
    batches = bench.batches(augment, bench.config.input.threads, watch)
    bench.model.fit(batches, epochs=1, steps_per_epoch=steps + 1, callbacks=[note], shuffle=False, verbose=0)
    (began, waited_before), (ended, waited) = marks[0], marks[-1]
    return (waited - waited_before) / (ended - began), (ended - began) / steps


if __name__ == "__main__":
    cli.run(main, AugmentBenchmarkConfig)
