"""Provenance of predictions: the cases that trained the runs behind them, and the state of those runs."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.tables import counted
from data_prep.leakage.same_scans import ScanChecksums, ScanIndex
from data_prep.records.folder import Records
from data_prep.scans.case import LABEL, Case
from data_prep.scans.unusual import case_doubts, doubt_lines
from training.patients import RunCase, index_scans, read_patients
from training.run import Run
from training.state.history import read_history

SPACING_FACTOR = 1.5  # by which voxels may be larger or smaller than those of the training
TrainingCases = list[dict[str, Any]]
"""Predicted cases that trained a run: an entry {records: path, fold: number or None, cases: ids} per records folder."""


def find_training_records(run: Run, records: Records, cases: Sequence[str]) -> TrainingCases:
    """Cases of records that trained a run, or a run with whose weights it began, by the checksums of their scans.

    What trained a run is stored with it (`training.patients`); `ScanIndex.find` defines a copy.
    """
    index = index_scans(read_patients(run).training)
    return merge_training_cases(entry for case in cases for entry in find_copies(index, records.cases[case].scan))


def find_copies(index: ScanIndex[RunCase], scan: ScanChecksums) -> TrainingCases:
    """Entries of the training cases that a scan is a copy of."""
    return [{"records": case.records, "fold": case.fold, "cases": [scan.case]} for case in index.find(scan)]


def unknown_training(runs: Sequence[Run]) -> list[str]:
    """Reasons why it is not known which patients trained some runs, a line each; empty where it is known of all."""
    return list(dict.fromkeys(reason for run in runs if (reason := read_patients(run).unknown)))


def merge_training_cases(entries: Iterable[dict[str, Any]]) -> TrainingCases:
    """Entries with one for each records folder and fold; those without cases are left out."""
    merged: dict[tuple[str, int | None], set[str]] = {}
    for entry in entries:
        merged.setdefault((entry["records"], entry["fold"]), set()).update(entry["cases"])
    return [{"records": path, "fold": fold, "cases": sorted(cases)} for (path, fold), cases in merged.items() if cases]


def trained_patients(training: Iterable[dict[str, Any]], patients: Mapping[str, str]) -> list[str]:
    """Sorted patients of whom a case trained the runs.

    Args:
        training: as of `find_training_records`.
        patients: case -> its patient, of the cases in question.
    """
    return sorted({patients[case] for entry in training for case in entry["cases"] if case in patients})


def training_line(
    training: Iterable[dict[str, Any]], patients: Mapping[str, str], unknown: Sequence[str] | None = ()
) -> tuple[str, bool]:
    """Line that counts the patients who trained the runs, and whether it is a warning.

    Args:
        training, patients: as of `trained_patients`.
        unknown: reasons why there may be more; None: nothing is known.
    """
    entries = list(training)
    seen, total = trained_patients(entries, patients), counted(len(set(patients.values())), "patient")
    if seen:
        chosen = merge_training_cases(entry | {"cases": set(entry["cases"]) & set(patients)} for entry in entries)
        folders: dict[str, list[str]] = {}
        for entry in chosen:
            folders.setdefault(short_path(entry["records"]), []).extend([] if entry["fold"] is None else [str(entry["fold"])])
        places = [f"{path}, fold {' '.join(folds)}" if folds else path for path, folds in folders.items()]
        return (
            f"{len(seen)} of {total} trained these runs (records {'; '.join(places)}): scores will be too good",
            True,
        )
    if unknown is None:
        return "whether these patients trained the runs is not known: the predictions do not say it", False
    if unknown:
        return f"whether {total} trained these runs is not known: {unknown[0]}", True
    return f"0 of {total} trained these runs, by the checksums of their scans", False


def print_training(training: Iterable[dict[str, Any]], patients: Mapping[str, str], unknown: Sequence[str] | None) -> None:
    """Print `training_line`, as a warning where some patients trained the runs or where that is not known."""
    line, is_warning = training_line(training, patients, unknown)
    print(f"warning: {line}" if is_warning else line, file=sys.stderr if is_warning else sys.stdout)


def scan_warnings(
    case: Case, spacing_mm: Sequence[float] | None, runs: Sequence[Run], needs_background: bool = True
) -> list[str]:
    """Warnings about unusual voxels of a scan that runs look at, a line each: images of one value, scaling, size of voxels.

    Args:
        case: as read.
        spacing_mm, runs: as of `spacing_warnings`.
        needs_background: brain or head may be found by voxels that are not zero.
    """
    preparation = runs[0].preparation
    finds_brain = needs_background and preparation.statistics == "nonzero"
    lines = case.files.constant_warnings({name: value for name, value in case.constant.items() if name != LABEL})
    lines += doubt_lines(case.files, case_doubts(case, preparation.is_clipped, finds_brain))
    return lines + spacing_warnings(case.files.id, spacing_mm, runs)


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
