"""Momentum of the moving average of weights: it grows to the given one, so that short trainings leave their start behind."""

import keras
import numpy as np
import pytest

from training.moving_average import with_growing_momentum


def test_momentum_grows_to_the_given_one():
    optimizer = with_growing_momentum(keras.optimizers.SGD)(0.1, use_ema=True, ema_momentum=0.9)
    weight = keras.Variable(np.zeros(2, np.float32))
    optimizer.build([weight])
    seen = []
    for _ in range(120):
        seen.append(float(optimizer.ema_momentum))
        optimizer.apply([np.ones(2, np.float32)])
    assert seen == pytest.approx([min(0.9, (1 + step) / (10 + step)) for step in range(120)], rel=1e-6)
    assert seen[-1] == pytest.approx(0.9)
