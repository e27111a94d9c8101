"""Command: compare scored predictions, or scores of categories, side by side and patient by patient."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import cli
from common.errors import UserError
from common.files import make_folder, read_json, write_text

if TYPE_CHECKING:
    from evaluation.tables.comparison import Cell, Comparison, Scored, ScoredCategories

FILES = {"segmentation": "scores.json", "category": "category_scores.json"}
METRICS = {"segmentation": ("dice", "iou"), "category": ("accuracy", "f1", "auc")}
FORMAT = 1


@dataclass(kw_only=True)
class CompareConfig:
    """Compare two or more sets of scores, the first being the reference.

    Each is a folder of predictions that evaluation.score has scored, or the folder with the scores; all are scores of
    segmentations, or all of categories. Prints means with intervals side by side and, for segmentations, each set against the
    first on the patients of both. With `--out` writes compare.md, compare.csv, compare.txt and a box plot of the first row.
    """

    scores: list[Path]
    """Folders to compare, the reference first."""
    names: list[str] | None = None
    """What the sets are called, in the same order; default: as their folders."""
    structures: list[str] | None = None
    """Classes and regions to compare, such as WT TC, or class_mean; default: all that the sets have in common."""
    metrics: list[str] | None = None
    """Scores to compare; default: dice iou, or accuracy f1 auc for categories."""
    seed: int = 0
    """Seed of the bootstrap."""
    out: Path | None = None
    """Folder to write into; default: the comparison is only printed."""


def main(config: CompareConfig) -> None:
    """Compare what was given; prints the tables and where the files are."""
    from evaluation.tables.comparison_table import format_text
    from evaluation.tables.run_names import names_of

    kind, folders = _locate(config.scores)
    names = names_of("scores", config.scores, config.names)
    if kind == "category" and config.structures is not None:
        raise UserError("--structures: categories have none; expected it for scores of segmentations only; leave it out")
    if config.out is not None:
        make_folder(config.out)
    entries: list[Scored] = []
    if kind == "segmentation":
        entries = [_read_scores(folder, name) for folder, name in zip(folders, names, strict=True)]
        comparison = _compare_scores(config, entries)
    else:
        comparison = _compare_categories(config, [_read_categories(*each) for each in zip(folders, names, strict=True)])
    print(format_text(comparison))
    if config.out is not None:
        print("\n" + "\n".join(f"wrote {file}" for file in _write(config.out, comparison, entries)))


def _locate(given: Sequence[Path]) -> tuple[str, list[Path]]:
    """The kind of scores that all folders have, and where each has them."""
    if len(given) < 2:
        raise UserError(f"--scores: expected at least two folders to compare; received {len(given)}")
    found = [{kind: place for kind, name in FILES.items() if (place := _place(folder, name))} for folder in given]
    for folder, kinds in zip(given, found, strict=True):
        if not kinds:
            raise UserError(f"{folder}: expected {' or '.join(FILES.values())} in it or in its scores/; score it first")
    for kind in FILES:
        if all(kind in kinds for kinds in found):
            return kind, [kinds[kind] for kinds in found]
    told = "; ".join(f"{folder}: {', '.join(kinds)}" for folder, kinds in zip(given, found, strict=True))
    raise UserError(f"--scores: expected all of one kind, segmentation or category; received {told}")


def _place(folder: Path, name: str) -> Path | None:
    return next((place for place in (folder, folder / "scores") if (place / name).is_file()), None)


def _read_manifest(file: Path, what: str) -> dict[str, Any]:
    values = read_json(file, what)
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise UserError(f"{file}: expected {what} of format {FORMAT}; received another file; score again")
    return values


def _split(values: dict[str, Any], file: Path) -> str:
    """What was divided into training and test: told by the scores, else by the predictions beside them, else patients."""
    from evaluation.scores.patients import MANIFEST
    from evaluation.tables.comparison import SPLITS

    manifest = file.parent.parent / MANIFEST
    if "split" not in values and file.parent.name == "scores" and manifest.is_file():
        told = read_json(manifest, "predictions")
        values, file = (told, manifest) if isinstance(told, dict) else (values, file)
    split = values.get("split", "patient")
    if split not in SPLITS:
        raise UserError(f"{file}: expected split to be one of {', '.join(SPLITS)}; received {split!r}")
    return str(split)


def _read_scores(folder: Path, name: str) -> "Scored":
    """A folder's scores per patient, refused where they were made by another rule than today's."""
    from common.metrics.overlap import ABSENT_RULE
    from evaluation.tables.comparison import Scored

    file = folder / FILES["segmentation"]
    manifest = _read_manifest(file, "scores")
    if not str(manifest.get("kind")).startswith("per patient"):
        raise UserError(
            f"{file}: expected scores per patient; received {manifest.get('kind')!r}; use evaluation.score --predictions"
        )
    if manifest.get("absent_rule") != ABSENT_RULE:
        raise UserError(
            f"{file}: expected the absent rule of this version; received {manifest.get('absent_rule')!r}; score again"
        )
    values = read_patients(folder / "per_patient.csv")
    structures = dict.fromkeys(key[:2] for key in values)
    return Scored(name, _split(manifest, file), values, _members(manifest, file, list(structures)))


def read_patients(file: Path) -> dict[tuple[str, str, str], dict[str, float]]:
    """`per_patient.csv` as (kind, structure, score) -> patient -> value."""
    from data_prep.sources.csv_rows import read_rows
    from evaluation.scores.patients import METRICS as SCORES

    rows = read_rows(file)
    if not rows or not {"patient", "kind", "structure", *SCORES} <= set(rows[0]):
        raise UserError(
            f"{file}: expected scores per patient, as evaluation.score writes them; received another table; score again"
        )
    values: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in rows:
        for score in SCORES:
            values.setdefault((row["kind"], row["structure"], score), {})[row["patient"]] = _number(row[score], row, file)
    if len({frozenset(patients) for patients in values.values()}) > 1:
        raise UserError(f"{file}: expected a row for each patient and structure; received fewer; score again")
    return values


def _number(text: str, row: dict[str, str], file: Path) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise UserError(f"{file}: patient {row['patient']}, {row['structure']}: expected a score of 0 to 1; received {text!r}")
    return value


def _members(manifest: dict[str, Any], file: Path, structures: list[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, ...]]:
    """(kind, structure) -> the sorted classes that it is made of."""
    from data_prep.labels import LabelSchema

    schema = LabelSchema.from_dict(manifest.get("schema"), file)
    classes = schema.class_names[1:]
    made_of = {("region", name): list(members) for name, members in schema.regions.items()}
    made_of |= {("class", name): [name] for name in classes} | {("mean", "class_mean"): classes}
    return {each: tuple(sorted(made_of.get(each, ()))) for each in structures}


def _compare_scores(config: CompareConfig, entries: "list[Scored]") -> "Comparison":
    from dataclasses import replace

    from evaluation.tables.comparison import common_keys, compare_scores

    keys, notes = common_keys(entries)
    names = {key[1] for key in keys}
    structures = _chosen("structures", config.structures, list(dict.fromkeys(key[1] for key in keys)), tuple(names))
    metrics = _chosen("metrics", config.metrics, list(dict.fromkeys(key[2] for key in keys)), METRICS["segmentation"])
    rows = [key for key in keys if key[1] in structures and key[2] in metrics]
    if config.structures is not None:
        rows.sort(key=lambda key: structures.index(key[1]))
    rows.sort(key=lambda key: metrics.index(key[2]))
    comparison = compare_scores(entries, rows, config.seed)
    return comparison if config.structures else replace(comparison, notes=[*notes, *comparison.notes])


def _chosen(option: str, wanted: list[str] | None, there: list[str], default: tuple[str, ...]) -> list[str]:
    """What was asked for, which must be there; by default what is there of the default."""
    if wanted is None:
        return [name for name in default if name in there] or there
    missing = [name for name in wanted if name not in there]
    if missing or not wanted:
        raise UserError(
            f"--{option}: expected some of {', '.join(there)}, which all have; received {', '.join(missing) or 'none'}"
        )
    return list(dict.fromkeys(wanted))


def _read_categories(folder: Path, name: str) -> "ScoredCategories":
    """A folder's `category_scores.json`: levels (per patient, per slice) with scores and intervals."""
    from evaluation.tables.comparison import Column, ScoredCategories, counted

    file = folder / FILES["category"]
    manifest = _read_manifest(file, "category scores")
    try:
        levels = manifest["level"]
        cells = {("level", level, score): cell for level in levels for score, cell in _cells(levels[level]).items()}
        sizes = ", ".join(counted(int(levels[level]["n"]), level) for level in levels)
        head = (sizes, f"weights: {manifest['weights']}")
        task = f"{manifest['head']} ({', '.join(map(str, manifest['classes']))})"
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{file}: expected category scores of format {FORMAT}; received a damaged file ({error}); score again"
        ) from None
    return ScoredCategories(Column(name, _split(manifest, file), head), task, cells)


