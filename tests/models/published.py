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


def trained_step(model, freezing=None, prefixes=()):
    """What one training step changes: paths of the variables. Afterwards they are as they were."""
    import keras

    if freezing is not None:
        freezing.apply(prefixes, "freeze")
    model.compile(keras.optimizers.SGD(0.01), {"grade": keras.losses.BinaryCrossentropy(from_logits=True)}, run_eagerly=True)
    before, kept = arrays(model), model.get_weights()
    model.train_on_batch(images(batch=4), {"grade": np.array([[0.0], [1], [1], [0]])})
    after = arrays(model)
    model.set_weights(kept)
    return {name for name, array in after.items() if not np.array_equal(before[name], array)}
