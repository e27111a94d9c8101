"""Learning curves of runs, head by head."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from evaluation.figures.runs import Curves, History, load_history
from evaluation.heads import common_evaluators
from training.run import Run


@dataclass(frozen=True)
class HeadCurves:
    """Figure of learning curves of a head.

    Attributes:
        name: of the figure's file.
        histories: of the runs, as far as they are of the head.
        curves: panels of the figure.
    """

    name: str
    histories: list[History]
    curves: Curves


def curves_of_heads(runs: Mapping[str, Run]) -> Iterator[HeadCurves]:
    """Learning curves of runs for each head that all of them have, one figure after the other.

    Args:
        runs: display name -> run with a history.

    Raises:
        UserError: the runs have no head in common, or one has no finished epoch.
    """
    histories = [load_history(run.path, name) for name, run in runs.items()]
    several = any(len(run.heads) > 1 for run in runs.values())
    for evaluator in common_evaluators(list(runs.values())):
        own = [
            history.of_head(evaluator.name, list(run.heads), type(evaluator)(evaluator.name, [run]).schema.class_names)
            for history, run in zip(histories, runs.values(), strict=True)
        ]
        for name, curves in evaluator.learning_curves(own).items():
            if several:
                name, curves = f"{name}_{evaluator.name}", replace(curves, title=f"{curves.title}; head {evaluator.name}")
            yield HeadCurves(name, own, curves)


def by_heads(runs: Mapping[str, Run]) -> list[dict[str, Run]]:
    """Runs in groups of equal heads, which can be drawn in one figure."""
    groups: dict[tuple[str, ...], dict[str, Run]] = {}
    for name, run in runs.items():
        groups.setdefault(tuple(run.heads), {})[name] = run
    return list(groups.values())
