"""A sweep: resumed equals uninterrupted, hopeless trials are stopped, and what is ranked is what was trained.

In most tests a stand-in takes the place of training.train: its scores follow from the trial's settings, an epoch at a time.
"""

import csv
import json
import shlex
import shutil
import sys

import pytest
import yaml

from common import cli, processes
from evaluation.experiments import runner
from evaluation.experiments.sweep import STATES
from tests.training.runs import TOY, history
from training.config import TrainConfig
from training.run import Run
from training.run_facts import FORMAT
from training.state.history import read_history

NAME = "evaluation.study"
EPOCHS, TRIALS = 3, 8
SPACE = {
    "model.dropout": {"low": 0.0, "high": 0.5},
    "model.l2": {"low": 1e-6, "high": 1e-2, "log": True},
    "model.filters": {"low": 8, "high": 32, "step": 8},
    "model.normalisation": ["none", "batch"],
    "input.size": [None, [16, 16]],
}
SWEEP = {"train": {"epochs": EPOCHS}, "trials": TRIALS, "seed": 3, "startup": 2, "space": {"model.dropout": [0.0, 0.1, 0.2]}}


class Killed(Exception):
    """In the place of a power cut."""


class Trainer:
    """In the place of training.train: writes a row of history an epoch and asks after each whether it is enough.

    Attributes:
        calls: (folder's name, whether it was resumed), in order.
        killed_after: (folder's name, epoch) after which a power cut comes, once.
        ends: folder's name -> status with which its training ends before its first epoch, once.
    """

    def __init__(self):
        self.calls, self.killed_after, self.ends = [], None, {}

    def __call__(self, name, arguments, log, should_stop):
        assert name == "training.train"
        given = dict(zip(map(str, arguments[::2]), map(str, arguments[1::2]), strict=True))
        folder = log.parents[2] / "trials" / log.stem
        self.calls.append((folder.name, "--resume" in given))
        log.write_text("$ python -m training.train\nerror: too deep\n")
        if folder.name in self.ends:
            return self.ends.pop(folder.name)
        folder.mkdir(parents=True, exist_ok=True)
        self._status(folder, None)
        return self._train(folder, yaml.safe_load(log.with_suffix(".yaml").read_text()), should_stop)

    def _train(self, folder, config, should_stop):
        rows = read_history(folder)
        while len(rows) < EPOCHS:
            epoch = len(rows) + 1
            score = 0.1 * epoch + 0.5 * config["model"]["dropout"] + 0.1 * (config["model"]["normalisation"] == "batch")
            rows.append(
                {"epoch": epoch, "minutes": 0.5 * epoch, "loss": 1 - score, "val_loss": 1 - score, "val_mean_iou": score}
            )
            lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
            (folder / "history.csv").write_text("\n".join(lines))
            if self.killed_after == (folder.name, epoch):
                self.killed_after = None
                raise Killed
            if should_stop():
                return 130
        self._status(folder, "epochs")
        return 0

    def _status(self, folder, ended):
        (folder / "run.json").write_text(json.dumps({"format": FORMAT, "command": "training.train", "ended": ended}))


@pytest.fixture
def trainer(monkeypatch):
    trainer = Trainer()
    monkeypatch.setattr(runner, "call", trainer)
    return trainer


@pytest.fixture(scope="module")
def sweep(command, records, tmp_path_factory):
    """`sweep(out, *options, **changes)`: call the study, with changes of its sweep."""
    file = tmp_path_factory.mktemp("config") / "sweep.yaml"

    def run(out, *options, **changes):
        file.write_text(yaml.safe_dump({"sweep": SWEEP | changes}))
        return command(NAME, "--config", file, "--records", records, "--out", out, *options)

    return run


def table(out):
    with (out / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def swept(sweep, tmp_path_factory):
    """A sweep that nothing has interrupted; to be read only."""
    out, trainer = tmp_path_factory.mktemp("sweeps") / "swept", Trainer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "call", trainer)
        done = sweep(out, space=SPACE)
    assert done.status == 0, done.err
    (out / "printed.txt").write_text(done.out)
    assert trainer.calls == [(f"{number:05d}", False) for number in range(TRIALS)]
    return out


def test_every_trial_is_in_the_table_ranked_by_its_score(swept):
    rows = table(swept)
    assert sorted(row["trial"] for row in rows) == [f"{number:05d}" for number in range(TRIALS)]
    finished = [row for row in rows if row["state"] == "finished"]
    pruned = [row for row in rows if row["state"] == "pruned"]
    assert rows == [*finished, *pruned]
    assert len(finished) >= SWEEP["startup"]
    assert pruned
    assert [row["rank"] for row in finished] == [str(place + 1) for place in range(len(finished))]
    for part in (finished, pruned):
        scores = [float(row["score"]) for row in part]
        assert scores == sorted(scores, reverse=True)
    assert {row["rank"] for row in pruned} == {""}


