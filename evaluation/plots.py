"""Command: draw learning curves, class frequencies, and the figures of one scan, from what it is given."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from common import cli
from common.errors import UserError
from common.files import make_folder, read_json, read_yaml
from data_prep.sources import SourceConfig

if TYPE_CHECKING:
    import numpy as np

    from data_prep.grid.geometry import Geometry
    from data_prep.labels import LabelSchema
    from data_prep.prepare import PrepareConfig
    from data_prep.scans.case import CaseFiles
    from data_prep.sources import Source


@dataclass(kw_only=True)
class PlotsConfig(SourceConfig):
    """Draw figures, each as PDF and PNG.

    From `--runs`: learning curves of training and validation (loss; IoU and Dice per class and mean, or accuracy and AUC of
    classifiers). From `--scores`: every metric, per structure and model. From `--records`: class frequencies. From `--runs`
    and `--records`: what on-line augmentation makes of training slices, and what classifiers look at in validation slices
    (Grad-CAM). From `--source`: the mosaic of a case's slices and its whole against its cut volume; with `--predictions` also
    image, truth and prediction side by side, a column for each of several folders.
    """

    runs: list[Path] = field(default_factory=list)
    """Run folders, of one kind; their learning curves are drawn in one figure."""
    scores: list[Path] = field(default_factory=list)
    """Folders of scores, of runs on records or of predictions, as evaluation.score writes them, to be drawn in one figure."""
    names: list[str] | None = None
    """What several runs, scores or predictions are called, in their order; default: as their folders."""
    records: Path | None = None
    """Records, as data_prep.make_records writes them."""
    source: Path | None = None
    """Scans and annotations."""
    case: str | None = None
    """Case of the source that is drawn; default: the first that has an annotation."""
    channel: str | None = None
    """Channel that is drawn; default: the first."""
    predictions: list[Path] = field(default_factory=list)
    """Folders of predictions that have one of the case; of several, one slice of the case is drawn side by side."""
    out: Path
    """Folder to write the figures into."""


@dataclass(frozen=True)
class _Scan:
    """A case as its figures want it: one channel and class indices of the whole prepared volume (Z, H, W), and both windows."""

    id: str
    title: str
    image: "np.ndarray"
    classes: "np.ndarray | None"
    predictions: "list[np.ndarray]"
    schema: "LabelSchema"
    whole: "Geometry"
    cut: "Geometry"


def main(config: PlotsConfig) -> None:
    """Draw what can be drawn from what was given; prints which files were written and what was left out."""
    if not (config.runs or config.scores or config.records or config.source):
        raise UserError("nothing to draw: give at least one of --runs, --scores, --records, --source")
    if config.source is None and (config.case or config.channel or config.predictions):
        raise UserError("--case, --channel and --predictions belong to a scan: give --source as well")
    names = {option: _names(config, option) for option in ("runs", "scores", "predictions")}
    make_folder(config.out)
    if config.runs:
        _tell(_draw_runs(config, names["runs"]))
    if config.scores:
        _tell(_draw_scores(config, names["scores"]))
    if config.records:
        _tell(_draw_records(config.records, config.out))
        _tell(_draw_training(config.runs, config.records, config.out))
    if config.source:
        _tell(_draw_case(config, config.source, names["predictions"]))


def _names(config: PlotsConfig, option: str) -> list[str]:
    """What the folders of an option are called; a single run or prediction is named by nothing but its folder."""
    from evaluation.tables.run_names import names_of

    folders: list[Path] = getattr(config, option)
    if not folders:
        return []
    return names_of(option, folders, config.names if len(folders) > 1 or option == "scores" else None)


def _tell(files: list[Path]) -> None:
    for file in files:
        print(f"wrote {file}")


def _draw_runs(config: PlotsConfig, names: list[str]) -> list[Path]:
    from evaluation.figures import runs as figures_runs

    histories = [figures_runs.read_history(run, name) for run, name in zip(config.runs, names, strict=True)]
    return [
        file
        for name, score in figures_runs.curves_of(histories).items()
        for file in figures_runs.draw_learning_curves(config.out / name, histories, score)
    ]


def _draw_scores(config: PlotsConfig, names: list[str]) -> list[Path]:
    from evaluation.figures import scores as figures_scores

    drawn = []
    for metric in figures_scores.scored_metrics(config.scores):
        models = [figures_scores.read_model(folder, name, metric) for folder, name in zip(config.scores, names, strict=True)]
        drawn += figures_scores.draw_scores(config.out / f"class_scores_{metric.name}", models, metric)
    return drawn


def _draw_records(path: Path, out: Path) -> list[Path]:
    from data_prep.records.folder import Records
    from evaluation.figures import runs as figures_runs

    records = Records(path)
    counts = sum(case.voxels.sum(axis=0) for case in records.cases.values())
    voxels = {name: int(count) for name, count in zip(records.schema.class_names, counts, strict=True)}
    return figures_runs.draw_class_frequencies(out / "class_frequencies", voxels, len(records.cases))


def _draw_training(folders: list[Path], path: Path, out: Path) -> list[Path]:
    """What each run saw of the records, and what a classifier looks at; names the runs where there are several."""
    from data_prep.records.folder import Records
    from evaluation.figures import training as figures_training
    from training.run import Run

    stored, drawn = Records(path), []
    for folder in folders:
        run, end = Run(folder), f"_{folder.resolve().name}" if len(folders) > 1 else ""
        if not set(run.channels) <= set(stored.channels):
            print(f"{folder}: trained on channels {run.channels}, not those of {path}; figures of both are left out")
            continue
        records = Records(path, run.channels)
        if figures_training.augments(run):
            drawn += figures_training.draw_run_augmentation(out / f"augmentation{end}", run, records)
        if run.kind == "category":
            pictures = figures_training.draw_run_gradcam(out / f"grad_cam{end}", run, records)
            if not pictures:
                print(f"{folder}: has no validation slices; Grad-CAM is left out")
            drawn += pictures
    return drawn


def _draw_case(config: PlotsConfig, root: Path, names: list[str]) -> list[Path]:
    from data_prep.sources import open_source
    from evaluation.figures import volume as figures_volume

    source = open_source(root, config)
    scan = _read_scan(config, source)
    drawn = figures_volume.draw_mosaic(
        config.out / f"mosaic_{scan.id}", scan.image, scan.classes, scan.schema, scan.title, scan.whole.spacing_mm
    )
    if scan.classes is None:
        print(f"{scan.id}: has no annotation; its whole against its cut volume is left out")
    else:
        path = config.out / f"crop_{scan.id}"
        drawn += figures_volume.draw_crop(path, scan.image, scan.classes, scan.cut, scan.schema, scan.title)
    return drawn + _draw_predictions(scan, config.out, names)


def _draw_predictions(scan: _Scan, out: Path, names: list[str]) -> list[Path]:
    """One prediction in three slices, or several in one."""
    from evaluation.figures.overlay import draw_models, draw_overlay

    how = scan.schema, scan.title, scan.whole.spacing_mm
    if not names:
        return []
    if len(names) == 1:
        return [draw_overlay(out / f"overlay_{scan.id}.png", scan.image, scan.classes, scan.predictions[0], *how)]
    predictions = dict(zip(names, scan.predictions, strict=True))
    return draw_models(out / f"models_{scan.id}", scan.image, scan.classes, predictions, *how)


def _read_scan(config: PlotsConfig, source: "Source") -> _Scan:
    """The chosen case's whole volume, and the window that the preparation cuts from it."""
    from data_prep.labels import bits_to_classes
    from data_prep.prepare import prepare

    files = _chosen_case(source, config.case, config.predictions)
    channel = _chosen_channel(source, config.channel)
    schema, preparation = _schema(source, config.predictions), _preparation(config)
    case = source.read(files)
    whole = prepare(case, schema, replace(preparation, crop=None))
    grid = whole.geometry
    return _Scan(
        id=files.id,
        title=f"{files.id}, {channel}",
        image=whole.image[..., source.channels.index(channel)],
        classes=None if whole.label is None else bits_to_classes(whole.label),
        predictions=[_read_prediction(folder, files.id, schema, grid) for folder in config.predictions],
        schema=schema,
        whole=grid,
        cut=prepare(case, None, preparation).geometry,
    )


