"""Slices of records that a run is scored on."""

from common.errors import UserError
from data_prep.records.folder import Records
from training.data.division import subset_cases
from training.data.mixture import open_folder
from training.data.slices import Slices, padded_input, whole_slices
from training.data.targets import FolderTargets
from training.run import Run


def scored_slices(run: Run, records: Records, subset: str, head: str, needed: str = "case") -> Slices:
    """Slices of a subset that are annotated for a head of a run; of a slice split, validation is the run's own slices.

    They are whole, as in prediction, where the training cut larger ones to its `input.size`.

    Args:
        run: that is scored.
        records: with the run's channels.
        subset: train, validation or test; of the run's fold where it has one.
        head: name of the head.
        needed: noun for an annotated case, for the error.

    Raises:
        UserError: the subset has no annotated case.
    """
    config, targets = run.config, FolderTargets(records, run.heads, frozenset([head]))
    if config.split == "slice" and subset == "validation":
        validation = open_folder(config, targets).validation_examples
        if not isinstance(validation, Slices):
            raise UserError(f"{run.path}: has no validation slices; choose another --subset")
        return validation
    cases = targets.cases(subset_cases(records, config, subset))
    if not cases:
        others = [name for name in ("train", "validation", "test") if targets.cases(subset_cases(records, config, name))]
        raise UserError(
            f"{records.path}: subset {subset} has no {needed}; choose another --subset: {' or '.join(others) or 'none has one'}"
        )
    given = config.input
    if run.sliding_window().patch is None:
        given = padded_input(records, cases, given, config.model.stride)
    return whole_slices(records, cases, given, targets)
