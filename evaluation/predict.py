"""Command: predict scans on the patients' own grids, by one run or the average of several: segmentations and classes."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from common import cli
from common.config_bases import ConfigWithTrust
from common.configs import find_config
from common.errors import Problems, UserError, did_you_mean
from common.files import lock, read_lines, refuse_inside, remove_unfinished
from common.hardware.backend import load_backend
from common.parallel import map_cases
from common.tables import counted
from data_prep.labels import LabelSchema
from data_prep.prepare import prepare
from data_prep.scans.case import CaseFiles
from data_prep.sources import Source, SourceConfig, open_source
from data_prep.sources.checks import check_cases, warn_of, warn_of_kinds
from evaluation.heads import evaluators_of, predictors_of, voxel_folders
from evaluation.heads.base import HeadEvaluator, PredictionTask, Predictor
from evaluation.heads.head_table import CHOSEN, has_common_classes, read_head_table
from evaluation.inference.applied import Applied, applied_line, applied_rules
from evaluation.inference.channel_subsets import lacks_all, present_channels, with_channels
from evaluation.inference.cost import CostMeter
from evaluation.inference.engines import load_engines
from evaluation.inference.ensemble import InferenceConfig
from evaluation.inference.postprocess import PostprocessConfig, load_file, run_file
from evaluation.inference.predictions import (
    OVERLAYS,
    PROBABILITIES,
    SCANNER,
    SCORES,
    EarlierPredictions,
    earlier_predictions,
    holds_predictions,
    is_finished,
    prediction_path,
    write_manifest,
)
from evaluation.inference.provenance import TrainingCases, scan_warnings
from evaluation.inference.training_search import TrainingSearch
from evaluation.scores.folder import remove_scores
from training.run import Run, open_runs


@dataclass(kw_only=True)
class PredictConfig(SourceConfig, ConfigWithTrust):
    """Segment every case of a source and write NIfTI files on the patients' own grid, affine and label ids.

    Scans are prepared as the run's training data were, but whole, not cropped.
    """

    runs: list[Path]
    """Run folders, or the folder of a cross-validation for all of its folds; the probabilities of several runs with equal heads
    are averaged. Runs of glioskull classify classify the slices in which those of glioskull train find tumour."""
    source: Path
    """Folder of scans or table, annotated or not."""
    out: Path
    """Folder for ID.nii.gz, overlays/ID.png, classes.csv and predictions.json; DICOM also gets ID.seg.dcm. Aligned scans have
    both on the scanner's grid in scanner/. Several segmentation heads have a folder HEAD each; heads.csv names the head that
    was chosen for each case, and chosen/ has its prediction where all heads have the same classes."""
    postprocess: Path | None = None
    """YAML file with threshold, smallest components and the like (see glioskull tune); default: the one stored in the runs."""
    cases: Path | None = None
    """Text file with the ids of the cases to segment, one a line; default: all."""
    probabilities: bool = False
    """Also write ID_probabilities.nii.gz, float32, classes along the fourth axis."""
    inside_only: bool = True
    """Call voxels outside a case's brain mask background, or without a mask those that are zero in every channel, as they lie
    outside a skull-stripped head; the probabilities are left as they are."""
    overlays: bool = True
    """Also draw each case's image, truth where there is one, and prediction."""
    least_size: tuple[int, int] = (0, 0)
    """Rows and columns to which slices are zero-padded at least, such as [256, 256] in the glioma paper; they are always padded
    to a multiple of the network's stride."""
    flips: list[str] = field(default_factory=list)
    """Axes (x: left-right, y: front-back, z: up-down, for 3D networks alone) that are mirrored in turn; the logits of all
    mirrored views are averaged (test-time augmentation, 2, 4 or 8 times the work)."""
    overlap: float = 0.5
    """Share of their sides that neighbouring patches of 3D networks share; patches of a network without padding, such as
    deepmedic, ignore it, because its outputs lie side by side."""
    batch_size: int | None = None
    """Slices or patches at once, which changes speed and memory alone; default: 8 slices, or one patch."""
    overwrite: bool = False
    """Predict cases anew that an earlier call of equal weights and settings has finished; else their files are kept."""


