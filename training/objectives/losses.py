"""Loss configs: options of each segmentation loss, and the Keras loss that they build.

A loss is added here, as a config with `name`, its options, `check` and `build`, and in `training.LOSSES`. The mathematics is in
`training.objectives.functions`.
"""

from collections.abc import Collection, Sequence
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

    def build(self, classes: int, regions: Collection[Sequence[int]] = ()) -> "keras.losses.Loss":
        """The loss for a number of classes; it has no use for regions."""
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

    def build(self, classes: int, regions: Collection[Sequence[int]] = ()) -> "keras.losses.Loss":
        """The loss for a number of classes; it has no use for regions."""
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
    structures: Literal["classes", "regions", "both"] = "classes"
    """Structures whose Dice losses are averaged: the foreground classes; the label schema's regions, such as the whole tumour
    (region-based training, Isensee et al., 2021); or both."""
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

    def build(self, classes: int, regions: Collection[Sequence[int]] = ()) -> "keras.losses.Loss":
        """The loss for a number of classes.

        Args:
            classes: background included.
            regions: unions of classes, by the classes' numbers.

        Raises:
            UserError: see `check`; structures are regions, and there are none.
        """
        from training.objectives.functions import focal, soft_dice
        from training.objectives.keras_objects import VoxelLoss

        self.check(classes)
        groups = self._groups(classes, regions)

        def bce_dice(bits: Any, logits: Any) -> Any:
            bce = focal(bits, logits, 0.0, [1.0] * logits.shape[-1])
            overlap = soft_dice(bits, logits, over=self.over, smooth=(self.smooth, self.smooth), groups=groups)
            return self.bce * bce + self.dice * overlap

        return VoxelLoss(bce_dice, self.name, classes)

    def _groups(self, classes: int, regions: Collection[Sequence[int]]) -> list[tuple[int, ...]]:
        """Structures of the Dice loss as numbers of classes; none where they are the foreground classes."""
        if self.structures == "classes":
            return []
        if not regions:
            raise UserError(f"--loss.structures {self.structures}: expected a label schema with regions; received one without")
        single = [(number,) for number in range(1, classes)] if self.structures == "both" else []
        return list(dict.fromkeys([*single, *(tuple(sorted(region)) for region in regions)]))


@dataclass
class DiceCeConfig:
    """Soft Dice loss plus cross-entropy, as `DiceCELoss` of MONAI: dice * D + ce * C.

    D is the mean of 1 - (2 sum p y + s) / (sum p + sum y + r) over the classes, and over the samples where `over` is sample;
    with `squared` the denominator is sum p^2 + sum y^2 + r. p is the softmax of the logits, y the truth (0 or 1), s and r are
    `smooth_numerator` and `smooth_denominator`; sums are over the voxels of a sample, or of the batch. C is the mean of
    -alpha_c log p_c over the voxels, c the class of a voxel. Sums and means leave out voxels that are not annotated.

    Where all voxels are annotated and alpha is 1, value and gradient are those of `DiceCELoss(softmax=True, to_onehot_y=True,
    include_background=include_background, squared_pred=squared, batch=over == "batch", lambda_dice=dice, lambda_ce=ce,
    smooth_nr=smooth_numerator, smooth_dr=smooth_denominator)`; `python -m benchmarks.monai_training` compares them. MONAI's
    `weight` is not `alpha`: it weighs the Dice losses too, and its cross-entropy is divided by the sum of the weights.
    """

    name: str = "dice_ce"
    """Which loss: dice_ce."""
    dice: float = 1.0
    """Weight of the Dice loss; lambda_dice of MONAI."""
    ce: float = 1.0
    """Weight of the cross-entropy; lambda_ce of MONAI."""
    squared: bool = False
    """Square truth and probabilities in the denominator of Dice (Milletari et al., 2016); squared_pred of MONAI."""
    include_background: bool = True
    """Average the Dice losses over the background too. The cross-entropy always has it."""
    over: Literal["sample", "batch"] = "sample"
    """Voxels of one Dice: those of each patch (or slice), of which the mean is taken, or of the batch; batch of MONAI."""
    smooth_numerator: float = 1e-5
    """Voxels added to the numerator of Dice; smooth_nr of MONAI."""
    smooth_denominator: float = 1e-5
    """Voxels added to the denominator of Dice; smooth_dr of MONAI."""
    alpha: list[float] = field(default_factory=lambda: [1.0])
    """Weight per class in the cross-entropy, background first; a single number weighs all alike."""

    def check(self, classes: int, where: str = "loss") -> None:
        """Refuse numbers that make no loss; `where` names the option in errors.

        Raises:
            UserError: a weight below 0, nothing to keep 0 / 0 from an absent class, or as many weights as there are no classes.
        """
        for name in ("dice", "ce", "smooth_numerator"):
            expect_number(f"{where}.{name}", getattr(self, name), 0)
        expect_number(f"{where}.smooth_denominator", self.smooth_denominator, 1e-6)
        _per_class(self.alpha, classes, f"{where}.alpha")

    def build(self, classes: int, regions: Collection[Sequence[int]] = ()) -> "keras.losses.Loss":
        """The loss for a number of classes; it has no use for regions.

        Raises:
            UserError: see `check`.
        """
        from training.objectives.functions import focal, soft_dice
        from training.objectives.keras_objects import VoxelLoss

        self.check(classes)
        weights = _per_class(self.alpha, classes, "loss.alpha")

        def dice_ce(bits: Any, logits: Any) -> Any:
            smooth = (self.smooth_numerator, self.smooth_denominator)
            overlap = soft_dice(
                bits, logits, over=self.over, smooth=smooth, squared=self.squared, include_background=self.include_background
            )
            return self.dice * overlap + self.ce * focal(bits, logits, 0.0, weights)

        return VoxelLoss(dice_ce, self.name, classes)


def _per_class(values: list[float], classes: int, option: str) -> list[float]:
    """One number per class from a list of as many, or of one."""
    if len(values) not in (1, classes):
        raise UserError(
            f"--{option}: expected 1 or {classes} numbers (one per class); received {len(values)}; "
            f"set --{option}, or take records of as many classes"
        )
    expect_number(option, min(values), 0)
    expect_number(option, max(values), 0, above=True)
    return list(values) * (classes if len(values) == 1 else 1)
