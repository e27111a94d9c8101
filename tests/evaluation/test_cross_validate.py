"""Cross-validation: every case is predicted by the run that has not seen it, and what is done is not done again.

The commands that it calls run in this process, which saves a start of Python and TensorFlow for each; that a process is started
and its failure told is tested by itself.
"""

import csv
import json
import shutil

import pytest
import yaml

from common.errors import UserError
from common.files import read_lines, write_json
from data_prep.records.folder import Records
from evaluation import cross_validate as module
from evaluation.experiments import runner
from training.heads.classification import ClassificationHead
from training.run import Run
from training.run_facts import FORMAT

TINY = """\
model: {name: unet, filters: 2, depth: 1}
precision: float32
input: {batch_size: 4}
steps_per_epoch: 1
epochs: 3
"""
NAME = "evaluation.cross_validate"


CALL = runner.call  # which the tests replace


class Killed(Exception):
    """In the place of a power cut."""


@pytest.fixture(scope="module")
def options(records, tmp_path_factory):
    """What every cross-validation here is told."""
    config = tmp_path_factory.mktemp("config") / "tiny.yaml"
    config.write_text(TINY)
    return ("--records", records, "--train", config, "--options", "epochs=1", "seed=3", "--flips", "x")


@pytest.fixture(scope="module")
def called(command):
    """The commands that were called, in order; they run in this process. `called.limit` kills before so many."""

    class Called(list):
        limit = None

        def __call__(self, name, arguments, *_):
            if self.limit is not None and len(self) >= self.limit:
                raise Killed
            self.append(name)
            done = command(name, *arguments)
            assert done.status == 0, done.err
            return 0

    calls = Called()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "call", calls)
        yield calls


@pytest.fixture
def fresh(called):
    called.clear()
    called.limit = None
    return called


@pytest.fixture(scope="module")
def validated(called, command, options, tmp_path_factory):
    """A cross-validation over two folds that was killed when its first fold was trained, and called again."""
    out = tmp_path_factory.mktemp("cv") / "out"
    called.limit = 1
    with pytest.raises(Killed):
        command(NAME, *options, "--out", out)
    called.limit = None
    first = Run(out / "fold0").weights.stat().st_mtime_ns
    done = command(NAME, *options, "--out", out)
    assert done.status == 0, done.err
    assert Run(out / "fold0").weights.stat().st_mtime_ns == first
    assert list(called) == ["training.train"] * 2 + ["evaluation.predict"] * 2 + ["evaluation.score"]
    return out


def test_every_case_is_predicted_once_by_the_run_of_its_fold(validated, records):
    opened = Records(records)
    seen = []
    for fold in (0, 1):
        run, folder = Run(validated / f"fold{fold}"), validated / f"fold{fold}" / "predictions"
        assert run.metadata["fold"] == fold
        manifest = json.loads((folder / "predictions.json").read_text())
        assert manifest["cases"] == sorted(opened.subset("validation", fold))
        assert set(manifest["cases"]).isdisjoint(opened.subset("train", fold))
        assert manifest["runs"] == [str(run.path.resolve())]
        assert manifest["flips"] == ["x"]
        seen += manifest["cases"]
        for case in manifest["cases"]:
            files = [path / f"{case}.nii.gz" for path in (folder, validated / "predictions")]
            assert files[0].read_bytes() == files[1].read_bytes()
            assert (validated / "predictions" / "overlays" / f"{case}.png").is_file()
    assert sorted(seen) == sorted({case for fold in (0, 1) for case in opened.subset("validation", fold)})
    assert len(seen) == len(set(seen)) == 4


def test_the_options_reach_the_training(validated):
    for fold in (0, 1):
        config = Run(validated / f"fold{fold}").config
        assert (config.epochs, config.seed, config.fold, config.model.filters) == (1, 3, fold, 2)


def test_the_predictions_of_all_folds_are_one(validated):
    manifest = json.loads((validated / "predictions" / "predictions.json").read_text())
    both = [json.loads((validated / f"fold{fold}" / "predictions" / "predictions.json").read_text()) for fold in (0, 1)]
    assert manifest["cases"] == sorted(both[0]["cases"] + both[1]["cases"])
    assert manifest["runs"] == both[0]["runs"] + both[1]["runs"]
    assert manifest["cross_validation"].startswith("2 folds by patient")
    assert manifest["schema"] == both[0]["schema"]
    assert read_lines(validated / "fold1.txt", "list") == both[1]["cases"]


