"""Moving average of the weights (Polyak and Juditsky, 1992) whose momentum grows over the first steps."""

from typing import Any

GRACE = 10  # steps, as of TensorFlow 1's tf.train.ExponentialMovingAverage


def with_growing_momentum(kind: type) -> type:
    """Optimizer class whose `ema_momentum` is at most (1 + n) / (10 + n) after n steps.

    A momentum of 0.99 from the first step on would leave a third of the random initial weights in the average of 100 steps.
    """

    class GrowingMomentum(kind):
        @property
        def ema_momentum(self) -> Any:
            """Share of the average that the next step keeps."""
            from keras import ops

            steps = ops.cast(self.iterations, "float32")
            return ops.minimum(self._largest_momentum, (1 + steps) / (GRACE + steps))

        @ema_momentum.setter
        def ema_momentum(self, momentum: float) -> None:
            """Set the momentum that it grows to."""
            self._largest_momentum = momentum

    return GrowingMomentum
