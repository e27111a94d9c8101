"""Initial weights from another run: those whose name and shape are equal."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from common.files import checksum
from common.tables import counted
from training.run import Run

if TYPE_CHECKING:
    import keras

STATES = ("loaded", "other shape", "not in the run")


def initialise(model: "keras.Model", other: "keras.Model", run: Run) -> dict[str, Any]:
    """Copy weights from another run's network, and print how many of each group of layers were loaded.

    Args:
        model: the new network; weights that have no counterpart stay as they are.
        other: the other run's network, with its weights loaded.
        run: the other run.

    Returns:
        For run.json: path, checksum of the weights file, numbers of arrays `loaded` and in `total`.

    Raises:
        UserError: nothing was loaded.
    """
    given = {variable.path: variable for variable in other.weights}
    counts: dict[str, Counter[str]] = {}
    for variable in model.weights:
        source = given.pop(variable.path, None)
        if source is None:
            state = STATES[2]
        elif tuple(source.shape) != tuple(variable.shape):
            state = STATES[1]
        else:
            variable.assign(source)
            state = STATES[0]
        counts.setdefault(_group(variable.path), Counter())[state] += 1
    loaded = sum(count[STATES[0]] for count in counts.values())
    if not loaded:
        example = next(iter(given), "none")
        raise UserError(
            f"--init_from {run.path}: expected weights whose names and shapes are those of the network, such as "
            f"{model.weights[0].path} {tuple(model.weights[0].shape)}; received none, such as {example}"
        )
    print(f"initial weights from {run.weights}: {loaded} of {counted(len(model.weights), 'array')}")
    width = max(len(name) for name in [*counts, "layers"])
    print(f"  {'layers':<{width}}" + "".join(f"{state:>16}" for state in STATES))
    for name, count in counts.items():
        print(f"  {name:<{width}}" + "".join(f"{count[state]:>16}" for state in STATES))
    if given:
        print(f"  not used: {counted(len(given), 'array')} of {', '.join(dict.fromkeys(map(_group, given)))}")
    return {"path": str(run.path.resolve()), "checksum": checksum(run.weights), "loaded": loaded, "total": len(model.weights)}


def _group(path: str) -> str:
    """Group of layers that an array belongs to: the layer's name up to its first underscore."""
    return path.partition("/")[0].partition("_")[0]
