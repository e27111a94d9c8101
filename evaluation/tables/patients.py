"""Printed tables of scores per patient: a row per structure, the metrics that are shown in print; one for each lesion rule."""

from collections.abc import Iterable, Sequence

from common.metrics.catalogue import absent_rule
from common.metrics.metric import Metric
from common.metrics.statistics import FEWEST, INTERVAL, INTERVAL_NOTE, STUDENT, Summary, student_note
from common.tables import TableFormat, counted, folded, formatted, wrapped
from data_prep.structures import CLASS_MEAN, Structure, distinct, repeated_note
from evaluation.scores.cases import ScoreKey
from evaluation.scores.lesions import missing_regions, rule_structures
from evaluation.scores.patients import PatientScores

MAY_LACK = (
    "(n of N): patients that have a value; the others have none (no lesion to find under the rule, or for false lesions no "
    "usable prediction), and they are not in the mean."
)

WITHOUT_WORST = (
    "Volumes and numbers of true and predicted lesions have no worst value: there they are those of an empty prediction, and "
    "the number of false lesions has no value."
)


MOST_LISTED = 20  # cases without usable prediction that are listed in print


def format_table(scores: PatientScores, summaries: dict[ScoreKey, Summary]) -> str:
    """Text of the table: means over patients, the main ones with their interval, and notes below.

    Structures of the same voxels are printed once. All other metrics and intervals are in the CSV files.

    Args:
        scores: of the patients.
        summaries: of `summarise_scores`.
    """
    groups = distinct(scores.structures)
    shown = sorted(
        (metric for metric in scores.metrics if metric.shown != "files"), key=lambda metric: metric.shown != "interval"
    )
    plain = [metric for metric in shown if metric.by_default]
    further = [metric for metric in scores.metrics if metric.shown != "files" and not metric.by_default]
    patients = len(scores.patients)
    has_interval = any(each.low is not None for each in summaries.values())
    interval = f"[{INTERVAL}]" if has_interval else f"(fewer than {FEWEST} patients, so no interval)"
    heading = (
        f"Whole volumes on the patients' own grid: {counted(patients, 'patient')}, {counted(sum(scores.cases), 'case')}; "
        f"mean over patients {interval}"
    )
    student = _student(groups, [*plain, *further], summaries)
    absent = {each.title: int((scores.absent[each] > 0).sum()) for each in groups if each != CLASS_MEAN}
    where = "; ".join(f"{title}: {count} of {counted(patients, 'patient')}" for title, count in absent.items() if count)
    notes = [
        *repeated_note(groups),
        "class mean: mean of the foreground classes' scores of a patient, then averaged over patients; regions are not in it.",
        absent_rule(plain),
        *([f"{INTERVAL_NOTE}.", *student_note(student)] if has_interval else []),
        f"Absent in truth: {where or 'nothing in any patient'}.",
    ]
    parts = [wrapped([heading]), folded(_rows(groups, plain, summaries, patients)), wrapped(notes)]
    parts += _tables_of_further_metrics(further, scores, summaries)
    if scores.missing:
        text = f"Counted with the worst value of every metric: {counted(len(scores.missing), 'case')} of {sum(scores.cases)}"
        listed = [f"  {problem}" for problem in [*scores.missing.values()][:MOST_LISTED]]
        left_out = len(scores.missing) - len(listed)
        more = [f"  and {left_out} more: `missing` in scores.json lists all"] if left_out else []
        parts.append([*wrapped([f"{text}. {WITHOUT_WORST}"]), *listed, *more])
    return "\n\n".join("\n".join(part) for part in parts)


def paste_table(scores: PatientScores, summaries: dict[ScoreKey, Summary], form: TableFormat) -> str:
    """Table of the scores to paste: all metrics that are printed, and one line on what is averaged.

    Args:
        scores, summaries: as of `format_table`.
        form: of the text.
    """
    metrics = sorted((each for each in scores.metrics if each.shown != "files"), key=lambda each: each.shown != "interval")
    patients = len(scores.patients)
    rows = _rows(distinct(scores.structures), metrics, summaries, patients)
    return formatted(rows, form, f"Mean over {counted(patients, 'patient')} [{INTERVAL}]; whole volumes.")


