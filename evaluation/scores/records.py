"""A run scored on the slices of its records, as the glioma papers' tables do: confusion matrices over a whole subset."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import UserError
from common.metrics.overlap import confusion_matrix
from data_prep.labels import bits_to_classes
from data_prep.records.folder import Records
from evaluation.inference.ensemble import WINDOWS
from training.data.batches import SEGMENTATION, InputConfig, whole_batches
from training.data.slices import Slices, check_sizes, whole_slices
from training.run import Run
from training.train import Segmentation

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Subset:
    """The slices of records that a run is scored on.

    Attributes:
        run: a segmentation's.
        records: where the slices stand.
        source: the slices in order, their labels at the records' own pixels.
        input: how the network sees them.
        patients: of each slice.
        own_records: whether the run was trained on these records.
    """

    run: Run
    records: Records
    source: Slices
    input: InputConfig
    patients: list[str]
    own_records: bool

    def only(self, rows: Sequence[int]) -> Slices:
        """Some of the slices, in the order given."""
        return Slices(self.records, self.source.items, self.source.rows[list(rows)], self.input)

    def pictures(self, rows: Sequence[int], channel: int) -> tuple[np.ndarray, np.ndarray]:
        """One channel and the annotation of some slices at the pixels that are scored: (n, H, W), and class indices uint8."""
        plain = replace(self.input, resize=None, neighbours=0)
        shown = Slices(self.records, self.source.items, self.source.rows[list(rows)], plain)
        examples = [shown[place] for place in range(len(shown))]
        images = np.stack([image[..., channel] for image, _ in examples])
        return images, bits_to_classes(np.stack([labels[SEGMENTATION] for _, labels in examples]))


@dataclass(frozen=True)
class Counts:
    """What a network told of a subset's voxels.

    Attributes:
        loss: mean over annotated voxels.
        patients: patient -> confusion matrix (classes, classes) int64, truth in rows, over all of the patient's slices.
    """

    loss: float
    patients: dict[str, np.ndarray]

    @property
    def confusion(self) -> np.ndarray:
        """The confusion matrix over all slices, (classes, classes) int64."""
        return np.sum(list(self.patients.values()), axis=0)


def score_records(
    run_path: Path, records_path: Path, subset: str, batch_size: int, weights: Path | None = None
) -> dict[str, Any]:
    """Run a network over every slice of a subset of records.

    Args:
        run_path: the run, whose best (or last) weights are used.
        records_path: records with the channels and classes that the run was trained on.
        subset: train, validation or test; of the run's fold where it has one. In a run of a slice split, validation is its
            validation slices.
        batch_size: slices at once.
        weights: other weights of the run than those to predict with.

    Returns:
        records, own_records (whether the run was trained on them), loss (mean over annotated voxels), confusion (truth in
        rows), classes, patients, slices, crop.

    Raises:
        UserError: a run of another kind, other channels or classes, an empty subset.
    """
    chosen = open_subset(run_path, records_path, subset, batch_size)
    counts = count(chosen, load(chosen.run, weights))
    preparation = chosen.records.preparation
    return {
        "records": str(records_path),
        "own_records": chosen.own_records,
        "loss": counts.loss,
        "confusion": counts.confusion.tolist(),
        "classes": chosen.run.schema.class_names,
        "patients": len(counts.patients),
        "slices": len(chosen.source),
        "crop": f"{preparation.crop} {preparation.size or ''}".strip(),
    }


def open_subset(run_path: Path, records_path: Path, subset: str, batch_size: int) -> Subset:
    """Find the slices that a run is scored on; warns where the run was trained on other records.

    Args:
        run_path, records_path, subset, batch_size: as of `score_records`.

    Raises:
        UserError: a run of another kind, other channels or classes, an empty subset.
    """
    run, records = Run(run_path), Records(records_path)
    if run.kind != "segmentation":
        raise UserError(f"{run_path}: expected a run of training.train; received one of {run.command}")
    for name, found, expected in (
        ("channels", records.channels, run.channels),
        ("classes", records.schema.class_names, run.schema.class_names),
    ):
        if found != expected:
            raise UserError(f"{records_path}: {run_path} was trained on the {name} {expected}; found {found}")
    own = run.facts["records"]["fingerprint"] == records.fingerprint
    if not own:
        print(f"warning: {records_path} are not the records of {run_path}: their {subset} patients may have trained it")
    config = replace(run.config.input, batch_size=batch_size)
    source = _slices(run, records, subset)
    patients = [records.cases[source.items[item][0]].patient for item, _ in source.rows]
    return Subset(run, records, source, config, patients, own)


def load(run: Run, weights: Path | None = None) -> "keras.Model":
    """A run's network, the backend loaded first; with the weights to predict with, or other weights of the run."""
    from training.hardware.backend import load_backend

    load_backend()
    return run.load_network(weights)


