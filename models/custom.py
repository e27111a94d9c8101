"""Custom Keras model: a callable by its import path, built from input shape and number of classes."""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from common.errors import UserError, expect_number
from common.trust import find_module, load_callable, refuse_objects
from data_prep.grid.geometry import Triple
from models.network import SegmenterConfig

if TYPE_CHECKING:
    import keras

CLASSES = ("classes", "num_classes", "n_classes", "num_labels")
"""Names of a callable's argument for the number of classes."""


@dataclass
class CustomConfig(SegmenterConfig):
    """Any Keras model: a callable `package.module:callable` that is called with `input_shape` and the number of classes."""

    name: str = ""
    """Import path of the callable, such as medicai.models:UNet."""
    args: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the callable, such as {encoder_name: resnet18}."""
    input_size: list[int] = field(default_factory=list)
    """Rows and columns, or slices, rows and columns, that the model takes, if it takes one size alone; prediction then slides
    windows of this size over slices or volumes. Empty: any size that is a multiple of `stride`."""
    rank: Literal[2, 3] = 2
    """2 for a model of slices, 3 for one of volumes."""
    stride: int = 32
    """Divisor of the sides of its input."""
    margin: int = 0
    """Voxels on each side by which the output of a model without padding is smaller than its input."""
    outputs: Literal["logits", "probabilities"] = "logits"
    """Outputs of the model; probabilities (after a softmax) are turned into logits by their logarithm."""

    def check(self) -> None:
        """Refuse a name that nothing can be imported by, and numbers that make no network.

        Raises:
            UserError: a name that cannot be imported, or a number out of its range.
        """
        expect_number("model.stride", self.stride, 1)
        expect_number("model.margin", self.margin, 0)
        if self.input_size and len(self.input_size) != self.rank:
            raise UserError(f"--model.input_size: expected {self.rank} numbers (model.rank); received {self.input_size}")
        if self.input_size and min(self.input_size) <= 2 * self.margin:
            least = f"more than {2 * self.margin}, twice model.margin" if self.margin else "at least 1"
            raise UserError(f"--model.input_size: expected numbers of {least}; received {self.input_size}")
        refuse_objects(self.args, "--model.args")
        find_module(self.name, f"--model.name {self.name}")  # it is imported later, because it loads a framework

    def refuse_untrusted(self, file: Path) -> None:
        """Refuse the callable of a run that the user has not trusted, and arguments that are more than plain data.

        Args:
            file: config of the run.

        Raises:
            UserError: names the file, and the option that accepts the callable.
        """
        super().refuse_untrusted(file)
        find_module(self.name, f"{file}: model.name {self.name}")
        refuse_objects(self.args, f"{file}: model.args")

    @property
    def fixed_patch(self) -> Triple | None:
        """Slices, rows and columns of the only patch that the model takes, those of `input_size`; None: any patch."""
        if not self.input_size:
            return None
        depth, height, width = self.input_size if self.rank == 3 else [1, *self.input_size]
        return depth, height, width

    def prediction_patch(self, patch: Triple | None) -> Triple | None:
        """Slices, rows and columns of the patches of prediction: those of `input_size`, else those of training."""
        return self.fixed_patch or (patch if self.rank == 3 or self.margin else None)

    def origin(self) -> str:
        """Source of the initial weights, for tables."""
        return "as the callable makes them"

    def assemble(self, channels: int, heads: dict[str, int], pooled: Sequence[str]) -> "keras.Model":
        """Make the network: images -> {head: logits}.

        Args:
            channels: of the input.
            heads: name -> number of outputs; one head, of voxels.
            pooled: heads that are not of voxels; none.

        Raises:
            UserError: the callable refuses its arguments, or gives something else than one picture of logits per class; several
                heads, or a pooled one.
        """
        import keras

        if len(heads) > 1 or pooled:
            raise UserError(f"--model.name {self.name}: expected one segmentation head; received {', '.join(heads)}")
        head, classes = next(iter(heads.items()))
        shape: tuple[int | None, ...] = (*(self.input_size or (None,) * self.rank), channels)
        make = load_callable(self.name, f"--model.name {self.name}")
        try:
            model = make(input_shape=shape, **{_classes_argument(make): classes}, **self.args)
        except Exception as error:  # a callable may raise anything
            reason = " ".join(str(error).split())[:300]
            raise UserError(
                f"--model.name {self.name}: cannot be built with input_shape {shape}, {classes} classes: {reason}"
            ) from None
        if not isinstance(model, keras.Model):
            raise UserError(f"--model.name {self.name}: expected a keras.Model; received {type(model).__name__}")
        inputs = keras.Input(shape, name="image")
        given = model(inputs)
        found = tuple(getattr(given, "shape", ()))
        if len(found) != self.rank + 2 or found[-1] != classes:
            raise UserError(
                f"--model.name {self.name}: expected outputs (..., {classes}) of rank {self.rank}; received {found}"
            )
        if self.outputs == "probabilities":
            given = keras.ops.log(keras.ops.maximum(keras.ops.cast(given, "float32"), math.exp(-30)))
        logits = keras.layers.Activation("linear", dtype="float32", name=head)(given)
        return keras.Model(inputs, {head: logits}, name="custom")


def _classes_argument(make: Callable[..., Any]) -> str:
    """Name of a callable's argument for the number of classes."""
    parameters = inspect.signature(make).parameters
    return next((name for name in CLASSES if name in parameters), CLASSES[0])
