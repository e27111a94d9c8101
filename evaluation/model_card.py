"""Command: the model card of a run, with the items of CLAIM 2024 and TRIPOD+AI that it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common import cli
from common.config_bases import ConfigWithTrust
from common.errors import UserError
from common.files import write_text
from common.tables import markdown
from evaluation.inference.predictions import refuse_other_weights
from evaluation.reports.checklists import CLAIM, TRIPOD_AI, Item, answered, open_items
from evaluation.reports.model_facts import dice_texts, score_facts, training_facts
from evaluation.reports.scores import AVERAGE, SEEN
from evaluation.reports.subject import find_subject
from evaluation.scores.folder import read_patient_scores, read_scores

CARD = "MODEL_CARD.md"
CHECKLISTS: dict[str, Sequence[Item]] = {"CLAIM 2024": CLAIM, "TRIPOD+AI": TRIPOD_AI}
HEAD = """---
library_name: keras
pipeline_tag: image-segmentation
tags: [medical-imaging, mri, brain-tumor, segmentation]
---"""
LIMITS = (
    "Research software; it is no medical device, and its output needs the eyes of an expert.",
    "It was trained on the channels, the preparation and the voxel sizes below; for other scans nothing is known.",
)


@dataclass(kw_only=True)
class ModelCardConfig(ConfigWithTrust):
    """Write a model card: what a run was trained on and how, its scores, its limits, how it is used.

    Two tables hold the items of CLAIM 2024 and TRIPOD+AI that the run answers, for a paper, and two lists those that are open.
    """

    run: Path
    """Folder of a run, or of a cross-validation, whose folds predict together."""
    predictions: list[Path] = field(default_factory=list)
    """Scored predictions of patients who did not train it; default: those in the folder, if any."""
    out: Path | None = None
    """File to write; default: MODEL_CARD.md in the folder."""


def main(config: ModelCardConfig) -> None:
    """Write the card, and print its place and how many items it answers."""
    subject = find_subject(config.run, config.predictions)
    if not subject.runs or subject.kind not in ("run", "cross-validation"):
        raise UserError(f"{config.run}: expected a run or a cross-validation; received {subject.described}")
    for folder in subject.predictions.values():
        refuse_other_weights(folder, list(subject.runs.values()))
    facts = training_facts(subject.runs)
    for folder in subject.predictions.values():
        facts |= score_facts(folder)
    out = config.out or config.run / CARD
    write_text(out, card(subject.name, facts, subject.predictions, config.run))
    counts = [f"{len(answered(items, facts))} of {len(items)} items of {name}" for name, items in CHECKLISTS.items()]
    print(f"model card: {out} ({', '.join(counts)} answered)")


def card(name: str, facts: Mapping[str, str], predictions: Mapping[str, Path], run: Path) -> str:
    """Text of a model card in Markdown.

    Args:
        name: of the model.
        facts: of training and scores.
        predictions: name -> scored predictions.
        run: its folder.
    """
    parts = [HEAD, f"# {name}", "\n".join(f"- {line}" for line in LIMITS)]
    parts += ["## Facts", markdown([("", ""), *facts.items()]), "## Scores", *_scores(predictions)]
    parts += ["## Use", f"    glioskull predict --runs {run} --source SCANS --out predictions"]
    for title, items in CHECKLISTS.items():
        filled = [(item.number, item.topic, ", ".join(names)) for item, names in answered(items, facts)]
        still = "\n".join(f"- {item.number} {item.topic}" for item in open_items(items, facts))
        parts += [f"## {title}", markdown([("item", "topic", "facts above"), *filled]), "Open, for the authors:", still]
    return "\n\n".join(parts) + "\n"


def _scores(predictions: Mapping[str, Path]) -> list[str]:
    """Paragraphs on the scores of each set of predictions."""
    if not predictions:
        return ["None yet: predict patients who did not train it, score them, and give the predictions to `--predictions`."]
    parts = []
    for name, folder in predictions.items():
        stored = read_scores(folder)
        scores = read_patient_scores(stored)
        table = markdown([(name, "Dice"), *dice_texts(scores).items()])
        parts += [table, AVERAGE.format(patients=f"{stored.patients} patients"), *([SEEN] if stored.trained.found else [])]
    return parts


if __name__ == "__main__":
    cli.run(main, ModelCardConfig)
