"""Command: segment scans, and tell their category, with one run or the average of several, on the patients' own grids."""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from common import cli
from common.errors import Problems, UserError
from common.files import lock, read_json, read_lines, refuse_inside, write_json
from data_prep.labels import LabelSchema, bits_to_classes
from data_prep.prepare import Prepared, inside_mask, prepare
from data_prep.scans import nifti
from data_prep.scans.case import Case, CaseFiles
from data_prep.sources import Source, SourceConfig, open_source
from data_prep.sources.checks import check_cases
from evaluation.inference.ensemble import Classifiers, Ensemble, Showing
from evaluation.inference.patient_class import CATEGORIES, CategoryRow, tell_category, write_categories
from evaluation.inference.postprocess import PostprocessConfig, apply, apply_classes, load, load_file
from evaluation.scores.patients import FORMAT, MANIFEST, prediction_path
from training.hardware.backend import load_backend
from training.run import Run, open_runs

KINDS = ("segmentation", "category")
SHOWN = "flair"  # the channel that overlays show, where there is one of this name; else the first


@dataclass(kw_only=True)
class PredictConfig(SourceConfig):
    """Segment every case of a source and write NIfTI files on the patients' own grid, affine and label ids.

    Scans are prepared as the run's training data were, but whole, not cropped.
    """

    runs: list[Path]
    """Run folders, or the folder of a cross-validation for all of its folds; the probabilities of several of one kind are
    averaged. Runs of training.classify tell the category of the slices in which those of training.train see tumour."""
    source: Path
    """Folder of scans or table, annotated or not."""
    out: Path
    """Folder for ID.nii.gz, overlays/ID.png and predictions.json."""
    postprocess: Path | None = None
    """YAML file with threshold, smallest components and the like (see evaluation.tune); default: what is stored in the runs."""
    cases: Path | None = None
    """Text file with the ids of the cases to segment, one a line; default: all."""
    probabilities: bool = False
    """Also write ID_probabilities.nii.gz, float32, classes along the fourth axis."""
    inside_only: bool = True
    """Call voxels that are zero in every channel background, as they lie outside a skull-stripped head; the probabilities are
    left as they are."""
    overlays: bool = True
    """Also draw each case's image, truth where there is one, and prediction."""
    least_size: tuple[int, int] = (0, 0)
    """Rows and columns to which slices are zero-padded at least, such as [256, 256] in the glioma paper; they are always padded
    to a multiple of the network's stride."""
    flips: list[str] = field(default_factory=list)
    """Axes (x: left-right, y: front-back, z: up-down, for 3D networks alone) that are mirrored in turn; the logits of all
    mirrored views are averaged (test-time augmentation, 2, 4 or 8 times the work)."""
    overlap: float = 0.5
    """Share of their sides that neighbouring windows of 3D networks share."""
    batch_size: int | None = None
    """Slices or windows at once, which changes speed and memory alone; default: 8 slices, or one window."""


@dataclass(frozen=True)
class Job:
    """What is done to every case.

    Attributes:
        source: the scans.
        runs: all of them; the first one's preparation is that of all.
        ensemble: of the runs that segment, or None.
        classifiers: of the runs that tell a category, or None.
        schema: the ids to write.
        rules: post-processing.
        config: of the command.
    """

    source: Source
    runs: list[Run]
    ensemble: Ensemble | None
    classifiers: Classifiers | None
    schema: LabelSchema
    rules: PostprocessConfig
    config: PredictConfig


def main(config: PredictConfig) -> None:
    """Segment the cases and say where the files are."""
    from tqdm import tqdm

    refuse_inside(config.out, config.source)
    showing = Showing(config.least_size, tuple(config.flips), config.batch_size, config.overlap)
    runs = _runs(config)
    showing.refuse_idle(runs)
    source = _source(config, runs[0])
    cases = _cases(source, config)
    problems = check_cases(source, cases)
    if problems:
        raise Problems(
            problems, f"{len(problems)} problems in {len(cases)} cases; leave cases out by --cases; nothing was predicted"
        )
    rules = _rules(config, runs)
    with lock(config.out):
        before = _earlier(config, runs, rules)
        load_backend()
        job = _job(config, source, runs, rules, showing)
        rows, unplaced = [], 0
        for files in tqdm(cases, "predicting", unit="case", file=sys.stderr):
            case = source.read(files)
            rows.append(_predict_case(job, case))
            unplaced += case.affine is None
        if job.classifiers is not None:
            write_categories(config.out, job.classifiers.runs[0], [row for row in rows if row is not None])
        _commit(job, sorted({*before, *(files.id for files in cases)}))
    _tell(job, cases, unplaced)


