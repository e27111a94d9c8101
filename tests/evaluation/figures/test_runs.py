import csv
import json
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from common.errors import UserError
from common.files import write_json, write_yaml
from common.tables import score_column
from data_prep.labels import LabelSchema
from evaluation.figures import runs as figures_runs
from evaluation.figures import style
from evaluation.figures.runs import Curves, History, mean_history, slice_curves, voxel_curves
from tests.evaluation.figures.conftest import panels
from training.heads import ClassificationHead, SegmentationHead
from training.run_facts import FORMAT

SCHEMA = LabelSchema.load("brats2017-2021")


def write_run(folder, epochs=5, validation=True, seed=0, schema=SCHEMA, kind="segmentation", tuned=0):
    """A run folder with random scores; `tuned`: epochs of fine-tuning among them."""
    rng = np.random.default_rng(seed)
    names = ["loss", "accuracy", "mean_iou", "mean_dice"]
    names += [score_column(score, name) for name in schema.class_names for score in ("iou", "dice")]
    if kind == "classification":
        names = ["loss", "accuracy", "auc"]
    columns = [prefix + name for prefix in (("", "val_") if validation else ("",)) for name in names]
    folder.mkdir(parents=True)
    with (folder / "history.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "phase", "minutes", *columns])
        phases = [1] * (epochs - tuned) + [2] * tuned
        writer.writerows([epoch, phase, 0.5 * epoch, *rng.random(len(columns))] for epoch, phase in enumerate(phases, start=1))
    write_yaml(folder / "schema.yaml", schema.to_dict())
    grade = ClassificationHead("classification", "grade", {"HGG": ["HGG"], "LGG": ["LGG"]})
    head = SegmentationHead("segmentation", schema) if kind == "segmentation" else grade
    write_json(folder / "run.json", {"format": FORMAT, "heads": {head.name: head.metadata()}})
    return folder


def curves_of(histories, kind="segmentation", score="iou"):
    """Panels of the runs of a kind."""
    return voxel_curves(histories, score) if kind == "segmentation" else slice_curves(histories)


def draw(path, histories, kind="segmentation", score="iou"):
    """Draw the learning curves of runs of a kind."""
    return figures_runs.draw_learning_curves(path, histories, curves_of(histories, kind, score))


def test_a_panel_for_the_loss_the_mean_and_each_class_with_the_runs_numbers(tmp_path, drawn):
    history = figures_runs.load_history(write_run(tmp_path / "model1"))
    draw(tmp_path / "f", [history])
    found = panels(drawn[0])
    assert list(found) == ["Loss", "Mean IoU (background included)", *(f"IoU of {name}" for name in SCHEMA.class_names)]
    columns = ["loss", "mean_iou", "iou_background", "iou_edema", "iou_non_enhancing_tumor", "iou_enhancing_tumor"]
    for axes, name in zip(found.values(), columns, strict=True):
        training, validation = axes.lines
        np.testing.assert_array_equal(training.get_ydata(), history.columns[name])
        np.testing.assert_array_equal(validation.get_ydata(), history.columns[f"val_{name}"])
        assert axes.get_xlabel() == "epoch"


def test_runs_differ_in_colour_and_marker_training_and_validation_in_line(tmp_path, drawn):
    histories = [figures_runs.load_history(write_run(tmp_path / f"run{seed}", seed=seed)) for seed in range(3)]
    draw(tmp_path / "f", histories, score="dice")
    lines = panels(drawn[0])["Loss"].lines
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 3
    assert len({line.get_marker() for line in lines}) == 3
    assert {line.get_linestyle() for line in lines[::2]}.isdisjoint(line.get_linestyle() for line in lines[1::2])
    texts = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert texts == [f"run{seed}, {kind}" for seed in range(3) for kind in ("training", "validation")]


def test_many_runs_have_panels_for_training_and_validation_and_variants_share_a_colour(tmp_path, drawn):
    names = ["model 1", "model 1 augmented", "model 2", "model 2 augmented", "3D", "3D augmented"]
    histories = [figures_runs.load_history(write_run(tmp_path / str(seed), seed=seed), name) for seed, name in enumerate(names)]
    draw(tmp_path / "f", histories)
    found = panels(drawn[0])
    assert list(found)[:3] == ["Loss, training", "Loss, validation", "Mean IoU (background included), training"]
    assert len(found) == 2 * (2 + len(SCHEMA.class_names))
    for title, name in (("IoU of edema, training", "iou_edema"), ("IoU of edema, validation", "val_iou_edema")):
        for line, history in zip(found[title].lines, histories, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), history.columns[name])
    lines = found["Loss, training"].lines
    assert [line.get_color() for line in lines[::2]] == [line.get_color() for line in lines[1::2]]
    looks = {(line.get_color(), line.get_linestyle(), line.get_markerfacecolor()) for line in lines}
    assert len(looks) == len(names)
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == names


