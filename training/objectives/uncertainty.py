"""Homoscedastic uncertainty of heads (Kendall, Gal and Cipolla, CVPR 2018): weights of their losses that are learnt.

The loss of a head with uncertainty sigma is L / sigma^2 + log sigma. The network learns s = log sigma^2 of each head, 0 at the
start, so the weight of a head's loss is exp(-s) and its price is s / 2.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


class UncertainNetwork(keras.Model):
    """Network with a log variance for each head.

    Args:
        network: functional model whose layers it shares.
        heads: names.

    Attributes:
        log_variances: head -> trainable scalar.
    """

    def __init__(self, network: keras.Model, heads: Sequence[str]) -> None:
        super().__init__(network.input, network.output, name=network.name)
        self.log_variances = {
            name: self.add_weight(shape=(), initializer="zeros", name=f"{name}_log_variance", dtype="float32") for name in heads
        }


class UncertainLoss(keras.losses.Loss):
    """Loss of a head, weighed by its uncertainty; a batch without annotation for the head changes nothing.

    Args:
        loss: of the head: (targets, logits) -> (1,).
        log_variance: of the head.
        annotated: (targets) -> boolean, whether any example of a batch is annotated.
    """

    def __init__(self, loss: keras.losses.Loss, log_variance: Any, annotated: Any) -> None:
        super().__init__(name=loss.name)
        self._loss = loss
        self._log_variance = log_variance
        self._annotated = annotated

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The weighed loss of a batch, (1,)."""
        variance = ops.convert_to_tensor(self._log_variance)
        known = ops.cast(self._annotated(y_true), "float32")
        return ops.exp(-variance) * self._loss.call(y_true, y_pred) + known * variance / 2