def test_all_cases_are_scored(validated):
    manifest = json.loads((validated / "predictions" / "predictions.json").read_text())
    tables = list((validated / "predictions" / "scores").glob("*.csv"))
    assert tables
    rows = [row for table in tables for row in csv.reader(table.read_text().splitlines()) if row]
    assert set(manifest["cases"]) <= {cell for row in rows for cell in row}


def test_a_second_call_trains_and_predicts_nothing_again(validated, command, options, fresh):
    weights = [Run(validated / f"fold{fold}").weights.read_bytes() for fold in (0, 1)]
    left = [validated / name for name in (".tmp12.settings.yaml", "predictions/overlays/.tmp12.a.png", "figures/.tmp1.a.png")]
    for path in left:  # by a call that was killed
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert command(NAME, *options, "--out", validated).status == 0
    assert not any(path.exists() for path in left)
    assert list(fresh) == ["evaluation.score"]
    assert weights == [Run(validated / f"fold{fold}").weights.read_bytes() for fold in (0, 1)]


def test_a_fold_that_diverged_is_reported_and_the_others_are_trained(validated, command, options, fresh, tmp_path):
    out = shutil.copytree(validated, tmp_path / "out")
    Run(out / "fold0").set_status("diverged", ended="loss", diverged="in epoch 3 (loss nan)")
    Run(out / "fold1").set_status("stopped", ended=None)
    done = command(NAME, *options, "--out", out)
    assert (done.status, list(fresh)) == (2, ["training.train"])
    assert done.errors[0].startswith("error: fold 0: its training diverged in epoch 3 (loss nan); delete ")
    assert Run(out / "fold1").metadata["status"] == "finished"


def test_a_fold_that_was_stopped_goes_on(validated, command, options, fresh, tmp_path):
    out = shutil.copytree(validated, tmp_path / "out")
    Run(out / "fold1").set_status("stopped", ended=None)
    shutil.rmtree(out / "fold1" / "predictions")
    assert command(NAME, *options, "--out", out).status == 0
    assert list(fresh) == ["training.train", "evaluation.predict", "evaluation.score"]
    assert Run(out / "fold1").metadata["status"] == "finished"


def test_a_fold_that_patience_has_ended_is_done(validated, command, options, fresh, tmp_path):
    out = shutil.copytree(validated, tmp_path / "out")
    fold = Run(out / "fold1")
    text = (fold.path / "config.yaml").read_text()
    (fold.path / "config.yaml").write_text(
        text.replace("\nepochs: 1\n", "\nepochs: 9\n").replace("patience: null", "patience: 1")
    )
    done = command("training.train", "--resume", fold.path)
    assert done.status == 0, done.err
    if "no better validation" not in done.out:
        pytest.fail("expected patience to end the training")
    epochs = Run(fold.path).metadata["epoch"]
    assert command(NAME, *options, "--out", out).status == 0
    assert Run(fold.path).metadata["epoch"] == epochs


def test_classifications_of_all_folds_are_scored_together(called, fresh, command, options, monkeypatch, tmp_path):
    """Classifiers take long to build: which functions are called for which fold is what matters here."""
    from evaluation.heads import classification
    from evaluation.scores import classification_run

    asked, head = [], ClassificationHead("classification", "grade", {"HGG": ["HGG"], "LGG": ["LGG"]})

    def train(training):
        asked.append(("train", training.folder.name))
        heads = {head.name: head.metadata()}
        write_json(training.folder / "run.json", {"format": FORMAT, "heads": heads, "ended": "epochs"})
        return 0

    monkeypatch.setattr(runner, "train", train)
    monkeypatch.setattr(
        classification_run,
        "score_run",
        lambda run, records, subset, size, head: asked.append((run.name, subset, head)) or run.name,
    )
    monkeypatch.setattr(classification_run, "merge_runs", lambda parts: parts)
    monkeypatch.setattr(classification, "report", lambda folder, scored: asked.append((folder.name, tuple(scored))))
    (tmp_path / "classify.yaml").write_text("epochs: 1\n")
    options = ("--records", options[1], "--train", tmp_path / "classify.yaml")
    assert command(NAME, *options, "--command", "classify", "--out", tmp_path / "out").status == 0
    assert asked == [
        *(("train", "fold0"), ("train", "fold1"), *((fold, "validation", head.name) for fold in ("fold0", "fold1"))),
        ("scores", ("fold0", "fold1")),
    ]
    assert not fresh