def test_runs_without_validation_and_of_other_classes_share_a_figure(tmp_path, drawn):
    other = LabelSchema.load("binary")
    histories = [
        figures_runs.load_history(write_run(tmp_path / "all", validation=False)),
        figures_runs.load_history(write_run(tmp_path / "binary", schema=other)),
    ]
    draw(tmp_path / "f", histories)
    found = panels(drawn[0])
    assert [line.get_label() for line in found["IoU of tumor"].lines] == ["binary, training", "binary, validation"]
    assert [line.get_label() for line in found["IoU of edema"].lines] == ["all, training"]
    assert len(found["Loss"].lines) == 3


def test_classifiers_have_a_panel_for_accuracy_and_auc(tmp_path, drawn):
    history = figures_runs.load_history(write_run(tmp_path / "grade", kind="classification"))
    panels_of = {"loss": "Loss", "accuracy": "Accuracy", "auc": "AUC"}
    assert slice_curves([history]) == Curves("scores over slices", panels_of)
    draw(tmp_path / "f", [history], "classification")
    found = panels(drawn[0])
    assert list(found) == ["Loss", "Accuracy", "AUC"]
    for axes, name in zip(found.values(), ("loss", "accuracy", "auc"), strict=True):
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), history.columns[name])
        np.testing.assert_array_equal(axes.lines[1].get_ydata(), history.columns[f"val_{name}"])


@pytest.mark.parametrize("kind", ["segmentation", "classification"])
def test_a_line_stands_where_fine_tuning_begins(tmp_path, drawn, kind):
    histories = [figures_runs.load_history(write_run(tmp_path / name, tuned=2, kind=kind)) for name in "ab"]
    draw(tmp_path / "f", histories, kind, "dice")
    for axes in panels(drawn[0]).values():
        assert list(axes.lines[-1].get_xdata()) == [3.5, 3.5]  # between epochs 3 and 4, once for both
        assert len(axes.lines) == 5
    assert drawn[0].legends[0].get_texts()[-1].get_text() == "fine-tuning begins"


def test_runs_that_are_fine_tuned_at_other_epochs_have_lines_of_their_colours(tmp_path, drawn):
    histories = [figures_runs.load_history(write_run(tmp_path / f"r{tuned}", tuned=tuned)) for tuned in (0, 1, 2)]
    draw(tmp_path / "f", histories)
    lines = [line for line in panels(drawn[0])["Loss"].lines if "begins" in line.get_label()]
    assert [line.get_label() for line in lines] == ["r1, fine-tuning begins", "r2, fine-tuning begins"]
    assert [line.get_xdata()[0] for line in lines] == [4.5, 3.5]
    assert [line.get_color() for line in lines] == list(style.RUN_COLOURS[1:3])


@pytest.mark.parametrize("kind", ["segmentation", "classification"])
@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_no_texts_overlap(tmp_path, drawn, count, kind):
    names = [f"a_run_with_a_rather_long_name_{index}" for index in range(count)]
    runs = [write_run(tmp_path / name, kind=kind, tuned=index) for index, name in enumerate(names)]
    draw(tmp_path / "f", [figures_runs.load_history(run) for run in runs], kind)
    figure = drawn[0]
    with style.style():
        figure.draw_without_rendering()
    boxes = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
    boxes += [figure.legends[0].get_window_extent(), figure._suptitle.get_window_extent()]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