def _job(config: PredictConfig, source: Source, runs: list[Run], rules: PostprocessConfig, showing: Showing) -> Job:
    """The runs' networks, loaded."""
    segmenting, telling = ([run for run in runs if run.kind == kind] for kind in KINDS)
    ensemble = Ensemble(segmenting, [run.load_network() for run in segmenting], showing) if segmenting else None
    classifiers = Classifiers(telling, [run.load_network() for run in telling], showing) if telling else None
    return Job(source, runs, ensemble, classifiers, _written_schema(source, runs[0].schema), rules, config)


def _tell(job: Job, cases: list[CaseFiles], unplaced: int) -> None:
    """Say where the predictions are, and what they lack."""
    config = job.config
    if unplaced and job.ensemble:
        print(
            f"warning: {unplaced} scans do not say where their voxels lie: their NIfTI files have unit spacing", file=sys.stderr
        )
    pictures = f", pictures in {config.out / 'overlays'}" if config.overlays and job.ensemble else ""
    table = f", categories in {config.out / CATEGORIES}" if job.classifiers else ""
    print(f"predictions: {config.out} ({len(cases)} cases{pictures}{table})")


def _runs(config: PredictConfig) -> list[Run]:
    """The runs, which must agree on what they see and, those of a kind, on what they tell."""
    runs = open_runs(config.runs)
    for run in runs:
        _ = run.weights  # refuses a run without a finished epoch before scans are read
        first = next(other for other in runs if other.kind == run.kind)
        for name, told, expected, other in (
            ("channels", run.channels, runs[0].channels, runs[0]),
            ("preparation", run.preparation, runs[0].preparation, runs[0]),
            ("schema", run.schema, runs[0].schema, runs[0]),
            ("attribute", run.facts.get("attribute"), first.facts.get("attribute"), first),
            ("categories", run.facts.get("categories"), first.facts.get("categories"), first),
        ):
            if told != expected:
                raise UserError(f"{run.path}: its {name} differ from those of {other.path}, so they cannot go together")
    return runs


def _rules(config: PredictConfig, runs: list[Run]) -> PostprocessConfig:
    """Post-processing: of the file that is given, else what evaluation.tune stored in the runs, which must agree."""
    if config.postprocess is not None:
        rules = load_file(config.postprocess)
    else:
        found = [load(run.path) for run in runs if run.kind == "segmentation"] or [PostprocessConfig()]
        if any(other != found[0] for other in found):
            raise UserError("--runs: their post-processing differs (postprocess.yaml); choose one by --postprocess FILE")
        rules = found[0]
    rules.check(runs[0].schema)
    return rules


def _source(config: PredictConfig, run: Run) -> Source:
    """The scans, with the channels that the run sees in their order."""
    wanted = config.channels or run.channels
    if wanted != run.channels:
        raise UserError(f"--channels: {run.path} sees {', '.join(run.channels)}; received {', '.join(wanted)}")
    found = open_source(config.source, replace(config, channels=None)).channels
    lacking = [name for name in run.channels if name not in found]
    if lacking and config.missing_channels == "refuse":
        raise UserError(
            f"{config.source}: has channels {', '.join(found)}; {run.path} needs {', '.join(lacking)} as well "
            "(a table may have an empty column of that name, with --missing_channels zero)"
        )
    return open_source(config.source, replace(config, channels=run.channels))


def _cases(source: Source, config: PredictConfig) -> list[CaseFiles]:
    """The cases to segment."""
    cases = source.cases()
    if config.cases is None:
        return cases
    wanted = read_lines(config.cases, "list of cases")
    unknown = sorted(set(wanted) - {files.id for files in cases})
    if unknown or not wanted:
        found = f"{unknown[0]!r}, which is no case of {config.source}" if unknown else "no case"
        raise UserError(f"{config.cases}: names {found}")
    return [files for files in cases if files.id in wanted]


