"""Table of lesions: read back as it was written, and refused where a rule is unknown."""

import pytest

from common.errors import UserError
from evaluation.scores.lesion_table import read_lesions
from tests.evaluation.scores.test_folder import lesion_scores_without_value


def test_lesions_are_read_back_and_those_of_an_unknown_rule_refused(tmp_path):
    assert read_lesions(tmp_path) == []
    made = lesion_scores_without_value(tmp_path)
    assert [(each.structure.name, *vars(each).values())[2:] for each in read_lesions(tmp_path)] == [
        (each.structure.name, *vars(each).values())[2:] for _, _, each in made.lesions
    ]
    file = tmp_path / "per_lesion.csv"
    file.write_text(file.read_text().replace("brats2026-gli", "brats2099-gli"))
    with pytest.raises(UserError, match=r"per_lesion\.csv: expected lesions by rules of .* received 'brats2099-gli'"):
        read_lesions(tmp_path)