@pytest.mark.parametrize("count", [2, 4])
def test_trainings_of_equal_minutes_are_drawn_over_minutes(tmp_path, drawn, count):
    histories = []
    for number in range(1, count + 1):
        history = figures_runs.load_history(write_run(tmp_path / f"r{number}", tuned=2))
        histories.append(replace(history, columns=history.columns | {"minutes": history.columns["epoch"] / number}))
    figures_runs.draw_learning_curves(tmp_path / "f", histories, Curves("loss", {"loss": "Loss"}, "minutes"))
    axes = drawn[0].axes[0]
    assert axes.get_xlabel() == "minutes of training"
    longest = [max(line.get_xdata()) for line in axes.lines if len(line.get_xdata()) == 5]
    assert longest == [5 / number for number in range(1, count + 1) for _ in range(2 if count == 2 else 1)]
    begins = [line.get_xdata()[0] for line in axes.lines if "begins" in line.get_label()]
    assert begins == [3 / number for number in range(1, count + 1)]  # the third epoch ended, and the fourth began


@pytest.mark.parametrize("content", ["", "epoch,loss\n", "something\n1\n"])
def test_a_run_without_a_finished_epoch_is_refused(tmp_path, content):
    run = write_run(tmp_path / "run")
    (run / "history.csv").write_text(content)
    with pytest.raises(UserError, match=r"history\.csv: "):
        figures_runs.load_history(run)


def test_the_kept_epoch_is_marked_on_the_validation(tmp_path, drawn):
    folder = write_run(tmp_path / "run")
    write_json(folder / "run.json", json.loads((folder / "run.json").read_text()) | {"best_epoch": 3})
    history = figures_runs.load_history(folder)
    draw(tmp_path / "f", [history])
    lines = [line for line in panels(drawn[0])["Loss"].lines if line.get_label() == "kept epoch"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in lines] == [(3, history.columns["val_loss"][2])]


def test_the_lines_of_a_loss_are_not_joined_where_its_numbers_change(tmp_path, drawn):
    folder = write_run(tmp_path / "run", tuned=2)
    write_yaml(folder / "config.yaml", {"phases": [{"epochs": 3}, {"epochs": 2, "loss": {"dice": 2.0}}]})
    history = figures_runs.load_history(folder)
    draw(tmp_path / "f", [history], score="dice")
    found = panels(drawn[0])
    values = found["Loss"].lines[0].get_ydata()
    assert np.flatnonzero(np.isnan(values)).tolist() == [3]
    np.testing.assert_array_equal(values[~np.isnan(values)], history.columns["loss"])
    assert not np.isnan(found["Dice of edema"].lines[0].get_ydata()).any()


def test_each_of_several_phases_begins_at_a_line(tmp_path, drawn):
    history = figures_runs.load_history(write_run(tmp_path / "run"))
    history.columns["phase"] = np.array([1, 1, 2, 3, 3])
    draw(tmp_path / "f", [history])
    begins = [line.get_xdata()[0] for line in panels(drawn[0])["Loss"].lines if "phase begins" in line.get_label()]
    assert begins == [2.5, 3.5]
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()].count("a phase begins") == 1


def test_the_numbers_of_all_runs_are_a_table(tmp_path):
    histories = [
        figures_runs.load_history(write_run(tmp_path / "a", epochs=2)),
        figures_runs.load_history(write_run(tmp_path / "b", epochs=1, validation=False)),
    ]
    file = draw(tmp_path / "f", histories)[-1]
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [(row["run"], row["epoch"]) for row in rows] == [("a", "1.000000"), ("a", "2.000000"), ("b", "1.000000")]
    assert float(rows[1]["iou_edema"]) == pytest.approx(histories[0].columns["iou_edema"][1], abs=1e-6)
    assert rows[2]["val_loss"] == ""


def test_figures_are_written_twice_and_equal_each_time(tmp_path):
    history = figures_runs.load_history(write_run(tmp_path / "run"))
    first = draw(tmp_path / "a" / "curves", [history])
    again = draw(tmp_path / "b" / "curves", [history])
    assert [file.name for file in first] == ["curves.pdf", "curves.png", "curves.csv"]
    assert first[0].read_bytes().startswith(b"%PDF")
    assert first[1].read_bytes().startswith(b"\x89PNG")
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in again]


