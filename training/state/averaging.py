"""Weight averaging (Polyak and Juditsky, 1992): the exponential moving average of the weights over the steps of a training.

Keras' optimizers keep it (`use_ema`). Training goes on with the weights themselves, which the exact state holds beside their
average; what is validated and saved is the average.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from keras import ops

if TYPE_CHECKING:
    import keras


@contextmanager
def averaged(model: "keras.Model") -> Iterator[None]:
    """Hold the averages in the place of the trained weights; nothing changes where the optimizer keeps none."""
    swap_averages(model)
    try:
        yield
    finally:
        swap_averages(model)


def swap_averages(model: "keras.Model") -> None:
    """Exchange the trained weights and their averages; a second call brings them back."""
    optimizer = model.optimizer
    if not optimizer.use_ema:
        return
    for variable, average in zip(model.trainable_variables, optimizer._model_variables_moving_average, strict=True):
        kept = ops.convert_to_numpy(variable)
        variable.assign(ops.convert_to_numpy(average))
        average.assign(kept)