def main(config: PredictConfig) -> None:
    """Predict the cases and print the place of the files."""
    refuse_inside(config.out, config.source)
    inference = InferenceConfig(config.least_size, tuple(config.flips), config.batch_size, config.overlap)
    runs = open_runs(config.runs)
    evaluators = _checked_evaluators(runs)
    inference.refuse_unused(runs)
    source = _source(config, runs[0])
    warn_of_kinds(source.source_warnings(), "glioskull check")
    cases = _cases(source, config)
    rules = _postprocessing(config, evaluators)
    schemas = {each.name: _written_schema(source, each.schema) for each in evaluators if each.writes_voxels}
    schema = next(iter(schemas.values()), _written_schema(source, runs[0].schema))
    settings, applied = _settings(config, rules, schema, runs[0]), _applied(config, runs, rules)
    with lock(config.out, "" if holds_predictions(config.out) else "predictions"):
        remove_unfinished(config.out)
        folders = voxel_folders(config.out, evaluators) or [config.out]
        earlier = {
            folder: earlier_predictions(folder, runs, settings | {"schema": each.to_dict()})
            for folder, each in zip(folders, schemas.values() or [schema], strict=True)
        }
        _refuse_other_source(earlier, config.source, source)
        search = TrainingSearch(runs, cases, [entry for before in earlier.values() for entry in before.training])
        missing = _missing_cases(config, source, evaluators, earlier, list(schemas.values()), cases)
        if not missing:
            search.print_found()
            return
        search.print_warning()
        load_backend()
        meter = CostMeter()
        task = _task(config, source, schema, runs, inference)
        predictors = predictors_of(evaluators, task, schemas, rules)
        preparation = replace(runs[0].preparation, crop=None)
        warnings = [line for files in missing for line in source.warnings(files)]
        present: dict[str, list[str]] = {}  # channels that each case has

        def predict_case(files: CaseFiles) -> None:
            with meter.case():
                case = with_channels(source.read(files), runs[0].channels)
                present[files.id] = [name for name in case.channels if name not in case.missing]
                search.compare_images(case)
                prepared = prepare(case, None if case.label is None else source.schema or task.schema, preparation)
                warnings.extend(scan_warnings(case, prepared.grid.spacing_mm, runs, config.inside_only))
                voxels: np.ndarray | None = None
                for predictor in predictors:
                    voxels = predictor.predict(case, prepared, voxels)
            if line := meter.forecast(len(missing), config.out):
                print(line, flush=True)

        map_cases(predict_case, missing, title="predicting")
        _print_warnings(warnings, task.not_written)
        search.print_rest()
        written = "".join(predictor.finish() for predictor in predictors)
        settings |= {"cost": meter.facts(task.engines.values()), "postprocessing": applied}
        _write_manifests(config.source, runs, task, predictors, settings, earlier.values(), cases, search.found, present)
    _print_end(config.out, applied, f"{counted(len(cases), 'case')}{written}")


def _task(
    config: PredictConfig, source: Source, schema: LabelSchema, runs: list[Run], inference: InferenceConfig
) -> PredictionTask:
    """Task that the predictors of all heads share; loads the networks."""
    return PredictionTask(
        source=source,
        out=config.out,
        schema=schema,
        engines=load_engines(runs),
        inference=inference,
        postprocess=PostprocessConfig(),
        probabilities=config.probabilities,
        inside_only=config.inside_only,
        overlays=config.overlays,
    )


def _print_warnings(lines: list[str], not_written: dict[str, str]) -> None:
    """Print a warning of each kind about scans, and one about cases without files in the source's own format."""
    if not_written:
        count, reason = counted(len(not_written), "case"), next(iter(not_written.values()))
        warn_of([f"no DICOM SEG for {count}, NIfTI alone ({reason})"])
    warn_of_kinds(lines, "glioskull check")


def _checked_evaluators(runs: list[Run]) -> list[HeadEvaluator]:
    """Evaluators of runs that agree on channels, preparation and schema and, those with equal heads, on their outputs."""
    first = runs[0]
    for run in runs:
        _ = run.weights  # refuses a run without a finished epoch before scans are read
        for name, received, expected in (
            ("list of channels", run.channels, first.channels),
            ("preparation", run.preparation, first.preparation),
            ("schema", run.schema, first.schema),
        ):
            if received != expected:
                raise UserError(f"{run.path}: has another {name} than {first.path}, so they cannot go together")
        if run.serves_subsets != first.serves_subsets:
            of, without = (run, first) if run.serves_subsets else (first, run)
            raise UserError(
                f"{of.path}: takes scans that lack channels (--input.channel_dropout), and {without.path} does not, so they "
                "cannot go together"
            )
    evaluators = evaluators_of(runs)
    for evaluator in evaluators:
        evaluator.check_agreement()
    return evaluators


