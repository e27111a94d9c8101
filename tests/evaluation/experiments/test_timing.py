import pytest
import yaml

from common.files import write_json
from evaluation.experiments import runner
from evaluation.experiments.plan import PlannedRun
from evaluation.experiments.timing import STEPS, estimated_time
from training.config import TrainConfig
from training.run_facts import FORMAT


def planned(study, name, **settings):
    folder = study / "runs" / name
    training = runner.Training(folder, "training.train", ("--config", study / f"{name}.yaml", "--records", study / "records"))
    return PlannedRun(name, None, training, TrainConfig(**settings), ("records",))


@pytest.fixture
def calls(monkeypatch):
    """Commands that were called; a stand-in for training.train takes 1 minute for its first epoch, 0.5 for the next."""
    found = []

    def call(command, words, log):
        given = dict(zip(map(str, words[::2]), words[1::2], strict=True))
        found.append((command, yaml.safe_load(given["--config"].read_text()), given))
        given["--out"].mkdir(parents=True)
        (given["--out"] / "history.csv").write_text("epoch,minutes\n1,1.0\n2,1.5\n")
        return 0

    monkeypatch.setattr(runner, "call", call)
    return found


def test_the_steps_that_are_left_are_multiplied_by_those_of_a_short_training(calls, tmp_path):
    runs = [
        planned(tmp_path, "done", epochs=9, steps_per_epoch=9),
        planned(tmp_path, "half", steps=100, validate_every=25, patience=3),
        planned(tmp_path, "new", epochs=5, steps_per_epoch=20),
        planned(tmp_path, "a_pass", epochs=5),
    ]
    runs[0].folder.mkdir(parents=True)
    write_json(runs[0].folder / "run.json", {"format": FORMAT, "status": "finished"})
    runs[1].folder.mkdir(parents=True)
    (runs[1].folder / "history.csv").write_text("epoch,minutes\n1,1.0\n2,1.5\n3,2.0\n")
    line = estimated_time(tmp_path, runs)
    seconds = 0.5 * 60 / STEPS
    assert line.startswith("3 trainings of 4 left: 125 steps, and 1 training without --steps_per_epoch; ")
    assert f"about {125 * seconds / 60:.0f} min by {seconds:.2f} s a step of half" in line
    ((command, config, given),) = calls
    assert (command, given["--records"]) == ("training.train", tmp_path / "records")
    assert (config["epochs"], config["steps_per_epoch"], config["steps"], config["validate"]) == (2, STEPS, None, False)
    assert not (tmp_path / "logs" / "timing").exists()


def test_a_training_that_fails_gives_no_time(monkeypatch, tmp_path):
    monkeypatch.setattr(runner, "call", lambda *_: 2)
    line = estimated_time(tmp_path, [planned(tmp_path, "new", epochs=5, steps_per_epoch=20)])
    assert line == "1 training of 1 left; their time is not known before the first one"


def test_nothing_is_timed_where_all_is_finished(calls, tmp_path):
    run = planned(tmp_path, "done", epochs=9, steps_per_epoch=9)
    run.folder.mkdir(parents=True)
    write_json(run.folder / "run.json", {"format": FORMAT, "status": "finished"})
    assert estimated_time(tmp_path, [run]) == "1 training: all finished"
    assert not calls