def test_trials_are_drawn_from_the_space(swept):
    for row in table(swept):
        config = yaml.safe_load((swept / "logs" / "trials" / f"{row['trial']}.yaml").read_text())
        assert 0 <= config["model"]["dropout"] == float(row["model.dropout"]) <= 0.5
        assert 1e-6 <= config["model"]["l2"] <= 1e-2
        assert config["model"]["filters"] in (8, 16, 24, 32)
        assert config["model"]["normalisation"] in SPACE["model.normalisation"]
        assert config["input"]["size"] in SPACE["input.size"]
        assert config["epochs"] == EPOCHS


def test_a_hopeless_trial_is_stopped_and_told(swept):
    printed = (swept / "printed.txt").read_text()
    for row in table(swept):
        epochs = len(read_history(swept / "trials" / row["trial"]))
        assert epochs == int(row["epochs"])
        assert (epochs < EPOCHS) == (row["state"] == "pruned")
        told = f"pruned; glioskull train --resume {swept / 'trials' / row['trial']} would resume it" in printed
        assert told == (row["state"] == "pruned")


def test_the_best_trial_is_told_as_a_command(swept):
    best = table(swept)[0]
    printed = (swept / "printed.txt").read_text()
    assert f"best: {swept / 'trials' / best['trial']} (val_mean_iou {float(best['score']):.4f})" in printed
    words = shlex.split(printed.splitlines()[-1])
    assert words[:2] == ["glioskull", "train"]
    config = cli.parse(TrainConfig, words[2:])
    assert config.model.dropout == float(best["model.dropout"])
    assert config.epochs == EPOCHS


def test_the_command_of_a_config_file_names_its_options(trainer, sweep, tmp_path):
    (tmp_path / "base.yaml").write_text(f"epochs: {EPOCHS}\n")
    done = sweep(tmp_path / "out", train=str(tmp_path / "base.yaml"), trials=2, options={"loss.alpha": [1, 2, 1, 1]})
    words = shlex.split(done.out.splitlines()[-1])
    assert words[2:5] == ["--config", str(tmp_path / "base.yaml"), "--loss.alpha=[1, 2, 1, 1]"]
    config = cli.parse(TrainConfig, words[2:])
    trained = yaml.safe_load((tmp_path / "out" / "logs" / "trials" / f"{table(tmp_path / 'out')[0]['trial']}.yaml").read_text())
    assert cli.as_dict(config) | {"records": None, "out": None} == trained


def test_equal_seeds_give_equal_sweeps_and_others_others(swept, trainer, sweep, tmp_path):
    sweep(tmp_path / "again", space=SPACE)
    assert table(tmp_path / "again") == table(swept)
    sweep(tmp_path / "other", space=SPACE, seed=4, trials=1)
    assert table(tmp_path / "other")[0] not in table(swept)


def test_a_sweep_that_was_killed_equals_one_that_was_not(swept, trainer, sweep, tmp_path):
    """Once in the middle of a trial, once when a trial has shown that it is hopeless and has not been stopped yet."""
    pruned = next(row for row in table(swept) if row["state"] == "pruned")
    kills = sorted([("00001", 2), (pruned["trial"], int(pruned["epochs"]))])
    for kill in kills:
        trainer.killed_after = kill
        with pytest.raises(Killed):
            sweep(tmp_path, space=SPACE)
    assert sweep(tmp_path, space=SPACE).status == 0
    assert table(tmp_path) == table(swept)
    assert [name for name, resumed in trainer.calls if resumed] == ["00001"]
    assert len(trainer.calls) == TRIALS + 1


def test_a_finished_sweep_trains_nothing_again_and_can_be_made_longer(swept, trainer, sweep, tmp_path):
    out = shutil.copytree(swept, tmp_path / "out")
    assert sweep(out, space=SPACE).status == 0
    assert trainer.calls == []
    assert sweep(out, "--sweep.trials", TRIALS + 1, space=SPACE).status == 0
    assert trainer.calls == [(f"{TRIALS:05d}", False)]


def test_settings_that_cannot_be_trained_are_refused_and_count_once(trainer, sweep, tmp_path):
    trainer.ends = {"00001": 2}
    done = sweep(tmp_path, trials=3)
    assert done.status == 0, done.err
    assert "refused: too deep" in done.out
    last = table(tmp_path)[-1]
    assert (last["trial"], last["state"], last["rank"], last["score"]) == ("00001", "refused", "", "")
    trainer.calls.clear()
    assert sweep(tmp_path, trials=3).status == 0
    assert trainer.calls == []


