"""Scores of a classifier on slices of records: of one subset, or of the validation patients of several runs together."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from common.errors import UserError
from common.finite import naming
from common.hardware.backend import load_backend
from data_prep.records.folder import Records
from evaluation.inference.ensemble import Classifiers, InferenceConfig, class_probabilities
from evaluation.inference.provenance import TrainingCases, find_training_records, merge_training_cases, unknown_training
from evaluation.scores.classification import SlicePredictions, summary
from evaluation.scores.slices import scored_slices
from evaluation.scores.trained import trained_facts
from models.outputs import predict_batch
from training.data.batches import CLASSIFICATION, validation_batches
from training.data.slices import Slices
from training.heads.classification import ClassificationHead
from training.run import Run

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class ScoredRun:
    """Predicted classes of slices, with their run and loss.

    Attributes:
        run: of the classifier (the first of several).
        predictions: of every slice.
        loss: mean cross-entropy over slices, not weighed.
        head: name of the classification head.
        training: scored cases that trained the run.
        unknown: reasons why there may be more of them.
    """

    run: Run
    predictions: SlicePredictions
    loss: float
    head: str = CLASSIFICATION
    training: TrainingCases = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def trained(self) -> ClassificationHead:
        """The head as it was trained: attribute and classes."""
        return cast(ClassificationHead, self.run.heads[self.head])


def score_run(
    run_path: Path,
    records_path: Path,
    subset: str,
    batch_size: int,
    weights: Path | None = None,
    head: str = CLASSIFICATION,
) -> ScoredRun:
    """Classify every slice of a subset that the head chooses (those with tumour, or all).

    Args:
        run_path: of a network with a classification head.
        records_path: records with the run's channels; those of another data set validate across data sets.
        subset: train, validation or test; of the run's fold where it has one. In a run of a slice split, validation is its
            validation slices.
        batch_size: slices at once.
        weights: other weights of the run than those to predict with.
        head: name of the head.

    Raises:
        UserError: other channels, no case with a known class.
    """
    run = Run(run_path)
    trained = run.heads.get(head)
    if not isinstance(trained, ClassificationHead):
        raise UserError(f"{run_path}: expected a run with the classification head {head}; received {', '.join(run.heads)}")
    records = run.open_records(records_path)
    source = scored_slices(run, records, subset, head, f"case with a known {trained.attribute}")
    load_backend()
    network = run.load_network(weights)
    if run.sliding_window().patch is None:
        probabilities, truth = _of_slices(network, source, batch_size, run, head)
    else:
        probabilities, truth = _of_volumes(Classifiers([run], [network], InferenceConfig(), head), source, records)
    cases = [source.items[item][0] for item, _ in source.rows]
    patients = [records.cases[case].patient for case in cases]
    loss = float(-np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-7)).mean())
    training = find_training_records(run, records, list(dict.fromkeys(cases)))
    predictions = SlicePredictions(cases, patients, source.rows[:, 1], truth, probabilities)
    return ScoredRun(run, predictions, loss, head, training, unknown_training([run]))


def merge_runs(parts: Sequence[ScoredRun]) -> ScoredRun:
    """Merge the predictions of several runs, such as all folds of a cross-validation."""
    found = [part.predictions for part in parts]
    predictions = SlicePredictions(
        [case for each in found for case in each.cases],
        [patient for each in found for patient in each.patients],
        np.concatenate([each.slices for each in found]),
        np.concatenate([each.truth for each in found]),
        np.concatenate([each.probabilities for each in found]),
    )
    weights = [len(each.truth) for each in found]
    return ScoredRun(
        run=parts[0].run,
        predictions=predictions,
        loss=float(np.average([part.loss for part in parts], weights=weights)),
        head=parts[0].head,
        training=merge_training_cases(entry for part in parts for entry in part.training),
        unknown=list(dict.fromkeys(reason for part in parts for reason in part.unknown)),
    )


def run_summary(scored: ScoredRun) -> dict[str, Any]:
    """Summary of a scored run: the content of `classification_scores.json`, its loss included."""
    run, head = scored.run, scored.trained
    scores = summary(
        scored.predictions,
        head=head.attribute,
        classes=head.class_names,
        split=run.metadata["split"],
        weights=run.metadata["pretrained"],
    )
    patients = dict(zip(scored.predictions.cases, scored.predictions.patients, strict=True))
    return scores | {"loss": scored.loss} | trained_facts(scored.training, patients, scored.unknown)


def _of_slices(network: "keras.Model", source: Slices, batch_size: int, run: Run, head: str) -> tuple[np.ndarray, np.ndarray]:
    """(n, classes) probabilities and (n,) true class indices, in the order of the slices."""
    batches, count = validation_batches(source, replace(run.config.input, batch_size=batch_size))
    found, truth = [], []
    for images, targets in islice(batches, count):
        with naming(str(run.path)):
            logits = np.asarray(predict_batch(network, images.astype(np.float32))[head])
        found.append(class_probabilities(logits.astype(np.float64)))
        truth.append(targets[head][:, 0].astype(np.int64))
    return np.concatenate(found), np.concatenate(truth)


def _of_volumes(classifiers: Classifiers, source: Slices, records: Records) -> tuple[np.ndarray, np.ndarray]:
    """As `_of_slices`, by a network over patches: each case is classified whole, and its chosen slices are taken."""
    indices, found, truth = classifiers.target.indices(records), [], []
    for item in dict.fromkeys(source.rows[:, 0].tolist()):
        case = source.items[item][0]
        numbers = source.rows[source.rows[:, 0] == item, 1]
        with naming(f"case {case}"):
            found.append(classifiers.probabilities(np.asarray(records.shard(case).image))[numbers])
        truth.append(np.full(len(numbers), indices[case]))
    return np.concatenate(found), np.concatenate(truth)
