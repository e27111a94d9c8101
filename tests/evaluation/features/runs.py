"""Runs as if they had been trained on other records."""

import shutil

import yaml

from tests.training.runs import begin_on


def run_of(trained, out, records, fold, **facts):
    """A run as if it had been trained on a fold of other records: its weights are those of the run `trained`."""
    shutil.copytree(trained, out, ignore=shutil.ignore_patterns("state", "logs", "patients.json"))
    config = yaml.safe_load((out / "config.yaml").read_text())
    (out / "config.yaml").write_text(yaml.safe_dump(config | {"fold": fold, "records": [str(records)]}))
    begin_on(out, records, fold=fold, **facts)
    return out
