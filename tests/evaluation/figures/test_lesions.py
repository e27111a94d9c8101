"""Figure of lesions by volume."""

import numpy as np
import pytest

from data_prep.structures import Structure
from evaluation.figures.lesions import draw_lesions
from evaluation.scores.lesions import LesionScores
from tests.evaluation.tables.test_lesions import EDEMA, ET, MADE, WT, lesion


def test_a_figure_is_written_as_pdf_and_png(tmp_path):
    files = draw_lesions(tmp_path / "lesions", MADE, [WT, EDEMA], 3)
    assert [file.name for file in files] == ["lesions.pdf", "lesions.png", "lesions.csv"]
    assert all(file.stat().st_size > 5000 for file in files[:2])


def test_more_structures_make_a_higher_figure(tmp_path):
    import matplotlib.image

    other = [lesion(50.0, 0.5, structure=ET)]
    heights = [
        matplotlib.image.imread(draw_lesions(tmp_path / str(len(lesions)), lesions, [WT, EDEMA, ET], 3)[1]).shape[0]
        for lesions in (MADE, MADE + other)
    ]
    assert heights[1] > 1.4 * heights[0]


def test_equal_lesions_give_equal_files(tmp_path):
    one, other = (draw_lesions(tmp_path / name, MADE, [WT, EDEMA], 3)[0].read_bytes() for name in "ab")
    assert one == other


@pytest.mark.parametrize("lesions", [[], [*MADE, lesion(1.0, rule="brats2026-mets")]], ids=["none", "two rules"])
def test_lesions_of_other_than_one_rule_are_refused(tmp_path, lesions):
    with pytest.raises(ValueError, match="one rule"):
        draw_lesions(tmp_path / "x", lesions, [WT, EDEMA], 1)


def random_lesions(seed=0):
    """Lesions of three regions as a detector of metastases finds them: small ones are missed more often."""
    rng, found = np.random.default_rng(seed), []
    for name in ("WT", "TC", "ET"):
        structure = Structure("region", name, (1,))
        for volume in 10 ** rng.uniform(0.7, 4.6, 120):
            hit = rng.random() < np.log10(volume) / 3.2
            dice = float(np.clip(rng.normal(0.4 + 0.12 * np.log10(volume), 0.12), 0.02, 0.98)) if hit else 0.0
            found.append(LesionScores(structure, "brats2026-mets", True, volume >= 20, volume, hit, dice, 1.0, 1.0))
        for volume in 10 ** rng.uniform(0.3, 2.5, 30):
            found.append(LesionScores(structure, "brats2026-mets", False, True, volume, False, 0.0, 373.0, 0.0))
    return found