def count(subset: Subset, network: "keras.Model") -> Counts:
    """Compare a network's classes with the annotation of every slice of a subset.

    The loss is that of the run's config, so of its first phase: one measure for the weights of all phases.
    """
    classes = len(subset.run.schema.classes)
    loss = subset.run.config.loss.build(classes)
    found = {patient: np.zeros((classes, classes), np.int64) for patient in sorted(set(subset.patients))}
    patients, total, voxels = iter(subset.patients), 0.0, 0
    for bits, logits in _told(subset, network):
        for truth, prediction in zip(bits_to_classes(bits), _classes(logits), strict=True):
            found[next(patients)] += confusion_matrix(truth, prediction, classes)
        annotated = int(np.count_nonzero(bits))
        total, voxels = total + float(loss(bits, logits)) * annotated, voxels + annotated
    return Counts(total / max(voxels, 1), found)


def predicted(subset: Subset, network: "keras.Model", rows: Sequence[int]) -> np.ndarray:
    """What a network tells of some slices of a subset: class indices (n, H, W) uint8 at the pixels that are scored."""
    from training.objectives.keras_objects import to_target_size

    if subset.run.view().window is not None:
        return _of_volumes(subset, network, rows)
    shown = subset.only(rows)
    found = []
    for place in range(len(shown)):
        image, labels = shown[place]
        logits = network.predict_on_batch(image[None])[SEGMENTATION]
        found.append(_classes(np.asarray(to_target_size(logits, labels[SEGMENTATION][None])))[0])
    return np.stack(found)


def _told(subset: Subset, network: "keras.Model") -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Labels (n, H, W) bit-packed and logits (n, H, W, classes) of all slices in order, a part at a time."""
    from training.objectives.keras_objects import to_target_size

    if subset.run.view().window is None:
        batches, steps = whole_batches(subset.source, subset.input)
        for images, labels in islice(batches, steps):
            bits = labels[SEGMENTATION]
            yield bits, np.asarray(to_target_size(network.predict_on_batch(images)[SEGMENTATION], bits))
        return
    for case, _ in subset.source.items:
        for place, logits in _windowed(subset, network, case):
            yield np.asarray(subset.records.shard(case).label[place]), logits


def _windowed(subset: Subset, network: "keras.Model", case: str) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices of a case and their logits, by overlapping windows."""
    from models.volume import predict_volume

    for place, logits in predict_volume(network, subset.records.shard(case).image, subset.run.view(), WINDOWS):
        yield place, logits[SEGMENTATION]


def _of_volumes(subset: Subset, network: "keras.Model", rows: Sequence[int]) -> np.ndarray:
    """`predicted` for a network of windows: the slices' whole cases are predicted, each once."""
    wanted = subset.source.rows[list(rows)]
    volumes = {
        item: np.concatenate([_classes(logits) for _, logits in _windowed(subset, network, subset.source.items[item][0])])
        for item in sorted({int(item) for item, _ in wanted})
    }
    return np.stack([volumes[int(item)][number] for item, number in wanted])


def _classes(logits: np.ndarray) -> np.ndarray:
    found: np.ndarray = logits.argmax(axis=-1).astype(np.uint8)
    return found


def _slices(run: Run, records: Records, subset: str) -> Slices:
    """The slices of a subset; of a run that divided slices, the validation slices are its own."""
    config = run.config
    if config.split == "slice" and subset == "validation":
        whole = Segmentation(config).examples(records)[3]
        if not isinstance(whole, Slices):
            raise UserError(f"{run.path}: has no validation slices; choose another --subset")
        return whole
    cases = records.subset(subset, config.fold)
    if not cases:
        raise UserError(f"{records.path}: subset {subset} is empty; choose another --subset")
    if run.view().window is None:
        check_sizes(records, cases, config.input, config.model.stride)
    return whole_slices(records, cases, config.input)
