"""Figures of trainings and of records: learning curves of one or several runs, and how frequent the classes are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from common.errors import UserError
from common.files import read_yaml
from common.tables import counted, score_column
from data_prep.labels import LabelSchema
from evaluation.figures import style
from training.run_facts import read_run_facts
from training.state.history import read_history

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 3
MOST_MARKERS = 12  # on a line
MOST_TOGETHER = 3  # runs whose training and validation share a panel; lines of more run into each other
MANY: Any = {"linewidth": 1.1, "markersize": 3.2, "markeredgewidth": 0.8}
Axis = Literal["epoch", "minutes"]
VOXEL_SCORES = {"iou": "IoU", "dice": "Dice"}
SLICE_SCORES = {"accuracy": "Accuracy", "auc": "AUC"}
TRAINING_COLUMNS = ("epoch", "phase", "minutes")  # of the training as a whole, not of one of its heads
UNITS = {"loss": "loss", "accuracy": "accuracy", "auc": "AUC"} | VOXEL_SCORES
PHASE: Any = {"linewidth": 0.8, "linestyle": (0, (1, 1)), "zorder": 0.9}
KEPT: Any = {"marker": "o", "markersize": 8.5, "markerfacecolor": "none", "markeredgewidth": 1.1}


@dataclass(frozen=True)
class Curves:
    """Panels of a figure of learning curves.

    Attributes:
        title: of the figure, behind "loss and".
        panels: column of `history.csv` -> heading of its panel.
        axis: what is drawn along x: "epoch", or "minutes" of training, for runs whose epochs differ in length.
    """

    title: str
    panels: dict[str, str]
    axis: Axis = "epoch"


@dataclass(frozen=True)
class History:
    """Training history of a run.

    Attributes:
        name: of the run in legends.
        classes: their names, background first.
        columns: column of `history.csv` -> one number per epoch; NaN where the file has none.
        kept: epoch whose weights predict, the best on validation; None: the last one.
        other_loss: phases whose loss has other numbers than that of the first one, so that its values do not compare.
    """

    name: str
    classes: list[str]
    columns: dict[str, np.ndarray]
    kept: int | None = None
    other_loss: tuple[int, ...] = ()

    def begins_of_phases(self, axis: Axis = "epoch") -> list[float]:
        """Begin of each phase but the first on an axis, between two epochs."""
        ends = self.columns[axis]
        return [float(ends[row]) - 0.5 if axis == "epoch" else float(ends[row - 1]) for row in self._first_rows()]

    def line(self, column: str, axis: Axis = "epoch") -> tuple[np.ndarray, np.ndarray]:
        """Places and values of a curve; NaN lies between two values of a loss that changed between them."""
        places, values = self.columns[axis].astype(float), self.columns[column]
        phases = self.columns.get("phase", np.ones(len(places)))
        is_loss = column.removeprefix("val_") == "loss"
        breaks = [row for row in self._first_rows() if is_loss and self._loss_of(phases[row]) != self._loss_of(phases[row - 1])]
        return np.insert(places, breaks, places[breaks]), np.insert(values, breaks, np.nan)

    def _loss_of(self, phase: float) -> int:
        return int(phase) if int(phase) in self.other_loss else 1

    def _first_rows(self) -> list[int]:
        """Row of the first epoch of each phase but the first."""
        phases = self.columns.get("phase", np.zeros(0))
        return [int(row) + 1 for row in np.flatnonzero(np.diff(phases))]

    def of_head(self, head: str, heads: Sequence[str], classes: list[str] | None = None) -> "History":
        """History of one of several heads: its scores under their own names, without those of other heads.

        Args:
            head: its name; columns begin with it, such as `hgg_mean_dice` and `val_hgg_mean_dice`.
            heads: names of all heads of the run; of names that begin alike, such as hgg and hgg_mets, a column belongs to the
                longest. Columns of a single head begin with none, and the history is returned as it is.
            classes: of the head; None: those of this history.
        """
        if len(heads) < 2 or head not in heads:
            return self
        found = {}
        for name, values in self.columns.items():
            front = "val_" if name.startswith("val_") else ""
            score = name.removeprefix(front)
            owner = max((each for each in heads if score.startswith(f"{each}_")), key=len, default=None)
            if owner == head:
                found[front + score.removeprefix(f"{head}_")] = values
        common = {name: self.columns[name] for name in TRAINING_COLUMNS if name in self.columns}
        return replace(self, classes=self.classes if classes is None else classes, columns=common | found)


def mean_history(name: str, histories: Sequence[History], axis: Axis = "epoch") -> History:
    """Mean of the histories of trainings that differ in their seed.

    Args:
        name: of the mean.
        histories: of the trainings.
        axis: along which they are averaged: over the epochs that all of them have, or, interpolated, over the minutes.
    """
    epochs = min(len(history.columns["epoch"]) for history in histories)
    shared = [column for column in histories[0].columns if all(column in history.columns for history in histories)]
    if axis == "epoch":
        columns = {column: np.mean([own.columns[column][:epochs] for own in histories], axis=0) for column in shared}
    else:
        minutes = [history.columns["minutes"] for history in histories]
        places = np.linspace(max(each[0] for each in minutes), min(each[-1] for each in minutes), epochs)
        columns = {
            column: np.mean([np.interp(places, own.columns["minutes"], own.columns[column]) for own in histories], axis=0)
            for column in shared
        }
    return History(name, histories[0].classes, columns)


def load_history(run: Path, name: str | None = None) -> History:
    """Read a run's `history.csv` and its classes.

    Args:
        run: its folder.
        name: display name; None: that of the folder.

    Raises:
        UserError: a file is missing, or the history has no finished epoch.
    """
    if not (run / "run.json").is_file():
        raise UserError(f"{run}: expected a run (a folder with run.json, made by glioskull train)")
    rows = read_history(run)
    if not rows or "epoch" not in rows[0]:
        raise UserError(
            f"{run / 'history.csv'}: expected a row per epoch under a heading with `epoch`; no finished epoch was found"
        )
    schema = LabelSchema.from_dict(read_yaml(run / "schema.yaml", "label schema"), run / "schema.yaml")
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    kept = read_run_facts(run / "run.json").get("best_epoch")
    return History(name or run.resolve().name, schema.class_names, columns, kept, _phases_of_other_loss(run / "config.yaml"))


def _phases_of_other_loss(config: Path) -> tuple[int, ...]:
    """Numbers of the phases whose loss has numbers of its own, from a run's config; none where it has no such file."""
    values = read_yaml(config, "config of the run") if config.is_file() else {}
    phases = values.get("phases") if isinstance(values, dict) else None
    entries = enumerate(phases if isinstance(phases, list) else [], 1)
    return tuple(number for number, phase in entries if number > 1 and isinstance(phase, dict) and phase.get("loss"))


