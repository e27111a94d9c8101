"""Tables of held-out tests: signs of differences, spread over seeds, costs and their sum."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from common import cli
from common.files import write_json, write_yaml
from common.metrics.catalogue import METRICS
from common.metrics.statistics import holm, paired_columns
from evaluation.experiments.held_out_table import (
    Cost,
    HeldOutScores,
    cost_claim,
    cost_columns,
    score_columns,
    score_heading,
    score_notes,
    score_rows,
    specific_runs,
    training_minutes,
)
from evaluation.experiments.table import markdown_table, write_csv
from evaluation.tables.comparison import ScoredSegmentation
from evaluation.tables.scored import mean_scored
from training.config import TrainConfig
from training.run_facts import FORMAT
from training.state.history import write_history

DICE, HD95 = ("region", "WT", "dice"), ("region", "WT", "hd95")
PATIENTS = [f"p{number}" for number in range(12)]


def scored(name, values, key=DICE):
    return ScoredSegmentation(name, "patient", {key: dict(zip(PATIENTS, values, strict=True))}, {key[:2]: ("edema",)})


@pytest.fixture
def scores():
    """Three runs of two seeds; of the last one seed is missing."""
    rng = np.random.default_rng(0)
    base = 0.5 + 0.2 * rng.random(12)
    seeds = {
        "mets": [scored("0", base), scored("1", base + 0.02)],
        "multi": [scored("0", base + 0.1 + 0.05 * rng.random(12)), scored("1", base + 0.2)],
        "frozen": [scored("0", base - 0.3)],
    }
    runs = {name: mean_scored(each, name) for name, each in seeds.items()}
    return HeldOutScores(SimpleNamespace(name="mets"), [DICE], seeds, runs)


def test_the_difference_is_the_reference_minus_each_other_run(scores):
    rows = {row.run: row for row in score_rows(scores, "multi")}
    assert list(rows) == ["mets", "multi", "frozen"]  # in the order of the study
    mine = np.array(list(scores.runs["multi"].values[DICE].values()))
    pairs = {}
    for name in ("mets", "frozen"):
        other = np.array(list(scores.runs[name].values[DICE].values()))
        (pairs[name],) = paired_columns(mine[:, None], other[:, None])
        found = rows[name].difference
        assert (found.mean, found.low, found.high, found.p) == pytest.approx(
            (pairs[name].mean, pairs[name].low, pairs[name].high, pairs[name].p)
        )
        assert found.mean > 0
    assert [rows[name].p for name in pairs] == holm([pair.p for pair in pairs.values()])
    assert rows["multi"].difference is None


def test_the_spread_is_that_of_the_means_of_the_seeds(scores):
    rows = {row.run: row for row in score_rows(scores, "multi")}
    assert rows["mets"].spread == pytest.approx(np.std([0, 0.02], ddof=1))
    assert (rows["mets"].seeds, rows["frozen"].seeds) == (2, 1)
    assert rows["frozen"].spread is None
    assert rows["mets"].mean == pytest.approx(np.mean(list(scores.runs["mets"].values[DICE].values())))
    assert rows["mets"].low < rows["mets"].mean < rows["mets"].high


@pytest.mark.parametrize("reference", [None, "absent"])
def test_without_the_reference_there_are_no_differences(scores, reference):
    rows = score_rows(scores, reference)
    assert all(row.difference is None and row.p is None for row in rows)
    assert "minus" not in markdown_table(score_columns(rows, reference))


def test_a_single_run_has_a_row(scores):
    alone = HeldOutScores(scores.test, [DICE], {"mets": scores.seeds["mets"]}, {"mets": scores.runs["mets"]})
    assert [row.run for row in score_rows(alone, "mets")] == ["mets"]


def test_the_table_has_texts_and_the_csv_numbers(scores, tmp_path):
    rows = score_rows(scores, "multi")
    text = markdown_table(score_columns(rows, "multi"))
    assert "| multi minus this run [95 %]" in text
    assert "structure" not in text  # there is one alone
    (line,) = [line for line in text.splitlines() if line.startswith("| frozen")]
    assert "+0.4" in line
    assert "0.00" in line.rsplit("|", 2)[1]
    write_csv(tmp_path / "study.csv", score_columns(rows, "multi"))
    heading, *lines = (tmp_path / "study.csv").read_text().splitlines()
    assert heading.startswith("test,structure,metric,run,seeds,patients,mean,low_95,high_95,sd_over_seeds,difference,")
    assert lines[0].startswith("mets,WT,dice,mets,2,12,")
    assert score_heading(scores, rows) == "## mets: Dice of WT (region), 12 patients"
    assert [any("Wilcoxon" in note for note in score_notes(["dice"], compared)) for compared in (True, False)] == [True, False]


def plan(name, records, init_from=None):
    return SimpleNamespace(name=name, records=records, init_from=init_from)


def test_task_specific_runs_train_on_one_folder_from_random_weights():
    planned = [plan("transfer", ("mets",), "x"), plan("joint", ("hgg", "mets")), plan("m", ("mets",)), plan("h", ("hgg",))]
    tests = [SimpleNamespace(name="hgg"), SimpleNamespace(name="mets"), SimpleNamespace(name="hgg")]
    assert specific_runs(planned, tests) == ["h", "m"]


COSTS = [Cost("h", 1000, 1.0, 500, 2.0), Cost("m", 1000, 3.0, 500, 2.0), Cost("multi", 1100, 2.2, 550, 3.0)]


def test_one_network_is_set_beside_the_sum_of_those_that_it_replaces():
    assert cost_claim(COSTS, "multi", ["h", "m"]) == (
        "One network for all (multi) against the sum of h + m: 1,100 against 2,000 parameters (55%); "
        "2.20 against 4.00 s a case (55%); 550 against 1,000 MB of memory (55%); 3.0 against 4.0 min of training (75%)."
    )


@pytest.mark.parametrize(
    ("reference", "specific"), [(None, ["h", "m"]), ("multi", ["h"]), ("multi", ["h", "x"]), ("h", ["h", "m"])]
)
def test_there_is_no_claim_where_a_run_is_missing(reference, specific):
    assert cost_claim(COSTS, reference, specific) is None


def test_costs_have_a_row_per_run():
    lines = markdown_table(cost_columns(COSTS)).splitlines()
    assert [cell.strip() for cell in lines[4].split("|")[1:-1]] == ["multi", "1,100", "2.20", "550", "3.0"]


def test_rows_of_several_metrics_have_the_digits_and_units_of_their_own(scores):
    (dice,) = [row for row in score_rows(scores, None) if row.run == "frozen"]
    far = replace(dice, key=HD95, mean=12.34, low=None, high=None)
    texts = {column.name: column.values for column in score_columns([dice, far], None)}
    (both,) = [values for name, values in texts.items() if name.startswith(METRICS["dice"].arrow_label)]
    assert both == [METRICS["dice"].text(dice.mean, dice.low, dice.high), METRICS["hd95"].text(12.34, None, None)]


def trained(folder, minutes, init_from=None):
    """A run folder with a history, whose training took some minutes."""
    config = TrainConfig(init_from=init_from)
    write_yaml(folder / "config.yaml", cli.as_dict(config))
    write_json(folder / "run.json", {"format": FORMAT, "command": "training.train"})
    write_history(folder / "history.csv", [{"epoch": 1, "minutes": minutes / 2}, {"epoch": 2, "minutes": minutes}])
    return folder


def test_minutes_of_training_include_the_runs_that_it_begins_with(tmp_path):
    first = trained(tmp_path / "first", 2.0)
    second = trained(tmp_path / "second", 1.5, init_from=first)
    third = trained(tmp_path / "third", 0.25, init_from=second)
    assert [training_minutes(run) for run in (first, second, third)] == [2.0, 3.5, 3.75]
    assert training_minutes(trained(tmp_path / "lost", 1.0, init_from=tmp_path / "gone")) == 1.0
    assert training_minutes(tmp_path / "gone") == 0.0
