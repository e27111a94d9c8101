import re
import shutil

import pytest
import yaml

from common.exit_status import USER_ERROR
from evaluation.model_card import CARD

COMMAND = "evaluation.model_card"


@pytest.fixture
def card(trained, predictions, command, tmp_path):
    """Text of the card of a run with scored predictions, and the command's output."""
    run = shutil.copytree(trained, tmp_path / "tiny")
    done = command(COMMAND, "--run", run, "--predictions", predictions)
    assert done.status == 0, done.err
    return (run / CARD).read_text(), done.out


def test_a_card_has_training_scores_and_both_checklists(card):
    text, printed = card
    assert re.findall(r"^#+ .*$", text, re.MULTILINE) == [
        *("# tiny", "## Facts", "## Scores", "## Use", "## CLAIM 2024", "## TRIPOD+AI")
    ]
    assert "| Channels" in text
    assert re.search(r"\| WT \(region\) +\| 0\.\d{3} \[", text)
    assert "do not hold for new patients" in text
    assert re.search(r"^- 44 Funding$", text, re.MULTILINE)
    assert re.search(r"\d+ of 44 items of CLAIM 2024, \d+ of 52 items of TRIPOD\+AI answered", printed)


def test_its_head_is_that_of_a_model_card(card):
    head = yaml.safe_load(card[0].split("---")[1])
    assert head["library_name"] == "keras"
    assert "brain-tumor" in head["tags"]


def test_a_card_without_scores_says_what_is_missing(trained, command, tmp_path):
    done = command(COMMAND, "--run", trained, "--out", tmp_path / "card.md")
    assert done.status == 0, done.err
    assert "None yet: predict patients who did not train it" in (tmp_path / "card.md").read_text()


def test_predictions_are_no_model(predictions, command, tmp_path):
    done = command(COMMAND, "--run", predictions, "--out", tmp_path / "card.md")
    assert done.status == USER_ERROR
    assert "expected a run or a cross-validation" in done.errors[0]


def test_predictions_of_another_run_are_refused(trained, volumes, predictions, command, tmp_path):
    done = command(COMMAND, "--run", volumes, "--predictions", predictions, "--out", tmp_path / "card.md")
    assert done.status == USER_ERROR
    assert f"expected predictions by the present weights of {volumes}; received those of {trained}" in done.errors[0]
    assert not (tmp_path / "card.md").exists()