def _postprocessing(config: PredictConfig, evaluators: list[HeadEvaluator]) -> dict[str, PostprocessConfig]:
    """Post-processing of each head of voxels: the file that is given, else what evaluation.tune stored in the runs."""
    rules = {}
    for evaluator in evaluators:
        if evaluator.writes_voxels:
            given = None if config.postprocess is None else [load_file(config.postprocess)]
            stored = given or evaluator.stored_postprocessing()
            if any(other != stored[0] for other in stored):
                raise UserError("--runs: their post-processing differs (postprocess.yaml); choose one by --postprocess FILE")
            stored[0].check(evaluator.schema)
            rules[evaluator.name] = stored[0]
    if config.postprocess is not None and not rules:
        raise UserError("--postprocess: changes voxels, and these runs classify slices; leave it out")
    return rules


def _applied(config: PredictConfig, runs: list[Run], rules: Mapping[str, PostprocessConfig]) -> list[Applied]:
    """Post-processing of each head and on whom it was chosen, for the manifest."""
    return [applied_rules(name, each, _rule_files(config, runs, name)) for name, each in rules.items()]


def _print_end(out: Path, applied: list[Applied], content: str) -> None:
    """Print the post-processing that was applied, and the place of the predictions with their `content`."""
    for each in applied:
        print(f"{each['head']}: {applied_line(each)}" if len(applied) > 1 else applied_line(each))
    print(f"predictions: {out} ({content})")


def _rule_files(config: PredictConfig, runs: list[Run], head: str) -> list[Path]:
    """Files that hold the post-processing of a head: the one that is given, else those of the runs that have one."""
    if config.postprocess is not None:
        return [find_config(config.postprocess, "post-processing", among="postprocess")]
    return [file for run in runs if (file := run_file(run, head)).is_file()]


def _source(config: PredictConfig, run: Run) -> Source:
    """The scans, with the run's channels in their order; of a network that serves subsets with those that there are."""
    wanted = run.channels if config.channels is None else config.channels
    if wanted != run.channels and not run.serves_subsets:
        raise UserError(
            f"--channels: {run.path} was trained on {', '.join(run.channels)}; received {', '.join(wanted) or 'none'}; a part "
            "of them needs a run that was trained with --input.channel_dropout"
        )
    found = open_source(config.source, replace(config, channels=None)).channels
    if run.serves_subsets:
        present = present_channels(found, wanted, run.channels, str(config.source))
        return open_source(config.source, replace(config, channels=present, missing_channels="zero"), run.schema)
    missing = [name for name in run.channels if name not in found]
    if missing and config.missing_channels == "refuse":
        raise UserError(
            f"{config.source}: has channels {', '.join(found)}; {run.path} needs {', '.join(missing)} as well "
            "(a table may have an empty column of that name, with --missing_channels zero)"
        )
    return open_source(config.source, replace(config, channels=run.channels), run.schema)


def _cases(source: Source, config: PredictConfig) -> list[CaseFiles]:
    """The cases to predict, each checked."""
    cases = source.cases()
    if config.cases is not None:
        wanted = read_lines(config.cases, "list of cases (a text file, one id a line)")
        if not wanted:
            raise UserError(f"{config.cases}: names no case")
        if unknown := sorted(set(wanted) - {files.id for files in cases}):
            hint = did_you_mean(unknown[0], [files.id for files in cases])
            raise UserError(f"{config.cases}: names {unknown[0]!r}, which is no case of {config.source}{hint}")
        cases = [files for files in cases if files.id in wanted]
    problems = [line for files in cases if (line := lacks_all(files)) is not None] or check_cases(source, cases)
    if problems:
        found = f"{counted(len(problems), 'problem')} in {counted(len(cases), 'case')}"
        raise Problems(problems, f"{found}; leave cases out by --cases; nothing was predicted")
    return cases


def _refuse_other_source(earlier: Mapping[Path, EarlierPredictions], root: Path, source: Source) -> None:
    """Refuse to add to predictions of cases that the source lacks: no source would have the annotations of all.

    Raises:
        UserError: names the folder, and the first case.
    """
    known = {files.id for files in source.cases()}
    for folder, before in earlier.items():
        strange = sorted(set(before.cases) - known)
        if strange and before.source != str(root.resolve()):
            raise UserError(
                f"{folder}: holds predictions of {before.source}, such as {strange[0]}, which is no case of {root}; "
                "choose another --out"
            )


