"""Discriminative learning rates (Howard and Ruder, 2018): a factor of the learning rate for some layers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from training.freezing import layer_names, nested_layers

if TYPE_CHECKING:
    import keras


def with_layer_rates(kind: type, factors: Mapping[int, float]) -> type:
    """Optimizer class whose learning rate is multiplied by a factor for some variables.

    Args:
        kind: class of the optimizer.
        factors: id of a variable -> factor; of all other variables it is 1.
    """

    class LayerRates(kind):
        def build(self, variables: "list[keras.Variable]") -> None:
            """Make the optimizer's variables; weights with a factor of their own do not decay."""
            self._factors = [factors.get(id(variable), 1.0) for variable in variables]
            if not self.built:
                self.exclude_from_weight_decay(var_list=[variable for variable in variables if id(variable) in factors])
            super().build(variables)

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            """Update one variable."""
            super().update_step(gradient, variable, learning_rate * self._factors[self._get_variable_index(variable)])

    return LayerRates


def variable_factors(network: "keras.Model", rates: Mapping[str, float]) -> dict[int, float]:
    """Factor of the learning rate by the id of a variable.

    Args:
        network: whose layers are looked through, those inside nested networks included.
        rates: beginning of a layer's name -> factor, of a nested network for all layers in it.

    Raises:
        UserError: a beginning that no layer has.
    """
    factors: dict[int, float] = {}
    for prefix, factor in rates.items():
        layers = [layer for layer in nested_layers(network) if layer.name.startswith(prefix)]
        if not layers:
            raise UserError(
                f"--optimizer.rates: expected beginnings of names of layers ({layer_names(network)}); received {prefix}"
            )
        factors |= {id(variable): factor for layer in layers for variable in layer.weights}
    return factors
