"""Predictions folder: one NIfTI file per case, and a manifest that is written last.

PREDICTIONS/ID.nii.gz                 label ids on the patient's own grid
            ID_probabilities.nii.gz   class probabilities, with --probabilities
            ID.seg.dcm                the same ids as DICOM SEG, where the source holds DICOM
            scanner/                  ID.nii.gz and ID.seg.dcm on the scanner's grid, where the source holds aligned scans
            predictions.json          cases, schema, settings, cost, and the runs and weights (with checksums) that made them
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import Problems, UserError, did_you_mean_path
from common.files import LOCK, checksum, copy_file, is_temporary, write_json
from common.tables import counted
from data_prep.grid.voxel_grid import Grid
from data_prep.labels import LabelSchema, bits_to_classes
from data_prep.scans import nifti
from data_prep.scans.case import ImageRef
from data_prep.sources import nifti_rules
from evaluation.inference.prediction_facts import FORMAT, read_prediction_facts
from evaluation.inference.provenance import merge_training_cases, run_state, unknown_training

if TYPE_CHECKING:
    from training.run import Run

MANIFEST = "predictions.json"
PREDICTED = (LOCK, "*.nii.gz", "*.seg.dcm", "*.tif", "*.png", "*.csv", "*.json", "table.txt", "table.md", "table.tex")
"""Names of the files of predictions, their overlays and their scores."""
SCANNER = "scanner"  # folder of segmentations on the scanner's grid, where the source holds aligned scans
PROBABILITIES = "_probabilities"
OVERLAYS = "overlays"  # folder of pictures inside a predictions folder
SCORES = "scores"  # folder of scores in a predictions folder, and in that of a cross-validation


@dataclass(frozen=True)
class PredictionSet:
    """Contents of a predictions folder.

    Attributes:
        folder: place of the NIfTI files.
        schema: of their ids; None where the folder has no manifest, so that the source's schema holds.
        cases: ids of the chosen cases.
        runs: paths of the runs that made them.
        split: "patient", or "slice" where slices of the predicted patients may have trained the runs.
        states: of the runs' trainings when they predicted, such as `stopped after 1 epoch`.
        training: predicted cases that trained the runs.
        channels: case -> its channels, of a network that serves subsets of them.
        postprocessing: that was applied, entries as of `evaluation.inference.applied`.
        unknown: reasons why further cases may have trained the runs; None where nothing is known.
    """

    folder: Path
    schema: LabelSchema | None
    cases: list[str]
    runs: list[str]
    split: str = "patient"
    states: Sequence[str] = ()
    training: Sequence[dict[str, Any]] = ()
    channels: Mapping[str, list[str]] = field(default_factory=dict)
    postprocessing: Sequence[dict[str, Any]] = ()
    unknown: Sequence[str] | None = None


def open_predictions(folder: Path, wanted: list[str] | None, plain: bool = False) -> PredictionSet:
    """Open a predictions folder.

    Args:
        folder: with `predictions.json`; without it only where `wanted` is given or `plain` is true.
        wanted: ids of the cases to choose; None chooses all that the manifest names.
        plain: open another tool's folder without manifest and ids too, as one of no case; `match_files` finds those that it
            has. Predictions that evaluation.predict has begun and not finished have a lock beside them.

    Raises:
        UserError: no manifest and no ids, or a manifest of another format.
        Problems: NIfTI files that the manifest does not name.
    """
    manifest = folder / MANIFEST
    foreign = plain and not (folder / LOCK).exists()
    if not manifest.is_file() and (inner := sorted(path.parent.name for path in folder.glob(f"*/{MANIFEST}"))):
        raise UserError(
            f"{folder}: expected the predictions of one head; received a folder with those of several; choose one of "
            f"{', '.join(inner)} in it"
        )
    if (foreign or wanted is not None) and folder.is_dir() and not manifest.is_file():
        return PredictionSet(folder, None, wanted or [], [])
    if not folder.is_dir():
        received = "a file" if folder.exists() else "none there"
        raise UserError(f"{folder}: expected a folder of predictions; received {received}{did_you_mean_path(folder)}")
    if not manifest.is_file() and (folder / LOCK).exists():
        raise UserError(
            f"{folder}: expected predictions finished by glioskull predict, with {MANIFEST}; received unfinished ones, or the "
            "folder of another command; predict again, or name the folder of predictions"
        )
    if not manifest.is_file():
        raise UserError(
            f"{manifest}: not found; expected a folder finished by glioskull predict; to score other ID.nii.gz files, list "
            "their ids in a file and give it to --cases"
        )
    values = read_prediction_facts(folder / MANIFEST)
    cases = list(dict.fromkeys(str(case) for case in values["cases"]))
    if wanted is None:
        _refuse_unknown_files(folder, cases)
    schema = LabelSchema.from_dict(values.get("schema"), manifest)
    runs = [str(run) for run in values.get("runs", [])]
    return PredictionSet(
        folder,
        schema,
        cases if wanted is None else wanted,
        runs,
        str(values.get("split", "patient")),
        [str(state) for state in values.get("states", [])],
        values.get("training", []),
        values.get("channels", {}),
        values.get("postprocessing", []),
        values.get("training_unknown", [] if values.get("training") else None),
    )


def match_files(folder: Path, cases: Sequence[str]) -> tuple[list[str], list[Path]]:
    """Cases that have a file in a folder without manifest, and the NIfTI files that belong to none of them."""
    files = {nifti.stem(path): path for path in _nifti_files(folder)}
    found = [case for case in cases if case in files]
    return found, [path for name, path in files.items() if name not in found]


def is_finished(folder: Path) -> bool:
    """True for a predictions folder that has its manifest, which is written last."""
    return (folder / MANIFEST).is_file()


def holds_predictions(folder: Path) -> bool:
    """True for a finished folder of one head or of several, which lie below it."""
    return is_finished(folder) or any(folder.glob(f"*/{MANIFEST}"))


def predicted_cases(folder: Path) -> list[str]:
    """Ids of the cases that a folder's manifest names; none where there is no manifest."""
    return [str(case) for case in read_prediction_facts(folder / MANIFEST)["cases"]] if is_finished(folder) else []


