"""Command: choose the post-processing of runs on their own validation patients."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from common import cli
from common.errors import UserError, expect_number
from common.files import lock, write_text
from common.scores import UNANNOTATED, overlap
from data_prep.labels import LabelSchema, bits_to_classes
from data_prep.prepare import inside_mask
from data_prep.records import Records
from evaluation.ensemble import Ensemble, Showing
from evaluation.native_scores import Structure, scored_structures
from evaluation.native_tables import csv_text, wrapped
from evaluation.postprocess import FOREGROUND, PostprocessConfig, foreground_box, label_components, save, threshold_classes
from evaluation.statistics import Summary, summarise_columns
from training.backend import load_backend
from training.input import SEGMENTATION
from training.run import Run

if TYPE_CHECKING:
    import keras

TABLE = "tune.csv"
SURELY_FOREGROUND = 0.49  # 1 minus background's probability where another class is the most probable one, less rounding
OPTIMISTIC = (
    "The setting was chosen on these very patients, so its score is optimistic; score it on patients that neither trained nor "
    "chose it. Scores are means over patients of one confusion matrix per case, on the records' grid: what the crop cut off is "
    "not counted. Intervals are 95 % bootstrap intervals over patients."
)


@dataclass(kw_only=True)
class TuneConfig:
    """Choose the threshold and the smallest component of predicted segmentations on validation patients.

    Every run predicts its own validation patients; for the folds of a cross-validation one setting is chosen over all patients.
    It is stored in each run (postprocess.yaml, and tune.csv with the score of every setting), in place of an earlier one.
    """

    runs: list[Path]
    """Run folders that tell the same classes, such as the folds of a cross-validation."""
    records: Path | None = None
    """The records that the runs were trained on, where they have been moved; null: where the runs say."""
    metric: Literal["dice", "iou", "sensitivity", "precision"] = "dice"
    """Score to raise."""
    structure: str = "class_mean"
    """What is scored: a region or class of the schema, or class_mean, the mean over the foreground classes."""
    thresholds: list[float] = field(default_factory=lambda: [0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7])
    """Foreground probabilities to try, besides the most probable class."""
    least_voxels: list[int] = field(default_factory=lambda: [0, 10, 20, 50, 100, 200, 500, 1000])
    """Least voxels of the foreground's components to try, besides 0."""
    largest: bool = True
    """Also try to keep only the largest component of the foreground."""
    margin: float = 0.001
    """A setting must score better than no post-processing by more than this to be chosen."""
    inside_only: bool = True
    """Call voxels that are zero in every channel background, as evaluation.predict does."""
    flips: list[str] = field(default_factory=list)
    """Axes that are mirrored in turn, as they will be in evaluation.predict."""
    batch_size: int = 8
    """Slices at once; it changes speed and memory alone."""
    seed: int = 0
    """Seed of the bootstrap."""

    def check(self) -> None:
        """Refuse numbers out of range.

        Raises:
            UserError: says which, and what was expected.
        """
        if not self.runs:
            raise UserError("--runs: expected at least one run folder")
        for threshold in self.thresholds:
            expect_number("thresholds", threshold, 0, 1)
        for least in self.least_voxels:
            expect_number("least_voxels", least, 0)
        expect_number("margin", self.margin, 0)
        expect_number("batch_size", self.batch_size, 1)
        Showing(flips=tuple(self.flips))
        expect_number("seed", self.seed, 0)


@dataclass(frozen=True)
class Grid:
    """The settings that are tried.

    Attributes:
        thresholds: None, the most probable class, comes first.
        largest: whether only the largest component is kept; False comes first.
        least: voxels of the smallest component; 0 comes first.
    """

    thresholds: list[float | None]
    largest: list[bool]
    least: list[int]

    def settings(self) -> list[PostprocessConfig]:
        """All settings, thresholds outermost; the first changes nothing, and earlier ones change less."""
        return [
            PostprocessConfig(threshold=threshold, largest=largest, least_voxels={FOREGROUND: least} if least else {})
            for threshold, largest, least in product(self.thresholds, self.largest, self.least)
        ]


@dataclass(frozen=True)
class _Job:
    """A run and the cases that are its own to choose on."""

    run: Run
    records: Records
    cases: list[str]


def main(config: TuneConfig) -> None:
    """Score every setting, choose one, store it in every run and print how it compares."""
    config.check()
    jobs = [_job(Run(path), config.records) for path in config.runs]
    schema = _common_schema(jobs)
    structure = _structure(config.structure, schema)
    grid = make_grid(config)
    with ExitStack() as held:
        for folder in dict.fromkeys(job.run.path.resolve() for job in jobs):
            held.enter_context(lock(folder))
        table = np.array(list(_score_patients(jobs, structure, grid, config).values()))
        chosen = choose(table.mean(axis=0), config.margin)
        files = _write(jobs, grid, table, chosen, config)
    print(_report(grid.settings(), table, chosen, config))
    print("\n" + "\n".join(f"wrote {file}" for file in files))


