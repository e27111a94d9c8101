"""Table of a run's scores on records: structures by metrics, then loss and accuracy, as in the glioma papers."""

from collections.abc import Sequence
from typing import Any

from common.metrics.catalogue import METRICS, rule_notes
from common.metrics.metric import Metric
from common.tables import TableFormat, aligned, counted, folded, formatted, wrapped
from data_prep.structures import background_structures, distinct, repeated_note, scored_structures
from evaluation.scores.cases import ScoreKey
from evaluation.scores.records import RecordScores, score_key
from evaluation.tables.patients import MAY_LACK

AVERAGING = (
    "One confusion matrix summed over all slices of the subset; every score but {masks} comes from it, so nothing is averaged "
    "over slices, batches or patients. {masks}: of each case's whole volume on the prepared grid, mean over patients; left out "
    "for single slices and without spacing. class mean: mean over the classes without background; the mean with background is "
    "the mean IoU (and Dice) of the glioma papers."
)


def record_rows(scores: RecordScores) -> list[tuple[str, str, str, str, float]]:
    """Rows (key, kind, structure, metric, value) of the scores folder: loss, accuracy, then every structure."""
    whole = [("loss", "", "", "loss", scores.loss), ("accuracy", "", "", "accuracy", scores.accuracy)]
    return whole + [
        (score_key(structure, metric), structure.kind, structure.name, metric, value)
        for (structure, metric), value in scores.values().items()
    ]


def record_facts(scores: RecordScores) -> dict[str, Any]:
    """Entries of scores.json: the scored slices, and the confusion matrix."""
    return {
        "records": str(scores.records),
        "own_records": scores.own_records,
        "loss": scores.loss,
        "confusion": scores.confusion.tolist(),
        "confusion_axes": ["truth", "prediction"],
        "classes": scores.schema.class_names,
        "patients": scores.patients,
        "patients_without_value": [
            {"kind": structure.kind, "structure": structure.name, "score": name, "patients": scores.scored_patients - known}
            for (structure, name), known in scores.known.items()
            if known < scores.scored_patients
        ],
        "slices": scores.slices,
        "crop": scores.crop,
        "counted": _counted(scores),
        "averaging": _averaging(scores),
        **scores.trained,
    }


def format_records_table(scores: RecordScores) -> str:
    """Text of the table, with the slices that were scored above and definitions below."""
    values = scores.values()
    groups = distinct(scored_structures(scores.schema))
    structures = [*groups, *background_structures(scores.schema)]
    metrics = [metric for metric in METRICS.values() if any((structure, metric.name) in values for structure in structures)]
    rows = _rows(scores, [metric for metric in metrics if metric.by_default])
    further = [
        [structure.title, metric.arrow_label, _mean_text(scores, (structure, metric.name), values)]
        for metric in METRICS.values()
        for structure in structures
        if not metric.by_default and metric.judged and ((structure, metric.name) in {**values, **scores.known})
    ]
    left_out = [known < scores.scored_patients for known in scores.known.values()]
    return "\n".join(
        [
            *wrapped([f"{scores.run.name} on {scores.subset} of {scores.records}: {_counted(scores)}"]),
            "",
            *folded(rows),
            "",
            *([*aligned(further), ""] if further else []),
            *aligned([["Loss", f"{scores.loss:.3f}"], ["Accuracy", f"{scores.accuracy:.3f}"]]),
            "",
            *wrapped(
                [*repeated_note(groups), _averaging(scores), *rule_notes(metrics), *([MAY_LACK] if any(left_out) else [])]
            ),
        ]
    )


def paste_records_table(scores: RecordScores, form: TableFormat) -> str:
    """Table of the scores to paste: the default metrics, and one line on what is counted."""
    values = scores.values()
    used = {name for _, name in values}
    metrics = [metric for name, metric in METRICS.items() if name in used and metric.by_default]
    return formatted(_rows(scores, metrics), form, f"{scores.subset}: {_counted(scores)}.")


def _rows(scores: RecordScores, metrics: Sequence[Metric]) -> list[list[str]]:
    """Rows of the table with their heading: a row per structure, a column per metric."""
    values = scores.values()
    rows = [["", *(metric.arrow_label for metric in metrics)]]
    for structure in [*distinct(scored_structures(scores.schema)), *background_structures(scores.schema)]:
        found = [values.get((structure, metric.name)) for metric in metrics]
        texts = ["" if value is None else metric.text(value) for metric, value in zip(metrics, found, strict=True)]
        rows.append([structure.title, *texts])
    return rows


def _mean_text(scores: RecordScores, key: ScoreKey, values: dict[ScoreKey, float]) -> str:
    """Mean as printed, and how many patients have a value where not all."""
    known = scores.known.get(key, scores.scored_patients)
    share = f" ({known} of {scores.scored_patients})" if known < scores.scored_patients else ""
    return (METRICS[key[1]].text(values[key]) if key in values else "n/a") + share


def _averaging(scores: RecordScores) -> str:
    """Note on averaging that names the metrics of masks: the default ones, and others that were computed."""
    used = {name for _, name in scores.values()}
    masks = [metric for name, metric in METRICS.items() if metric.from_masks and (metric.by_default or name in used)]
    return AVERAGING.format(masks=", ".join(metric.heading for metric in masks))


def _counted(scores: RecordScores) -> str:
    return (
        f"{counted(scores.patients, 'patient')}, {counted(scores.slices, 'slice')} of the prepared grid (crop: {scores.crop}); "
        "what the crop cut off is not counted"
    )
