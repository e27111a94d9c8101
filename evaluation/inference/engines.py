"""Inference engines: networks over volumes behind one small protocol, batch in and logits out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from common.hardware.backend import load_backend
from training.run import Run


class InferenceEngine(Protocol):
    """Network that maps a batch of images to the logits of its heads; a `keras.Model` is one."""

    def predict_on_batch(self, x: np.ndarray, /) -> Mapping[str, Any]:
        """Compute logits.

        Args:
            x: (N, H, W, C) or (N, D, H, W, C) float32, as the network was trained on.

        Returns:
            {head: logits}, arrays or what NumPy converts to arrays: (N, [D,] H, W, classes), or (N, classes) of heads that
            classify whole images.
        """


def load_engines(runs: Sequence[Run]) -> dict[Path, InferenceEngine]:
    """Load the network of each run once, with Keras on the configured backend.

    Raises:
        UserError: a run without weights, or weights that do not fit.
    """
    load_backend()
    return {run.path: run.load_network() for run in {run.path: run for run in runs}.values()}
