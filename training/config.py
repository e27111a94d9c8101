"""What `training.train` is told."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from common import cli
from common.errors import UserError, expect_number
from models import MODELS
from models.unet import UNetConfig
from training import LOSSES
from training.input import InputConfig
from training.losses import FocalConfig
from training.optimizers import OptimizerConfig, ScheduleConfig
from training.precision import Precision

LARGEST_SEED = 2**32 - 2  # the second of two mixed orders takes the next one


@dataclass(kw_only=True)
class TrainConfig:
    """Train a segmentation network on records. A stopped training goes on, bit for bit, with --resume RUN."""

    records: Path | None = None
    """Folder of records, made by data_prep.make_records."""
    out: Path | None = None
    """Folder for the run; new or empty."""
    resume: Path | None = None
    """A run to go on with; every setting is taken from it, so only --extend and --max_minutes may stand beside it."""
    extend: int = 0
    """With --resume: epochs to add to those that the run was to have."""
    fold: int | None = None
    """Fold of the records to train and validate on, counted from 0; null: their train and validation lists."""
    model: UNetConfig = cli.choice(MODELS, "unet")
    """The network."""
    loss: FocalConfig = cli.choice(LOSSES, "focal")
    """The loss."""
    input: InputConfig = field(default_factory=InputConfig)
    """What the network sees of the records."""
    epochs: int = 4
    """Epochs to train."""
    steps_per_epoch: int | None = None
    """Steps that make an epoch; null: as many as there are batches in the training slices."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """The optimizer."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """How the learning rate falls."""
    monitor: Literal["mean_iou", "mean_dice", "accuracy", "loss"] = "mean_iou"
    """Validation score by which the best model is kept; without validation cases the last model is kept."""
    patience: int | None = None
    """Stop after this many epochs without a better score; null: never."""
    max_minutes: float | None = None
    """Stop at the end of the last epoch that fits into this time, counted over all resumes; null: no limit."""
    precision: Precision = "auto"
    """Number format; auto: mixed_bfloat16 where the hardware multiplies it, else float32."""
    seed: int = 0
    """Seed of weights, dropout and order."""
    deterministic: Literal["auto", "on", "off"] = "auto"
    """Whether equal seeds give equal bits; auto: on CPUs yes, on GPUs no, where it costs time."""

    def check(self) -> None:
        """Refuse settings that cannot be trained with, before anything is read.

        Raises:
            UserError: says which, and what was expected.
        """
        self.model.check()
        self.input.check()
        if self.model.rank != 2:
            raise UserError(f"--model.rank: training shows networks slices, so it expects 2; received {self.model.rank}")
        expect_number("optimizer.learning_rate", self.optimizer.learning_rate, 0)
        expect_number("schedule.decay", self.schedule.decay, 0, 1)
        expect_number("epochs", self.epochs, 1)
        expect_number("extend", self.extend, 0)
        expect_number("steps_per_epoch", self.steps_per_epoch, 1)
        expect_number("patience", self.patience, 1)
        expect_number("max_minutes", self.max_minutes, 0)
        expect_number("seed", self.seed, 0, LARGEST_SEED)