def _rows(
    structures: Iterable[Structure], metrics: Sequence[Metric], summaries: dict[ScoreKey, Summary], patients: int
) -> list[list[str]]:
    """Rows of a table with their heading: a row per structure, a column per metric."""
    rows = [["", *(metric.arrow_label for metric in metrics)]]
    rows += [[each.title, *(score_cell(each, metric, summaries, patients) for metric in metrics)] for each in structures]
    return rows


def _tables_of_further_metrics(
    metrics: Sequence[Metric], scores: PatientScores, summaries: dict[ScoreKey, Summary]
) -> list[list[str]]:
    """Tables of metrics beyond the default ones: those without a rule, then those of each lesion rule with its notes."""
    parts: list[list[str]] = []
    listed, patients = list(distinct(scores.structures)), len(scores.patients)
    plain = [metric for metric in metrics if metric.rule is None]
    if plain:
        parts += [["Further metrics; mean over patients"], _transposed(listed, plain, summaries, patients)]
        parts.append(wrapped([absent_rule(plain)]))
    for rule in dict.fromkeys(metric.rule for metric in metrics if metric.rule is not None):
        mine = [metric for metric in metrics if metric.rule == rule]
        left_out = any(
            summary.patients < patients for (_, name), summary in summaries.items() if name.endswith(f"@{rule.name}")
        )
        parts += [wrapped([f"Lesions by {rule.name}: {rule.title}; mean over patients"])]
        ruled = rule_structures(rule, scores.structures).values()
        ranked = [structure for structure in scores.structures if structure in ruled]
        parts.append(_transposed(ranked, mine, summaries, patients))
        lacking = missing_regions(rule, scores.structures)
        unscored = [f"Regions of {rule.name} that the label schema lacks, not scored: {', '.join(lacking)}."] if lacking else []
        parts.append(wrapped([rule.note, *unscored, *([MAY_LACK] if left_out else [])]))
    return parts


def _transposed(
    structures: Sequence[Structure], metrics: Sequence[Metric], summaries: dict[ScoreKey, Summary], patients: int
) -> list[str]:
    """Lines of tables with a row per metric and a column per structure."""
    rules = [f", {metric.rule.name}" if metric.rule else "" for metric in metrics]  # it stands above the table
    labels = ["", *(metric.arrow_label.replace(rule, "") for metric, rule in zip(metrics, rules, strict=True))]
    columns = [[each.title, *(score_cell(each, metric, summaries, patients) for metric in metrics)] for each in structures]
    return folded(list(zip(labels, *columns, strict=True)))


def score_cell(structure: Structure, metric: Metric, summaries: dict[ScoreKey, Summary], patients: int) -> str:
    """Mean as printed, with its interval where the metric has one there, and how many patients have a value where not all."""
    summary = summaries.get((structure, metric.name))
    if summary is None:
        return ""
    share = f" ({summary.patients} of {patients})" if summary.patients < patients else ""
    if not summary.patients:
        return f"n/a{share}"
    bounds = (summary.low, summary.high) if metric.shown == "interval" else (None, None)
    return metric.text(summary.mean, *bounds) + share


def _student(structures: Iterable[Structure], metrics: Sequence[Metric], summaries: dict[ScoreKey, Summary]) -> list[str]:
    """Scores of metrics with a worst value that have Student's interval all the same."""
    return [
        f"{metric.heading} of {structure.title}"
        for structure in structures
        for metric in metrics
        if metric.shown == "interval" and metric.worst is not None
        if (summary := summaries.get((structure, metric.name))) is not None and summary.interval_method == STUDENT
    ]
