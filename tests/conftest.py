"""What many tests share: a quiet environment, small made records, and commands run in this process."""

import io
import json
import os
import shutil
import signal
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

# Before any framework is imported.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
# A shell starts what it puts into the background with SIGINT ignored, nohup with SIGHUP, and children would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

import hypothesis
import numpy as np
import pytest
from filelock import FileLock

from common import cli
from data_prep.records.folder import Records
from tests.networks import TINY
from tests.scans import scan, write_brats
from tests.training.runs import EPOCHS, TOY, VOLUMES

hypothesis.settings.register_profile("deterministic", derandomize=True)
hypothesis.settings.load_profile("deterministic")

CONFIGS = {
    "data_prep.make_records": "MakeRecordsConfig",
    "data_prep.make_phantom": "MakePhantomConfig",
    "data_prep.align": "AlignConfig",
    "data_prep.check": "CheckConfig",
    "data_prep.skull_strip": "SkullStripConfig",
    "training.train": "TrainConfig",
    "training.classify": "ClassifyConfig",
    "evaluation.study": "StudyConfig",
    "evaluation.predict": "PredictConfig",
    "evaluation.score": "ScoreConfig",
    "evaluation.plots": "PlotsConfig",
    "evaluation.compare": "CompareConfig",
    "evaluation.tune": "TuneConfig",
    "evaluation.cross_validate": "CrossValidateConfig",
    "evaluation.classify_features": "ClassifyFeaturesConfig",
    "evaluation.fine_tuning": "FineTuningConfig",
    "evaluation.report": "ReportConfig",
    "evaluation.model_card": "ModelCardConfig",
}


@dataclass
class Done:
    """How a command ended: exit status, and what it printed."""

    status: int
    out: str
    err: str
    errors: list[str] = field(init=False)

    def __post_init__(self):
        self.errors = [line for line in self.err.splitlines() if line.startswith("error:")]


def run_command(name: str, *arguments: object) -> Done:
    """Run the command `name`, such as data_prep.make_records, in this process alone, unless `--workers` starts others."""
    module = import_module(name)
    config = getattr(module, CONFIGS[name])
    alone = ["--workers", "1"] if getattr(config, "workers", 1) != 1 else []  # what comes later wins
    out, err, status = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            cli.run(module.main, config, alone + [str(argument) for argument in arguments])
        except SystemExit as end:
            status = end.code
    return Done(status, out.getvalue(), err.getvalue())


LONGEST_FIRST = ("end_to_end/test_notebooks", "end_to_end", "training", "evaluation", "campaigns", "benchmarks", "models")
"""Beginnings of the paths, below tests/, of what takes longest: begun last, one process would be at it alone."""


def pytest_collection_modifyitems(items):
    """Order of files for several processes, each of which takes the next file; within a file nothing moves."""
    here = Path(__file__).parent

    def place(item):
        path = item.path.relative_to(here).as_posix() if item.path.is_relative_to(here) else ""
        return next((index for index, begin in enumerate(LONGEST_FIRST) if path.startswith(begin)), len(LONGEST_FIRST))

    items.sort(key=place)


@pytest.fixture(scope="session")
def command():
    """`command(name, *arguments)`: run a command and get its `Done`."""
    return run_command


