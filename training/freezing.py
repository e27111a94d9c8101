"""Frozen layers of a phase: not trained, and their batch statistics do not change either."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from common.errors import UserError

if TYPE_CHECKING:
    import keras

NAMES = 12  # that an error lists


class LayerFreezing:
    """Switches layers of a network between trained and frozen; the network must be compiled anew afterwards.

    Args:
        network: as it was built; layers that are not trainable there never train.
        fixed: layers that stay frozen in every phase.
    """

    def __init__(self, network: "keras.Model", fixed: Sequence[Any]) -> None:
        self._network = network
        self._initial = [(layer, layer.trainable) for layer in nested_layers(network)]
        self._fixed = fixed

    def apply(self, prefixes: Sequence[str], where: str) -> None:
        """Freeze the layers whose name begins with one of some prefixes, and train all others again.

        Args:
            prefixes: of the names of layers, those inside nested networks included.
            where: names the setting in errors.

        Raises:
            UserError: a prefix that no layer has, or nothing left to train.
        """
        for layer, trainable in self._initial:
            layer.trainable = trainable
        for prefix in prefixes:
            frozen = [layer for layer, _ in self._initial if layer.name.startswith(prefix)]
            if not frozen:
                names = layer_names(self._network)
                raise UserError(f"{where}: expected beginnings of names of layers ({names}); received {prefix}")
            for layer in frozen:
                layer.trainable = False
        for layer in self._fixed:
            layer.trainable = False
        if not any(layer.trainable_weights for layer, _ in self._initial):
            raise UserError(f"{where}: expected a layer that is trained; received {', '.join(prefixes)}, which freezes all")


def nested_layers(network: "keras.Model") -> Iterator[Any]:
    """The layers of a network, each nested network before its own layers."""
    for layer in network.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from nested_layers(layer)


def layer_names(network: "keras.Model") -> str:
    """Names of the layers with weights up to their first underscore, the first dozen of them, for an error."""
    first = list(dict.fromkeys(layer.name.partition("_")[0] for layer in nested_layers(network) if layer.weights))
    return ", ".join(first[:NAMES]) + (", ..." if len(first) > NAMES else "")
