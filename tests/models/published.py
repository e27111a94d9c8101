"""Files of a ResNet50 with made weights (conftest.py writes them), and what tests of them share."""

import numpy as np

HEADS = {"grade": 1}
FILES = {
    "plain": "plain.h5",
    "plain_new": "plain.weights.h5",
    "top": "top.h5",
    "top_new": "top.weights.h5",
    "whole": "whole.keras",
}

"""Forms in which Keras stores weights: legacy and new, without and with the last layer, and a whole model."""


def images(size=(32, 32), channels=3, batch=2):
    return np.random.default_rng(1).random((batch, *size, channels), np.float32)


def arrays(model):
    import keras

    return {variable.path: np.asarray(keras.ops.convert_to_numpy(variable)).copy() for variable in model.weights}