def test_records_without_folds_are_refused(records, command, options, fresh, tmp_path):
    copy = shutil.copytree(records, tmp_path / "records")
    write_json(copy / "dataset.json", json.loads((copy / "dataset.json").read_text()) | {"folds": []})
    done = command(NAME, *options, "--records", copy, "--out", tmp_path / "out")
    assert done.errors == [f"error: {copy}: expected records with folds; build them by make_records --split.folds 4"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("word", ["epochs", "epochs:3", "--epochs=3"])
def test_a_wrong_option_is_refused(command, options, fresh, tmp_path, word):
    done = command(NAME, *options, f'--options=["seed=1", "{word}"]', "--out", tmp_path / "out")
    assert done.errors == [f"error: --options: expected settings such as epochs=10; received {word}"]
    assert not fresh


def test_a_missing_config_is_refused(command, options, fresh, tmp_path):
    done = command(NAME, *options, "--train", tmp_path / "none.yaml", "--out", tmp_path / "out")
    assert (done.status, len(done.errors)) == (2, 1)
    assert "none.yaml" in done.errors[0]


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("epoch=1", "unrecognized arguments: --epoch=1"),
        ("epochs=0", "--epochs: expected at least 1; received 0"),
        ("fold=1", "--options: fold=1: is given by the cross-validation itself; leave it out"),
    ],
)
def test_options_that_the_training_would_refuse_leave_no_folder(command, options, fresh, tmp_path, word, told):
    done = command(NAME, *options, "--options", word, "--out", tmp_path / "out")
    assert done.status == 2
    assert told in done.errors[0]
    assert not (tmp_path / "out").exists()
    assert not fresh


def test_settings_may_change_until_a_fold_was_begun(called, command, options, fresh, tmp_path):
    out = tmp_path / "out"
    called.limit = 0
    with pytest.raises(Killed):
        command(NAME, *options, "--out", out)
    with pytest.raises(Killed):
        command(NAME, *options, "--options", "epochs=2", "--out", out)
    assert yaml.safe_load((out / "cross_validation.yaml").read_text())["options"] == ["epochs=2"]
    write_json(out / "fold0" / "run.json", {})
    done = command(NAME, *options, "--out", out)
    assert done.errors == [f"error: {out}: was begun with another --options; choose another --out"]


def test_postprocessing_is_checked_before_anything_is_made(command, options, fresh, tmp_path):
    done = command(NAME, *options, "--postprocess", tmp_path / "none.yaml", "--out", tmp_path / "out")
    assert (done.status, len(done.errors)) == (2, 1)
    assert not (tmp_path / "out").exists()


def test_a_command_that_fails_ends_the_cross_validation(tmp_path, capfd, monkeypatch):
    """A process of its own, whose error stands above ours."""
    monkeypatch.setattr(runner, "call", CALL)
    with pytest.raises(UserError, match=r"-m data_prep\.check: failed with status 2; the same command goes on from here"):
        module._call("data_prep.check", "--source", tmp_path / "nowhere")
    assert "nowhere" in capfd.readouterr().err


def test_records_may_move_but_not_become_others(called, command, options, fresh, records, tmp_path):
    out, moved = tmp_path / "out", shutil.copytree(records, tmp_path / "moved")
    called.limit = 0
    with pytest.raises(Killed):
        command(NAME, *options, "--out", out)
    write_json(out / "fold0" / "run.json", {"format": FORMAT})
    with pytest.raises(Killed):  # it goes on with the first fold
        command(NAME, *options, "--records", moved, "--out", out)
    dataset = moved / "dataset.json"
    dataset.write_text(dataset.read_text().replace('"case_0"', '"case_9"'))
    done = command(NAME, *options, "--records", moved, "--out", out)
    assert done.errors == [f"error: {out}: was begun with another --records; choose another --out"]
