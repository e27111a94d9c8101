"""Channels that cases lack: left out of a training, or one network with channel dropout for every subset."""

import json

import nibabel
import numpy as np
import pytest

from data_prep.records.folder import Records
from tests.conftest import learnable
from tests.scans import write_brats
from tests.training.runs import SHORT, TOY
from training.data.division import cases_lacking_channels, divide_cases
from training.run import Run

LACKING = {"case_1": ["t2"], "case_3": ["t1", "t2"]}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Four patients, of which two lack channels."""
    made = [learnable(f"case_{number}", seed=number) for number in range(4)]
    for each in made:
        for name in LACKING.get(each.id, []):
            del each.images[name]
    return write_brats(tmp_path_factory.mktemp("scans"), made)


@pytest.fixture(scope="module")
def records(source, command, tmp_path_factory):
    out = tmp_path_factory.mktemp("records") / "all"
    split = ("--split.fractions", "[0.5,0.5,0]", "--prepare.size", "[8,16,16]", "--workers", 1)
    done = command("data_prep.make_records", "--source", source, "--out", out, "--missing_channels", "zero", *split)
    assert done.status == 0, done.err
    return out


@pytest.fixture(scope="module")
def run(records, command, tmp_path_factory):
    """A network that was trained with channel dropout, on all cases."""
    out = tmp_path_factory.mktemp("run") / "run"
    options = (*TOY, *SHORT, "--epochs", 1, "--input.channel_dropout", 0.5)
    done = command("training.train", "--records", records, "--out", out, *options)
    assert done.status == 0, done.err
    assert "left out" not in done.out
    assert "2 training cases" in done.out
    return out


def test_cases_that_lack_a_channel_are_left_out_without_dropout(records, run):
    opened, config = Records(records), Run(run).config
    assert {case: sorted(opened.cases[case].missing) for case in LACKING} == LACKING
    assert cases_lacking_channels(opened, config) == {}
    config.input.channel_dropout = 0.0
    assert cases_lacking_channels(opened, config) == LACKING
    assert {case for side in divide_cases(opened, config) for case in side} == {"case_0", "case_2"}
    config.input.channels = ["flair", "t1"]
    assert cases_lacking_channels(opened, config) == {"case_3": ["t1"]}


def test_a_training_says_what_it_leaves_out(records, command, tmp_path):
    few = ("--epochs", 1, "--input.channels", '["t1"]', "--input.batch_size", 2)
    done = command("training.train", "--records", records, "--out", tmp_path / "run", *TOY, *SHORT, *few)
    assert done.status == 0, done.err
    (line,) = [line for line in done.out.splitlines() if line.startswith("left out:")]
    assert line == f"left out: 1 validation case of {records} that lack t1; --input.channel_dropout trains with channels absent"


def test_a_network_for_every_subset_predicts_what_there_is_and_scores_each_subset(run, source, command, tmp_path):
    done = command("evaluation.predict", "--runs", run, "--source", source, "--out", tmp_path / "all")
    assert done.status == 0, done.err
    manifest = json.loads((tmp_path / "all" / "predictions.json").read_text())
    every = ["flair", "t1", "t1ce", "t2"]
    assert manifest["channels"] == {
        f"case_{number}": [name for name in every if name not in LACKING.get(f"case_{number}", [])] for number in range(4)
    }
    scored = command("evaluation.score", "--predictions", tmp_path / "all", "--source", source)
    assert scored.status == 0, scored.err
    lines = scored.out.splitlines()
    assert "By the channels that cases had: 3 subsets; mean over patients" in lines
    assert any(line.startswith("flair t1 t1ce t2") and line.split()[4] == "2" for line in lines)
    facts = json.loads((tmp_path / "all" / "scores" / "scores.json").read_text())["channel_subsets"]
    assert {tuple(each["channels"]): each["patients"] for each in facts} == {
        ("flair", "t1ce"): ["case_3"],
        ("flair", "t1", "t1ce"): ["case_1"],
        tuple(every): ["case_0", "case_2"],
    }


def test_some_channels_alone_may_be_used(run, source, command, tmp_path):
    found = {}
    (tmp_path / "ids.txt").write_text("case_0\n")
    for channels in (["t1"], ["t1", "t2"]):
        out = tmp_path / "_".join(channels)
        options = ("--channels", *channels, "--cases", tmp_path / "ids.txt", "--probabilities", "true", "--overlays", "false")
        done = command("evaluation.predict", "--runs", run, "--source", source, "--out", out, *options)
        assert done.status == 0, done.err
        found[len(channels)] = np.asarray(nibabel.load(out / "case_0_probabilities.nii.gz").dataobj)
        assert json.loads((out / "predictions.json").read_text())["channels"] == {"case_0": channels}
    assert np.abs(found[1] - found[2]).max() > 1e-5
    other = command("evaluation.predict", "--runs", run, "--source", source, "--out", tmp_path / "t1")
    assert "used_channels" in other.errors[0]
