"""Outputs and weights of a network, refused where they are not finite: no class follows from NaN."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.finite import NotFinite, first_not_finite

if TYPE_CHECKING:
    import keras


def refuse_not_finite(network: "keras.Model", file: Path) -> None:
    """Refuse a network whose weights are NaN or infinite.

    Args:
        network: its weights were read from a file.
        file: the one.

    Raises:
        NotFinite: names the first such weight.
    """
    from keras import ops

    wrong = first_not_finite((variable.path, ops.convert_to_numpy(variable)) for variable in network.weights)
    if wrong is not None:
        raise NotFinite(f"{file}: {wrong} is not finite (NaN or infinite), as where a training diverged; take other weights")


def predict_batch(network: Any, images: np.ndarray) -> Mapping[str, Any]:
    """Run a network on a batch.

    Args:
        network: images -> {name: outputs}, by `predict_on_batch`.
        images: (N, [D,] H, W, C) float32.

    Raises:
        NotFinite: an output is NaN or infinite.
    """
    outputs: Mapping[str, Any] = network.predict_on_batch(images)
    wrong = first_not_finite(outputs.items())
    if wrong is not None:
        raise NotFinite(
            f"the network's output {wrong} is not finite (NaN or infinite), so nothing follows from it; take other weights, "
            "or train anew with --precision float32"
        )
    return outputs
