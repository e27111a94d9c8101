import json
import re
import shutil

import numpy as np
import pytest

from common import cli
from common.exit_status import USER_ERROR
from common.files import read_json, read_yaml, write_yaml
from data_prep import make_records
from data_prep.labels import LabelSchema
from data_prep.prepare import PrepareConfig
from evaluation.figures import gradcam as figures_gradcam
from evaluation.figures import overlay
from evaluation.figures import runs as figures_runs
from evaluation.figures import scores as figures_scores
from evaluation.figures import volume as figures_volume
from evaluation.outputs import FILE
from evaluation.plots import PlotsConfig, main
from tests import scans
from tests.evaluation.figures.test_runs import write_run
from tests.evaluation.scores.test_folder import write_made, write_records
from tests.training.runs import write_facts

SCHEMA = LabelSchema.load("brats2017-2021")


@pytest.fixture
def cases():
    return [scans.scan(f"case_{name}", seed, (20, 18, 12)) for seed, name in enumerate("ab")]


@pytest.fixture
def brats(tmp_path, cases):
    return scans.write_brats(tmp_path / "source", cases)


def run(*arguments):
    cli.run(main, PlotsConfig, [str(argument) for argument in arguments])


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != FILE)


def test_runs_give_learning_curves(tmp_path, capsys):
    runs = [write_run(tmp_path / name) for name in ("model1", "model2")]
    run("--runs", *runs, "--out", tmp_path / "out")
    expected = [f"learning_curves_{score}.{suffix}" for score in ("dice", "iou") for suffix in ("csv", "pdf", "png")]
    assert names(tmp_path / "out") == expected
    printed = capsys.readouterr().out.splitlines()
    assert sorted(printed) == sorted(f"wrote {tmp_path / 'out' / name}" for name in expected)