def test_drawing_leaves_matplotlibs_settings_alone(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    figures_runs.draw_class_frequencies(tmp_path / "f", {"background": 9, "tumor": 1}, 1)
    assert dict(matplotlib.rcParams) == before


def test_class_frequencies_are_shares_of_the_annotated_voxels(tmp_path, drawn):
    figures_runs.draw_class_frequencies(tmp_path / "f", {"background": 950, "edema": 45, "core": 5, "none": 0}, 3)
    axes = drawn[0].axes[0]
    assert [text.get_text() for text in axes.texts] == ["95 %", "4.5 %", "0.5 %", "0 %"]
    assert axes.get_xscale() == "log"
    assert axes.get_xlim() == (0.01, 100)  # a share is no more than 100 %, and the axis begins at a power of ten
    assert "3 cases" in axes.get_title()


def test_records_without_annotation_have_no_frequencies(tmp_path):
    with pytest.raises(UserError, match="no voxel"):
        figures_runs.draw_class_frequencies(tmp_path / "f", {"background": 0, "tumor": 0}, 3)


def test_a_head_of_several_has_its_own_scores_without_its_name():
    columns = {"epoch": [1, 2], "phase": [1, 1], "loss": [5, 4], "mean_dice": [0.3, 0.4], "hgg_loss": [2, 1]}
    columns |= {"val_hgg_mean_dice": [0.5, 0.6], "mets_loss": [3, 3], "val_mets_mean_dice": [0.1, 0.2]}
    history = History("run", ["background", "tumour"], {name: np.array(values) for name, values in columns.items()})
    own = history.of_head("hgg", ["hgg", "mets"], ["background", "edema"])
    assert {name: list(values) for name, values in own.columns.items()} == {
        "epoch": [1, 2],
        "phase": [1, 1],
        "loss": [2, 1],
        "val_mean_dice": [0.5, 0.6],
    }
    assert own.classes == ["background", "edema"]
    assert history.of_head("segmentation", ["segmentation"]) is history  # of a single head columns have no name before them


def test_columns_of_heads_that_begin_alike_are_kept_apart():
    columns = {"epoch": [1], "hgg_mean_dice": [0.1], "hgg_mets_mean_dice": [0.2], "val_hgg_mets_mean_dice": [0.3]}
    history = History("run", ["background"], {name: np.array(values) for name, values in columns.items()})
    heads = ["hgg", "hgg_mets"]
    assert history.of_head("hgg", heads).columns.keys() == {"epoch", "mean_dice"}
    assert history.of_head("hgg_mets", heads).columns == {"epoch": [1], "mean_dice": [0.2], "val_mean_dice": [0.3]}


def test_a_single_head_may_be_named_like_the_beginning_of_a_score():
    history = History("run", ["background"], {"epoch": np.array([1]), "mean_dice": np.array([0.4])})
    assert history.of_head("mean", ["mean"]) is history


def test_the_mean_of_seeds_ends_with_the_shortest():
    one = History("a", [], {"epoch": np.array([1.0, 2, 3]), "loss": np.array([3.0, 2, 1]), "accuracy": np.zeros(3)})
    other = History("b", [], {"epoch": np.array([1.0, 2]), "loss": np.array([1.0, 1])})
    mean = mean_history("ab", [one, other])
    assert mean.name == "ab"
    assert {name: list(values) for name, values in mean.columns.items()} == {"epoch": [1, 2], "loss": [2, 1.5]}


def test_the_mean_over_minutes_is_at_equal_times():
    one = History("a", [], {"epoch": np.array([1.0, 2, 3]), "minutes": np.array([1.0, 2, 3]), "loss": np.array([3.0, 2, 1])})
    other = History("b", [], {"epoch": np.array([1.0, 2]), "minutes": np.array([1.5, 2.5]), "loss": np.array([1.0, 0])})
    mean = mean_history("ab", [one, other], "minutes")
    assert list(mean.columns["minutes"]) == [1.5, 2.5]
    assert list(mean.columns["loss"]) == [1.75, 0.75]
