"""Tests of the benchmark of planted pairs."""

import re

from benchmarks.leakage import CHANGES, LeakageConfig, main


def test_every_planted_pair_is_found_without_a_false_alarm(capsys):
    main(LeakageConfig(patients=len(CHANGES), planted=len(CHANGES), size=(40, 40, 28)))
    out = capsys.readouterr().out
    assert all(name in out for name in CHANGES)
    assert re.search(r"10 patients, 10 of 10 planted pairs found, 0 false alarms of 180", out)