def test_runs_are_called_by_names_or_folders(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(
        figures_runs, "draw_learning_curves", lambda path, histories, curves: called.append([h.name for h in histories]) or []
    )
    runs = [write_run(tmp_path / name / "run") for name in "ab"]
    run("--runs", *runs, "--out", tmp_path / "out")
    run("--runs", *runs, "--names", "Model 1", "Model 2", "--out", tmp_path / "out")
    assert called == [["a/run", "b/run"]] * 2 + [["Model 1", "Model 2"]] * 2


def test_scores_of_runs_and_of_predictions_share_figures(tmp_path, monkeypatch):
    write_records(tmp_path / "model1" / "scores_test")
    write_made(tmp_path / "predictions", 0, schema=LabelSchema.load("brats2023"))
    folders = ("--scores", tmp_path / "model1" / "scores_test", tmp_path / "predictions")
    run(*folders, "--out", tmp_path / "out")
    scores = ("dice", "hd95", "iou", "precision", "sensitivity")
    assert names(tmp_path / "out") == [f"class_scores_{score}.{end}" for score in scores for end in ("csv", "pdf", "png")]
    called = []
    monkeypatch.setattr(
        figures_scores, "draw_scores", lambda path, models, metric: called.append([m.name for m in models]) or []
    )
    run(*folders, "--out", tmp_path / "out")
    run(*folders, "--names", "one", "two", "--out", tmp_path / "out")
    assert called == [["model1", "predictions"]] * 5 + [["one", "two"]] * 5


def test_runs_of_several_kinds_are_refused_in_a_line(tmp_path, capsys):
    runs = [write_run(tmp_path / "voxels"), write_run(tmp_path / "grade", kind="classification")]
    with pytest.raises(SystemExit):
        run("--runs", *runs, "--out", tmp_path / "out")
    (line,) = capsys.readouterr().err.splitlines()
    assert "expected runs of one kind in a figure" in line
    assert "voxels (segmentation) and grade (classification)" in line


def test_the_folder_of_a_cross_validation_gives_the_curves_of_its_folds(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(
        figures_runs, "draw_learning_curves", lambda path, histories, curves: called.append([h.name for h in histories]) or []
    )
    for fold in range(2):
        write_run(tmp_path / "cv" / f"fold{fold}")
    run("--runs", tmp_path / "cv", "--out", tmp_path / "out")
    assert called == [["fold0", "fold1"]] * 2


def test_runs_that_augment_give_a_panel_each(trained, records, tmp_path, monkeypatch):
    monkeypatch.setattr(figures_runs, "draw_learning_curves", lambda *arguments: [])
    runs = [shutil.copytree(trained, tmp_path / name) for name in ("plain", "model1", "model2")]
    for folder in runs[1:]:
        settings = read_yaml(folder / "config.yaml", "config")
        settings["augment"]["probability"] = 0.5
        write_yaml(folder / "config.yaml", settings)
    run("--runs", *runs[:2], "--records", records, "--out", tmp_path / "out")
    run("--runs", runs[2], "--records", records, "--out", tmp_path / "one")
    found = [name for out in ("out", "one") for name in names(tmp_path / out) if name.startswith("augmentation")]
    assert found == ["augmentation_model1.pdf", "augmentation_model1.png", "augmentation.pdf", "augmentation.png"]


def test_figures_of_another_model_are_not_overwritten(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(figures_runs, "draw_learning_curves", lambda *arguments: [])
    other = shutil.copytree(trained, tmp_path / "other")
    for _ in range(2):
        run("--runs", trained, "--out", tmp_path / "out")
    with pytest.raises(SystemExit):
        run("--runs", other, "--out", tmp_path / "out")
    assert f"error: {tmp_path / 'out'}: holds learning curves of run {trained}; choose another" in capsys.readouterr().err


def test_figures_of_a_run_and_other_records_are_left_out(trained, records, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(figures_runs, "draw_learning_curves", lambda *arguments: [])
    copy = shutil.copytree(trained, tmp_path / "run")
    write_facts(copy, read_json(copy / "run.json", "run") | {"channels": ["pet"]})
    run("--runs", copy, "--records", records, "--out", tmp_path / "out")
    assert names(tmp_path / "out") == ["class_frequencies.csv", "class_frequencies.pdf", "class_frequencies.png"]
    assert "trained on channels ['pet']" in capsys.readouterr().out


def test_a_classifier_gives_curves_and_grad_cam(classified, records, tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(
        figures_gradcam, "draw_gradcam", lambda path, rows, title, aspect: titles.append((rows, title)) or [path]
    )
    run("--runs", classified, "--records", records, "--out", tmp_path / "out")
    assert {"learning_curves.pdf", "learning_curves.png"} <= set(names(tmp_path / "out"))
    ((rows, title),) = titles
    assert "weights before training: random initialisation" in " ".join(title.split())
    assert 0 < len(rows) <= 6
    for words, image, heat in rows:
        assert re.fullmatch(r"case_\d, slice \d: (HGG|LGG)\npredicted (HGG|LGG), probability (0\.[5-9]\d|1\.00)", words)
        assert image.shape == heat.shape == (16, 16)
        assert 0 <= heat.min() <= heat.max() <= 1


def test_records_give_class_frequencies(tmp_path, cases, brats, monkeypatch):
    options = {
        "source": brats,
        "out": tmp_path / "records",
        "workers": 1,
        "prepare.size": "[12, 18, 20]",
        "split.fractions": "[1, 0, 0]",
    }
    cli.run(make_records.main, make_records.MakeRecordsConfig, [f"--{name}={value}" for name, value in options.items()])
    drawn = []
    monkeypatch.setattr(figures_runs, "draw_class_frequencies", lambda *arguments: drawn.append(arguments) or [])
    run("--records", tmp_path / "records", "--out", tmp_path / "out")
    (path, voxels, count) = drawn[0]
    labels = np.stack([case.label for case in cases])
    assert voxels == {name: int((labels == ids[0]).sum()) for name, ids in SCHEMA.classes.items()}
    assert (path, count) == (tmp_path / "out" / "class_frequencies", 2)


def test_a_scan_gives_mosaic_and_crop_and_with_predictions_an_overlay(tmp_path, cases, brats, monkeypatch, capsys):
    predictions = tmp_path / "p"
    scans.save(predictions / "case_b.nii.gz", cases[1].label)
    manifest = {"format": 1, "runs": [], "schema": SCHEMA.to_dict(), "cases": ["case_b"]}
    (predictions / "predictions.json").write_text(json.dumps(manifest))
    options = ("--source", brats, "--case", "case_b", "--channel", "t2", "--predictions", predictions)
    run(*options, "--out", tmp_path / "out")  # nothing says how the case would be cropped
    assert names(tmp_path / "out") == ["mosaic_case_b.pdf", "mosaic_case_b.png", "overlay_case_b.png"]
    assert "its crop is that of --records or --runs, which are not given" in capsys.readouterr().out
    monkeypatch.setattr(figures_runs, "draw_learning_curves", lambda *arguments: [])
    model = write_run(tmp_path / "model1")
    write_yaml(model / "preparation.yaml", cli.as_dict(PrepareConfig(size=(8, 10, 12))))
    run(*options, "--runs", model, "--out", tmp_path / "out")
    expected = ["crop_case_b.pdf", "crop_case_b.png", "mosaic_case_b.pdf", "mosaic_case_b.png", "overlay_case_b.png"]
    assert names(tmp_path / "out") == expected
    run(*options, "--runs", model, "--ids", "false", "--out", tmp_path / "nameless")
    assert names(tmp_path / "nameless") == [name.replace("_case_b", "") for name in expected]


def test_several_predictions_stand_beside_each_other_under_their_names(tmp_path, cases, brats, monkeypatch):
    folders = [tmp_path / name for name in ("model1", "model2")]
    for shift, folder in enumerate(folders):
        scans.save(folder / "case_b.nii.gz", np.roll(cases[1].label, shift, axis=0))
    options = ("--source", brats, "--case", "case_b", "--predictions", *folders, "--labels", SCHEMA.name)
    for other in ("draw_mosaic", "draw_crop"):
        monkeypatch.setattr(figures_volume, other, lambda *arguments: [])
    run(*options, "--out", tmp_path / "out")
    assert names(tmp_path / "out") == ["models_case_b.pdf", "models_case_b.png"]
    drawn = []
    monkeypatch.setattr(overlay, "draw_models", lambda path, image, truth, predictions, *_: drawn.append(predictions) or [])
    run(*options, "--out", tmp_path / "out")
    run(*options, "--names", "Model 1", "Model 2", "--out", tmp_path / "out")
    assert [list(predictions) for predictions in drawn] == [["model1", "model2"], ["Model 1", "Model 2"]]
    assert not np.array_equal(*drawn[0].values())


def test_the_runs_preparation_decides_the_crop(tmp_path, brats, monkeypatch):
    sizes = []
    monkeypatch.setattr(figures_runs, "draw_learning_curves", lambda *arguments: [])
    monkeypatch.setattr(figures_volume, "draw_mosaic", lambda *arguments: [])
    monkeypatch.setattr(figures_volume, "draw_crop", lambda *arguments: sizes.append(arguments[3].size) or [])
    model = write_run(tmp_path / "model1")
    write_yaml(model / "preparation.yaml", cli.as_dict(PrepareConfig(size=(8, 10, 12))))
    run("--runs", model, "--source", brats, "--out", tmp_path / "out")
    assert [tuple(size) for size in sizes] == [(8, 10, 12)]


def test_a_scan_without_annotation_gives_the_mosaic_alone_and_says_so(tmp_path, cases, capsys):
    cases[0].label = None
    brats = scans.write_brats(tmp_path / "source", cases[:1])
    run("--source", brats, "--out", tmp_path / "out")
    assert names(tmp_path / "out") == ["mosaic_case_a.pdf", "mosaic_case_a.png"]
    assert "no annotation" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "give at least one of --runs, --scores, --records, --source"),
        (("--scores", "SOURCE"), "expected scores.json in it or in its scores"),
        (
            ("--runs", "RUN1", "RUN2", "--names", "x"),
            "--names: expected 2 different names; received x; give one for each of --runs",
        ),
        (("--source", "SOURCE", "--predictions", "a", "a"), "--predictions: expected different folders"),
        (("--case", "case_a", "--runs", "x"), "give --source as well"),
        (("--runs", "nowhere"), "expected a run"),
        (("--source", "SOURCE", "--case", "case_z"), "expected --case to be one of its 2 cases"),
        (("--source", "SOURCE", "--channel", "pet"), "expected --channel to be one of flair, t1, t1ce, t2; received pet"),
        (("--source", "SOURCE", "--predictions", "SOURCE"), "case_a.nii.gz: file not found"),
    ],
)
def test_mistakes_are_told_in_a_line(tmp_path, brats, capsys, arguments, told):
    places = {"SOURCE": brats} | {name: write_run(tmp_path / name) for name in ("RUN1", "RUN2")}
    words = [str(places.get(word, word)) for word in arguments]
    with pytest.raises(SystemExit) as stopped:
        run(*words, "--out", tmp_path / "out")
    assert stopped.value.code == USER_ERROR
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert told in lines[0]


def test_a_prediction_of_another_shape_is_refused(tmp_path, brats, capsys):
    scans.save(tmp_path / "p" / "case_a.nii.gz", np.zeros((3, 3, 3), np.int16))
    with pytest.raises(SystemExit):
        run("--source", brats, "--predictions", tmp_path / "p", "--out", tmp_path / "out")
    assert "expected the shape (20, 18, 12) of case case_a" in capsys.readouterr().err