def voxel_curves(histories: Sequence[History], score: str) -> Curves:
    """Curves of segmentations: the loss, the mean of a score ("iou" or "dice"), and the score of every class of any run."""
    title = VOXEL_SCORES[score]
    names = dict.fromkeys(name for history in histories for name in history.classes)
    panels = {"loss": "Loss", f"mean_{score}": f"Mean {title} (background included)"}
    panels |= {score_column(score, name): f"{title} of {name}" for name in names}
    return Curves(f"{title} per class, over all voxels of an epoch", panels)


def slice_curves(histories: Sequence[History]) -> Curves:
    """Curves of classifications: the loss, and accuracy and AUC over slices where any run has them."""
    found = {name: title for name, title in SLICE_SCORES.items() if any(name in each.columns for each in histories)}
    return Curves("scores over slices", {"loss": "Loss"} | found)


def draw_learning_curves(path: Path, histories: Sequence[History], curves: Curves) -> list[Path]:
    """Draw loss and scores over epochs, training and validation, a colour per run, and the begin of fine-tuning.

    More than three runs have panels of their own for training and validation, and variants of a run share its colour
    (`run_names.families`).

    Args:
        path: the files to write, without suffix.
        histories: the runs, which may have other classes each.
        curves: panels of the figure.

    Returns:
        The files written: PDF, PNG and CSV.
    """
    with style.style():
        figure = (_draw_many if len(histories) > MOST_TOGETHER else _draw_few)(histories, curves)
        figure.suptitle(f"Learning curves: loss and {curves.title}")
        return style.save(figure, path, _numbers(histories, curves))


