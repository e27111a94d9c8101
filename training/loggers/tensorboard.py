"""Loggers of a training beside history.csv: TensorBoard."""

from pathlib import Path

import keras


def tensorboard(folder: Path) -> list[keras.callbacks.Callback]:
    """The TensorBoard callback, or none with one warning where TensorFlow, which writes its files, is missing."""
    try:
        import tensorflow  # noqa: F401
    except ImportError:
        print("warning: TensorBoard logs need TensorFlow, which is not installed; history.csv alone is written")
        return []
    return [keras.callbacks.TensorBoard(str(folder), write_graph=False)]
