"""Facts of a model card: those of the training, and those of the scores of predictions, as headings with text."""

from collections.abc import Mapping
from pathlib import Path

from common.metrics.catalogue import METRICS
from common.metrics.statistics import INTERVAL_NOTE
from common.tables import counted
from data_prep.structures import distinct
from evaluation.inference.applied import applied_line
from evaluation.inference.predictions import open_predictions
from evaluation.reports.methods import FACTS, shared, words
from evaluation.reports.scores import printed_metrics
from evaluation.scores.folder import read_patient_scores, read_scores
from evaluation.scores.patients import PatientScores, summarise_scores
from evaluation.tables.patients import score_cell
from training.heads.segmentation import SegmentationHead
from training.run import Run

WORST = 3  # patients whose scores are given


def training_facts(runs: Mapping[str, Run]) -> dict[str, str]:
    """Facts of some runs: those of a report, classes, split, voxels and missing channels."""
    listed = list(runs.values())
    describe = FACTS | {"Classes": _classes, "Split": _split, "Voxel size": _voxels, "Missing channels": _missing_channels}
    facts = {name: shared([each(run) for run in listed], list(runs)) for name, each in describe.items()}
    if len(listed) > 1:
        facts["Ensemble"] = f"mean of the class probabilities of {counted(len(listed), 'run')}"
    return {name: text for name, text in facts.items() if text}


def score_facts(folder: Path) -> dict[str, str]:
    """Facts of scored predictions: metrics, scores, patients, the worst of them, and what is missing."""
    stored = read_scores(folder)
    scores, dice = read_patient_scores(stored), METRICS["dice"]
    metrics = printed_metrics(scores)
    first = scores.structures[0]
    values = scores.by_patient(first, dice.name)
    worst = [f"{values[patient]:.3f}" for patient in dice.worst_first(values)[:WORST]]  # a card is published: no ids
    predictions = open_predictions(folder, [])
    return {
        "Scored patients": f"{counted(stored.patients, 'patient')}"
        + (f", {len(stored.trained.found)} of whom trained the runs" if stored.trained.found is not None else ""),
        "Metrics": "; ".join(f"{metric.heading}: {metric.definition}" for metric in metrics),
        "Scores": "; ".join(f"{name} Dice {text}" for name, text in dice_texts(scores).items()),
        "Intervals": INTERVAL_NOTE,
        "Worst patients": f"by Dice of {first.title}: {', '.join(worst)}",
        "Missing predictions": f"{counted(len(stored.missing), 'case')}, with the worst value" if stored.missing else "none",
        "Post-processing": "; ".join(map(applied_line, predictions.postprocessing)),
    }


def dice_texts(scores: PatientScores) -> dict[str, str]:
    """Dice of each structure as it is printed, mean with interval."""
    summaries, dice = summarise_scores(scores), METRICS["dice"]
    return {each.title: score_cell(each, dice, summaries, len(scores.patients)) for each in distinct(scores.structures)}


def _classes(run: Run) -> str:
    """Classes of each segmentation head with their regions; classes of other heads."""
    texts = []
    for name, head in run.heads.items():
        prefix = f"{name}: " if len(run.heads) > 1 else ""
        if isinstance(head, SegmentationHead):
            regions = [f"{region} = {' + '.join(members)}" for region, members in head.schema.regions.items()]
            texts.append(prefix + ", ".join(head.schema.class_names[1:]) + (f" ({'; '.join(regions)})" if regions else ""))
        else:
            texts.append(prefix + ", ".join(getattr(head, "class_names", [])))
    return "; ".join(texts)


def _split(run: Run) -> str:
    return f"by {run.metadata['split']}" + ("" if run.metadata.get("fold") is None else ", one fold kept apart")


def _voxels(run: Run) -> str:
    """Voxel sizes of the training, in mm."""
    known = [folder["spacing_mm"] for folder in run.metadata["records"] if folder.get("spacing_mm")]
    ranges = [(words(each["low"]), words(each["high"])) for each in known]
    return "; ".join(low if low == high else f"{low} to {high}" for low, high in ranges) + (" mm (z, y, x)" if ranges else "")


def _missing_channels(run: Run) -> str:
    dropout = run.config.input.channel_dropout
    return f"channels are left out of training scans with a probability of {dropout:g}, and may lack in use" if dropout else ""
