"""RMSProp with Nesterov momentum, against its equations in NumPy."""

import numpy as np
import pytest


def updated(gradients, rate=0.1, rho=0.9, momentum=0.6, epsilon=1e-4):
    """The variable after each step, from 1."""
    value, square, velocity, found = 1.0, 0.0, 0.0, []
    for gradient in gradients:
        square = rho * square + (1 - rho) * gradient**2
        scaled = rate * gradient / np.sqrt(square + epsilon)
        velocity = momentum * velocity + scaled
        value -= momentum * velocity + scaled
        found.append(value)
    return found


@pytest.mark.parametrize("momentum", [0.6, 0.0])
def test_updates_are_those_of_the_equations(momentum):
    import keras

    from training.rmsprop import NesterovRMSprop

    gradients = [0.5, -2.0, 0.0, 3.0, 0.25]
    variable = keras.Variable([1.0])
    optimizer = NesterovRMSprop(learning_rate=0.1, rho=0.9, momentum=momentum, epsilon=1e-4)
    optimizer.build([variable])
    found = []
    for gradient in gradients:
        optimizer.apply_gradients([(keras.ops.convert_to_tensor([gradient]), variable)])
        found.append(float(keras.ops.convert_to_numpy(variable)[0]))
    np.testing.assert_allclose(found, updated(gradients, momentum=momentum), rtol=1e-5)