def _missing_cases(
    config: PredictConfig,
    source: Source,
    evaluators: list[HeadEvaluator],
    earlier: Mapping[Path, EarlierPredictions],
    schemas: list[LabelSchema],
    cases: list[CaseFiles],
) -> list[CaseFiles]:
    """Cases that are to be predicted; where there are some, scores of earlier predictions are removed.

    Args:
        config: of the command.
        source: of the cases.
        evaluators: of the heads.
        earlier: folder of each head of voxels -> its earlier predictions.
        schemas: of the ids in these folders.
        cases: all that were asked for.
    """
    places = list(earlier)
    candidates = [] if config.overwrite or not all(each.writes_voxels for each in evaluators) else cases
    if len(places) > 1:
        table = read_head_table(config.out, [each.name for each in evaluators if each.writes_voxels])
        candidates = [files for files in candidates if files.id in table]
    chosen = [config.out / CHOSEN] if len(places) > 1 and has_common_classes(schemas) else []
    kept = [files.id for files in candidates if _is_there(config, source, earlier, chosen, files)]
    missing = [files for files in cases if files.id not in kept]
    if kept:
        print(f"{config.out}: {len(kept)} of {counted(len(cases), 'case')} there already; --overwrite true predicts anew")
    for place in [*places, *chosen] if missing else ():
        if remove_scores(place / SCORES):
            print(f"removed {place / SCORES}, which is of earlier predictions; score again")
    return missing


def _write_manifests(
    source: Path,
    runs: list[Run],
    task: PredictionTask,
    predictors: list[Predictor],
    settings: dict[str, Any],
    earlier: Collection[EarlierPredictions],
    cases: list[CaseFiles],
    training: TrainingCases,
    present: dict[str, list[str]],
) -> None:
    """Write predictions.json of every folder, with the cases of earlier calls and of this one where there are voxels.

    `present` names the channels of each case; they are stored where the networks serve subsets of their channels.
    """
    folders = {folder: schema for predictor in predictors for folder, schema in predictor.folders.items()}
    known = {case for before in earlier for case in before.cases} | {files.id for files in cases}
    segmented = sorted(known) if folders else []
    if runs[0].serves_subsets:
        settings["channels"] = {
            case: names for each in (*(e.channels for e in earlier), present) for case, names in each.items()
        }
    for folder, schema in (folders or {task.out: task.schema}).items():
        values = settings | {"schema": schema.to_dict()}
        own = [entry for entry in settings["postprocessing"] if entry["head"] == folder.name]
        values["postprocessing"] = own or settings["postprocessing"]
        write_manifest(folder, runs, source, schema, values, segmented, training)


def _is_there(
    config: PredictConfig, source: Source, earlier: Mapping[Path, EarlierPredictions], chosen: list[Path], files: CaseFiles
) -> bool:
    """True for a case whose files an earlier call has written from the same scans, which have not changed since."""
    path = str(config.source.resolve())
    if any(files.id not in before.cases or before.source != path for before in earlier.values()):
        return False
    if not all(is_finished(place) for place in chosen):
        return False
    volumes = [prediction_path(place, files.id) for place in [*earlier, *chosen]]
    further = [place / f"{files.id}{PROBABILITIES}.nii.gz" for place in earlier] if config.probabilities else []
    further += [place / OVERLAYS / f"{files.id}.png" for place in [*earlier, *chosen]] if config.overlays else []
    places = [*earlier, *chosen]
    if source.scanner_grid(files) is not None:
        places = [place / SCANNER for place in places]
        further += [place / f"{files.id}.nii.gz" for place in places]
    further += [place / name for place in places for name in source.prediction_names(files)]
    if not all(path.is_file() for path in [*volumes, *further]):
        return False
    return min(path.stat().st_mtime for path in volumes) >= max(path.stat().st_mtime for path in files.paths)


def _written_schema(source: Source, schema: LabelSchema) -> LabelSchema:
    """Schema of the ids to write: the source's own where it has the run's classes, else that of the training data."""
    own = source.schema
    return own if own is not None and own.class_names == schema.class_names else schema


def _used_channels(config: PredictConfig, run: Run) -> list[str]:
    """Channels that a network of subsets may use, in its order."""
    return [name for name in run.channels if config.channels is None or name in config.channels]


def _settings(config: PredictConfig, rules: dict[str, PostprocessConfig], schema: LabelSchema, run: Run) -> dict[str, Any]:
    """Settings of the manifest on which the voxels depend, beyond the runs."""
    stored = [cli.as_dict(each) for each in rules.values()] or [cli.as_dict(PostprocessConfig())]
    return {
        "least_size": list(config.least_size),
        "flips": config.flips,
        "overlap": config.overlap,
        "inside_only": config.inside_only,
        "schema": schema.to_dict(),
        "postprocess": stored[0] if len(stored) == 1 else dict(zip(rules, stored, strict=True)),
        **({"used_channels": _used_channels(config, run)} if run.serves_subsets else {}),
    }


if __name__ == "__main__":
    cli.run(main, PredictConfig)
