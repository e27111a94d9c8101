"""Scores of a run on the slices of records, as in the glioma papers: one confusion matrix over a whole subset.

Metrics that need masks, such as HD95, are computed per case on the prepared grid, and averaged over patients.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from common.errors import UserError
from common.finite import naming
from common.hardware.backend import load_backend
from common.metrics import overlap
from common.metrics.catalogue import METRICS
from common.metrics.label_pair import LabelPair
from common.metrics.metric import Metric
from common.metrics.statistics import known_mean
from common.tables import score_column
from data_prep.labels import LabelSchema, bits_to_classes
from data_prep.records.folder import Records
from data_prep.structures import (
    CLASS_MEAN,
    MEAN_WITH_BACKGROUND,
    Structure,
    averaged,
    background_structures,
    scored_structures,
)
from evaluation.inference.ensemble import PATCHES
from evaluation.inference.provenance import find_training_records, unknown_training
from evaluation.scores.cases import CaseScores, ScoreKey, score_case
from evaluation.scores.lesions import check_rules
from evaluation.scores.patients import PatientScores, mean_over_cases
from evaluation.scores.slices import scored_slices
from evaluation.scores.trained import trained_facts
from models.outputs import predict_batch
from models.volume import predict_volume
from training.data.batches import LABEL, SEGMENTATION, InputConfig, validation_batches
from training.data.slices import Slices
from training.heads.segmentation import SegmentationHead
from training.run import Run

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Subset:
    """Slices of records that a run is scored on.

    Attributes:
        run: a segmentation's.
        records: that the slices are of.
        source: the slices in order, their labels at the records' own pixels.
        input: of the network.
        patients: patient of each slice.
        own_records: True where the run was trained on these records.
        head: name of the segmentation head.
    """

    run: Run
    records: Records
    source: Slices
    input: InputConfig
    patients: list[str]
    own_records: bool
    head: str = SEGMENTATION

    @property
    def schema(self) -> LabelSchema:
        """Classes, ids and regions of the head."""
        return cast(SegmentationHead, self.run.heads[self.head]).schema

    @property
    def has_volumes(self) -> bool:
        """True where every case has all of its slices in the subset."""
        rows = Counter(int(item) for item, _ in self.source.rows)
        return all(rows[item] == len(self.records.cases[case].voxels) for item, (case, _) in enumerate(self.source.items))

    def only(self, rows: Sequence[int]) -> Slices:
        """Some of the slices, in the order given."""
        return Slices(self.records, self.source.items, self.source.rows[list(rows)], self.input)

    def pictures(self, rows: Sequence[int], channel: int) -> tuple[np.ndarray, np.ndarray]:
        """One channel and the annotation of some slices at the pixels that are scored: (n, H, W), and class indices uint8."""
        plain = replace(self.input, resize=None, neighbours=0)
        shown = Slices(self.records, self.source.items, self.source.rows[list(rows)], plain)
        examples = [shown[place] for place in range(len(shown))]
        images = np.stack([image[..., channel] for image, _ in examples])
        return images, bits_to_classes(np.stack([labels[LABEL] for _, labels in examples]))


@dataclass(frozen=True)
class Counts:
    """Confusion matrices of a network on a subset.

    Attributes:
        loss: mean over annotated voxels.
        patients: patient -> confusion matrix (classes, classes) int64, truth in rows, over all of the patient's slices.
        volumes: scores of whole volumes per patient; None where the subset is single slices of cases.
    """

    loss: float
    patients: dict[str, np.ndarray]
    volumes: PatientScores | None = None

    @property
    def confusion(self) -> np.ndarray:
        """Confusion matrix over all slices, (classes, classes) int64."""
        return np.sum(list(self.patients.values()), axis=0)


@dataclass(frozen=True)
class RecordScores:
    """Scores of a run on a subset of records.

    Attributes:
        run, records, subset: the run, and the subset of the records that it was scored on.
        own_records: True where the run was trained on these records.
        schema: of the classes.
        loss: mean over annotated voxels.
        confusion: (classes, classes) int64 over all slices, truth in rows.
        volumes: (structure, metric) -> mean over patients, of the metrics that need masks; empty for single slices; NaN where
            no patient has a value.
        known: (structure, metric) -> patients that have a value, of these metrics.
        scored_patients: patients with an annotated volume.
        patients, slices: how many.
        crop: of the records' preparation.
        trained: patients of the subset who trained the run, as of `trained_facts`.
    """

    run: Path
    records: Path
    subset: str
    own_records: bool
    schema: LabelSchema
    loss: float
    confusion: np.ndarray
    volumes: dict[ScoreKey, float]
    known: dict[ScoreKey, int]
    scored_patients: int
    patients: int
    slices: int
    crop: str
    trained: dict[str, Any] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        """Share of the annotated voxels that got their class."""
        return overlap.accuracy(self.confusion)

    def values(self) -> dict[ScoreKey, float]:
        """Every score of every structure; those with background come last and have the metrics of counts alone."""
        pair, values = LabelPair(self.confusion), {}
        for structure, metric in record_keys(self.schema):
            if metric.from_masks:
                parts = [self.volumes.get((structure, metric.name))]
            else:
                parts = [metric(pair.structure(each.members)) for each in averaged(structure, self.schema)]
            known = [value for value in parts if value is not None and not math.isnan(value)]
            if known:
                values[structure, metric.name] = float(np.mean(known))
        return values


def tumour_dice(confusion: np.ndarray) -> float:
    """Dice of the tumour, all classes but background as one, of a confusion matrix."""
    return overlap.overlap(confusion, range(1, len(confusion))).dice


def record_keys(schema: LabelSchema) -> list[tuple[Structure, Metric]]:
    """Structures and metrics of scores on records: those with a direction; with background, those of counts alone."""
    judged = [metric for metric in METRICS.values() if metric.judged]
    plain = [(structure, metric) for structure in scored_structures(schema) for metric in judged]
    counts = [metric for metric in judged if not metric.from_masks]
    with_background = [(structure, metric) for structure in background_structures(schema) for metric in counts]
    return [(structure, metric) for structure, metric in plain + with_background if structure.kind != "mean" or metric.averaged]


def score_key(structure: Structure, metric: str) -> str:
    """Key of a score on records: `dice` (class mean), `dice_with_background`, `dice_WT`, `iou_non_enhancing_tumor`."""
    if structure == CLASS_MEAN:
        return metric
    return f"{metric}_with_background" if structure == MEAN_WITH_BACKGROUND else score_column(metric, structure.name)


def score_records(
    run_path: Path,
    records_path: Path,
    subset: str,
    batch_size: int,
    weights: Path | None = None,
    head: str = SEGMENTATION,
    metrics: Sequence[Metric] | None = None,
) -> RecordScores:
    """Score a network on every slice of a subset of records.

    Args:
        run_path: the run, whose best (or last) weights are used.
        records_path: records with the channels and classes that the run was trained on.
        subset: train, validation or test; of the run's fold where it has one. In a run of a slice split, validation is its
            validation slices.
        batch_size: slices at once.
        weights: other weights of the run than those to predict with.
        head: name of the segmentation head.
        metrics: to compute; those of counts are computed in any case. By default the catalogue's.

    Raises:
        UserError: a run of another kind, other channels or classes, an empty subset; or a metric was named that single slices,
            records without spacing, or the schema's regions have no value of.
    """
    chosen = open_subset(run_path, records_path, subset, batch_size, head)
    _check_named(chosen, metrics or ())
    counts = count(chosen, load(chosen.run, weights), metrics)
    columns = {} if counts.volumes is None else counts.volumes.values
    volumes = {key: column for key, column in columns.items() if METRICS[key[1]].from_masks}
    preparation = chosen.records.preparation
    cases = {case: chosen.records.cases[case].patient for case, _ in chosen.source.items}
    training = find_training_records(chosen.run, chosen.records, list(cases))
    return RecordScores(
        run=run_path,
        records=records_path,
        subset=subset,
        own_records=chosen.own_records,
        schema=chosen.schema,
        loss=counts.loss,
        confusion=counts.confusion,
        volumes={key: known_mean(column) for key, column in volumes.items()},
        known={key: int(np.count_nonzero(~np.isnan(column))) for key, column in volumes.items()},
        scored_patients=0 if counts.volumes is None else len(counts.volumes.patients),
        patients=len(counts.patients),
        slices=len(chosen.source),
        crop=f"{preparation.crop} {preparation.size or ''}".strip(),
        trained=trained_facts(training, cases, unknown_training([chosen.run])),
    )


def _check_named(subset: Subset, metrics: Sequence[Metric]) -> None:
    """Refuse metrics that were named and have no value on a subset."""
    check_rules([metric.rule.name for metric in metrics if metric.rule is not None], subset.schema)
    named = [metric for metric in metrics if metric.from_masks and not metric.by_default]
    if not named:
        return
    names = f"{named[0].name}{f' and {len(named) - 1} more' if len(named) > 1 else ''}"
    leave_out = "leave --metrics and --lesions out"
    if not subset.has_volumes:
        raise UserError(f"{subset.records.path}: expected whole volumes for {names}; received single slices; {leave_out}")
    for case, _ in subset.source.items if any(metric.needs_spacing for metric in named) else ():
        if subset.records.cases[case].geometry.spacing_mm is None:
            raise UserError(
                f"{subset.records.path}: case {case}: expected the distance of voxels for {names}; received a case without; "
                f"{leave_out}"
            )


def open_subset(run_path: Path, records_path: Path, subset: str, batch_size: int, head: str = SEGMENTATION) -> Subset:
    """Slices that a run is scored on; prints where the run was trained on other records.

    Args:
        run_path, records_path, subset, batch_size, head: as of `score_records`.

    Raises:
        UserError: a run of another kind, other channels or classes, an empty subset.
    """
    run = Run(run_path)
    trained = run.heads.get(head)
    if not isinstance(trained, SegmentationHead):
        raise UserError(f"{run_path}: expected a run with the segmentation head {head}; received {', '.join(run.heads)}")
    records = run.open_records(records_path)
    found, expected = records.schema.class_names, trained.class_names
    if found != expected:
        raise UserError(f"{records_path}: {run_path} was trained on the classes {expected}; found {found}")
    own = run.trained_on(records)
    if not own:
        print(f"{records_path}: not the records that {run_path} was trained on")
    config = replace(run.config.input, batch_size=batch_size)
    source = scored_slices(run, records, subset, head)
    patients = [records.cases[source.items[item][0]].patient for item, _ in source.rows]
    return Subset(run, records, source, config, patients, own, head)


def load(run: Run, weights: Path | None = None) -> "keras.Model":
    """Network of a run, the backend loaded first; with the weights to predict with, or other weights of the run."""
    load_backend()
    return run.load_network(weights)


def count(subset: Subset, network: "keras.Model", metrics: Sequence[Metric] | None = None) -> Counts:
    """Compare a network's classes with the annotation of every slice of a subset.

    The loss is that of the run's config, so of its first phase: one measure for the weights of all phases.
    """
    classes, records = len(subset.schema.classes), subset.records
    loss = subset.run.config.loss.build(classes, subset.schema.region_indices().values())
    confusions = {patient: np.zeros((classes, classes), np.int64) for patient in sorted(set(subset.patients))}
    scored: dict[str, list[CaseScores]] = {}
    rows = Counter(int(item) for item, _ in subset.source.rows)
    has_volumes = subset.has_volumes
    slices: list[tuple[np.ndarray, np.ndarray]] = []  # of the case that is being read
    total, voxels = 0.0, 0
    for items, bits, logits in _logits(subset, network):
        for item, truth, prediction in zip(items, bits_to_classes(bits), _classes(logits), strict=True):
            facts = records.cases[subset.source.items[item][0]]
            confusions[facts.patient] += overlap.confusion_matrix(truth, prediction, classes)
            if has_volumes:
                slices.append((truth, prediction))
            if has_volumes and len(slices) == rows[item]:
                true, found = (np.stack(maps) for maps in zip(*slices, strict=True))
                pair, slices = LabelPair.count(true, found, classes, facts.geometry.spacing_mm), []
                if pair.confusion.any():  # annotated
                    scored.setdefault(facts.patient, []).append(score_case(pair, subset.schema, metrics))
        annotated = int(np.count_nonzero(bits))
        total, voxels = total + float(loss(bits, logits)) * annotated, voxels + annotated
    return Counts(total / max(voxels, 1), confusions, mean_over_cases(scored, subset.schema) if scored else None)


def predicted(subset: Subset, network: "keras.Model", rows: Sequence[int]) -> np.ndarray:
    """Predicted classes of some slices of a subset: class indices (n, H, W) uint8 at the pixels that are scored."""
    from training.objectives.keras_objects import to_target_size

    if subset.run.sliding_window().patch is not None:
        return _of_volumes(subset, network, rows)
    shown = subset.only(rows)
    found = []
    for place in range(len(shown)):
        image, labels = shown[place]
        logits = _outputs(subset, network, image[None])
        found.append(_classes(np.asarray(to_target_size(logits, labels[LABEL][None])))[0])
    return np.stack(found)


def _logits(subset: Subset, network: "keras.Model") -> Iterator[tuple[list[int], np.ndarray, np.ndarray]]:
    """Item, labels (n, H, W) bit-packed and logits (n, H, W, classes) of all slices of a subset, some at a time."""
    from training.objectives.keras_objects import to_target_size

    rows = [(int(item), int(number)) for item, number in subset.source.rows]
    if subset.run.sliding_window().patch is None:
        (batches, steps), first = validation_batches(subset.source, subset.input), 0
        for images, labels in islice(batches, steps):
            bits = labels[LABEL]
            items = [item for item, _ in rows[first : first + len(bits)]]
            yield items, bits, np.asarray(to_target_size(_outputs(subset, network, images), bits))
            first += len(bits)
        return
    wanted = set(rows)
    for item in sorted({item for item, _ in rows}):
        case, _ = subset.source.items[item]
        labels = subset.records.shard(case).label
        for place, logits in _windowed(subset, network, case):
            # Of a slice split only some slices of a case are in the subset.
            kept = [n for n in range(len(logits)) if (item, place.start + n) in wanted]
            if kept:
                yield [item] * len(kept), np.asarray(labels[place])[kept], logits[kept]


def _windowed(subset: Subset, network: "keras.Model", case: str) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices of a case and their logits, by overlapping patches."""
    with naming(f"{subset.run.path}: case {case}"):
        for place, logits in predict_volume(network, subset.records.shard(case).image, subset.run.sliding_window(), PATCHES):
            yield place, logits[subset.head]


def _outputs(subset: Subset, network: "keras.Model", images: np.ndarray) -> np.ndarray:
    """Logits of a batch of slices."""
    with naming(str(subset.run.path)):
        return np.asarray(predict_batch(network, images)[subset.head])


def _of_volumes(subset: Subset, network: "keras.Model", rows: Sequence[int]) -> np.ndarray:
    """`predicted` for a network over patches: the slices' whole cases are predicted, each once."""
    wanted = subset.source.rows[list(rows)]
    volumes = {
        item: np.concatenate([_classes(logits) for _, logits in _windowed(subset, network, subset.source.items[item][0])])
        for item in sorted({int(item) for item, _ in wanted})
    }
    return np.stack([volumes[int(item)][number] for item, number in wanted])


def _classes(logits: np.ndarray) -> np.ndarray:
    found: np.ndarray = logits.argmax(axis=-1).astype(np.uint8)
    return found
