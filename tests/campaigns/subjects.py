"""Commands that the campaigns disturb, on tiny inputs, so that a call takes seconds."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import SMALL, learnable, run_command, write_source
from tests.dicom_files import oblique, write_series
from tests.training.runs import TOY, VOLUMES
from training.start import has_epochs

CLASSIFY = "tests.campaigns.classify_tiny"
SPLIT = ("--augment.copies", 1, "--split.folds", 2, "--split.fractions", "[0.6,0.2,0.2]")
SHORT = (*TOY, "--steps_per_epoch", 4, "--epochs", 4)
PHASES = '[{"epochs": 2, "freeze": ["encoder"]}, {"epochs": 2, "optimizer": {"learning_rate": 0.002}}]'
CLASSES = (
    *("--model.name", "tiny", "--precision", "float32", "--slices", "tumour", "--target.attribute", "grade"),
    *("--steps_per_epoch", 2, "--epochs", 4, "--input.batch_size", 4),
)
FOLD = """\
model: {name: unet, filters: 2, depth: 1}
precision: float32
input: {batch_size: 4}
steps_per_epoch: 3
epochs: 2
"""


class Inputs:
    """Inputs of all commands in a folder; each is made when it is asked for first.

    Args:
        folder: to write into.
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    def made(self, name, make):
        """Folder `name`, which `make(folder)` fills."""
        out = self.folder / name
        if not out.exists():
            make(out)
        return out

    @property
    def source(self):
        """Five made patients in the layout of BraTS."""
        return self.made("source", lambda out: write_source(out))

    @property
    def records(self):
        """Records of the five patients, with a copy each and two folds."""
        words = ("--source", self.source, *SPLIT, *SMALL)
        return self.made("records", lambda out: done("data_prep.make_records", *words, "--out", out))

    @property
    def run(self):
        """A training of two epochs."""
        return self.made("run", lambda out: done("training.train", "--records", self.records, *TOY, *SHORT[-4:], "--out", out))

    @property
    def volumes(self):
        """A training of volumes of one epoch."""
        words = ("--records", self.records, *VOLUMES, "--steps_per_epoch", 2, "--epochs", 1)
        return self.made("volumes", lambda out: done("training.train", *words, "--out", out))

    @property
    def predictions(self):
        """Predictions of the five patients."""
        words = ("--runs", self.run, "--source", self.source)
        return self.made("predictions", lambda out: done("evaluation.predict", *words, "--out", out))

    def file(self, name, text):
        """A file with a text."""
        (self.folder / name).write_text(text)
        return self.folder / name


def done(name, *words):
    """Run a command in this process; it must end well."""
    ended = run_command(name, *words)
    assert ended.status == 0, ended.err


@dataclass(frozen=True)
class Subject:
    """Command that is disturbed.

    Attributes:
        module: of the command.
        words: of the command line but --out, from the inputs.
        resumes: an output with run.json goes on by --resume.
        ignored: names in the output that a stopped call may leave otherwise.
    """

    module: str
    words: Callable[[Inputs], tuple]
    resumes: bool = False
    ignored: tuple[str, ...] = ()

    def call(self, inputs, out, again=False):
        """Module and command line of the first call, or of one that follows a call that was stopped."""
        if again and self.resumes and (out / "run.json").is_file() and has_epochs(out):
            return [self.module, "--resume", str(out)]
        return [self.module, *map(str, self.words(inputs)), "--out", str(out)]


def training(*words, module="training.train"):
    """A training of the records."""
    return Subject(module, lambda inputs: ("--records", inputs.records, *words), resumes=True)


def study(inputs):
    """Command line of a study of two runs."""
    options = {name[2:]: value for name, value in zip(SHORT[::2], SHORT[1::2], strict=True)} | {"epochs": 2}
    runs = [{"name": name, "train": {}, "options": options | {"seed": seed}} for seed, name in enumerate("ab")]
    return "--config", inputs.file("study.yaml", json.dumps({"runs": runs})), "--records", inputs.records


SUBJECTS = {
    "builder": Subject(
        "data_prep.make_records", lambda inputs: ("--source", inputs.source, *SPLIT, *SMALL[:2], "--workers", 2)
    ),
    "train": training(*SHORT),
    "train_3d": training(*VOLUMES, "--steps_per_epoch", 2, "--epochs", 3),
    "phases": training(*SHORT[:-2], "--phases", PHASES),
    "classify": training(*CLASSES, module=CLASSIFY),
    "cross_validation": Subject(
        "evaluation.cross_validate",
        lambda inputs: ("--records", inputs.records, "--train", inputs.file("fold.yaml", FOLD), "--options", "seed=3"),
    ),
    "study": Subject("evaluation.study", study),
    "align": Subject(
        "data_prep.align",
        lambda inputs: ("--source", inputs.source, "--register", "never", "--spacing_mm", 1.5, "--workers", 2),
    ),
}


def dicom(inputs):
    """Command line of a prediction of DICOM series."""

    def make(out):
        for number, (name, array) in enumerate(learnable("a", seed=40).images.items()):
            write_series(out / "scans" / "MUSTERMANN" / name, array, oblique(), f"{name} tra", number=number)

    scans = inputs.made("dicom", make) / "scans"
    channels = "".join(f"  {name}: {{description: '^{name} '}}\n" for name in ("flair", "t1", "t1ce", "t2"))
    rules = inputs.file("rules.yaml", f"channels:\n{channels}reference: t1\n")
    return "--runs", inputs.run, "--source", scans, "--series", rules


WRITING = {
    "phantom": Subject("data_prep.make_phantom", lambda inputs: ("--cases", 2, "--size", "[32,32,24]", "--workers", 1)),
    "predict": Subject("evaluation.predict", lambda inputs: ("--runs", inputs.run, "--source", inputs.source)),
    "predict_3d": Subject("evaluation.predict", lambda inputs: ("--runs", inputs.volumes, "--source", inputs.source)),
    "predict_dicom": Subject("evaluation.predict", dicom),
    "score": Subject("evaluation.score", lambda inputs: ("--predictions", inputs.predictions, "--source", inputs.source)),
    "plots": Subject("evaluation.plots", lambda inputs: ("--runs", inputs.run)),
}
"""Commands that write files and are not among the campaign of kills."""
