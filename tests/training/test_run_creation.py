"""Tests of the files that a training writes when it begins or goes on."""

from dataclasses import replace

from common.files import checksum, read_json, read_yaml, write_yaml
from training.run import NETWORK, Run, network_checksum
from training.run_creation import write_config


def test_the_model_of_a_run_that_goes_on_stays_as_it_was_written(run):
    before = read_yaml(run / "config.yaml", "config")
    facts = read_json(run / "run.json", "run")
    older = before | {"model": {name: value for name, value in before["model"].items() if name != "l2"}}
    facts["settings"][NETWORK] = network_checksum(older, facts)  # of a version whose model had fewer options
    write_yaml(run / "config.yaml", older)
    opened = Run(run)
    opened.metadata["settings"] = facts["settings"]
    opened.set_status("stopped")
    write_config(Run(run), replace(Run(run).config, epochs=99))
    assert read_yaml(run / "config.yaml", "config") == older | {"epochs": 99}
    assert Run(run).config.model.l2 == before["model"]["l2"]


def test_a_new_run_has_the_checksums_of_its_settings(trained):
    run = Run(trained)
    assert set(run.metadata["settings"]) == {"preparation.yaml", "schema.yaml", "patients.json", NETWORK}
    assert run.metadata["settings"][NETWORK] == network_checksum(read_yaml(trained / "config.yaml", "config"), run.metadata)
    assert checksum(run.weights) in run.metadata["weights"][run.weights.name]
