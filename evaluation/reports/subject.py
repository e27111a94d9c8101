"""Subject of a report: a run, a cross-validation, predictions, a comparison or a study, and the folders that belong to it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from common.errors import UserError, did_you_mean_path
from common.files import read_json
from evaluation.compare import FILES
from evaluation.cross_validate import SETTINGS
from evaluation.inference.prediction_facts import read_prediction_facts
from evaluation.inference.predictions import MANIFEST as PREDICTIONS
from evaluation.inference.predictions import SCORES, is_finished
from evaluation.outputs import FILE as MADE_FROM
from evaluation.scores.folder import MANIFEST, find_scores
from evaluation.tables.run_names import names_of
from training.run import Run

COMPARISON, CLASSES = "compare.csv", FILES["classification"]
CROSS_VALIDATION = "cross-validation"
STUDY_TABLES = ("study.md", "table.md", "trials.md")
EXPECTED = "a run, a cross-validation, scored predictions, a comparison (compare --out) or a study"


@dataclass(frozen=True)
class Subject:
    """Subject of a report.

    Attributes:
        kind: in words: run, cross-validation, predictions, comparison or study.
        path: its folder.
        runs: name -> run.
        predictions: name -> folder of predictions with scores of their patients.
        slices: name -> folder with scores of a run on slices of records.
        classes: name -> folder with scores of a classifier.
        tables: Markdown files whose tables the report repeats.
    """

    kind: str
    path: Path
    runs: Mapping[str, Run] = field(default_factory=dict)
    predictions: Mapping[str, Path] = field(default_factory=dict)
    slices: Mapping[str, Path] = field(default_factory=dict)
    classes: Mapping[str, Path] = field(default_factory=dict)
    tables: Sequence[Path] = ()

    @property
    def described(self) -> str:
        """Kind with its article."""
        return self.kind if self.kind == "predictions" else f"a {self.kind}"

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.resolve().name


def find_subject(path: Path, predictions: Sequence[Path] = ()) -> Subject:
    """Recognise a folder, and find what belongs to it.

    Args:
        path: of a run, cross-validation, predictions, comparison or study.
        predictions: scored predictions besides those in the folder.

    Raises:
        UserError: none of these, or predictions without scores.
    """
    if (path / SETTINGS).is_file():
        found = _cross_validation(path)
    elif (path / "run.json").is_file():
        scored = _named(_scored([path / "predictions"]))
        found = Subject("run", path, {path.resolve().name: Run(path)}, scored, _slices(path), _classes(path))
    elif is_finished(path) or (path / SCORES / MANIFEST).is_file():  # those of other tools have no manifest
        _refuse_unscored(path)
        found = Subject("predictions", path, _runs_behind([path]), {path.resolve().name: path})
    elif (path / COMPARISON).is_file():
        found = _comparison(path)
    elif any((path / name).is_file() for name in STUDY_TABLES):
        found = _study(path)
    else:
        received = "another folder" if path.is_dir() else "none there"
        raise UserError(f"{path}: expected {EXPECTED}; received {received}{did_you_mean_path(path)}")
    for folder in predictions:
        _refuse_unscored(folder)
    added = _named([*found.predictions.values(), *predictions]) if predictions else found.predictions
    return replace(found, predictions=added)


def _cross_validation(path: Path) -> Subject:
    folders = [each for each in path.glob("fold*") if each.name[4:].isdecimal() and (each / "run.json").is_file()]
    runs = {f"fold {each.name[4:]}": Run(each) for each in sorted(folders, key=lambda each: int(each.name[4:]))}
    return Subject(CROSS_VALIDATION, path, runs, _named(_scored([path / "predictions"])), classes=_classes(path))


def _comparison(path: Path) -> Subject:
    """Sets of scores that a comparison was made from, by their places as seen from it."""
    origins = read_json(path / MADE_FROM, "origins of the comparison") if (path / MADE_FROM).is_file() else {}
    entries = origins.get("a comparison", []) if isinstance(origins, dict) else []
    places = [path / str(entry["key"]) for entry in entries if isinstance(entry, dict) and "key" in entry]
    folders = [place.parent if place.name == SCORES and is_finished(place.parent) else place for place in places]
    scored = [folder for folder in folders if find_scores(folder) is not None]
    return Subject("comparison", path, _runs_behind(scored), _named(scored), tables=[path / "compare.md"])


def _study(path: Path) -> Subject:
    runs = {each.name: Run(each) for each in sorted(path.glob("runs/*")) if (each / "run.json").is_file()}
    scored = _scored(sorted(file.parent for file in path.glob(f"predictions/**/{PREDICTIONS}")))
    tables = [path / name for name in STUDY_TABLES if (path / name).is_file()]
    return Subject("study", path, runs, _named(scored), tables=tables)


def _runs_behind(folders: Sequence[Path]) -> dict[str, Run]:
    """Runs that made some predictions, those that are still where they were."""
    manifests = [read_prediction_facts(folder / PREDICTIONS) for folder in folders if is_finished(folder)]
    paths = dict.fromkeys(Path(run) for values in manifests for run in values.get("runs", []))
    there = [path for path in paths if (path / "run.json").is_file()]
    return dict(zip(names_of("runs", there, None), map(Run, there), strict=True)) if there else {}


def _scored(folders: Sequence[Path]) -> list[Path]:
    return [folder for folder in folders if is_finished(folder) and find_scores(folder) is not None]


def _named(folders: Sequence[Path]) -> dict[str, Path]:
    different = list({folder.resolve(): folder for folder in folders}.values())
    return dict(zip(names_of("predictions", different, None), different, strict=True)) if different else {}


def _slices(path: Path) -> dict[str, Path]:
    """Scores of a run on slices of records, by their subset."""
    folders = sorted(each for each in path.glob(f"{SCORES}_*") if (each / MANIFEST).is_file())
    return {folder.name.removeprefix(f"{SCORES}_"): folder for folder in folders}


def _classes(path: Path) -> dict[str, Path]:
    """Scores of a classifier in a folder: of a cross-validation, or of a run on records."""
    folders = sorted(each for each in path.glob(f"{SCORES}*") if (each / CLASSES).is_file())
    return {folder.name.replace("_", " of "): folder for folder in folders}


def _refuse_unscored(folder: Path) -> None:
    if find_scores(folder) is None:
        raise UserError(f"{folder}: expected predictions with scores; score them first: glioskull score --predictions {folder}")
