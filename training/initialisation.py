"""Transfer learning: initial weights from another run, or from a published network, by the names of layers and channels.

An array of a layer of the same name and shape is loaded. A layer of the stem, which has weights for each channel, is adapted
where the channels differ (`models.stem`). A head with another number of outputs, or of another name, begins anew.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import UserError
from common.files import checksum
from common.tables import counted
from data_prep.brain.hd_bet_weights import find_weights
from models.stem import match_channels, stem_variables
from training.config import HD_BET, TrainingConfig
from training.run import Run

if TYPE_CHECKING:
    import keras

LOADED, ADAPTED, NEW, UNUSED = STATES = ("loaded", "adapted", "new", "unused")
OPTION = "--init_from hd_bet"


@dataclass(frozen=True)
class InitialWeights:
    """Weights that a training may begin with.

    Attributes:
        origin: the run's folder, or hd_bet.
        file: that holds them.
        channels: names of the input's channels, in order.
        classes: head -> names of its classes.
        outputs: head -> number of outputs.
        arrays: path of a variable -> its value.
    """

    origin: str
    file: Path
    channels: list[str]
    classes: Mapping[str, list[str]]
    outputs: Mapping[str, int]
    arrays: Mapping[str, np.ndarray]


def check_initial_weights(config: TrainingConfig) -> None:
    """Refuse to begin with the weights of a run that is none, has no weights, or cannot be read; or of a missing package.

    Raises:
        UserError: names the option.
    """
    path = config.init_from
    if path is None:
        return
    if path == HD_BET:
        find_weights(config.model.network, OPTION)
        return
    try:
        run = Run(path)
        _ = run.config, run.heads, run.preparation, run.weights
    except UserError as error:
        raise UserError(f"--init_from {path}: {str(error).removeprefix(f'{path}: ')}") from None


def resolved_origin(path: Path | None) -> Path | None:
    """The value of `init_from` for a run's config, so that it can be resumed from any folder."""
    return path if path is None or path == HD_BET else path.resolve()


def read_initial_weights(config: TrainingConfig) -> InitialWeights | None:
    """Read the weights that a training begins with; None where it begins with its network's own.

    Raises:
        UserError: weights are missing or damaged, or are those of a network of another width.
    """
    if config.init_from is None:
        return None
    if config.init_from == HD_BET:
        return _hd_bet_weights(config.model.network, config.model.filters)
    run = Run(config.init_from)
    heads, arrays = run.heads.items(), _arrays(run.load_network())
    classes, outputs = {name: head.class_names for name, head in heads}, {name: head.outputs for name, head in heads}
    return InitialWeights(str(run.path.resolve()), run.weights, run.input_channels, classes, outputs, arrays)


