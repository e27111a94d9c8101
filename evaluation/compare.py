"""Command: compare scored predictions, or scores of classifiers, side by side and patient by patient."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from common import cli
from common.errors import UserError, did_you_mean_path
from common.files import make_folder, write_text
from common.manifests import CONTENT, Fields, checked
from common.metrics.catalogue import METRICS
from common.tables import TableFormat, counted, csv_text
from evaluation.figures.patients import draw_boxes
from evaluation.inference.applied import applied_line
from evaluation.outputs import claim, folder_origin
from evaluation.scores.facts import AGAIN, SCORE, read_classification_facts
from evaluation.scores.folder import MANIFEST, StoredScores, find_scores, read_scores, read_split
from evaluation.scores.trained import TrainedPatients, trained_notes
from evaluation.tables.comparison import (
    CLASSIFICATION_SCALES,
    Cell,
    ColumnHead,
    Comparison,
    ScoredClassifier,
    ScoredSegmentation,
    common_keys,
    compare_classifiers,
    compare_scores,
    title,
)
from evaluation.tables.comparison_table import csv_rows, format_markdown, format_text, paste_tables
from evaluation.tables.run_names import names_of, numbered
from evaluation.tables.scored import mean_scored, read_scored

FILES = {"segmentation": MANIFEST, "classification": "classification_scores.json"}


@dataclass(kw_only=True)
class CompareConfig:
    """Compare two or more sets of scores, the first being the reference.

    Each is a folder of predictions that glioskull score has scored, or the folder with the scores; all are scores of
    segmentations, or all of classifiers. Prints means with intervals side by side and, for segmentations, each set against the
    first on the patients of both. With `--out` writes compare.md, compare.csv, compare.txt and a box plot for each metric, of
    the first structure.
    """

    scores: list[Path]
    """Folders to compare, the reference first."""
    names: list[str] | None = None
    """Display names of the sets, in the same order; default: as their folders. Segmentations of one name, such as those of
    several seeds, are one set: a patient's score is the mean over them."""
    structures: list[str] | None = None
    """Classes and regions to compare, such as WT TC, or class_mean; default: all that the sets have in common."""
    metrics: list[str] | None = None
    """Metrics to compare, e.g. dice; default: those that glioskull score prints with an interval."""
    seen_patients: Literal["refuse", "warn"] = "refuse"
    """Patients who trained the runs that are scored on them: refuse to compare, or warn and compare all the same."""
    ids: bool = True
    """Name the worst patients in the box plots, and all in their tables."""
    format: TableFormat = "text"
    """Form of the printed tables: text with notes, or one to paste: markdown, latex (booktabs) or csv."""
    out: Path | None = None
    """Folder to write into; default: the comparison is only printed."""


def main(config: CompareConfig) -> None:
    """Compare the folders; prints the tables and the files written."""
    kind, folders = _locate(config.scores)
    names = names_of("scores", config.scores, config.names, 2 if kind == "segmentation" else None)
    if kind == "classification" and config.structures is not None:
        raise UserError("--structures: classifiers have none; expected it for scores of segmentations only; leave it out")
    if config.out is not None:
        make_folder(config.out)
    entries: list[ScoredSegmentation] = []
    if kind == "segmentation":
        stored = [read_scores(folder) for folder in folders]
        sets = [read_scored(each, name) for each, name in zip(stored, numbered(names), strict=True)]
        patients = [each.trained for each in stored]
        by_name = {entry.name: each for entry, each in zip(sets, patients, strict=True)}
        _refuse_trained(config, folders, by_name, [entry.split for entry in sets])
        entries, trained = _means_of_sets(names, sets, patients)
        comparison = _compare_segmentations(config, entries)
        several = [name for name in trained if names.count(name) > 1]
        notes = [f"{name}: a patient's score is the mean over {names.count(name)} sets of scores." for name in several]
        notes += [note for each, entry in zip(stored, sets, strict=True) for note in _applied_notes(each, entry)]
        comparison = replace(comparison, notes=[*notes, *comparison.notes])
    else:
        found = [_read_classifier(folder, name) for folder, name in zip(folders, names, strict=True)]
        trained = {entry.column.name: patients for entry, patients in found}
        _refuse_trained(config, folders, trained, [entry.column.split for entry, _ in found])
        comparison = _compare_classifiers(config, [entry for entry, _ in found])
    comparison = replace(comparison, notes=[*trained_notes(trained), *comparison.notes])
    print(format_text(comparison) if config.format == "text" else paste_tables(comparison, config.format))
    if config.out is not None:
        claim(config.out, {"a comparison": [folder_origin("scores", folder, config.out) for folder in config.scores]})
        files = _write(config.out, comparison, entries, config.ids, trained)
        if config.format == "latex":  # the others are written in any case
            write_text(config.out / "compare.tex", paste_tables(comparison, config.format))
            files.append(config.out / "compare.tex")
        print("\n" + "\n".join(f"wrote {file}" for file in files))