def _read_prediction(folder: Path, case: str, schema: "LabelSchema", grid: "Geometry") -> "np.ndarray":
    """A case's prediction as class indices of the whole prepared grid."""
    from data_prep.scans.case import ImageRef
    from evaluation.scores.patients import open_predictions, prediction_path, read_classes

    path = prediction_path(folder, case)
    predicted = read_classes(ImageRef(path), open_predictions(folder, [case]).schema or schema)
    if predicted.shape != grid.shape:
        raise UserError(f"{path}: expected the shape {grid.shape} of case {case}; received {predicted.shape}")
    return grid.reorient(predicted)


def _chosen_case(source: "Source", wanted: str | None, predictions: list[Path]) -> "CaseFiles":
    from evaluation.scores.patients import MANIFEST

    cases = source.cases()
    if wanted is None:
        for manifest in [folder / MANIFEST for folder in predictions if (folder / MANIFEST).is_file()]:
            predicted = read_json(manifest, "predictions").get("cases", [])
            cases = [files for files in cases if files.id in predicted] or cases
        return next((files for files in cases if files.label is not None), cases[0])
    found = next((files for files in cases if files.id == wanted), None)
    if found is None:
        raise UserError(
            f"{source.root}: expected --case to be one of its {len(cases)} cases, such as {cases[0].id}; received {wanted}"
        )
    return found


def _chosen_channel(source: "Source", wanted: str | None) -> str:
    if wanted is None:
        return source.channels[0]
    if wanted not in source.channels:
        raise UserError(f"{source.root}: expected --channel to be one of {', '.join(source.channels)}; received {wanted}")
    return wanted


def _schema(source: "Source", predictions: list[Path]) -> "LabelSchema":
    """The source's schema, or that of the first predictions where the layout implies none."""
    from data_prep.labels import LabelSchema
    from evaluation.scores.patients import open_predictions

    found = source.schema or (open_predictions(predictions[0], []).schema if predictions else None)
    return found or LabelSchema.load("binary")


def _preparation(config: PlotsConfig) -> "PrepareConfig":
    """How the first run, else the records, else the defaults prepare a scan."""
    from data_prep.prepare import PrepareConfig
    from data_prep.records.folder import Records

    if config.runs:
        file = config.runs[0] / "preparation.yaml"
        preparation: PrepareConfig = cli.from_dict(PrepareConfig, read_yaml(file, "preparation of the run"), file)
        return preparation
    return Records(config.records).preparation if config.records else PrepareConfig()


if __name__ == "__main__":
    cli.run(main, PlotsConfig)
