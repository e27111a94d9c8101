"""RMSProp with Nesterov momentum (Tieleman and Hinton, 2012; Sutskever et al., 2013), which Keras has with plain momentum."""

from typing import Any

import keras
from keras import ops


class NesterovRMSprop(keras.optimizers.RMSprop):
    """RMSProp with Nesterov momentum: w -= m v + s, with v = m v + s the new velocity, m the momentum, s the scaled gradient.

    The scaled gradient is the learning rate times the gradient over the root of its mean square. This is the optimizer of
    DeepMedic's published trainings since v0.7.1. Earlier ones multiply s by 1 - m (normalised momentum), which equals a
    learning rate of 1 - m times the published one: 4e-4 in the place of 1e-3 with a momentum of 0.6.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        if not self.momentum:
            super().update_step(gradient, variable, learning_rate)
            return
        rate, gradient = ops.cast(learning_rate, variable.dtype), ops.cast(gradient, variable.dtype)
        number = self._get_variable_index(variable)
        square, velocity = self._velocities[number], self._momentums[number]
        self.assign(square, self.rho * square + (1 - self.rho) * ops.square(gradient))
        scaled = rate * gradient * ops.rsqrt(square + self.epsilon)
        self.assign(velocity, self.momentum * velocity + scaled)
        self.assign_sub(variable, self.momentum * velocity + scaled)
