"""What the training commands are told."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Literal, Self

from common import cli
from common.errors import UserError, expect_number
from data_prep.augmentation.draw import AugmentConfig
from models import CLASSIFIERS, MODELS
from models.resnet50 import ResNet50Config
from models.unet import UNetConfig
from training import LOSSES
from training.data.batches import InputConfig
from training.hardware.devices import Precision
from training.objectives.losses import FocalConfig
from training.optimizers import OptimizerConfig, ScheduleConfig

LARGEST_SEED = 2**32 - 2  # the second of two mixed orders takes the next one


@dataclass
class FineTuneConfig:
    """A second phase of training, with an optimizer of its own that begins anew."""

    epochs: int = 0
    """Epochs of fine-tuning, after those of the first phase; 0: none."""
    learning_rate: float = 1e-5
    """At its first step."""
    loss: dict[str, float] = field(default_factory=dict)
    """Numbers of the loss that are others in this phase, such as {dice: 2.0}."""


@dataclass(kw_only=True)
class TrainingConfig:
    """What every training is told, whatever it trains."""

    records: Path | None = None
    """Folder of records, made by data_prep.make_records."""
    out: Path | None = None
    """Folder for the run; new or empty."""
    resume: Path | None = None
    """A run to go on with; every setting is taken from it, so only --extend and --max_minutes may stand beside it."""
    extend: int = 0
    """With --resume: epochs to add to those that the run was to have, in its last phase."""
    fold: int | None = None
    """Fold of the records to train and validate on, counted from 0; null: their train and validation lists."""
    split: Literal["patient", "slice"] = "patient"
    """patient: as the records are divided. slice: the slices of training and validation patients are mixed and divided anew, as
    some papers did; its scores are too good, because neighbouring slices of a patient stand on both sides."""
    input: InputConfig = field(default_factory=InputConfig)
    """What the network sees of the records."""
    augment: AugmentConfig = field(default_factory=lambda: AugmentConfig(probability=None))
    """On-line augmentation of what is trained on, drawn anew each time it is read; it needs a `probability`, and
    `--augment.probability 0` switches off what a config asks for."""
    epochs: int = 4
    """Epochs to train."""
    steps_per_epoch: int | None = None
    """Steps that make an epoch; null: as many as there are batches in the training slices."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """The optimizer."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """How the learning rate falls."""
    fine_tune: FineTuneConfig = field(default_factory=FineTuneConfig)
    """A second phase."""
    monitor: str = "loss"
    """Validation score by which the best model is kept."""
    validate: bool = True
    """Score the validation cases after every epoch and keep the best model; false keeps the last one, which saves the time and
    leaves the validation cases unseen: what their predictions score was not chosen on them."""
    patience: int | None = None
    """Stop after this many epochs without a better score; null: never."""
    max_minutes: float | None = None
    """Stop at the end of the last epoch that fits into this time, counted over all resumes; null: no limit."""
    precision: Precision = "auto"
    """Number format; auto: mixed_bfloat16 where the hardware multiplies it, else float32."""
    seed: int = 0
    """Seed of weights, dropout, order and augmentation."""
    deterministic: Literal["auto", "on", "off"] = "auto"
    """Whether equal seeds give equal bits; auto: on CPUs yes, on GPUs no, where it costs time."""

    @property
    def total_epochs(self) -> int:
        """Epochs of all phases."""
        return self.epochs + self.fine_tune.epochs

    def extended(self, epochs: int) -> Self:
        """The same with more epochs in the last phase."""
        if self.fine_tune.epochs:
            return replace(self, fine_tune=replace(self.fine_tune, epochs=self.fine_tune.epochs + epochs))
        return replace(self, epochs=self.epochs + epochs)

    def check(self) -> None:
        """Refuse settings that cannot be trained with, before anything is read.

        Raises:
            UserError: says which, and what was expected.
        """
        self.input.check()
        self._refuse_idle_augmentation()
        expect_number("optimizer.learning_rate", self.optimizer.learning_rate, 0)
        expect_number("schedule.decay", self.schedule.decay, 0, 1)
        expect_number("epochs", self.epochs, 1)
        expect_number("fine_tune.epochs", self.fine_tune.epochs, 0)
        expect_number("fine_tune.learning_rate", self.fine_tune.learning_rate, 0)
        expect_number("extend", self.extend, 0)
        expect_number("steps_per_epoch", self.steps_per_epoch, 1)
        expect_number("patience", self.patience, 1)
        expect_number("max_minutes", self.max_minutes, 0)
        expect_number("seed", self.seed, 0, LARGEST_SEED)
        if self.patience is not None and not self.validate:
            raise UserError("--patience: waits for a better validation score, and --validate false gives none; leave one out")
        if self.schedule.name == "timed" and self.max_minutes is None:
            raise UserError("--schedule.name timed: falls as --max_minutes run out; set that too, such as to 20")
        if self.schedule.name == "timed" and self.fine_tune.epochs:
            raise UserError("--fine_tune.epochs: --schedule.name timed takes all of --max_minutes; leave one of them out")

    def _refuse_idle_augmentation(self) -> None:
        """Refuse changes that are asked for without a probability, which would be forgotten otherwise."""
        idle = replace(AugmentConfig(), probability=None, fill=self.augment.fill, fill_from=self.augment.fill_from)
        changed = [item.name for item in fields(idle) if getattr(self.augment, item.name) != getattr(idle, item.name)]
        if changed and self.augment.probability is None:
            raise UserError(f"--augment.{changed[0]}: does nothing without --augment.probability; set that too, such as to 0.5")


@dataclass(kw_only=True)
class TrainConfig(TrainingConfig):
    """Train a segmentation network on records. A stopped training goes on, bit for bit, with --resume RUN."""

    model: UNetConfig = cli.choice(MODELS, "unet")
    """The network."""
    loss: FocalConfig = cli.choice(LOSSES, "focal")
    """The loss."""
    monitor: Literal["mean_iou", "mean_dice", "accuracy", "loss"] = "mean_iou"
    """Validation score by which the best model is kept; without validation cases the last model is kept."""

    def check(self) -> None:
        """Refuse settings that cannot be trained with, before anything is read.

        Raises:
            UserError: says which, and what was expected.
        """
        super().check()
        self.model.check()
        self._check_patch()
        known = [item.name for item in fields(self.loss) if isinstance(getattr(self.loss, item.name), float)]
        strangers = [name for name in self.fine_tune.loss if name not in known]
        if strangers:
            raise UserError(
                f"--fine_tune.loss: loss {self.loss.name} has the numbers {', '.join(known)}; received {strangers[0]}"
            )
        if self.fine_tune.loss and not self.fine_tune.epochs:
            raise UserError("--fine_tune.loss: does nothing without fine-tuning; set --fine_tune.epochs too")
        if self.fine_tune.loss and self.monitor == "loss":
            raise UserError("--monitor: loss compares nothing where fine_tune.loss changes it; take mean_dice or mean_iou")

    def _check_patch(self) -> None:
        """Refuse windows that do not fit the network, and changes of volumes where slices are read."""
        patch, rank, stride = self.input.patch, self.model.rank, self.model.stride
        if rank == 3 and (patch is None or patch[0] == 1):
            raise UserError(
                f"--input.patch: a network of rank 3 sees windows of several slices, such as [64, 64, 64]; received {patch}"
            )
        if rank == 2 and patch is not None and patch[0] != 1:
            raise UserError(f"--input.patch: a network of rank 2 sees one slice, such as [1, 128, 128]; received {list(patch)}")
        window = self.model.window(patch)
        if patch is not None and window is not None and patch != window:
            raise UserError(f"--input.patch: the network takes {list(window)} alone; received {list(patch)}")
        sides = () if patch is None else patch[-rank:]
        if any(side % stride for side in sides):
            raise UserError(f"--input.patch: expected sides that are multiples of {stride}; received {list(sides)}")
        if patch is None and self.augment.rank == 3:
            raise UserError("--augment.rank: 3 changes volumes, and the network sees single slices; set 2, or --input.patch")
        if patch is not None and self.split == "slice":
            raise UserError("--split slice: divides slices, and --input.patch draws windows; take --split patient")


@dataclass
class TargetConfig:
    """What is told of each slice."""

    attribute: str = "grade"
    """Attribute of the patients, as the source names it."""
    classes: dict[str, list[str]] = field(default_factory=dict)
    """Name of each class and the attribute's values that mean it, such as {grade II: ["1"], grade III: ["2"]}; the last class
    is the positive one. Empty: the values found, sorted."""


@dataclass(kw_only=True)
class ClassifyConfig(TrainingConfig):
    """Train a classifier of slices, such as of a tumour's grade, on records. A stopped training goes on with --resume RUN."""

    target: TargetConfig = field(default_factory=TargetConfig)
    """What is told."""
    slices: Literal["tumour", "all"] = "tumour"
    """Slices to train on and to score: those whose annotation shows tumour, or all."""
    balance: bool = True
    """Weigh each class by the inverse of its share of the training slices."""
    model: ResNet50Config = cli.choice(CLASSIFIERS, "resnet50")
    """The network."""
    monitor: Literal["auc", "accuracy", "loss"] = "loss"
    """Validation score, over slices, by which the best model is kept; without validation cases the last model is kept."""

    def check(self) -> None:
        """Refuse settings that cannot be trained with, before anything is read.

        Raises:
            UserError: says which, and what was expected.
        """
        super().check()
        self.model.check()
        if self.input.patch is not None or self.augment.rank == 3:
            raise UserError("--input.patch, --augment.rank 3: classifiers see whole slices; leave them out")
        if self.fine_tune.loss:
            raise UserError("--fine_tune.loss: classifiers have one loss without numbers; leave it out")