@dataclass(frozen=True)
class EarlierPredictions:
    """Predictions that an earlier call with equal weights and settings has put into a folder.

    Attributes:
        cases: their ids.
        source: absolute path of the scans.
        training: those of them that trained the runs.
        channels: case -> its channels, as of `PredictionSet`.
    """

    cases: Sequence[str] = ()
    source: str = ""
    training: Sequence[dict[str, Any]] = ()
    channels: Mapping[str, list[str]] = field(default_factory=dict)


def earlier_predictions(folder: Path, runs: "Sequence[Run]", settings: dict[str, Any]) -> EarlierPredictions:
    """Predictions of an earlier call in a folder; none where there is no manifest.

    Raises:
        UserError: the weights or the settings differ, so that the folder would mix two ways of predicting.
    """
    if not is_finished(folder):
        return EarlierPredictions()
    values = read_prediction_facts(folder / MANIFEST)
    before, now = (_checksums(weights) for weights in (values.get("weights"), _weights(runs)))
    if before != now:
        raise UserError(
            f"{folder}: holds predictions of other runs or of other weights of them ({', '.join(values.get('runs', []))}); "
            "choose another --out"
        )
    for name, value in settings.items():
        if name in values and values[name] != value:
            stored, wanted = (json.dumps(each) for each in (values[name], value))
            other = f"another {name}" if isinstance(value, dict) else f"{name} {stored}, not {wanted}"
            raise UserError(f"{folder}: holds predictions made with {other}; choose another --out")
    cases, training = [str(case) for case in values["cases"]], values.get("training", [])
    return EarlierPredictions(cases, values.get("source", ""), training, values.get("channels", {}))


def is_current(folder: Path, runs: "Sequence[Run]", cases: Sequence[str]) -> bool:
    """True for a finished folder that holds just some cases, predicted with the present weights of some runs."""
    if not is_finished(folder):
        return False
    values = read_prediction_facts(folder / MANIFEST)
    return _checksums(values.get("weights")) == _checksums(_weights(runs)) and values["cases"] == sorted(cases)


def read_cost(folder: Path) -> dict[str, float]:
    """Cost of a finished folder's prediction, as `evaluation.inference.cost` measures it; empty where none is stored."""
    cost = read_prediction_facts(folder / MANIFEST).get("cost")
    return {name: float(value) for name, value in (cost or {}).items()}


def write_manifest(
    folder: Path,
    runs: "Sequence[Run]",
    source: Path,
    schema: LabelSchema,
    settings: dict[str, Any],
    cases: Sequence[str],
    training: Sequence[dict[str, Any]] = (),
) -> None:
    """Write `predictions.json`, which makes a predictions folder complete.

    Args:
        folder: of the predictions.
        runs: that made them; paths and checksums of their weights are stored.
        source: the scans.
        schema: of the ids that were written.
        settings: of the prediction, beyond the runs, which `earlier_predictions` compares, and its `cost`.
        cases: ids of all cases that have NIfTI files.
        training: cases that trained the runs, as of `provenance.find_training_cases`.
    """
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "runs": [str(run.path.resolve()) for run in runs],
        "states": [run_state(run) for run in runs],
        "weights": _weights(runs),
        "source": str(source.resolve()),
        "schema": schema.to_dict(),
        "split": "slice" if any(run.metadata["split"] == "slice" for run in runs) else "patient",
        **settings,
        "training": list(training),
        "training_unknown": unknown_training(runs),
        "cases": list(cases),
    }
    write_json(folder / MANIFEST, manifest)


