"""Weights files of a network, `.weights.h5`, without the optimizer's state, which the exact state holds."""

from pathlib import Path

import keras

from common.files import atomic


def save_weights(model: keras.Model, path: Path) -> None:
    """Write a network's weights, whole or not at all."""
    with atomic(path) as temporary:
        _not_compiled(model).save_weights(temporary)


def load_weights(model: keras.Model, path: Path) -> None:
    """Read a network's weights; its optimizer stays as it is."""
    _not_compiled(model).load_weights(path)


def _not_compiled(model: keras.Model) -> keras.Model:
    """The same layers in a network without an optimizer."""
    return keras.Model(model.inputs, model.output)