def _earlier(config: PredictConfig, runs: list[Run], rules: PostprocessConfig) -> list[str]:
    """Cases that an earlier call with the same runs and settings has segmented into the folder.

    Raises:
        UserError: it was called with others, so that the folder would mix two ways of predicting.
    """
    manifest = config.out / MANIFEST
    if not manifest.is_file():
        return []
    values = read_json(manifest, "predictions")
    if values.get("runs") != _names(runs):
        raise UserError(f"{config.out}: holds predictions of other runs ({values.get('runs')}); choose another --out")
    for name, value in _settings(config, rules).items():
        if name in values and values[name] != value:
            raise UserError(
                f"{config.out}: holds predictions made with {name} {values[name]}, not {value}; choose another --out"
            )
    cases: list[str] = values["cases"]
    return cases


def _predict_case(job: Job, case: Case) -> CategoryRow | None:
    """Segment one case and write its files; its category, where there is a run that tells it."""
    preparation = replace(job.runs[0].preparation, crop=None)
    prepared = prepare(case, None if case.label is None else job.source.schema or job.schema, preparation)
    classes = None if job.ensemble is None else _segment(job, job.ensemble, case, prepared)
    if job.classifiers is None:
        return None
    truth = None if prepared.label is None else bits_to_classes(prepared.label)
    return tell_category(case.files, job.classifiers, prepared.image, truth if classes is None else classes)


def _segment(job: Job, ensemble: Ensemble, case: Case, prepared: Prepared) -> np.ndarray:
    """Class indices (Z, H, W) of a case, whose files are written."""
    config, schema = job.config, job.schema
    inside = inside_mask(prepared.image) if config.inside_only else None
    if config.probabilities or job.rules.threshold is not None:
        probabilities = ensemble.probabilities(prepared.image, inside)
        classes = apply(job.rules, probabilities, schema, inside)
        if config.probabilities:
            _write_probabilities(config.out, case, prepared, probabilities)
    else:
        classes = ensemble.classes(prepared.image, inside)
        if inside is not None:
            classes[~inside] = 0
        classes = apply_classes(job.rules, classes, schema)
    dtype = np.dtype(np.uint8) if case.label is None else case.label.dtype
    ids = schema.to_ids(prepared.geometry.to_native(classes), dtype if dtype.kind in "iu" else np.uint8)
    nifti.write_image(prediction_path(config.out, case.files.id), ids, case.affine, like=case.files.paths[0])
    job.source.write_prediction(case.files, ids, config.out)
    if config.overlays:
        _draw(job, case, prepared, classes)
    return classes


def _write_probabilities(out: Path, case: Case, prepared: Prepared, probabilities: np.ndarray) -> None:
    planes = [prepared.geometry.to_native(probabilities[..., c]) for c in range(probabilities.shape[-1])]
    path = out / f"{case.files.id}_probabilities.nii.gz"
    nifti.write_image(path, np.stack(planes, axis=-1), case.affine, like=case.files.paths[0])


def _draw(job: Job, case: Case, prepared: Prepared, classes: np.ndarray) -> None:
    from evaluation.figures.overlay import draw_overlay

    truth = None if prepared.label is None else bits_to_classes(prepared.label)
    picture = job.config.out / "overlays" / f"{case.files.id}.png"
    channels = job.runs[0].channels
    image = prepared.image[..., channels.index(SHOWN) if SHOWN in channels else 0]
    draw_overlay(picture, image, truth, classes, job.schema, case.files.id, prepared.geometry.spacing_mm)


def _written_schema(source: Source, schema: LabelSchema) -> LabelSchema:
    """The ids to write: the source's own where it tells the classes of the run, else those the run was trained on."""
    own = source.schema
    return own if own is not None and own.class_names == schema.class_names else schema


def _names(runs: list[Run]) -> list[str]:
    return [str(run.path.resolve()) for run in runs]


def _settings(config: PredictConfig, rules: PostprocessConfig) -> dict[str, Any]:
    """What decides how runs segment, beyond the runs."""
    return {
        "least_size": list(config.least_size),
        "flips": config.flips,
        "overlap": config.overlap,
        "inside_only": config.inside_only,
        "postprocess": cli.as_dict(rules),
    }


def _commit(job: Job, cases: list[str]) -> None:
    config = job.config
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "runs": _names(job.runs),
        "weights": [run.weights.name for run in job.runs],
        "source": str(config.source.resolve()),
        "schema": job.schema.to_dict(),
        "split": "slice" if any(run.facts["split"] == "slice" for run in job.runs) else "patient",
        **_settings(config, job.rules),
        "cases": cases if job.ensemble else [],
    }
    write_json(config.out / MANIFEST, manifest)


if __name__ == "__main__":
    cli.run(main, PredictConfig)
