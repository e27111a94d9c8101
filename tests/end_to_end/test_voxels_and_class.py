"""A segmentation and a classification head on one trunk, from records to predictions, scores and post-processing."""

import csv

import numpy as np
import pytest

from common.files import read_json
from data_prep.records.folder import Records
from evaluation.inference.engines import load_engines
from evaluation.inference.ensemble import Classifiers, Ensemble, InferenceConfig
from training.run import Run

HEADS = ("--heads", '{"tumour": {}, "grade": {"kind": "classification"}}', "--monitor", "tumour_mean_dice")
UNET = ("--model.filters", 2, "--model.depth", 1)
VOLUMES = (*UNET, "--model.rank", 3, "--input.patch", "[8,8,8]", "--input.tumour_share", 0.5)
DEEPMEDIC = (
    *("--model.name", "deepmedic", "--model.filters", "[2,3]", "--model.factors", "[2]", "--model.hidden", "[4]"),
    *("--input.patch", "[14,14,14]", "--input.tumour_share", 0.5),
)
NETWORKS = {"unet": UNET, "unet3d": VOLUMES, "deepmedic": DEEPMEDIC}


@pytest.fixture(scope="module", params=list(NETWORKS))
def run(request, records, command, tmp_path_factory):
    out = tmp_path_factory.mktemp("both") / "run"
    words = ("--records", records, "--out", out, "--epochs", 1, "--steps_per_epoch", 3, "--input.batch_size", 4)
    done = command("training.train", *words, "--precision", "float32", *NETWORKS[request.param], *HEADS)
    assert done.status == 0, done.err
    return out


def test_a_case_has_a_mask_and_a_class(run, source, command, tmp_path):
    ids, out = tmp_path / "ids.txt", tmp_path / "out"
    ids.write_text("case_0\ncase_4\n")
    options = ("--cases", ids, "--overlays", "false")
    done = command("evaluation.predict", "--runs", run, "--source", source, "--out", out, *options)
    assert done.status == 0, done.err
    with (out / "classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(list(out.glob("*.nii.gz"))) == 2
    for row in rows:
        assert sum(float(row[f"probability {grade}"]) for grade in ("HGG", "LGG")) == pytest.approx(1, abs=1e-4)


def test_the_class_of_patches_is_weighed_by_their_tumour(run, records):
    """Every slice has the mean logits of the patches that hold it; with one patch a case, those of that patch."""
    opened, loaded = Records(records), Run(run)
    image = np.asarray(opened.shard(next(iter(opened.cases))).image)
    engines = list(load_engines([loaded]).values())
    found = Classifiers([loaded], engines, InferenceConfig(), "grade").probabilities(image)
    assert found.shape == (len(image), 2)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert Ensemble([loaded], engines, InferenceConfig(), "tumour").probabilities(image).shape == (*image.shape[:3], 4)


@pytest.mark.parametrize("run", ["unet", "unet3d"], indirect=True)  # slices and patches; DeepMedic's are patches, too
def test_both_heads_are_scored_drawn_and_tuned(run, records, command, tmp_path):
    done = command("evaluation.score", "--run", run, "--records", records, "--subset", "train", "--out", tmp_path / "scores")
    assert done.status == 0, done.err
    assert read_json(tmp_path / "scores" / "grade" / "classification_scores.json", "scores")["head"] == "grade"
    assert (tmp_path / "scores" / "tumour" / "summary.csv").is_file()
    done = command("evaluation.plots", "--runs", run, "--out", tmp_path / "figures")
    assert done.status == 0, done.err
    done = command("evaluation.tune", "--runs", run, "--thresholds", "[0.4]", "--least_voxels", "[10]")
    assert done.status == 0, done.err
    assert (run / "postprocess.yaml").is_file()


@pytest.mark.parametrize("run", ["unet"], indirect=True)
def test_a_class_is_nothing_to_tune(run, command):
    done = command("evaluation.tune", "--runs", run, "--head", "grade")
    assert (done.status, done.errors) == (2, [f"error: --head: {run}: expected one of tumour; received grade"])
