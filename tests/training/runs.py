"""What tests of trainings share: a toy network's options, a run's files as arrays, and runs that are compared bit for bit."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import yaml

from common.files import read_json, write_json
from data_prep.records.folder import Records
from training.data.batches import CLASSIFICATION, SEGMENTATION, InputConfig, training_batches, training_examples
from training.data.slices import training_slices
from training.data.targets import FolderTargets
from training.heads.classification import ClassificationHead
from training.run import NETWORK, Run, network_checksum

ROOT = Path(__file__).resolve().parents[2]
TOY = (
    *("--model.filters", 2, "--model.depth", 1, "--model.dropout", 0.2, "--precision", "float32"),
    *("--input.batch_size", 4, "--optimizer.learning_rate", 0.01, "--seed", 5),
)
SHORT = ("--steps_per_epoch", 3, "--schedule.name", "constant")
"""Options of a training of few steps; they stand behind TOY."""
CUSTOM = ("--model.name", "tests.models.custom_networks:tiny", "--model.stride", 2, *TOY[6:])
"""Options of a toy network that is not the toolkit's."""
VOLUMES = (
    *(*TOY, "--model.rank", 3, "--input.patch", "[4,8,8]", "--input.tumour_share", 0.5, "--steps_per_epoch", 12),
    *("--augment.rank", 3, "--augment.probability", 0.5, "--augment.tilt_degrees", 10, "--augment.flips", '["x","y","z"]'),
)
"""Options of a toy network of volumes."""
EPOCHS, STEPS = 4, 12  # 3 cases and their copies of 8 slices each, 4 a step


JAX_CACHE = TemporaryDirectory(prefix="jax_cache_")
QUICK_JAX = {
    "XLA_FLAGS": "--xla_backend_optimization_level=0",  # compiling takes far longer than these steps
    "JAX_COMPILATION_CACHE_DIR": JAX_CACHE.name,  # each step is compiled by the first process that comes to it
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


def environment(backend):
    """Environment of a process that trains on a backend."""
    return os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"} | (QUICK_JAX if backend == "jax" else {})


def history(path):
    with (path / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def weights(path):
    """The network's arrays of a weights file, without the optimizer's."""
    import h5py

    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: (
                found.update({name: item[()]}) if isinstance(item, h5py.Dataset) and not name.startswith("optimizer") else None
            )
        )
    return found


def state(path):
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files if name != "progress"}


def back_to(run, epoch, copy):
    """A copy of a run as it was when it was killed after an epoch whose state is still there."""
    copy = Path(shutil.copytree(run, copy))
    for path in (copy / "state").iterdir():
        if path.name > f"epoch_{epoch:05d}.npz":
            path.unlink()
    Run(copy).set_status("running")
    return copy


def finished_after(run, epoch, copy, **settings):
    """A copy of a run as one of fewer epochs, which is finished.

    Args:
        run: a training that went on for longer; equal to the shorter one until its end.
        epoch: the last of the copy, whose state is still there.
        copy: the folder.
        settings: of the shorter training, over those of its config.
    """
    copy = back_to(run, epoch, copy)
    config = yaml.safe_load((copy / "config.yaml").read_text())
    for name, value in settings.items():
        both = zip(config[name], value, strict=True) if isinstance(value, list) else ()
        config[name] = [old | new for old, new in both] if isinstance(value, list) else value
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    Run(copy).set_status("finished", ended="epochs", epoch=epoch)
    return copy


def write_model(run, model):
    """Write the model of a run and a checksum that fits it, as somebody would who changes both."""
    config = yaml.safe_load((run / "config.yaml").read_text()) | {"model": model}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    write_facts(run, read_json(run / "run.json", "run"))


def write_facts(run, facts):
    """Write the run.json of a run with a checksum that fits its network."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    settings = facts.get("settings", {}) | {NETWORK: network_checksum(config, facts)}
    write_json(run / "run.json", facts | {"settings": settings})


def begin_on(run, records, **changes):
    """Write into a run's facts that it was begun on other records, and other changes of them."""
    facts = read_json(run / "run.json", "run")
    facts["records"] = [facts["records"][0] | {"path": str(records), "fingerprint": Records(records).fingerprint}]
    write_facts(run, facts | changes)


def assert_equal_arrays(first, second):
    assert list(first) == list(second)
    assert first
    for name in first:
        assert first[name].dtype == second[name].dtype
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def assert_equal_runs(first, second):
    """Bit for bit, but for the time it took."""
    rows, others = history(first), history(second)
    for row in (*rows, *others):
        assert float(row.pop("minutes")) >= 0
    assert rows == others
    for name in ("last.weights.h5", "best.weights.h5"):
        assert_equal_arrays(weights(first / name), weights(second / name))
    states = sorted(path.name for path in (first / "state").iterdir())
    assert states == sorted(path.name for path in (second / "state").iterdir())
    for name in states:
        assert_equal_arrays(state(first / "state" / name), state(second / "state" / name))
    kept = ("status", "epoch", "best_epoch", "steps_per_epoch")
    assert {name: Run(first).metadata[name] for name in kept} == {name: Run(second).metadata[name] for name in kept}


def kill_in_epoch_3(backend, arguments, out):
    """Start a training in a process of its own and kill it, without warning, when two epochs stand in its history."""
    program = [sys.executable, "-m", "training.train", *map(str, arguments)]
    with subprocess.Popen(
        program, cwd=ROOT, env=environment(backend), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        while process.poll() is None and not ((out / "history.csv").is_file() and len(history(out)) >= 2):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        printed = process.stdout.read().decode()
    assert process.returncode == -signal.SIGKILL, printed
    assert len(history(out)) < EPOCHS
    assert Run(out).metadata["status"] == "running"


def assert_equal(first, second):
    """Two lists of batches hold the same arrays."""
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        for left, right in zip(one, other, strict=True):
            np.testing.assert_array_equal(left, right)


def tumour_grade(opened):
    """Targets of a classification head of slices with tumour."""
    head = ClassificationHead(CLASSIFICATION, "grade", {"LGG": ["LGG"], "HGG": ["HGG"]})
    return FolderTargets(opened, {CLASSIFICATION: head}, frozenset({CLASSIFICATION}))


def training_sources(opened, config=None):
    """Slices of the training cases and their copies."""
    return training_slices(opened, opened.split["train"], config or InputConfig())


def read_batches(sources, config, count, seed=0, start=0, augmentation=None):
    """Training batches from a step on: (image, label) arrays."""
    iterator = iter(training_batches(training_examples(sources, config, seed, augmentation), config, start))
    return [(image, labels[SEGMENTATION]) for image, labels in (next(iterator) for _ in range(count))]
