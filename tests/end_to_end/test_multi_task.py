"""Multi-task networks from records to scores: a head per tumour type, each in a predictions folder of its own."""

import csv

import numpy as np
import pytest

from training.run import Run

DEEPMEDIC = (
    *("--model.name", "deepmedic", "--model.filters", "[2,3]", "--model.factors", "[2]", "--model.hidden", "[4]"),
    *("--input.patch", "[14,14,14]", "--input.tumour_share", 0.5, "--optimizer.name", "rmsprop"),
)
NETWORKS = {"unet": ("--model.filters", 2, "--model.depth", 1), "deepmedic": DEEPMEDIC}
HEADS = ("--heads", '{"hgg": {}, "mets": {}}', "--monitor", "mean_dice", "--loss_weighting", "uncertainty")


@pytest.fixture(scope="module", params=list(NETWORKS))
def run(request, records, command, tmp_path_factory):
    """A network of two heads, each annotated by one of two records folders, three parts of the batches from the first."""
    out = tmp_path_factory.mktemp("multi") / "run"
    entries = f'[{{"path": "{records}", "share": 3, "heads": ["hgg"]}}, {{"path": "{records}", "share": 1, "heads": ["mets"]}}]'
    words = ("--records", entries, "--out", out, "--epochs", 1, "--steps_per_epoch", 3, "--input.batch_size", 4)
    done = command("training.train", *words, "--precision", "float32", *NETWORKS[request.param], *HEADS)
    assert done.status == 0, done.err
    return out


@pytest.fixture(scope="module")
def predictions(run, source, command):
    """Predictions of two cases; DeepMedic's without pictures, which do not depend on the network's kind."""
    out, pictures = run.parent / "predictions", Run(run).config.model.name == "unet"
    (run.parent / "ids.txt").write_text("case_0\ncase_4\n")
    options = ("--cases", run.parent / "ids.txt", "--overlays", str(pictures).lower())
    done = command("evaluation.predict", "--runs", run, "--source", source, "--out", out, *options)
    assert done.status == 0, done.err
    return out


def test_each_head_is_scored_in_training(run):
    with (run / "history.csv").open() as file:
        (row,) = csv.DictReader(file)
    mean = np.mean([float(row[f"val_{head}_mean_dice"]) for head in ("hgg", "mets")])
    assert float(row["val_mean_dice"]) == pytest.approx(mean, abs=1e-6)
    losses = [float(row[f"val_{head}_loss"]) for head in ("hgg", "mets")]
    if Run(run).config.model.name == "unet":  # the loss of the other network has penalties on its kernels
        assert float(row["val_loss"]) == pytest.approx(np.mean(losses), rel=1e-4)  # half of the batches are annotated for each
    assert not any("annotated" in name for name in row)
    assert list(Run(run).heads) == ["hgg", "mets"]


@pytest.mark.parametrize("run", ["unet"], indirect=True)  # nothing of this depends on the network's kind
def test_each_head_has_predictions_that_can_be_scored(run, predictions, source, command):
    cases = sorted(path.name for path in (predictions / "hgg").glob("*.nii.gz"))
    assert cases == ["case_0.nii.gz", "case_4.nii.gz"]
    for folder in ("mets", "chosen"):
        assert sorted(path.name for path in (predictions / folder).glob("*.nii.gz")) == cases
    for folder in ("hgg", "mets", "chosen"):
        done = command("evaluation.score", "--predictions", predictions / folder, "--source", source)
        assert done.status == 0, done.err


@pytest.mark.parametrize("run", ["unet"], indirect=True)  # nothing of this depends on the network's kind
def test_finished_cases_of_all_heads_are_kept(run, predictions, source, command):
    files = {path: path.stat().st_mtime_ns for path in predictions.glob("*/*.nii.gz")}
    cases = len(files) // 3
    ids = ("--cases", run.parent / "ids.txt")
    again = ("evaluation.predict", "--runs", run, "--source", source, "--out", predictions, *ids)
    done = command(*again)
    assert done.out == f"{predictions}: {cases} of {cases} cases there already; --overwrite true predicts anew\n"
    lost = sorted(files)[0]  # of the folder chosen
    rows = (predictions / "heads.csv").read_text()
    lost.unlink()
    assert f"{cases - 1} of {cases} cases there already" in command(*again).out
    assert {path for path, written in files.items() if path.stat().st_mtime_ns != written} == {
        predictions / folder / lost.name for folder in ("hgg", "mets", "chosen")
    }
    assert (predictions / "heads.csv").read_text() == rows


def test_the_rule_that_chose_each_head_is_written(predictions):
    with (predictions / "heads.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        chosen, other = row["head"], "mets" if row["head"] == "hgg" else "hgg"
        if row["rule"] == "most confident":
            assert float(row[f"confidence_{chosen}"]) >= float(row[f"confidence_{other}"])
        else:
            assert row["rule"].lower().endswith(f"is {chosen}")
        name = f"{row['case']}.nii.gz"
        assert (predictions / "chosen" / name).read_bytes() == (predictions / chosen / name).read_bytes()


def test_heads_predict_together_what_they_predict_alone(run, predictions, source):
    from data_prep.prepare import prepare
    from data_prep.sources import open_source
    from evaluation.inference.engines import load_engines
    from evaluation.inference.ensemble import Ensemble, InferenceConfig, joint_probabilities

    opened = Run(run)
    engines = list(load_engines([opened]).values())
    ensembles = [Ensemble([opened], engines, InferenceConfig(), name) for name in ("hgg", "mets")]
    scans = open_source(source)
    image = prepare(scans.read(scans.cases()[0]), None, opened.preparation).image
    together = joint_probabilities(ensembles, image)
    for ensemble in ensembles:
        np.testing.assert_array_equal(together[ensemble.head], ensemble.probabilities(image))
    assert (together["hgg"] != together["mets"]).any()


def test_each_head_is_scored_on_records(run, records, command):
    """Both folders of this training hold the same cases, so these records annotate both heads."""
    done = command("evaluation.score", "--run", run, "--records", records, "--subset", "validation")
    assert done.status == 0, done.err
    assert {path.name for path in (run / "scores_validation").iterdir()} == {"hgg", "mets"}


@pytest.mark.parametrize("run", ["unet"], indirect=True)  # nothing of this depends on the network's kind
def test_each_head_has_learning_curves_of_its_own(run, command, tmp_path):
    done = command("evaluation.plots", "--runs", run, "--out", tmp_path)
    assert done.status == 0, done.err
    names = {path.name for path in tmp_path.glob("*.png")}
    assert names == {f"learning_curves_{score}_{head}.png" for score in ("iou", "dice") for head in ("hgg", "mets")}


def test_post_processing_is_chosen_for_each_head(run, command):
    few = ("--thresholds", "[0.4]", "--least_voxels", "[10]", "--region_voxels", "[]", "--replace_below", "[]")
    done = command("evaluation.tune", "--runs", run, *few)
    assert (done.status, done.errors) == (2, [f"error: --head: {run}: expected one of hgg, mets; received none"])
    done = command("evaluation.tune", "--runs", run, "--head", "mets", *few)
    assert done.status == 0, done.err
    assert {path.name for path in run.glob("postprocess*")} == {"postprocess_mets.yaml"}
    assert (run / "tune_mets.csv").is_file()
