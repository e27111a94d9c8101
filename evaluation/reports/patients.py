"""Patients of a report: a table with the scores and attributes of each, the worst first, and their scores as charts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from common.metrics.catalogue import METRICS
from data_prep.structures import Structure, distinct
from evaluation.figures.patients import draw_boxes, draw_per_patient
from evaluation.reports.charts import chart
from evaluation.reports.content import MOST_VALUES, Block, PatientColumn, PatientRow, PatientTable, Section
from evaluation.reports.scores import printed_metrics
from evaluation.scores.folder import read_patient_scores, read_scores
from evaluation.scores.patients import PatientScores

LOW = 0.5  # Dice below which a structure has a remark
DICE = METRICS["dice"]


@dataclass(frozen=True)
class PatientFacts:
    """Facts on patients besides their scores.

    Attributes:
        names: patient -> name in the report.
        attributes: patient -> attributes, such as its grade.
        scans: patient -> number of its first scan in the viewer.
        folds: name of a fold -> its patients; empty where there are none.
    """

    names: Mapping[str, str]
    attributes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    scans: Mapping[str, int] = field(default_factory=dict)
    folds: Mapping[str, Sequence[str]] = field(default_factory=dict)


def shown_attributes(
    attributes: Mapping[str, Mapping[str, str]], patients: Sequence[str], hide_ids: bool
) -> dict[str, dict[str, str]]:
    """Attributes of some patients without those that repeat their ids.

    Args:
        attributes: patient -> attributes.
        patients: that are scored.
        hide_ids: leave out attributes of many values too, such as a date of birth, which may identify a patient.
    """
    names = dict.fromkeys(name for patient in patients for name in attributes.get(patient, {}))
    values = {name: {each: attributes.get(each, {}).get(name, "") for each in patients} for name in names}
    kept = [name for name, each in values.items() if not all(patient.startswith(value) for patient, value in each.items())]
    if hide_ids:
        kept = [name for name in kept if len(set(values[name].values())) <= min(MOST_VALUES, len(patients) / 2)]
    return {patient: {name: values[name][patient] for name in kept if values[name][patient]} for patient in patients}


def worst_first(folder: Path) -> list[str]:
    """Patients of scored predictions, the worst first by the Dice of the first structure."""
    scores = read_patient_scores(read_scores(folder))
    return DICE.worst_first(scores.by_patient(scores.structures[0], DICE.name))


def patients_section(sets: Mapping[str, Path], facts: PatientFacts) -> Section:
    """Section with the table of patients, and the Dice of the first structure of each as a chart.

    Args:
        sets: name -> scored predictions; the order of patients is that of the first.
        facts: of the patients.
    """
    entries = {name: read_patient_scores(read_scores(folder)) for name, folder in sets.items()}
    if not entries:
        return Section("Patients", [])
    structure = next(iter(entries.values())).structures[0]
    dice = {name: _named(scores.by_patient(structure, DICE.name), facts) for name, scores in entries.items()}
    first = next(iter(dice.values()))
    boxes = dice if len(dice) > 1 else {}
    if facts.folds:
        known = {
            fold: [facts.names[each] for each in patients if each in facts.names] for fold, patients in facts.folds.items()
        }
        boxes = {fold: {each: first[each] for each in patients} for fold, patients in known.items() if patients}
        boxes["all folds"] = first
    title, blocks = f"{structure.title}, whole volume", list[Block]([patient_table(entries, facts)])
    if boxes:
        by = "fold" if facts.folds else "set of predictions"
        blocks.append(chart(lambda path: draw_boxes(path, boxes, DICE, title), f"Dice of {structure.title} by {by}."))
    caption = f"Dice of {structure.title} of each patient."
    blocks.append(chart(lambda path: draw_per_patient(path, first, DICE, title), caption))
    return Section("Patients", blocks)


def patient_table(entries: Mapping[str, PatientScores], facts: PatientFacts) -> PatientTable:
    """Table of the patients of the first set, with the scores of all sets.

    Args:
        entries: name of each set -> its scores.
        facts: of the patients.
    """
    first = next(iter(entries.values()))
    metrics, structures = printed_metrics(first), list(distinct(first.structures))
    words = list(dict.fromkeys(name for patient in first.patients for name in facts.attributes.get(patient, {})))
    columns, values = list[PatientColumn](), []
    for name, scores in entries.items():
        for metric in metrics:
            for structure in [each for each in structures if (each, metric.name) in scores.values]:
                heading = structure.title + (f", {name}" if len(entries) > 1 else "")
                columns.append(PatientColumn(heading, metric.name, metric.decimals))
                values.append(scores.by_patient(structure, metric.name))
    columns += [PatientColumn(name, attribute=True) for name in words]
    rows = []
    for patient in DICE.worst_first(first.by_patient(structures[0], DICE.name)):
        attributes = facts.attributes.get(patient, {})
        cells: list[float | str | None] = [*(each.get(patient) for each in values), *map(attributes.get, words)]
        rows.append(PatientRow(facts.names[patient], cells, facts.scans.get(patient), remarks(first, patient)))
    note = f"The worst first, by the Dice of {structures[0].title}. Remarks: what is missed or has a Dice below {LOW}."
    return PatientTable(columns, rows, [(metric.name, metric.arrow_label) for metric in metrics], note)


def remarks(scores: PatientScores, patient: str) -> list[str]:
    """Remarks on the regions of a patient, or its classes where there are none: missed, not there, too small or too large."""
    kinds = {each.kind for each in scores.structures}
    chosen = [each for each in scores.structures if each.kind == ("region" if "region" in kinds else "class")]
    place = scores.patients.index(patient)
    return [text for structure in chosen if (text := _remark(scores, structure, place))]


def _remark(scores: PatientScores, structure: Structure, place: int) -> str:
    dice = float(scores.values[structure, DICE.name][place])
    if dice >= LOW:
        return ""
    if dice == 0:
        absent = scores.absent[structure][place] == scores.cases[place]
        return f"{structure.name} predicted, but not there" if absent else f"{structure.name} missed"
    volumes = [scores.values.get((structure, name)) for name in ("predicted_ml", "true_ml")]
    if any(each is None or np.isnan(each[place]) for each in volumes):
        return f"{structure.name} {dice:.2f}"
    predicted, true = (float(each[place]) for each in volumes if each is not None)
    return f"{structure.name} {dice:.2f} ({predicted:.1f} of {true:.1f} ml)"


def _named(scores: Mapping[str, float], facts: PatientFacts) -> dict[str, float]:
    """Scores by the patients' names in the report."""
    return {facts.names.get(patient, patient): value for patient, value in scores.items()}
