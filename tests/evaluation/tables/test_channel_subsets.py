from dataclasses import replace

from common.tables import WIDTH
from evaluation.tables.channel_subsets import format_subsets
from tests.evaluation.scores.test_folder import made_scores


def test_each_subset_has_a_row_for_each_structure_with_its_own_means():
    scores = made_scores(0)
    assert format_subsets(scores) == ""
    one, other = made_scores(1), made_scores(2)
    lines = format_subsets(replace(scores, subsets={("t1",): one, ("t1", "t2"): other})).splitlines()
    assert lines[0] == "By the channels that cases had: 2 subsets; mean over patients"
    assert lines[1].split()[:2] == ["channels", "patients"]
    wt = one.structures[0]
    for name, subset in (("t1  ", one), ("t1 t2  ", other)):
        rows = [line for line in lines if line.startswith(name) and "WT (region)" in line]
        assert f"{subset.values[wt, 'dice'].mean():.3f}" in rows[0]
    assert max(map(len, lines)) <= WIDTH