def make_grid(config: TuneConfig) -> Grid:
    """The settings to try, those that change nothing among them."""
    thresholds = [None, *sorted(set(config.thresholds))]
    return Grid(thresholds, [False, True] if config.largest else [False], sorted({0, *config.least_voxels}))


def choose(means: np.ndarray, margin: float) -> int:
    """The place of the best setting, the first of equals; 0, no post-processing, where none is better by more than `margin`."""
    best = int(means.argmax())
    return best if means[best] - means[0] > margin else 0


def grid_confusions(
    probabilities: np.ndarray, truth: np.ndarray, grid: Grid, inside: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """The confusion matrix of a case under every setting, without segmenting it anew for each.

    Components are sought once per threshold, and the voxels of each are counted by true and predicted class; a setting then
    only says whose counts become background.

    Args:
        probabilities: (Z, H, W, classes) float32.
        truth: (Z, H, W) uint8, class indices, 255 where not annotated.
        grid: the settings.
        inside: (Z, H, W) bool, False where there can only be background.

    Yields:
        (classes, classes) int64 [truth, prediction], in the order of `Grid.settings`.
    """
    classes = probabilities.shape[-1]
    total = np.bincount(truth.ravel(), minlength=UNANNOTATED + 1)[:classes]
    lowest = min([SURELY_FOREGROUND, *(threshold for threshold in grid.thresholds if threshold is not None)])
    possible = 1 - probabilities[..., 0] >= lowest
    if inside is not None:
        possible &= inside
    box = foreground_box(possible)
    probabilities, truth, possible = probabilities[box], truth[box], possible[box]
    for threshold in grid.thresholds:
        predicted = threshold_classes(probabilities, threshold)
        predicted[~possible] = 0
        counts = component_counts(predicted, truth, classes)
        for largest, least in product(grid.largest, grid.least):
            yield _confusion(counts[_kept(counts, largest, least)].sum(axis=0), total)


def component_counts(predicted: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Count the voxels of each component of the foreground by true and predicted class.

    Args:
        predicted: (Z, H, W) uint8, class indices.
        truth: (Z, H, W) uint8, class indices, 255 where not annotated.
        classes: how many classes there are.

    Returns:
        (components, classes + 1, classes) int64, [component, truth, prediction]; the last row of truth is not annotated.
    """
    foreground = predicted > 0
    labels, count = label_components(foreground)
    rows = np.minimum(truth[foreground], classes).astype(np.int64)
    places = ((labels[foreground] - 1) * np.int64(classes + 1) + rows) * classes + predicted[foreground]
    shape = (count, classes + 1, classes)
    return np.bincount(places, minlength=int(np.prod(shape))).reshape(shape)


def _kept(counts: np.ndarray, largest: bool, least: int) -> np.ndarray:
    """Which components a setting keeps, bool; of equally large ones the first."""
    sizes = counts.sum(axis=(1, 2))
    kept = sizes >= least
    if largest and len(sizes):
        kept &= np.arange(len(sizes)) == sizes.argmax()
    return kept


def _confusion(kept: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Confusion matrix from the counts (classes + 1, classes) of what is foreground and the true voxels (classes,)."""
    confusion = kept[:-1].astype(np.int64)
    confusion[:, 0] = total - confusion[:, 1:].sum(axis=1)
    return confusion


def _job(run: Run, records_path: Path | None) -> _Job:
    """A run with its records and validation cases; refuses runs whose validation tells nothing about new patients."""
    _ = run.weights  # refuses a run without a finished epoch
    heads = run.facts.get("heads", {})
    if SEGMENTATION not in heads:
        raise UserError(f"{run.path}: expected a run that segments; received one that tells {', '.join(heads) or 'nothing'}")
    if run.config.split == "slice":
        raise UserError(
            f"{run.path}: trained with --split slice, so on slices of its validation patients too; "
            "tune a run that was trained with --split patient"
        )
    records = Records(records_path or Path(run.facts["records"]["path"]))
    if records.fingerprint != run.facts["records"]["fingerprint"]:
        raise UserError(f"{records.path}: not the records that {run.path} was trained on; name those by --records")
    cases = [case for case in records.subset("validation", run.config.fold) if records.cases[case].voxels.any()]
    if not cases:
        raise UserError(
            f"{run.path}: has no annotated validation patients to choose on; "
            "give settings found by cross-validation to evaluation.predict --postprocess FILE"
        )
    return _Job(run, records, cases)


def _common_schema(jobs: Sequence[_Job]) -> LabelSchema:
    schema = jobs[0].run.schema
    for job in jobs:
        if job.run.schema != schema:
            raise UserError(f"{job.run.path}: its schema differs from that of {jobs[0].run.path}; tune them one by one")
    return schema


def _structure(name: str, schema: LabelSchema) -> Structure:
    """The structure that is scored, by its name."""
    known = {structure.name: structure for structure in reversed(scored_structures(schema))}
    if name not in known:
        raise UserError(f"--structure: expected one of {', '.join(reversed(known))}; received {name}")
    return known[name]


def _score_patients(jobs: Sequence[_Job], structure: Structure, grid: Grid, config: TuneConfig) -> dict[str, np.ndarray]:
    """Patient -> score of every setting; of a patient with several cases, or in several runs, the mean."""
    from tqdm import tqdm

    load_backend()
    found: dict[str, list[list[float]]] = {}
    with tqdm(desc="predicting", unit="case", total=sum(len(job.cases) for job in jobs), file=sys.stderr) as bar:
        for job in jobs:
            network = job.run.load_network()
            for case in job.cases:
                confusions = _case_confusions(job, network, case, grid, config)
                scores = [_score(confusion, structure, config.metric) for confusion in confusions]
                found.setdefault(job.records.cases[case].patient, []).append(scores)
                bar.update()
    return {patient: np.mean(scores, axis=0) for patient, scores in found.items()}


def _case_confusions(job: _Job, network: "keras.Model", case: str, grid: Grid, config: TuneConfig) -> Iterator[np.ndarray]:
    shard = job.records.shard(case)
    showing = Showing(flips=tuple(config.flips), batch_size=config.batch_size)
    probabilities = Ensemble([job.run], [network], showing).probabilities(shard.image)
    inside = inside_mask(shard.image) if config.inside_only else None
    return grid_confusions(probabilities, bits_to_classes(shard.label), grid, inside)


def _score(confusion: np.ndarray, structure: Structure, metric: str) -> float:
    """One score of a case; of the class mean, the mean over the foreground classes."""
    parts = [structure.members] if structure.members else [(c,) for c in range(1, len(confusion))]
    return float(np.mean([getattr(overlap(confusion, part), metric) for part in parts]))


def _write(jobs: Sequence[_Job], grid: Grid, table: np.ndarray, chosen: int, config: TuneConfig) -> list[Path]:
    """Write every run's table of settings and, last, its setting; returns the files."""
    settings, means = grid.settings(), table.mean(axis=0)
    text = csv_text(_rows(settings, means, chosen))
    how = {
        "metric": config.metric,
        "structure": config.structure,
        "score_before": round(float(means[0]), 6),
        "score_after": round(float(means[chosen]), 6),
        "margin": config.margin,
        "patients": len(table),
        "note": "mean over the validation patients of these runs, on which it was chosen: optimistic",
        "runs": [str(job.run.path.resolve()) for job in jobs],
        "grid": {"thresholds": grid.thresholds, "largest": grid.largest, "least_voxels": grid.least},
        "inside_only": config.inside_only,
    }
    files = []
    for folder in dict.fromkeys(job.run.path for job in jobs):
        write_text(folder / TABLE, text)
        files += [folder / TABLE, save(folder, settings[chosen], how)]
    return files


def _rows(settings: Sequence[PostprocessConfig], means: np.ndarray, chosen: int) -> list[tuple[Any, ...]]:
    """Rows of the table of settings; an empty threshold is the most probable class."""
    rows = [
        (setting.threshold, setting.largest, setting.least_voxels.get(FOREGROUND, 0), float(mean), place == chosen)
        for place, (setting, mean) in enumerate(zip(settings, means, strict=True))
    ]
    return [("threshold", "largest", "least_voxels", "score", "chosen"), *rows]


def _report(settings: Sequence[PostprocessConfig], table: np.ndarray, chosen: int, config: TuneConfig) -> str:
    """What is printed: default and chosen setting and their difference, by mean and interval."""
    columns = np.stack([table[:, 0], table[:, chosen], table[:, chosen] - table[:, 0]], axis=1)
    names = ["no post-processing", f"chosen: {_describe(settings[chosen])}", "difference"]
    width = max(len(name) for name in names) + 2
    lines = [f"{name:<{width}}{_cell(row)}" for name, row in zip(names, summarise_columns(columns, config.seed), strict=True)]
    best = "" if chosen else f"none of {len(settings) - 1} settings was better by more than {config.margin:g}"
    heading = f"{config.metric} of {config.structure}, {len(table)} validation patient{'s' if len(table) != 1 else ''}"
    return "\n".join([heading, "", *lines, "", *([best] if best else []), *wrapped([OPTIMISTIC])])


def _describe(setting: PostprocessConfig) -> str:
    """A setting in words."""
    parts = [] if setting.threshold is None else [f"threshold {setting.threshold:g}"]
    parts += ["largest component"] if setting.largest else []
    parts += [f"components of {least} voxels or more" for least in setting.least_voxels.values()]
    return ", ".join(parts) or "no post-processing"


def _cell(row: Summary) -> str:
    return f"{row.mean:.4f}" + ("" if row.low is None else f" ({row.low:.4f} to {row.high:.4f})")


if __name__ == "__main__":
    cli.run(main, TuneConfig)
