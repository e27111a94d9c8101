"""Gallery of all figures, drawn on synthetic patients: docs/gallery.md with its pictures.

    python -m benchmarks.gallery --work FOLDER

FOLDER holds the scans, runs and figures; what is finished in it is not made again. Half an hour of two cores beside other
work. The trainings are short: the figures show their form, not a result.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from common import cli

PAGE = Path("docs/gallery.md")
PICTURES = Path("docs/images/gallery")
WIDTH = 1000  # pixels of a picture
CASE = "BraTS2021_00000"  # a test patient
PHASES = "[{epochs: 3}, {epochs: 2, loss: {gamma: 1.0}, optimizer: {learning_rate: 1.0e-4}}]"
SHORT = ("--input.batch_size", "8", "--precision", "float32", "--steps_per_epoch", "15")
INTRODUCTION = """# Gallery

Every figure that the commands draw, on synthetic patients after short trainings: their form, not a result. All of them are made
by `python -m benchmarks.gallery --work FOLDER`. Charts are written as PDF, PNG and CSV of their numbers, figures of scans as
PDF and PNG, overlays as PNG.
"""


@dataclass(frozen=True)
class Picture:
    """Figure of the gallery.

    Attributes:
        file: below FOLDER.
        title: heading.
        command: that draws it.
        text: below the picture.
    """

    file: str
    title: str
    command: str
    text: str


GALLERY = (
    Picture(
        "figures/learning_curves_dice.png",
        "Learning curves",
        "glioskull plots --runs RUN --out FIGURES",
        "Training dashed, validation solid; a ring marks the kept epoch, a grey line the beginning of a phase. The loss is not "
        "joined where its numbers changed.",
    ),
    Picture(
        "figures/class_scores_dice.png",
        "Scores per structure",
        "glioskull plots --scores A B --out FIGURES",
        "Regions first, then classes and their mean, with intervals over patients.",
    ),
    Picture(
        "comparison/boxes_dice.png",
        "Patients of several sets",
        "glioskull compare --scores A B --out FOLDER",
        "Every patient is a point; boxes from ten patients on; the worst are named (`--ids false`: none).",
    ),
    Picture(
        "cv/figures/folds.png",
        "Folds",
        "glioskull cross_validate --train CONFIG --records R --out CV",
        "Every patient, predicted by the run that was not trained on it.",
    ),
    Picture(
        "cv/figures/patients.png",
        "Patients",
        "glioskull cross_validate --train CONFIG --records R --out CV",
        "From the best to the worst.",
    ),
    Picture(
        "figures/lesions_brats2023-gli_predictions.png",
        "Lesions by volume",
        "glioskull plots --scores A --out FIGURES",
        "How many are found, and the Dice of each; where they were scored by `--lesions RULE`.",
    ),
    Picture(
        "cv/predictions/overlays/BraTS2021_00001.png",
        "Overlay",
        "glioskull predict --runs RUN --source SCANS --out PREDICTIONS",
        "Image, annotation and prediction in three slices, with the Dice.",
    ),
    Picture(
        f"figures/models_{CASE}.png",
        "Several models",
        "glioskull plots --source SCANS --predictions A B --out FIGURES",
        "One slice of a patient, a column for each.",
    ),
    Picture(
        f"figures/mosaic_{CASE}.png",
        "Slices of a scan",
        "glioskull plots --source SCANS --out FIGURES",
        "Slices without head are left out.",
    ),
    Picture(
        f"figures/crop_{CASE}.png",
        "Crop",
        "glioskull plots --source SCANS --records R --out FIGURES",
        "The uncropped against the cropped volume.",
    ),
    Picture(
        "figures/augmentation.png",
        "Augmentation",
        "glioskull plots --runs RUN --records R --out FIGURES",
        "Slices as the network gets them, and what was changed, of runs that augment. The rim of a moved head is interpolated "
        "between tissue and 0.",
    ),
    Picture(
        "figures/class_frequencies.png",
        "Class frequencies",
        "glioskull plots --records R --out FIGURES",
        "Share of the voxels, logarithmic.",
    ),
    Picture(
        "run/fine_tuning_validation/before_after.png",
        "Before and after fine-tuning",
        "glioskull fine_tuning --run RUN --records R",
        "The best, the median and the worst patient.",
    ),
    Picture(
        "grade/scores/roc.png",
        "ROC curve",
        "glioskull cross_validate --command classify --train CONFIG --records R --out CV",
        "Per patient, with the interval of the AUC.",
    ),
    Picture(
        "grade/scores/confusion.png",
        "Confusion matrix",
        "glioskull cross_validate --command classify --train CONFIG --records R --out CV",
        "Counts, and shares of the true class.",
    ),
    Picture(
        "grade/scores/calibration.png",
        "Calibration",
        "glioskull cross_validate --command classify --train CONFIG --records R --out CV",
        "Observed share by predicted probability.",
    ),
    Picture(
        "grade_figures/grad_cam.png",
        "Grad-CAM",
        "glioskull plots --runs RUN --records R --out FIGURES",
        "Where a classifier looks, of several patients.",
    ),
)


@dataclass(kw_only=True)
class GalleryConfig:
    """Draw every figure on synthetic patients, and write docs/gallery.md with them."""

    work: Path
    """Folder for scans, runs and figures; what is finished in it is not made again."""


def main(config: GalleryConfig) -> None:
    """Make what is missing, and write the page."""
    work = config.work
    make(work)
    PICTURES.mkdir(parents=True, exist_ok=True)
    parts = [INTRODUCTION]
    for picture in GALLERY:
        name = f"{picture.title.lower().replace(' ', '_')}.png"
        shrink(work / picture.file, PICTURES / name)
        address = (PICTURES / name).relative_to(PAGE.parent).as_posix()
        parts.append(f"## {picture.title}\n\n![{picture.title}]({address})\n\n{picture.text} `{picture.command}`\n")
    PAGE.write_text("\n".join(parts))
    print(f"gallery: {PAGE}")


def make(work: Path) -> None:
    """Synthetic patients, records, trainings, predictions, scores and figures, as far as they are missing."""
    scans, records, run, cv, grade = (work / name for name in ("scans", "records", "run", "cv", "grade"))
    split = ("--split.folds", 3, "--split.fractions", "[0.68,0.16,0.16]", "--split.stratify", "grade")
    call("data_prep.make_phantom", scans, "--config", "synthetic/phantom", "--cases", 18, "--out", scans)
    crop = ("--prepare.crop", "brain", "--prepare.size", "[56,80,80]")
    call("data_prep.make_records", records, "--config", "synthetic/data", *crop, *split, "--source", scans, "--out", records)
    augment = ("--augment.flips", "[x]", "--augment.rotate_degrees", 15, "--augment.elastic", 3, "--augment.gamma", 0.3)
    training = (
        "--config",
        "synthetic/train",
        "--records",
        records,
        "--phases",
        PHASES,
        *SHORT,
        *augment,
        "--augment.probability",
        0.5,
    )
    call("training.train", run, *training, "--out", run)
    options = ("--options", "epochs=3", "steps_per_epoch=15")
    call("evaluation.cross_validate", cv / "figures", "--train", "synthetic/train", "--records", records, "--out", cv, *options)
    classes = ("input.resize=[64,64]", "target.attribute=grade", "target.classes={HGG: [HGG], LGG: [LGG]}")
    call(
        "evaluation.cross_validate",
        grade / "scores",
        "--command",
        "classify",
        "--train",
        "lower_grade_glioma/train_grade_imagenet",
        "--records",
        records,
        "--out",
        grade,
        "--options",
        *classes,
    )
    draw(work)


def draw(work: Path) -> None:
    """Predictions, scores and figures of the trainings, as far as they are missing."""
    scans, records, run, cv, grade = (work / name for name in ("scans", "records", "run", "cv", "grade"))
    predicted = work / "predictions"
    call("evaluation.predict", predicted, "--runs", run, "--source", scans, "--cases", records / "test.txt", "--out", predicted)
    others = work / "others"
    call("evaluation.predict", others, "--runs", cv, "--source", scans, "--cases", records / "test.txt", "--out", others)
    for folder in (predicted, others):
        call("evaluation.score", folder / "scores", "--predictions", folder, "--source", scans, "--lesions", "brats2023-gli")
    call(
        "evaluation.compare",
        work / "comparison",
        "--scores",
        predicted,
        others,
        "--seen_patients",
        "warn",
        "--out",
        work / "comparison",
    )
    call("evaluation.fine_tuning", run / "fine_tuning_validation", "--run", run, "--records", records)
    figures = (
        "--scores",
        predicted,
        others,
        "--predictions",
        predicted,
        others,
        "--source",
        scans,
        "--case",
        CASE,
        "--out",
        work / "figures",
    )
    call("evaluation.plots", work / "figures", "--runs", run, "--records", records, *figures)
    call(
        "evaluation.plots",
        work / "grade_figures",
        "--runs",
        grade / "fold0",
        "--records",
        records,
        "--out",
        work / "grade_figures",
    )


def call(module: str, result: Path, *words: object) -> None:
    """Run a command of the toolkit, unless its result is there."""
    if not result.exists():
        print(f"== {module}", flush=True)
        subprocess.run([sys.executable, "-m", module, *map(str, words)], check=True)


def shrink(picture: Path, out: Path) -> None:
    """Write a picture with at most WIDTH columns, in few colours, for a page."""
    with Image.open(picture) as opened:
        image = opened.convert("RGB")
        image.thumbnail((WIDTH, 2 * WIDTH))
        image.quantize(256, kmeans=3).save(out, optimize=True)


if __name__ == "__main__":
    cli.run(main, GalleryConfig)
