"""Learning curves head by head: runs of equal heads in one figure, of several heads a figure for each."""

from types import SimpleNamespace

import pytest

from common.errors import UserError
from data_prep.labels import LabelSchema
from evaluation.heads.curves import by_heads, curves_of_heads
from tests.evaluation.figures.test_runs import write_run
from training.run import open_runs

HEADS = ("hgg", "mets")


def column(head, name):
    """Column of history.csv for one of several heads."""
    return f"val_{head}_{name.removeprefix('val_')}" if name.startswith("val_") else f"{head}_{name}"


def test_runs_of_one_head_are_drawn_together(trained, volumes):
    first, second = open_runs([trained, volumes])
    figures = list(curves_of_heads({"flat": first, "deep": second}))
    assert [figure.name for figure in figures] == ["learning_curves_iou", "learning_curves_dice"]
    assert [[history.name for history in figure.histories] for figure in figures] == [["flat", "deep"]] * 2
    assert all("head" not in figure.curves.title for figure in figures)


def test_a_run_of_several_heads_has_a_figure_for_each(tmp_path):
    schema = LabelSchema.load("binary")
    folder = write_run(tmp_path / "both", schema=schema)
    heading, *rows = (folder / "history.csv").read_text().splitlines()
    names = [column(head, name) for head in HEADS for name in heading.split(",")[3:]]
    cells = [row.split(",") for row in rows]
    lines = [heading.split(",")[:3] + names, *(row + row[3:] for row in cells)]
    (folder / "history.csv").write_text("".join(",".join(line) + "\n" for line in lines))
    head = SimpleNamespace(kind="segmentation", schema=schema)
    run = SimpleNamespace(path=folder, heads=dict.fromkeys(HEADS, head))
    figures = list(curves_of_heads({"both": run}))
    assert [figure.name for figure in figures] == [
        f"learning_curves_{score}_{name}" for name in HEADS for score in ("iou", "dice")
    ]
    assert figures[0].curves.title.endswith("; head hgg")
    assert "val_mean_iou" in figures[0].histories[0].columns


def test_runs_of_other_heads_are_other_figures(trained):
    one, other = SimpleNamespace(heads={"mets": None}), SimpleNamespace(heads={"hgg": None, "mets": None})
    assert by_heads({"a": one, "b": other, "c": one}) == [{"a": one, "c": one}, {"b": other}]
    (run,) = open_runs([trained])
    with pytest.raises(UserError, match="expected runs of one kind in a figure"):
        list(curves_of_heads({"a": run, "b": SimpleNamespace(path=run.path, heads={"other": next(iter(run.heads.values()))})}))
