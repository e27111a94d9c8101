"""Resumed trainings: which options may stand beside --resume, records that have moved, and the logger."""

import shutil
from pathlib import Path

import pytest
import yaml

from common import cli
from common.errors import UserError
from common.files import read_json, write_json
from training.config import TrainConfig
from training.resume import refuse_other_options, resume_options, run_to_resume
from training.run import Run


def config(run, *words):
    return cli.parse(TrainConfig, ["--resume", str(run), *map(str, words)])


@pytest.mark.parametrize(
    "option", ["epochs=4", "seed=0", "input.batch_size=2", "model.name=deepmedic", "init_from=x", "out=o", "precision=float32"]
)
def test_another_option_is_refused_by_its_name_default_values_included(option, tmp_path):
    name = option.partition("=")[0]
    with pytest.raises(UserError, match=rf"^--{name}: is a setting of R that --resume does not change; leave it out"):
        refuse_other_options(config("R", f"--{option}"))
    inner = yaml.safe_load(option.partition("=")[2])
    for part in reversed(name.split(".")):
        inner = {part: inner}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(inner))
    with pytest.raises(UserError, match=rf"^{tmp_path}/c\.yaml: {name}: is a setting of R .* leave this --config out"):
        refuse_other_options(config("R", "--config", tmp_path / "c.yaml"))


def test_what_may_change_may_be_given(tmp_path):
    (tmp_path / "c.yaml").write_text("extend: 1\n")
    words = ("--records", "a", "--extend", 2, "--max_minutes", 3, "--logger.name", "wandb", "--logger.project", "p")
    refuse_other_options(config("R", *words, "--trust", "a:b", "--config", tmp_path / "c.yaml"))
    refuse_other_options(TrainConfig(resume=Path("R"), extend=1))
    with pytest.raises(UserError, match=r"^--epochs: is a setting of R"):
        refuse_other_options(TrainConfig(resume=Path("R"), epochs=9))


@pytest.fixture
def moved(trained, records, tmp_path):
    """A copy of a run whose records are not where they were, and their new place."""
    run = shutil.copytree(trained, tmp_path / "run")
    place = shutil.copytree(records, tmp_path / "moved")
    settings = yaml.safe_load((run / "config.yaml").read_text()) | {"records": str(tmp_path / "gone")}
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    return run, place


def test_records_that_have_moved_are_named(moved):
    run, place = moved
    with pytest.raises(UserError, match=r"gone: the records of .*run are not there; give their new place by --records$"):
        run_to_resume(config(run))
    found = run_to_resume(config(run, "--records", place))
    assert found.config.records == place
    assert found.records_paths == [place]
    assert Run(run).config.records == place.parent / "gone"  # nothing is written before it trains


def divided_otherwise(values):
    """The test patients train, in the place of those that train."""
    values["split"] = values["split"] | {"train": values["split"]["test"], "test": values["split"]["train"]}


def of_another_build(values):
    values["preparation"]["crop"] = None


@pytest.mark.parametrize("change", [divided_otherwise, of_another_build])
def test_other_records_are_refused(moved, change):
    run, place = moved
    values = read_json(place / "dataset.json", "records")
    change(values)
    write_json(place / "dataset.json", values)
    with pytest.raises(UserError, match=r"^--records .*moved: expected records with the content and division of those that"):
        run_to_resume(config(run, "--records", place))


def test_shares_and_heads_are_those_of_the_run(moved):
    run, place = moved
    with pytest.raises(UserError, match="expected a path alone beside --resume"):
        run_to_resume(config(run, "--records", f'[{{"path": "{place}", "share": 0.5}}]'))


def test_a_run_goes_on_with_moved_records_and_stores_their_place(moved, command):
    run, place = moved
    done = command("training.train", "--resume", run, "--records", place, "--extend", 1)
    assert done.status == 0, done.err
    assert "resuming after epoch 2" in done.out
    assert Run(run).config.records == place
    assert Run(run).records_paths == [place]
    assert Run(run).metadata["epoch"] == 3


def test_a_log_outside_of_the_run_is_asked_for_anew(moved, capsys):
    run, place = moved
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["logger"] = {"name": "wandb", "project": "theirs", "entity": "somebody"}
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    assert run_to_resume(config(run, "--records", place)).config.logger.name == "files"
    assert "was logged by wandb; this training is not, unless --logger.name wandb is given" in capsys.readouterr().out
    given = run_to_resume(config(run, "--records", place, "--logger.name", "wandb")).config.logger
    assert (given.name, given.project, given.entity) == ("wandb", "glioskull", None)  # nothing of the file's
    assert capsys.readouterr().out == ""


def test_an_experiment_resumes_its_trainings_with_their_records_and_logger():
    assert resume_options(TrainConfig()) == []
    own = cli.parse(TrainConfig, ["--records", "a", "b", "--logger.name", "wandb", "--logger.project", "p"])
    words = resume_options(own)
    assert words[:3] == ["--records", "a", "b"]
    assert config("R", *words).logger == own.logger


def test_a_run_whose_state_is_gone_is_not_trained_anew(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(run / "state")
    with pytest.raises(UserError, match=r"run/state: expected the state after epoch 2; found none; .* --init_from"):
        run_to_resume(config(run))
    facts = read_json(run / "run.json", "run")
    write_json(run / "run.json", {name: value for name, value in facts.items() if name != "epoch"})
    rows = (run / "history.csv").read_text().splitlines(keepends=True)
    (run / "history.csv").write_text("".join(rows[:2]))  # killed before the first state was written
    assert run_to_resume(config(run)).path == run