def test_settings_that_do_not_go_together_are_refused_without_a_training(trainer, sweep, tmp_path):
    done = sweep(tmp_path, trials=4, space={"model.filters": [0, 2]})
    assert done.status == 0, done.err
    assert "refused: --model.filters: expected at least 1; received 0" in done.out
    assert len(trainer.calls) < 4 == len(table(tmp_path))


def test_a_trial_that_crashes_is_told_and_tried_again(trainer, sweep, tmp_path):
    trainer.ends = {"00001": -9}
    done = sweep(tmp_path, trials=3)
    assert done.status == 2
    assert done.errors[0].startswith("error: trial 1: its training ended with status -9 (too deep); see ")
    assert {row["state"] for row in table(tmp_path)} == {"finished", "unfinished"}
    trainer.calls.clear()
    assert sweep(tmp_path, trials=3).status == 0
    assert [name for name, _ in trainer.calls] == ["00001"]
    assert {row["state"] for row in table(tmp_path)} == {"finished"}


def test_the_loss_is_minimised(trainer, sweep, tmp_path):
    assert sweep(tmp_path, metric="val_loss", direction="minimize", prune=False, trials=5).status == 0
    rows = table(tmp_path)
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores)
    assert {row["state"] for row in rows} == {"finished"}


def test_no_finished_trial_is_told(trainer, sweep, tmp_path):
    trainer.ends = {"00000": 2, "00001": 2}
    done = sweep(tmp_path, trials=2)
    assert done.errors[0] == f"error: {tmp_path}: no trial of the sweep was finished, so none is the best"


@pytest.mark.parametrize(
    ("change", "setting"),
    [({"seed": 4}, "seed"), ({"space": {"model.dropout": [0.1]}}, "space"), ({"options": {"seed": 1}}, "train")],
)
def test_changed_settings_are_refused(trainer, sweep, tmp_path, change, setting):
    sweep(tmp_path, trials=1)
    done = sweep(tmp_path, trials=2, **change)
    assert done.errors == [f"error: {tmp_path}: its sweep was begun with another {setting}; choose another --out"]
    assert len(trainer.calls) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"spaces": {}}, "--sweep: expected train, options, trials, "),
        ({"space": {}}, "--sweep.space: expected options to search"),
        (
            {"space": {"model.dropouts": [0.1]}},
            "--sweep.space: train: option model.dropouts is not known; did you mean model.dropout?",
        ),
        ({"space": {"model.depth": ["deep"]}}, "expected a whole number; received deep"),
        ({"space": {"model.depth": {"low": 3, "high": 2}}}, "expected low < high"),
        ({"metric": "mean_iou"}, "--sweep.metric: expected one of val_loss, val_accuracy, val_mean_iou"),
        ({"trials": 0}, "--sweep.trials: expected at least 1; received 0"),
        ({"train": {"epochs": "many"}}, "train: epochs: expected a whole number; received many"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(trainer, sweep, tmp_path, change, said):
    done = sweep(tmp_path / "out", **change)
    assert done.status == 2
    assert len(done.errors) == 1
    assert said in done.errors[0]
    assert trainer.calls == []
    assert not (tmp_path / "out").exists()


def test_without_optuna_it_is_told_what_to_install(trainer, sweep, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = sweep(tmp_path / "out")
    assert done.errors == ["error: a sweep needs the package 'optuna': pip install optuna"]
    assert not (tmp_path / "out").exists()


def test_every_state_of_optuna_has_a_word():
    import optuna

    assert {state.name for state in optuna.trial.TrialState} - {"WAITING"} == set(STATES)


@pytest.mark.slow
def test_a_trial_that_was_pruned_can_be_gone_on_with(command, sweep, tmp_path, monkeypatch):
    """A training in a process of its own, under a pruner to which every second epoch is hopeless."""
    import optuna

    pruner = optuna.pruners.ThresholdPruner(upper=-1.0, n_warmup_steps=2)
    monkeypatch.setattr(optuna.pruners, "MedianPruner", lambda startup, warmup: pruner)
    monkeypatch.setattr(processes, "POLL_SECONDS", 0.01)  # an epoch of this network takes some hundredths of a second
    toy = dict(zip([word[2:] for word in TOY[::2]], TOY[1::2], strict=True)) | {"epochs": 16}
    done = sweep(tmp_path, train=toy, trials=1)
    (row,) = table(tmp_path)
    assert (row["state"], row["epochs"]) == ("pruned", "2"), done.out
    run = tmp_path / "trials" / "00000"
    assert Run(run).metadata["status"] == "stopped"
    assert 2 <= len(history(run)) < 16
    assert command("training.train", "--resume", run).status == 0
    assert len(history(run)) == 16
