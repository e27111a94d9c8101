"""A run scored on the slices of its records, as the glioma paper's table does: one confusion matrix over a whole subset."""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import UserError
from common.scores import confusion_matrix
from data_prep.labels import bits_to_classes
from data_prep.records import Records
from training.input import SEGMENTATION, check_sizes, whole_batches, whole_slices
from training.run import Run


def score_records(run_path: Path, records_path: Path, subset: str, batch_size: int) -> dict[str, Any]:
    """Run a network over every slice of a subset of records.

    Args:
        run_path: the run, whose best (or last) weights are used.
        records_path: records with the channels and classes that the run was trained on.
        subset: train, validation or test; of the run's fold where it has one.
        batch_size: slices at once.

    Returns:
        records, own_records (whether the run was trained on them), loss (mean over annotated voxels), confusion (truth in
        rows), classes, patients, slices, crop.
    """
    run, records = Run(run_path), Records(records_path)
    for name, found, expected in (
        ("channels", records.channels, run.channels),
        ("classes", records.schema.class_names, run.schema.class_names),
    ):
        if found != expected:
            raise UserError(f"{records_path}: {run_path} was trained on the {name} {expected}; found {found}")
    cases = records.subset(subset, run.config.fold)
    if not cases:
        raise UserError(f"{records_path}: subset {subset} is empty; choose another --subset")
    config = replace(run.config.input, batch_size=batch_size)
    check_sizes(records, cases, config, run.config.model.stride)
    source = whole_slices(records, cases, config)
    own = run.facts["records"]["fingerprint"] == records.fingerprint
    if not own:
        print(f"warning: {records_path} are not the records of {run_path}: their {subset} patients may have trained it")
    loss, confusion = _score(run, source, config)
    return {
        "records": str(records_path),
        "own_records": own,
        "loss": loss,
        "confusion": confusion.tolist(),
        "classes": run.schema.class_names,
        "patients": len({records.cases[case].patient for case in cases}),
        "slices": len(source),
        "crop": f"{records.preparation.crop} {records.preparation.size or ''}".strip(),
    }


def _score(run: Run, source: Any, config: Any) -> tuple[float, np.ndarray]:
    """Loss per annotated voxel, and the confusion matrix."""
    from training.backend import load_backend

    load_backend()
    from training.objective import to_target_size

    network, classes = run.load_network(), len(run.schema.classes)
    loss = run.config.loss.build(classes)
    batches, count = whole_batches(source, config)
    confusion, total = np.zeros((classes, classes), np.int64), 0.0
    for images, labels in islice(batches, count):
        bits = labels[SEGMENTATION]
        logits = np.asarray(to_target_size(network.predict_on_batch(images)[SEGMENTATION], bits))
        confusion += confusion_matrix(bits_to_classes(bits), logits.argmax(axis=-1).astype(np.uint8), classes)
        total += float(loss(bits, logits)) * np.count_nonzero(bits)
    return total / max(int(confusion.sum()), 1), confusion