def _cells(level: dict[str, Any]) -> "dict[str, Cell]":
    """Score -> value, interval and number of one level; what is no score, such as a curve, is left out."""
    from evaluation.tables.comparison import Cell

    scores = {name: entry for name, entry in level.items() if isinstance(entry, dict) and "value" in entry}
    bounds = {name: [_finite(entry.get(bound)) for bound in ("value", "low", "high")] for name, entry in scores.items()}
    return {name: Cell(value, low, high, int(level["n"])) for name, (value, low, high) in bounds.items()}


def _finite(value: Any) -> float | None:
    """A number; None where a score is not defined."""
    return None if value is None or not math.isfinite(value) else float(value)


def _compare_categories(config: CompareConfig, entries: "list[ScoredCategories]") -> "Comparison":
    from evaluation.tables.comparison import compare_categories

    keys = [key for key in entries[0].cells if all(key in entry.cells for entry in entries)]
    there = list(dict.fromkeys(key[2] for key in keys))
    if not there:
        raise UserError("--scores: expected category scores of one level, patient or slice; received none that all have")
    metrics = _chosen("metrics", config.metrics, there, METRICS["category"])
    return compare_categories(entries, [key for key in keys if key[2] in metrics])


def _write(out: Path, comparison: "Comparison", entries: "list[Scored]") -> list[Path]:
    """The files: Markdown, CSV, text, and the box plot where there are patients' own scores."""
    from evaluation.tables.comparison_table import csv_rows, format_markdown, format_text
    from evaluation.tables.patients import csv_text

    texts = {
        "compare.md": format_markdown(comparison),
        "compare.csv": csv_text(csv_rows(comparison)),
        "compare.txt": format_text(comparison) + "\n",
    }
    for name, text in texts.items():
        write_text(out / name, text)
    return [*(out / name for name in texts), *_draw(out / "boxes", comparison, entries)]


def _draw(path: Path, comparison: "Comparison", entries: "list[Scored]") -> list[Path]:
    from evaluation.figures.patients import draw_boxes
    from evaluation.tables.comparison import TITLES, title

    if not entries:
        return []
    key = next(iter(comparison.rows))
    mixed = any(entry.split == "slice" for entry in entries)
    scores = {entry.name + (f"\n({entry.split} split)" if mixed else ""): entry.values[key] for entry in entries}
    return draw_boxes(path, scores, f"{TITLES[key[2]]}, {title(key)}")


if __name__ == "__main__":
    cli.run(main, CompareConfig)