def _locate(given: Sequence[Path]) -> tuple[str, list[Path]]:
    """Kind of scores that all folders have, and the folder of each that holds them."""
    if len(given) < 2:
        raise UserError(f"--scores: expected at least two folders to compare; received {len(given)}")
    found = [{kind: place for kind, name in FILES.items() if (place := find_scores(folder, name))} for folder in given]
    for folder, kinds in zip(given, found, strict=True):
        if not kinds:
            hint = did_you_mean_path(folder) or "; score it first"
            raise UserError(f"{folder}: expected {' or '.join(FILES.values())} in it or in its scores/{hint}")
    for kind in FILES:
        if all(kind in kinds for kinds in found):
            return kind, [kinds[kind] for kinds in found]
    received = "; ".join(f"{folder}: {', '.join(kinds)}" for folder, kinds in zip(given, found, strict=True))
    raise UserError(f"--scores: expected all of one kind, {' or '.join(FILES)}; received {received}")


def _refuse_trained(
    config: CompareConfig, folders: Sequence[Path], trained: Mapping[str, TrainedPatients], splits: Sequence[str]
) -> None:
    """Refuse scores of patients who trained the runs.

    Args:
        config: of the command.
        folders: of the scores.
        trained: name of each set -> its patients.
        splits: patient or slice, of each set; a slice split is never ranked.

    Raises:
        UserError: names the first set and a patient.
    """
    for folder, (name, patients), split in zip(folders, trained.items(), splits, strict=True):
        if patients.found and split != "slice" and config.seen_patients == "refuse":
            seen = f"{len(patients.found)} of {counted(patients.scored, 'patient')} trained the runs of {name}"
            raise UserError(
                f"{folder}: {seen}, such as {min(patients.found)}, so its scores are too good to be ranked; score "
                "patients who did not, by score --cases, or compare all the same by --seen_patients warn"
            )


def _applied_notes(stored: StoredScores, entry: ScoredSegmentation) -> list[str]:
    """Notes on the post-processing of a set, and whether it was chosen on patients who are scored; none without any."""
    return [f"{entry.name}: {applied_line(each, entry.patients)}." for each in stored.postprocessing if each.get("file")]


def _means_of_sets(
    names: Sequence[str], sets: Sequence[ScoredSegmentation], patients: Sequence[TrainedPatients]
) -> tuple[list[ScoredSegmentation], dict[str, TrainedPatients]]:
    """Sets of scores by name, the mean of those of one name, and the patients who trained their runs."""
    entries, trained = [], {}
    for name in dict.fromkeys(names):
        places = [place for place, other in enumerate(names) if other == name]
        entries.append(mean_scored([sets[place] for place in places], name))
        trained[name] = TrainedPatients.merged([patients[place] for place in places])
    return entries, trained


def _compare_segmentations(config: CompareConfig, entries: list[ScoredSegmentation]) -> Comparison:
    keys, notes = common_keys(entries)
    known = list(dict.fromkeys(key[1] for key in keys))
    structures = _chosen("structures", config.structures, known, known)
    headline = [name for name, metric in METRICS.items() if metric.shown == "interval"]
    metrics = _chosen("metrics", config.metrics, list(dict.fromkeys(key[2] for key in keys)), headline)
    rows = [key for key in keys if key[1] in structures and key[2] in metrics]
    rows.sort(key=lambda key: (metrics.index(key[2]), structures.index(key[1])))
    if config.structures is not None:
        return compare_scores(entries, rows)
    same = repeated(entries[0].members)
    hidden = {key[:2]: same[key[:2]] for key in rows if key[:2] in same}
    if hidden:
        notes.append(
            "Equal structures are printed once: "
            + "; ".join(f"{title(other)} = {title(first)}" for other, first in hidden.items())
            + "."
        )
    comparison = compare_scores(entries, rows, hidden)
    return replace(comparison, notes=[*notes, *comparison.notes])


def repeated(members: Mapping[tuple[str, str], tuple[str, ...]]) -> dict[tuple[str, str], tuple[str, str]]:
    """Structures (kind, name) made of the same classes as an earlier one -> that one; a mean repeats a single class alone."""
    first: dict[tuple[str, ...], tuple[str, str]] = {}
    found = {}
    for structure, classes in members.items():
        if structure[0] == "mean" and len(classes) > 1:
            continue
        same = first.setdefault(classes, structure)
        if same != structure:
            found[structure] = same
    return found


