"""Figures of held-out tests: a box per run, and curves of the head that is tested."""

from types import SimpleNamespace

import pytest

from common.files import read_json, write_json
from evaluation.experiments import held_out_figures
from evaluation.experiments.held_out_figures import draw_curves, draw_scores
from evaluation.experiments.held_out_table import HeldOutScores
from tests.evaluation.experiments.test_held_out_table import DICE, scored
from tests.evaluation.figures.test_runs import write_run


def plan(folder, name, records=("hgg",), max_minutes=None):
    config = SimpleNamespace(heads={"segmentation": None}, max_minutes=max_minutes)
    return SimpleNamespace(folder=folder, name=name, records=records, config=config)


@pytest.fixture
def drawn(monkeypatch):
    """Arguments of the figures instead of their files."""
    found = []
    for name in ("draw_boxes", "draw_learning_curves"):
        monkeypatch.setattr(held_out_figures, name, lambda path, *rest, **names: found.append((path, *rest)) or [path])
    return found


def test_every_structure_has_a_figure_with_a_box_per_run(drawn, tmp_path):
    runs = {name: scored(name, [0.5] * 12) for name in ("task_specific", "multi_task")}
    scores = HeldOutScores(SimpleNamespace(name="mets"), [DICE], {}, runs)
    assert draw_scores(tmp_path, scores) == [tmp_path / "boxes_mets_WT_dice"]
    ((_, boxes, metric, structure),) = drawn
    assert list(boxes) == ["task specific", "multi task"]  # words, so that long names are folded
    assert (metric.name, structure) == ("dice", "WT (region), mets")


def test_curves_are_the_means_over_seeds_of_runs_that_train_on_the_records(drawn, tmp_path):
    for seed, name in enumerate(("a_seed0", "a_seed1", "b_seed0", "c_seed0")):
        write_run(tmp_path / name, epochs=3, seed=seed)
    runs = [plan(tmp_path / f"a_seed{seed}", "a") for seed in (0, 1)]
    runs += [plan(tmp_path / "b_seed0", "b", ("mets",)), plan(tmp_path / "c_seed0", "c"), plan(tmp_path / "none", "d")]
    (path,) = draw_curves(tmp_path, runs, SimpleNamespace(name="hgg"))
    assert path == tmp_path / "learning_curves_hgg"
    ((_, histories, curves),) = drawn
    assert [(history.name, len(history.columns["loss"])) for history in histories] == [("a", 3), ("c", 3)]
    assert curves.title == "mean Dice with background, hgg; mean over 2 seeds"
    assert curves.axis == "epoch"


def test_curves_of_runs_of_equal_minutes_are_drawn_over_minutes(drawn, tmp_path):
    write_run(tmp_path / "a_seed0", epochs=3)
    draw_curves(tmp_path, [plan(tmp_path / "a_seed0", "a", max_minutes=3)], SimpleNamespace(name="hgg"))
    assert drawn[0][2].axis == "minutes"


def test_curves_of_runs_whose_epochs_differ_in_length_are_drawn_over_minutes(drawn, tmp_path):
    for name, steps in (("a_seed0", 90), ("b_seed0", 258)):
        write_run(tmp_path / name, epochs=3)
        file = tmp_path / name / "run.json"
        write_json(file, read_json(file, "run") | {"steps_per_epoch": steps})
    draw_curves(tmp_path, [plan(tmp_path / f"{name}_seed0", name) for name in "ab"], SimpleNamespace(name="hgg"))
    assert drawn[0][2].axis == "minutes"


def test_a_run_of_one_head_on_several_records_has_no_curves(drawn, tmp_path):
    """Its scores are of the patients of all records; those of a head are of its own."""
    runs = [plan(write_run(tmp_path / name), name, ("hgg", "mets")) for name in ("joint", "multi")]
    runs[1].config.heads = {"hgg": None, "mets": None}
    draw_curves(tmp_path, runs, SimpleNamespace(name="hgg"))
    assert [history.name for history in drawn[0][1]] == ["multi"]
    assert drawn[0][2].title.endswith("without joint, whose scores are of all records together")


def test_without_a_trained_run_nothing_is_drawn(drawn, tmp_path):
    assert draw_curves(tmp_path, [plan(tmp_path / "none", "d")], SimpleNamespace(name="hgg")) == []
    assert not drawn
