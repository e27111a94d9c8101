"""The phases of a training: what each epoch is trained with."""

from dataclasses import dataclass, replace
from typing import Any

from training.config import TrainingConfig
from training.optimizers import OptimizerConfig


@dataclass(frozen=True)
class Phase:
    """A stretch of epochs with an optimizer of its own.

    Attributes:
        number: 1 for training, 2 for fine-tuning.
        first: its first epoch, counted from 0.
        last: the epoch after its last one.
        optimizer: with the phase's learning rate.
        loss: numbers of the loss that are others than in the first phase.
    """

    number: int
    first: int
    last: int
    optimizer: OptimizerConfig
    loss: dict[str, float]

    @property
    def epochs(self) -> int:
        """How many epochs it has."""
        return self.last - self.first

    def of(self, loss: Any) -> Any:
        """A loss's config with the numbers of this phase."""
        return replace(loss, **self.loss)


def phases(config: TrainingConfig) -> list[Phase]:
    """The phases of a training, in order: training, and fine-tuning where that is asked for."""
    first = Phase(1, 0, config.epochs, config.optimizer, {})
    if config.fine_tune.epochs == 0:
        return [first]
    optimizer = replace(config.optimizer, learning_rate=config.fine_tune.learning_rate)
    return [first, Phase(2, config.epochs, config.total_epochs, optimizer, config.fine_tune.loss)]


def phase_of_state(config: TrainingConfig, epoch: int) -> Phase:
    """The phase that a state saved after so many epochs belongs to; that of the first epoch where none is done."""
    return next(phase for phase in reversed(phases(config)) if epoch > phase.first or phase.first == 0)