def learnable(identifier, seed, shape=(18, 20, 8)):
    """A made case whose annotation follows from its intensities: a tumour of nested boxes, brighter inside."""
    made = scan(identifier, seed=seed, shape=shape)
    made.label[...] = 0
    middle = tuple(slice(length // 4, length - length // 4) for length in shape[:2])
    for margin, label in ((0, 2), (2, 1), (3, 4)):
        box = tuple(slice(axis.start + margin, axis.stop - margin) for axis in middle)
        made.label[box] = label
    made.label[..., :2] = made.label[..., -2:] = 0
    for array in made.images.values():
        array[array > 0] = 300 + 0.2 * array[array > 0] + 150 * made.label[array > 0]
    return made


def write_source(root: Path, cases: int = 5) -> Path:
    """A source of made patients, the first half HGG; 8 slices each, tumour on the 4 in the middle, no brain on the outer 2."""
    for number in range(cases):
        write_brats(root / ("HGG" if number < cases / 2 else "LGG"), [learnable(f"case_{number}", seed=number)])
    return root


SMALL = ("--prepare.size", "[8,16,16]", "--workers", "1")


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """`once(name, make)`: the folder that `make(folder)` fills, in one of the test processes; to be read only."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "once"
    root.mkdir(exist_ok=True)
    used = set()

    def folder(name, make):
        done = root / f"{name}.done"
        with FileLock(root / f"{name}.lock"):
            if not done.exists():
                make(root / name)
                done.write_text(changes(root / name))
        used.add(name)
        return root / name

    yield folder
    for name in sorted(used):  # a test that moves or changes it fails others beside it, now and then
        assert changes(root / name) == (root / f"{name}.done").read_text(), (
            f"a test changed {root / name}; it is to be read only"
        )


def changes(folder: Path) -> str:
    """Times of change of a folder and all in it, by path; moving it away and back is a change too."""
    return json.dumps({str(path): path.stat().st_ctime_ns for path in sorted([folder, *folder.rglob("*")])})


@pytest.fixture(scope="session")
def run_copies():
    """Copies of the shared runs that this process reads, with their state when they were made."""
    return {}


@pytest.fixture(scope="session")
def run_once(once, run_copies, tmp_path_factory):
    """`run_once(name, command, *options)`: a run that one of the test processes trains, copied for each; to be read only."""

    def run(name, command, *options):
        def make(out):
            done = run_command(command, "--out", out, *options)
            assert done.status == 0, done.err
            (out / "printed.txt").write_text(done.out)

        copy = shutil.copytree(once(name, make), tmp_path_factory.mktemp(name) / "run")
        run_copies[copy] = changes(copy)
        return copy

    return run


@pytest.fixture(scope="module", autouse=True)
def unchanged_copies(run_copies):
    """A file of tests that writes into a shared run fails itself, not a file that comes later."""
    yield
    for copy, before in run_copies.items():
        run_copies[copy] = changes(copy)
        assert run_copies[copy] == before, f"a test of this file changed {copy}; it is to be read only"


@pytest.fixture(scope="session")
def source(once):
    """Five made patients in the layout of BraTS; to be read only."""
    return once("scans", lambda folder: write_source(folder / "source")) / "source"


@pytest.fixture(scope="session")
def records(source, once):
    """Records of five patients (3 / 1 / 1) of 8 slices of 16 x 16, one copy each and two folds; to be read only."""

    def make(out):
        split = ("--augment.copies", 1, "--split.folds", 2, "--split.fractions", "[0.6,0.2,0.2]")
        done = run_command("data_prep.make_records", "--source", source, "--out", out, *split, *SMALL)
        assert done.status == 0, done.err

    return once("records", make)


@pytest.fixture(scope="session")
def trained(records, run_once):
    """A run of two epochs of a tiny network on `records`; to be read only."""
    tiny = ("--model.filters", 4, "--model.depth", 1, "--precision", "float32", "--input.batch_size", 4, "--epochs", 2)
    return run_once("trained", "training.train", "--records", records, "--optimizer.learning_rate", 0.01, *tiny)


@pytest.fixture(scope="session")
def volumes(records, run_once):
    """A run of one epoch of a tiny 3D network, with all options of the UNet, on `records`; to be read only."""
    options = ("--model.depth", 2, "--model.residual", "true", "--model.attention", "true", "--model.deep_supervision", 1)
    return run_once("volumes", "training.train", "--records", records, *VOLUMES, *options, "--epochs", 1)


PHASES = '[{"epochs": 1, "freeze": ["backbone"]}, {"epochs": 1, "optimizer": {"learning_rate": 1e-5}}]'


@pytest.fixture(scope="session")
def classified(records, run_once):
    """Run of a tiny classifier of the grade of tumour slices of `records`, a step and two phases long; to be read only."""
    short = ("--steps_per_epoch", 1, "--phases", PHASES, "--input.batch_size", 4)
    tiny = ("--model.name", TINY, "--precision", "float32", "--slices", "tumour", "--target.attribute", "grade")
    return run_once("classified", "training.classify", "--records", records, *short, *tiny)


@pytest.fixture(scope="session")
def train(command, records):
    """`train(out, *options)`: train the toy network in this process; later options win."""

    def run(out, *options):
        return command("training.train", "--records", records, "--out", out, *TOY, *options)

    return run


@pytest.fixture(scope="session")
def whole(records, run_once):
    """An uninterrupted run on TensorFlow; to be read only."""
    return run_once("whole", "training.train", "--records", records, *TOY, "--epochs", EPOCHS)


@pytest.fixture
def run(whole, tmp_path):
    """A copy of the uninterrupted run that a test may change."""
    return shutil.copytree(whole, tmp_path / "run")


@pytest.fixture(scope="session")
def uneven(command, tmp_path_factory):
    """Records without a crop: volumes of 8 x 9 x 10 and 5 x 7 x 12 voxels; to be read only."""
    folder = tmp_path_factory.mktemp("uneven")
    write_brats(folder / "source", [scan("a", shape=(10, 9, 8)), scan("b", shape=(12, 7, 5))])
    options = ("--prepare.crop=null", "--prepare.size=null", "--split.fractions", "[1,0,0]", "--workers", 1)
    done = command("data_prep.make_records", "--source", folder / "source", "--out", folder / "records", *options)
    assert done.status == 0, done.err
    return Records(folder / "records")


@pytest.fixture
def rng():
    return np.random.default_rng(0)