def _chosen(option: str, wanted: list[str] | None, known: list[str], default: Sequence[str]) -> list[str]:
    """Chosen names, all of which must be known; without a choice the known names of the default, or else all."""
    if wanted is None:
        return [name for name in default if name in known] or known
    missing = [name for name in wanted if name not in known]
    if missing or not wanted:
        hint = "; score all by that metric first" if option == "metrics" and any(name in METRICS for name in missing) else ""
        raise UserError(
            f"--{option}: expected some of {', '.join(known)}, which all have; received {', '.join(missing) or 'none'}{hint}"
        )
    return list(dict.fromkeys(wanted))


def _read_classifier(folder: Path, name: str) -> tuple[ScoredClassifier, TrainedPatients]:
    """Scores of a folder's `classification_scores.json`: levels (per patient, per slice) with scores and intervals."""
    file = folder / FILES["classification"]
    manifest = read_classification_facts(file)
    levels = checked(manifest["level"], Fields({"patient": CONTENT}), f"{file}: level", AGAIN)
    cells = {
        ("level", level, score): cell
        for level in levels
        for score, cell in _cells(levels[level], f"{file}: level.{level}").items()
    }
    sizes = ", ".join(counted(levels[level]["n"], level) for level in levels)
    head = (sizes, f"weights: {manifest['weights']}")
    task = f"{manifest['head']} ({', '.join(manifest['classes'])})"
    scored = ScoredClassifier(ColumnHead(name, read_split(manifest, file), head), task, cells)
    return scored, TrainedPatients.read(manifest, levels["patient"]["n"])


def _cells(level: dict[str, Any], where: str) -> dict[str, Cell]:
    """Score -> value, interval and number of one level; entries that are no score, such as a curve, are left out."""
    entries = {name: entry for name, entry in level.items() if isinstance(entry, dict) and "value" in entry}
    stored = {name: checked(entry, SCORE, f"{where}.{name}", AGAIN) for name, entry in entries.items()}
    return {name: Cell(each["value"], each.get("low"), each.get("high"), level["n"]) for name, each in stored.items()}


def _compare_classifiers(config: CompareConfig, entries: list[ScoredClassifier]) -> Comparison:
    keys = [key for key in entries[0].cells if all(key in entry.cells for entry in entries)]
    known = list(dict.fromkeys(key[2] for key in keys))
    if not known:
        raise UserError("--scores: expected classification scores of one level, patient or slice; received none that all have")
    metrics = _chosen("metrics", config.metrics, known, list(CLASSIFICATION_SCALES))
    return compare_classifiers(entries, [key for key in keys if key[2] in metrics])


def _write(
    out: Path, comparison: Comparison, entries: list[ScoredSegmentation], names: bool, trained: Mapping[str, TrainedPatients]
) -> list[Path]:
    """Write Markdown, CSV, text, and a box plot for each metric where there are patients' own scores."""
    texts = {
        "compare.md": format_markdown(comparison),
        "compare.csv": csv_text(_with_trained(csv_rows(comparison), trained)),
        "compare.txt": format_text(comparison) + "\n",
    }
    for name, text in texts.items():
        write_text(out / name, text)
    files = [out / name for name in texts]
    mixed = any(entry.split == "slice" for entry in entries)
    for name in dict.fromkeys(key[2] for key in comparison.rows) if entries else ():
        key = next(key for key in comparison.rows if key[2] == name)
        scores = {
            entry.name + (f"\n({entry.split} split)" if mixed else ""): {
                patient: value for patient, value in entry.values[key].items() if not math.isnan(value)
            }
            for entry in entries
        }
        if not all(scores.values()):
            print(f"{METRICS[name].heading}, {title(key)}: a set has no patient with a value; its box plot is left out")
            continue
        files += draw_boxes(out / f"boxes_{name}", scores, METRICS[name], title(key), names=names)
    return files


def _with_trained(rows: list[list[Any]], trained: Mapping[str, TrainedPatients]) -> list[list[Any]]:
    """Rows with a column `trained`: how many patients of the row's set trained its runs; empty where that is not known."""
    heading, *others = rows
    counts = {name: len(patients.found) for name, patients in trained.items() if patients.found is not None}
    return [[*heading, "trained"], *([*row, counts.get(row[heading.index("name")])] for row in others)]


if __name__ == "__main__":
    cli.run(main, CompareConfig)