def _numbers(histories: Sequence[History], curves: Curves) -> list[list[Any]]:
    """Rows of the numbers: a row per run and epoch, NaN for a score that a run lacks."""
    known = {name for history in histories for name in history.columns}
    names = [name for name in TRAINING_COLUMNS if name in known]
    names += [name for panel in curves.panels for name in (panel, f"val_{panel}") if name in known]
    rows: list[list[Any]] = [["run", *names]]
    for history in histories:
        lacking = np.full(len(history.columns["epoch"]), np.nan)
        columns = [history.columns.get(name, lacking).tolist() for name in names]
        rows += [[history.name, *values] for values in zip(*columns, strict=True)]
    return rows


def draw_class_frequencies(path: Path, voxels: dict[str, int], cases: int) -> list[Path]:
    """Draw each class's share of the annotated voxels on a logarithmic axis.

    Args:
        path: the files to write, without suffix.
        voxels: class -> voxels, over all cases.
        cases: how many they are, for the title.

    Returns:
        The files written: PDF, PNG and CSV.

    Raises:
        UserError: no voxel is annotated.
    """
    total = sum(voxels.values())
    if total == 0:
        raise UserError("class frequencies: no voxel of these records is annotated")
    shares = {name: 100 * count / total for name, count in voxels.items()}
    # Bars of a logarithmic axis begin at a power of ten, at least one below the smallest share.
    lowest = float(10 ** (np.ceil(np.log10(min(share for share in shares.values() if share > 0))) - 2))
    with style.style():
        figure = style.new_figure(height=0.9 + 0.28 * len(shares), width=5.2)
        axes = figure.subplots()
        for place, share in enumerate(shares.values()):
            if share:  # zero has no place on a logarithmic axis
                axes.hlines(place, lowest, share, color="#999999", linewidth=1.2)
                axes.plot(share, place, "o", color="black", markersize=5, clip_on=False)
            axes.annotate(f"{share:.3g} %", (1.03, place), xycoords=axes.get_yaxis_transform(), va="center")
        axes.set(xscale="log", xlim=(lowest, 100), xlabel="share of annotated voxels (%, logarithmic)")
        axes.set_xticks(10.0 ** np.arange(round(np.log10(lowest)), 3))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.set_yticks(range(len(shares)), list(shares))
        axes.set_ylim(len(shares) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.set_title(f"Class frequency in the prepared volumes ({counted(cases, 'case')})")
        rows = [[name, voxels[name], share] for name, share in shares.items()]
        return style.save(figure, path, [["class", "voxels", "percent"], *rows])


def _draw_few(histories: Sequence[History], curves: Curves) -> "Figure":
    """A panel for each score, with the training and the validation of all runs."""
    labels, panels, axis = _run_labels(histories), curves.panels, curves.axis
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = style.new_figure(height=1.9 * rows + 0.5 + 0.18 * (len(histories) + 1), gaps=(0.06, 0.06))
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for axes, (name, heading) in zip(grid, panels.items(), strict=False):
        for index, history in enumerate(histories):
            _draw_run(axes, history, name, index, labels[index], axis)
        _mark_phases(axes, histories, style.RUN_COLOURS, axis)
        _finish_panel(axes, heading, name, axis)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    handles, texts = grid[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=2 if len(histories) > 1 else len(handles))
    return figure


def _draw_many(histories: Sequence[History], curves: Curves) -> "Figure":
    """Panels of training and of validation beside each other, for each score, on one scale that ends above the best."""
    panels, axis = curves.panels, curves.axis
    sides = {"": "training", "val_": "validation"}
    known = {name for history in histories for name in history.columns}
    sides = {prefix: side for prefix, side in sides.items() if any(prefix + name in known for name in panels)}
    styles = style.run_styles([history.name for history in histories])
    figure = style.new_figure(height=1.5 * len(panels) + 0.7 + 0.16 * len(histories), gaps=(0.06, 0.05))
    grid = figure.subplots(len(panels), len(sides), squeeze=False, sharex=True, sharey="row")
    for row, (name, heading) in zip(grid, panels.items(), strict=True):
        for axes, (prefix, side) in zip(row, sides.items(), strict=True):
            for index, history in enumerate(histories):
                _draw_line(axes, history, prefix + name, styles[index], index / len(histories), axis)
            _mark_phases(axes, histories, [style["color"] for style in styles], axis)
            _finish_panel(axes, f"{heading}, {side}", name, axis)
            axes.label_outer()
        top = max(axes.dataLim.y1 for axes in row if axes.lines)
        row[0].set_ylim(0, 1.08 * top if top > 0 else 1)
    entries: dict[str, Any] = {}
    for axes in grid[0]:
        handles, texts = axes.get_legend_handles_labels()
        entries |= dict(zip(texts, handles, strict=True))
    style.legend_below(figure, list(entries.values()), list(entries))
    return figure


def _draw_line(axes: "Axes", history: History, column: str, style: dict[str, Any], shift: float, axis: Axis) -> None:
    """One line of a run, its markers shifted by a share of their distance, so that those of several runs do not coincide."""
    if column in history.columns:
        places, values = history.line(column, axis)
        every = max(1, -(-len(places) // (MOST_MARKERS // 2)))
        markers = (int(shift * every), every)
        axes.plot(places, values, label=history.name, markevery=markers, **style, **MANY)


def _draw_run(axes: "Axes", history: History, column: str, index: int, label: str, axis: Axis) -> None:
    """One run's two lines of a panel: training dashed with hollow markers, validation solid with full ones."""
    colour = style.RUN_COLOURS[index % len(style.RUN_COLOURS)]
    marker = style.RUN_MARKERS[index % len(style.RUN_MARKERS)]
    every = max(1, -(-len(history.columns[axis]) // MOST_MARKERS))
    shared: dict[str, Any] = {"color": colour, "marker": marker, "markevery": every}
    if column in history.columns:
        lines: dict[str, Any] = {"linestyle": (0, (3, 1.5)), "linewidth": 1.0, "markerfacecolor": "white"}
        axes.plot(*history.line(column, axis), label=f"{label}training", **shared, **lines)
    if f"val_{column}" in history.columns:
        axes.plot(*history.line(f"val_{column}", axis), label=f"{label}validation", **shared)
        if history.kept is not None:
            row = int(np.argmin(np.abs(history.columns["epoch"] - history.kept)))
            place = float(history.columns[axis][row]), float(history.columns[f"val_{column}"][row])
            axes.plot(*place, label=f"{label}kept epoch", color=colour, linestyle="none", clip_on=False, **KEPT)


def _mark_phases(axes: "Axes", histories: Sequence[History], colours: Sequence[str], axis: Axis) -> None:
    """Draw a thin vertical line where each phase begins: one for all runs, or in each run's colour where they differ."""
    begins = [history.begins_of_phases(axis) for history in histories]
    shared = all(each == begins[0] for each in begins)
    for index, places in enumerate(begins[:1] if shared else begins):
        colour = "#555555" if shared else colours[index % len(colours)]
        owner = "" if shared else _run_labels(histories)[index]
        words = "fine-tuning begins" if len(places) == 1 else "a phase begins"
        for number, place in enumerate(places):
            axes.axvline(place, color=colour, label=f"{'_' * (number > 0)}{owner}{words}", **PHASE)


def _finish_panel(axes: "Axes", heading: str, name: str, axis: Axis) -> None:
    from matplotlib.ticker import MaxNLocator

    unit = UNITS[name.removeprefix("mean_").partition("_")[0]]
    axes.set_title(heading)
    axes.set_ylabel(unit)
    axes.set_xlabel("epoch" if axis == "epoch" else "minutes of training")
    axes.tick_params(labelbottom=True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=axis == "epoch", nbins=6, min_n_ticks=1))
    if unit == "loss":
        axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    else:
        axes.set_ylim(0, 1.02)


def _run_labels(histories: Sequence[History]) -> list[str]:
    """Prefixes of "training" in the legend: none for a single run."""
    return [""] if len(histories) == 1 else [f"{history.name}, " for history in histories]