def initialise(model: "keras.Model", run: Run, given: InitialWeights) -> dict[str, Any]:
    """Give a network its initial weights, and print how many arrays of each group of layers were loaded.

    Args:
        model: network of the run; weights that have no counterpart stay as they are.
        run: the run that begins.
        given: the initial weights.

    Returns:
        For run.json: path, checksum of the weights file, numbers of arrays (`loaded`, `adapted`, `new`, `unused`, and `total`
        of the network), the same by group of `layers`, and the `channels` and `heads` that begin anew.

    Raises:
        UserError: nothing was loaded, or a layer of the same name has another shape.
    """
    channels, stem = run.input_channels, {variable.path for variable in stem_variables(model)}
    before = [name.casefold() for name in given.channels]
    others = before != [name.casefold() for name in channels]
    anew = [name for name, head in run.heads.items() if given.outputs.get(name) != head.outputs]
    unused, counts = dict(given.arrays), dict[str, Counter[str]]()
    for variable in model.weights:
        layer, array, state = _layer(variable.path), given.arrays.get(variable.path), NEW
        if any(layer == head or layer.startswith(f"{head}_") for head in anew):
            array = None
        adapts = others and variable.path in stem
        if array is not None and adapts:
            array = match_channels(array, given.channels, channels)
        if array is not None and array.shape != tuple(variable.shape):
            raise UserError(
                f"--init_from {given.origin}: its {variable.path} has the shape {array.shape}, and that of this network "
                f"{tuple(variable.shape)}; give `model` the settings of that run, or leave --init_from out"
            )
        if array is not None:
            variable.assign(array)
            del unused[variable.path]
            state = ADAPTED if adapts else LOADED
        counts.setdefault(_group(variable.path), Counter())[state] += 1
    for path in unused:
        counts.setdefault(_group(path), Counter())[UNUSED] += 1
    totals = {state: sum(count[state] for count in counts.values()) for state in STATES}
    if not totals[LOADED] + totals[ADAPTED]:
        raise UserError(
            f"--init_from {given.origin}: expected weights whose names and shapes are those of the network, such as "
            f"{model.weights[0].path} {tuple(model.weights[0].shape)}; received none, such as {next(iter(unused), 'none')}"
        )
    facts: dict[str, Any] = {"path": given.origin, "checksum": checksum(given.file), "total": len(model.weights)} | totals
    facts["layers"] = {name: {state: count[state] for state in STATES} for name, count in counts.items()}
    facts["channels"] = {"before": given.channels, "new": [name for name in channels if name.casefold() not in before]}
    facts["heads"] = anew
    _print_table(given, run, facts)
    return facts


def _arrays(network: "keras.Model") -> dict[str, np.ndarray]:
    """Arrays of a network by the paths of its variables."""
    import keras

    return {variable.path: np.asarray(keras.ops.convert_to_numpy(variable)) for variable in network.weights}


def _hd_bet_weights(number: int, filters: int) -> InitialWeights:
    """Weights of a published network of HD-BET, whose channel is that of any MR image."""
    from data_prep.brain.hd_bet import load_network

    file, _ = find_weights(number, OPTION)
    network = load_network(number)
    published = network.get_layer("encoder1_init_conv").filters
    if filters != published:
        raise UserError(f"{OPTION}: expected --model.filters {published}, as published; received {filters}")
    return InitialWeights(str(HD_BET), file, ["MR"], {}, {}, _arrays(network))


def _print_table(given: InitialWeights, run: Run, facts: Mapping[str, Any]) -> None:
    """Print the arrays of each group of layers by state, then the channels and heads that begin anew."""
    adapted = f", {facts[ADAPTED]} adapted" if facts[ADAPTED] else ""
    print(f"initial weights from {given.file}: {facts[LOADED]} of {counted(facts['total'], 'array')}{adapted}")
    width = max(len(name) for name in [*facts["layers"], "layers"])
    print(f"  {'layers':<{width}}" + "".join(f"{state:>9}" for state in STATES))
    for name, count in facts["layers"].items():
        print(f"  {name:<{width}}" + "".join(f"{count[state]:>9}" for state in STATES))
    if facts[ADAPTED]:
        new = facts["channels"]["new"]
        kept = [name for name in run.input_channels if name not in new]
        parts = [f"{_listed(kept)} as trained"] if kept else []
        parts += [f"{_listed(new)} from the mean of {_listed(given.channels)}"] if new else []
        print(f"  channels: {'; '.join(parts)}")
    for name, head in run.heads.items():
        before = given.classes.get(name)
        if name in facts["heads"]:
            received = "" if before is None else f" instead of {given.outputs[name]}"
            print(f"  head {name} begins anew: {counted(head.outputs, 'output')}{received}")
        elif before is not None and before != head.class_names:
            print(f"  head {name}: trained for {_listed(before)}; now {_listed(head.class_names)}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)


def _layer(path: str) -> str:
    """Name of the layer that has a variable, whatever networks lie around it."""
    return path.split("/")[-2] if "/" in path else path


def _group(path: str) -> str:
    """Group of layers that an array belongs to: the layer's name up to its first underscore."""
    return path.partition("/")[0].partition("_")[0]
