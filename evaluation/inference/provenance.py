"""Provenance of predictions: the cases that trained the runs behind them, and the state of those runs."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.files import checksum
from common.tables import counted
from data_prep.records.folder import MANIFEST, Records, case_path
from data_prep.records.manifests import read_sources
from data_prep.scans.case import CaseFiles
from training.data.division import divide_cases
from training.run import Run
from training.state.history import read_history

SPACING_FACTOR = 1.5  # by which voxels may be larger or smaller than those of the training
TrainingCases = list[dict[str, Any]]
"""Predicted cases that trained a run: an entry {records: path, fold: number or None, cases: ids} per records folder."""


def find_training_cases(runs: Sequence[Run], cases: Sequence[CaseFiles]) -> TrainingCases:
    """Cases of a source that trained one of the runs, by id and by the checksum of a file, as the runs' records hold them.

    Records that are gone, or whose content is no longer that of the training, are left out.
    """
    found: TrainingCases = []
    checksums: dict[str, int] = {}
    for run in runs:
        for path in run.records_paths:
            records = open_training_records(path, run)
            training = set(divide_cases(records, run.config)[0]) if records is not None else set()
            same = []
            for files in (files for files in cases if files.id in training):
                if files.id not in checksums:
                    checksums[files.id] = int(checksum(files.paths[0]), 16)
                stored = read_sources(case_path(path, files.id, 0, ".json"))
                if any(entry["crc32c"] == checksums[files.id] for entry in stored):
                    same.append(files.id)
            found.append({"records": str(path), "fold": run.config.fold, "cases": same})
    return merge_training_cases(found)


def merge_training_cases(entries: Iterable[dict[str, Any]]) -> TrainingCases:
    """Entries with one for each records folder and fold; those without cases are left out."""
    merged: dict[tuple[str, int | None], set[str]] = {}
    for entry in entries:
        merged.setdefault((entry["records"], entry["fold"]), set()).update(entry["cases"])
    return [{"records": path, "fold": fold, "cases": sorted(cases)} for (path, fold), cases in merged.items() if cases]


def training_warning(training: Iterable[dict[str, Any]], cases: Sequence[str]) -> str | None:
    """Warning that some of the predicted cases trained the runs; None where none did."""
    chosen = merge_training_cases(entry | {"cases": set(entry["cases"]) & set(cases)} for entry in training)
    if not chosen:
        return None
    number = len({case for entry in chosen for case in entry["cases"]})
    folders: dict[str, list[str]] = {}
    for entry in chosen:
        folders.setdefault(short_path(entry["records"]), []).extend([] if entry["fold"] is None else [str(entry["fold"])])
    places = [f"{path}, fold {' '.join(folds)}" if folds else path for path, folds in folders.items()]
    return (
        f"warning: {number} of {counted(len(cases), 'case')} trained these runs (records {'; '.join(places)}): "
        "scores will be too good"
    )


def spacing_warnings(case: str, spacing_mm: Sequence[float] | None, runs: Sequence[Run]) -> list[str]:
    """Warning about a case whose prepared voxels are far larger or smaller than those that its runs were trained on.

    Args:
        case: its id.
        spacing_mm: prepared voxel size (z, y, x); None without geometry.
        runs: that predict it; those that store no voxel size are passed over.
    """
    known = [folder["spacing_mm"] for run in runs for folder in run.metadata["records"] if folder.get("spacing_mm")]
    if spacing_mm is None or not known:
        return []
    low, high = np.min([each["low"] for each in known], axis=0), np.max([each["high"] for each in known], axis=0)
    if (np.asarray(spacing_mm) >= low / SPACING_FACTOR).all() and (np.asarray(spacing_mm) <= high * SPACING_FACTOR).all():
        return []
    found, lowest, highest = (" x ".join(f"{length:.3g}" for length in lengths) for lengths in (spacing_mm, low, high))
    trained = lowest if lowest == highest else f"{lowest} to {highest}"
    return [f"{case}: has voxels of {found} mm (z, y, x); its runs were trained on {trained} mm"]


def run_state(run: Run) -> str:
    """State of a run's training, such as `finished, 40 epochs` or `stopped after 1 epoch`."""
    epochs = counted(len(read_history(run.path)), "epoch")
    status = str(run.metadata["status"])
    return f"finished, {epochs}" if status == "finished" else f"{status} after {epochs}"


def predicted_by(runs: Sequence[str], states: Sequence[str]) -> str:
    """Line that names the runs behind predictions, each with its state where that is stored."""
    known = list(states) if len(states) == len(runs) else [""] * len(runs)
    named = [f"{short_path(run)} ({state})" if state else short_path(run) for run, state in zip(runs, known, strict=True)]
    return f"predicted by {', '.join(named)}"


def short_path(path: str) -> str:
    """Path relative to the working directory where it lies in it, else as it is."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def open_training_records(path: Path, run: Run) -> Records | None:
    """Records of a run where they still are what it was trained on; else None."""
    try:
        records = Records(path) if (path / MANIFEST).is_file() else None
    except UserError:
        return None
    return records if records is not None and run.trained_on(records) else None
