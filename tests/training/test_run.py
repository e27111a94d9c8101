"""A run's folder: what is damaged, and what does not fit, is refused in one line."""

import pytest
import yaml

from common.errors import UserError
from training.run import Run


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_that_do_not_fit_are_refused_in_one_line(run):
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["filters"] = 3
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match="weights do not fit the network") as error:
        Run(run).load_network()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_text("{")])
def test_what_is_no_run_is_refused(run, damage):
    damage(run / "run.json")
    with pytest.raises(UserError, match=r"run\.json"):
        Run(run)


def test_a_run_without_an_epoch_has_no_weights(run):
    (run / "best.weights.h5").unlink()
    (run / "last.weights.h5").unlink()
    with pytest.raises(UserError, match="no epoch was finished"):
        _ = Run(run).weights
