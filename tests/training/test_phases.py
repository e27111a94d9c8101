"""Which epochs belong to which phase, and with what they are trained."""

import pytest

from common.errors import UserError
from training.config import ClassifyConfig, FineTuneConfig, TrainConfig
from training.objectives.losses import BceDiceConfig, FocalConfig
from training.optimizers import OptimizerConfig
from training.phases import phase_of_state, phases

TUNED = FineTuneConfig(epochs=3, learning_rate=1e-5, loss={"dice": 2.5})


def config(**changes):
    return TrainConfig(**({"epochs": 4, "fine_tune": TUNED, "loss": BceDiceConfig(bce=0.5, dice=1.5)} | changes))


def test_without_fine_tuning_there_is_one_phase():
    (phase,) = phases(config(fine_tune=FineTuneConfig()))
    assert (phase.number, phase.first, phase.last, phase.epochs) == (1, 0, 4, 4)
    assert phase.of(FocalConfig(gamma=1.0)) == FocalConfig(gamma=1.0)


def test_fine_tuning_follows_with_its_rate_and_its_loss():
    given = config(optimizer=OptimizerConfig(name="adamw", learning_rate=0.1))
    first, second = phases(given)
    assert [(phase.number, phase.first, phase.last) for phase in (first, second)] == [(1, 0, 4), (2, 4, 7)]
    assert (first.optimizer.learning_rate, second.optimizer.learning_rate) == (0.1, 1e-5)
    assert second.optimizer.name == "adamw"
    assert first.of(given.loss) == given.loss
    assert second.of(given.loss) == BceDiceConfig(bce=0.5, dice=2.5)
    assert given.total_epochs == 7


@pytest.mark.parametrize(("epoch", "number"), [(0, 1), (1, 1), (4, 1), (5, 2), (7, 2)])
def test_a_state_belongs_to_the_phase_of_its_last_epoch(epoch, number):
    assert phase_of_state(config(), epoch).number == number


def test_more_epochs_go_to_the_last_phase():
    longer = config().extended(2)
    assert (longer.epochs, longer.fine_tune.epochs, longer.total_epochs) == (4, 5, 9)
    longer = config(fine_tune=FineTuneConfig()).extended(2)
    assert (longer.epochs, longer.fine_tune.epochs, longer.total_epochs) == (6, 0, 6)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (config(fine_tune=FineTuneConfig(epochs=1, loss={"alpha": 2.0})), "bce, dice, smooth; received alpha"),
        (config(loss=FocalConfig()), "loss focal has the numbers gamma; received dice"),
        (config(monitor="loss"), "--monitor: loss compares nothing where fine_tune.loss changes it"),
        (config(fine_tune=FineTuneConfig(epochs=-1)), "fine_tune.epochs"),
        (config(fine_tune=FineTuneConfig(epochs=1, learning_rate=-0.1)), "fine_tune.learning_rate"),
        (ClassifyConfig(fine_tune=TUNED), "--fine_tune.loss: classifiers have one loss without numbers"),
    ],
)
def test_what_cannot_be_fine_tuned_is_refused(given, said):
    with pytest.raises(UserError) as error:
        given.check()
    assert said in str(error.value)


@pytest.mark.parametrize("monitor", ["mean_iou", "mean_dice", "accuracy"])
def test_what_can_be_fine_tuned_is_taken(monitor):
    config(monitor=monitor).check()


def test_a_term_can_be_switched_off_in_fine_tuning():
    config(fine_tune=FineTuneConfig(epochs=1, loss={"bce": 0.0})).check()
