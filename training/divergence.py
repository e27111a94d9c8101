"""Divergence of a training: its loss, a weight or the optimizer is no longer finite.

The epoch before it is what is kept. The same steps again would end in the same way, so such a run is not resumed.
"""

from common.errors import UserError
from common.finite import NotFinite
from training.run import Run
from training.state.checkpoint import Progress

ENDED = "loss"  # what ended such a training, as run.json stores it


class Diverged(NotFinite):
    """End of a training by divergence: epoch and value, in words that follow "diverged"."""


def store_divergence(run: Run, progress: Progress, how: str) -> UserError:
    """Store in run.json that a run diverged, if an epoch of it was finished; the error that says what to change."""
    if progress.epoch:
        run.set_status("diverged", ended=ENDED, diverged=how, epoch=progress.epoch, best_epoch=progress.best_epoch)
    return UserError(_line(run, progress.epoch, how))


def divergence(run: Run) -> str | None:
    """Epoch and value in which a run diverged, in words; None where it did not."""
    return str(run.metadata.get("diverged", "before")) if run.metadata.get("ended") == ENDED else None


def refuse_diverged(run: Run) -> None:
    """Refuse to go on with a run that diverged.

    Raises:
        UserError: says what to change.
    """
    how = divergence(run)
    if how is not None:
        raise UserError(_line(run, run.metadata.get("epoch") or 0, how))


def _line(run: Run, epochs: int, how: str) -> str:
    """Line about a run that diverged after some finished epochs: what is kept of it, and what to change."""
    kept = f"weights and state of epoch {epochs} are kept" if epochs else "no epoch was finished before"
    begin = f", such as from these weights by --init_from {run.path}" if epochs else ""
    precision = " or --precision float32" if run.config.precision != "float32" else ""
    return (
        f"{run.path}: the training diverged {how}; {kept}; train anew with a lower --optimizer.learning_rate{precision}{begin}"
    )
