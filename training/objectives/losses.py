"""Loss configs: options of each segmentation loss, and the Keras loss that they build.

A loss is added here, as a config with `name`, its options, `check` and `build`, and in `training.LOSSES`. The mathematics is in
`training.objectives.functions`.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from common.errors import UserError, expect_number

if TYPE_CHECKING:
    import keras


@dataclass
class FocalConfig:
    """Categorical focal cross-entropy (Lin et al., 2017)."""

    name: str = "focal"
    """Which loss: focal."""
    gamma: float = 2.0
    """Focusing exponent: the larger, the less an easy voxel counts."""
    alpha: list[float] = field(default_factory=lambda: [1.0])
    """Weight per class, background first; a single number weighs all alike."""

    def check(self, classes: int, where: str = "loss") -> None:
        """Refuse numbers that make no loss for a number of classes; `where` names the option in errors.

        Raises:
            UserError: a negative number, or as many weights as there are no classes.
        """
        expect_number(f"{where}.gamma", self.gamma, 0)
        _per_class(self.alpha, classes, f"{where}.alpha")

    def build(self, classes: int) -> "keras.losses.Loss":
        """The loss for a number of classes."""
        from training.objectives.functions import focal
        from training.objectives.keras_objects import VoxelLoss

        weights = _per_class(self.alpha, classes, "loss.alpha")
        return VoxelLoss(lambda bits, logits: focal(bits, logits, self.gamma, weights), self.name, classes)


@dataclass
class CrossEntropyConfig:
    """Categorical cross-entropy."""

    name: str = "cross_entropy"
    """Which loss: cross_entropy."""
    alpha: list[float] = field(default_factory=lambda: [1.0])
    """Weight per class, background first; a single number weighs all alike."""

    def check(self, classes: int, where: str = "loss") -> None:
        """Refuse weights that do not fit a number of classes; `where` names the option in errors.

        Raises:
            UserError: a negative number, or as many weights as there are no classes.
        """
        _per_class(self.alpha, classes, f"{where}.alpha")

    def build(self, classes: int) -> "keras.losses.Loss":
        """The loss for a number of classes."""
        from training.objectives.functions import focal
        from training.objectives.keras_objects import VoxelLoss

        weights = _per_class(self.alpha, classes, "loss.alpha")
        return VoxelLoss(lambda bits, logits: focal(bits, logits, 0.0, weights), self.name, classes)


@dataclass
class BceDiceConfig:
    """Binary cross-entropy plus soft Dice loss, each with its weight (Milletari et al., 2016, for Dice).

    With the two classes background and tumour the softmax of two logits is the sigmoid of their difference, and categorical
    cross-entropy is binary cross-entropy; with more classes the Dice losses of the foreground classes are averaged.
    """

    name: str = "bce_dice"
    """Which loss: bce_dice."""
    bce: float = 1.0
    """Weight of the cross-entropy, a mean over the annotated voxels."""
    dice: float = 1.0
    """Weight of the Dice loss."""
    over: Literal["sample", "batch"] = "sample"
    """Voxels of one Dice: those of each slice (or patch), of which the mean is taken, or of the batch."""
    smooth: float = 1.0
    """Voxels added to numerator and denominator: a class that is absent in truth costs next to nothing where nothing is
    predicted, and more the more is."""

    def check(self, classes: int, where: str = "loss") -> None:
        """Refuse numbers that make no loss; `where` names the option in errors.

        Raises:
            UserError: a weight below 0, or nothing to keep 0 / 0 from a slice without tumour.
        """
        expect_number(f"{where}.bce", self.bce, 0)
        expect_number(f"{where}.dice", self.dice, 0)
        expect_number(f"{where}.smooth", self.smooth, 1e-6)

    def build(self, classes: int) -> "keras.losses.Loss":
        """The loss for a number of classes.

        Raises:
            UserError: see `check`.
        """
        from training.objectives.functions import focal, soft_dice
        from training.objectives.keras_objects import VoxelLoss

        self.check(classes)

        def bce_dice(bits: Any, logits: Any) -> Any:
            bce = focal(bits, logits, 0.0, [1.0] * logits.shape[-1])
            return self.bce * bce + self.dice * soft_dice(bits, logits, over=self.over, smooth=self.smooth)

        return VoxelLoss(bce_dice, self.name, classes)


def _per_class(values: list[float], classes: int, option: str) -> list[float]:
    """One number per class from a list of as many, or of one."""
    if len(values) not in (1, classes):
        raise UserError(f"--{option}: expected 1 or {classes} numbers (one per class); received {len(values)}")
    expect_number(option, min(values), 0)
    expect_number(option, max(values), 0, above=True)
    return list(values) * (classes if len(values) == 1 else 1)