def merge_predictions(folders: Sequence[Path], out: Path) -> None:
    """Merge the predictions of a cross-validation's folds: all files, then a manifest with the runs and cases of all folds.

    Args:
        folders: finished predictions folders of different patients, one per fold.
        out: folder for the merged predictions.
    """
    manifests = [read_prediction_facts(folder / MANIFEST) for folder in folders]
    for folder in folders:
        for path in sorted(each for each in folder.rglob("*") if each.is_file() and not is_temporary(each)):
            place = path.relative_to(folder)
            if {MANIFEST, LOCK, SCORES}.isdisjoint(place.parts):
                copy_file(path, out / place)
    first = {name: value for name, value in manifests[0].items() if name != "cost"}
    merged = first | {
        "runs": [run for manifest in manifests for run in manifest.get("runs", [])],
        "states": [state for manifest in manifests for state in manifest.get("states", [])],
        "weights": [weights for manifest in manifests for weights in manifest.get("weights", [])],
        "training": merge_training_cases(entry for manifest in manifests for entry in manifest.get("training", [])),
        "training_unknown": sorted({line for manifest in manifests for line in manifest.get("training_unknown", [])}),
        "postprocessing": _distinct(entry for manifest in manifests for entry in manifest.get("postprocessing", [])),
        "cases": sorted(case for manifest in manifests for case in manifest["cases"]),
        **(
            {"channels": {k: v for manifest in manifests for k, v in manifest.get("channels", {}).items()}}
            if "channels" in first
            else {}
        ),
        "cross_validation": f"{len(manifests)} folds by patient; each case by the run that was trained without its patient",
    }
    write_json(out / MANIFEST, merged)


def _distinct(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Entries of post-processing that differ in more than the file that holds them, in their order."""
    found = {json.dumps({name: value for name, value in entry.items() if name != "file"}): entry for entry in entries}
    return list(found.values())


def prediction_path(folder: Path, case: str) -> Path:
    """Path of a case's prediction: `ID.nii.gz`, or `ID.nii` where only that is there."""
    plain = folder / f"{case}.nii"
    packed = folder / f"{case}.nii.gz"
    return plain if plain.is_file() and not packed.is_file() else packed


def read_classes(
    image: ImageRef, schema: LabelSchema, likely: tuple[str, ...] = (), grid: Grid | None = None, tolerance_mm: float = 1e-3
) -> np.ndarray:
    """Read a NIfTI label as class indices (i, j, k), uint8, 255 where not annotated.

    Args:
        image: the file.
        schema: of its ids.
        likely: names of schemas to hint at where it lacks an id.
        grid: of the annotation or the scan; the same voxels in another order or direction of the axes are brought to it.
        tolerance_mm: largest distance between the same voxel of both.

    Raises:
        UserError: damaged, not whole numbers, or ids that the schema lacks.
    """
    array = nifti.read_image(image) if grid is None else nifti_rules.read_on_grid(image, grid, tolerance_mm)
    return ids_to_classes(str(image), array, schema, likely)


def ids_to_classes(name: str, label: np.ndarray, schema: LabelSchema, likely: tuple[str, ...] = ()) -> np.ndarray:
    """Convert label ids to class indices, uint8, 255 where not annotated.

    Raises:
        UserError: not whole numbers, or an id that the schema lacks; `name` is that of the file.
    """
    problem = nifti_rules.label_problem(name, label, schema, likely)
    if problem:
        raise UserError(problem)
    return bits_to_classes(schema.encode(nifti_rules.as_integers(label)))


def _weights(runs: "Sequence[Run]") -> list[dict[str, str]]:
    """Name and CRC-32C of each run's weights file."""
    return [{"file": run.weights.name, "crc32c": checksum(run.weights)} for run in runs]


def refuse_other_weights(folder: Path, runs: "Sequence[Run]") -> None:
    """Refuse predictions that other runs made, or these runs with other weights; those of another tool name none.

    Raises:
        UserError: names the folder, and the runs that made them.
    """
    values = read_prediction_facts(folder / MANIFEST) if is_finished(folder) else {}
    made_by = _checksums(values.get("weights"))
    if made_by and set(made_by) != set(_checksums(_weights(runs))):
        names = ", ".join(str(run.path) for run in runs)
        raise UserError(
            f"{folder}: expected predictions by the present weights of {names}; received those of "
            f"{', '.join(values.get('runs', []))}, or of other weights; predict and score again, or give others"
        )


def _checksums(weights: Any) -> list[Any]:
    """Checksums of a manifest's `weights`; the places of the runs do not matter."""
    return [entry["crc32c"] for entry in weights or []]


def _nifti_files(folder: Path) -> list[Path]:
    """NIfTI files of a folder, sorted, hidden ones left out."""
    return sorted(path for path in folder.iterdir() if path.name.endswith(nifti.SUFFIXES) and not path.name.startswith("."))


def _refuse_unknown_files(folder: Path, cases: list[str]) -> None:
    expected = {name for case in cases for name in (case, case + PROBABILITIES)}
    unknown = [path for path in _nifti_files(folder) if nifti.stem(path) not in expected]
    if unknown:
        raise Problems(
            (f"{path}: extra prediction: {MANIFEST} does not name this case" for path in unknown),
            f"{folder}: {counted(len(unknown), 'file')} not of this prediction; remove them, or choose cases by --cases",
        )
