"""Checklists for papers, CLAIM 2024 and TRIPOD+AI: items that a run and its scores answer, and those that stay open.

CLAIM: Tejani et al., Checklist for Artificial Intelligence in Medical Imaging: 2024 update, Radiology: AI 6(4):e240300.
TRIPOD+AI: Collins et al., BMJ 2024;385:e078378. Topics are in our own words; the papers have the full items.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """Item of a checklist.

    Attributes:
        number: such as 7 or 12c.
        topic: of the item.
        answers: headings of the facts that answer it, as of `model_facts`; none where only the authors know.
    """

    number: str
    topic: str
    answers: Sequence[str] = ()


CLAIM = (
    Item("1", "Title names AI and its kind"),
    Item("2", "Structured abstract"),
    Item("3", "Background, intended use and clinical role"),
    Item("4", "Aims and hypotheses"),
    Item("5", "Prospective or retrospective"),
    Item("6", "Goal of the study"),
    Item("7", "Sources of the data", ["Data"]),
    Item("8", "Inclusion and exclusion"),
    Item("9", "Preprocessing", ["Preparation", "Augmentation"]),
    Item("10", "Selection of subsets of the data"),
    Item("11", "De-identification"),
    Item("12", "Missing data", ["Missing channels", "Missing predictions"]),
    Item("13", "Image acquisition", ["Voxel size"]),
    Item("14", "Definition of the reference standard", ["Classes"]),
    Item("15", "Rationale of the reference standard"),
    Item("16", "Annotators and their training"),
    Item("17", "Annotation of the test set"),
    Item("18", "Variability of annotations"),
    Item("19", "Partitions of the data", ["Patients", "Split"]),
    Item("20", "Level at which partitions are disjoint", ["Split"]),
    Item("21", "Intended size of the test set"),
    Item("22", "Architecture", ["Network", "Channels", "Classes"]),
    Item("23", "Software and versions", ["Machine"]),
    Item("24", "Initialisation of the weights", ["Network", "Seed"]),
    Item("25", "Training", ["Training", "Augmentation", "Length"]),
    Item("26", "Selection of the final model", ["Weights"]),
    Item("27", "Ensembles", ["Ensemble"]),
    Item("28", "Metrics", ["Metrics"]),
    Item("29", "Uncertainty and statistics", ["Intervals"]),
    Item("30", "Robustness"),
    Item("31", "Explanation of predictions"),
    Item("32", "Testing on internal data", ["Scores"]),
    Item("33", "Testing on external data"),
    Item("34", "Registration of a trial"),
    Item("35", "Numbers of patients included and excluded", ["Patients", "Scored patients"]),
    Item("36", "Demographic and clinical characteristics"),
    Item("37", "Performance on each partition and subgroup", ["Scores"]),
    Item("38", "Diagnostic accuracy with intervals", ["Scores", "Intervals"]),
    Item("39", "Analysis of failures", ["Worst patients"]),
    Item("40", "Limits of the study"),
    Item("41", "Meaning for practice"),
    Item("42", "Full protocol"),
    Item("43", "Availability of software, model and data"),
    Item("44", "Funding"),
)
TRIPOD_AI = (
    Item("1", "Title"),
    Item("2", "Abstract"),
    Item("3a", "Healthcare context and rationale"),
    Item("3b", "Target population, purpose and users"),
    Item("3c", "Known health inequalities"),
    Item("4", "Objectives"),
    Item("5a", "Sources of the data", ["Data"]),
    Item("5b", "Dates of the data"),
    Item("6a", "Setting and centres"),
    Item("6b", "Eligibility"),
    Item("6c", "Treatments received"),
    Item("7", "Preparation of the data", ["Preparation"]),
    Item("8a", "Definition of the outcome", ["Classes"]),
    Item("8b", "Assessors of the outcome"),
    Item("8c", "Blinding of the outcome"),
    Item("9a", "Choice of the predictors", ["Channels"]),
    Item("9b", "Definition of the predictors", ["Channels", "Voxel size"]),
    Item("9c", "Assessors of the predictors"),
    Item("10", "Sample size"),
    Item("11", "Missing data", ["Missing channels", "Missing predictions"]),
    Item("12a", "Use of the data", ["Patients", "Split"]),
    Item("12b", "Handling of the predictors", ["Preparation"]),
    Item("12c", "Model, its building and internal validation", ["Network", "Training", "Length", "Weights"]),
    Item("12d", "Heterogeneity across centres"),
    Item("12e", "Measures of performance", ["Metrics"]),
    Item("12f", "Updating of the model"),
    Item("12g", "Computation of the predictions", ["Ensemble", "Post-processing"]),
    Item("13", "Class imbalance", ["Training"]),
    Item("14", "Fairness"),
    Item("15", "Output of the model and thresholds", ["Classes", "Post-processing"]),
    Item("16", "Differences between training and evaluation data"),
    Item("17", "Ethics approval and consent"),
    Item("18a", "Funding"),
    Item("18b", "Conflicts of interest"),
    Item("18c", "Protocol"),
    Item("18d", "Registration"),
    Item("18e", "Availability of the data"),
    Item("18f", "Availability of the code"),
    Item("19", "Involvement of patients and the public"),
    Item("20a", "Flow of participants", ["Patients", "Scored patients"]),
    Item("20b", "Characteristics of participants"),
    Item("20c", "Distributions in training and evaluation data"),
    Item("21", "Numbers in each analysis", ["Patients", "Scored patients"]),
    Item("22", "Full model", ["Network", "Machine"]),
    Item("23a", "Performance with intervals", ["Scores", "Intervals"]),
    Item("23b", "Performance across centres"),
    Item("24", "Results of updating"),
    Item("25", "Interpretation"),
    Item("26", "Limits"),
    Item("27a", "Poor or missing input in use"),
    Item("27b", "Interaction and expertise of users"),
    Item("27c", "Next steps of research"),
)


def answered(checklist: Sequence[Item], facts: Mapping[str, str]) -> list[tuple[Item, list[str]]]:
    """Items that facts answer, with the headings of these."""
    found = [(item, [name for name in item.answers if facts.get(name)]) for item in checklist]
    return [(item, names) for item, names in found if names]


def open_items(checklist: Sequence[Item], facts: Mapping[str, str]) -> list[Item]:
    """Items that the authors answer."""
    known = {item.number for item, _ in answered(checklist, facts)}
    return [item for item in checklist if item.number not in known]
