"""Memory of a training step, estimated before the first one from what the network's layers give for a batch.

bytes = batch x (what the layers give for one example + input x batches that are held)
        + weights, gradients and the optimizer's slots

Measured peaks of three steps on two CPU cores (TensorFlow, float32) were 0.81 to 1.38 times the estimate: 2D UNets of 16
filters on 4 and 32 slices of 128 x 128 (180 and 887 MB), 3D UNets of 8 filters on 1 and 4 patches of 64^3 (229 and 716 MB),
ResNet50 on 4 slices (474 MB). So a step is refused only where the estimate is more than twice of what there is.
"""

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from common.hardware.memory import GIGABYTE, available_memory
from training.data.batches import AHEAD

if TYPE_CHECKING:
    import keras

BEYOND = 2.0  # times the available memory from which a step is refused
HELD = AHEAD + 2  # batches of input: those read ahead, the one in the step and the one that is made
FLOAT = 4


@dataclass(frozen=True)
class StepMemory:
    """Estimate of the memory of a training step.

    Attributes:
        activations: bytes of what layers give.
        inputs: bytes of the batches that are held.
        variables: bytes of weights, gradients and the optimizer's slots.
    """

    activations: float
    inputs: float
    variables: float

    @property
    def total(self) -> float:
        """All bytes."""
        return self.activations + self.inputs + self.variables


def estimate(model: "keras.Model", shape: tuple[int, ...], batch_size: int) -> StepMemory | None:
    """Estimate the memory of a step.

    Args:
        model: compiled.
        shape: of one example of its input.
        batch_size: examples a step.

    Returns:
        None of a network that is no graph of layers, such as a subclassed one.
    """
    numbers = layer_outputs(model, shape)
    if numbers is None:
        return None
    variables = sum(prod(variable.shape) for variable in [*model.variables, *model.optimizer.variables])
    gradients = sum(prod(variable.shape) for variable in model.trainable_variables)
    return StepMemory(
        activations=batch_size * numbers,
        inputs=batch_size * prod(shape) * FLOAT * HELD,
        variables=(variables + gradients) * FLOAT,
    )


def layer_outputs(model: "keras.Model", shape: tuple[int, ...]) -> float | None:
    """Bytes of what all layers of a network give for one example; None of a network that is no graph of layers.

    Args:
        model: its networks within are gone through too.
        shape: of the example.
    """
    import keras

    if getattr(model, "_run_through_graph", None) is None:
        return None
    total = 0.0

    def through(graph: Any, inputs: Any) -> Any:
        return graph._run_through_graph(inputs, operation_fn=counted)

    def counted(operation: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal total
            if getattr(operation, "_run_through_graph", None) is not None:
                return through(operation, arguments[0])
            outputs = operation.compute_output_spec(*arguments, **options)
            for tensor in keras.tree.flatten(outputs):
                size = 2 if tensor.dtype in ("float16", "bfloat16") else FLOAT
                total += prod(length or 1 for length in tensor.shape) * size
            return outputs

        return call

    through(model, keras.KerasTensor((1, *shape), model.inputs[0].dtype))
    return total


def check_step_memory(model: "keras.Model", shape: tuple[int, ...], batch_size: int, on_gpu: bool) -> None:
    """Print the memory that a step takes, and refuse one that is far beyond what there is.

    Args:
        model, shape, batch_size: as of `estimate`.
        on_gpu: whether steps are on a GPU, whose own memory is not compared: only the batches lie in that of the machine.

    Raises:
        UserError: names the option.
    """
    step = estimate(model, shape, batch_size)
    if step is None:
        return
    need, available = step.inputs if on_gpu else step.total, available_memory()
    what = "the batches" if on_gpu else "a step"
    line = f"memory: about {need / GIGABYTE:.1f} GB for {what}, {available / GIGABYTE:.1f} GB available"
    advice = "a smaller --input.batch_size, --input.patch or network takes less"
    if need > BEYOND * available:
        fits = max(int(batch_size * (available - step.variables) / max(need - step.variables, 1)), 1)
        raise UserError(f"--input.batch_size {batch_size}: {line.removeprefix('memory: ')}; {advice}, such as {fits}")
    print(line + (f"; it may not suffice: {advice}" if need > available else ""))
