from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from data_prep.scans.case import Case, CaseFiles, ImageRef
from evaluation.inference.channel_subsets import lacks_all, present_channels, with_channels

CHANNELS = ["t1", "t2", "flair"]


def test_present_channels_are_those_of_source_and_choice_in_the_networks_order():
    assert present_channels(["flair", "dwi", "t1"], CHANNELS, CHANNELS, "scans") == ["t1", "flair"]
    assert present_channels(CHANNELS, ["flair", "t1"], CHANNELS, "scans") == ["t1", "flair"]


@pytest.mark.parametrize(
    ("available", "wanted", "line"),
    [
        (CHANNELS, ["t1", "dwi"], "--channels: expected different ones of t1, t2, flair; received t1, dwi"),
        (["dwi"], CHANNELS, "scans: has channels dwi; expected at least one of t1, t2, flair"),
        (["t1", "t2"], ["flair"], "scans: has channels t1, t2; expected at least one of flair"),
    ],
)
def test_unknown_channels_and_sources_without_any_are_refused(available, wanted, line):
    with pytest.raises(UserError) as error:
        present_channels(available, wanted, CHANNELS, "scans")
    assert str(error.value) == line


def test_a_case_without_any_channel_is_named():
    image = ImageRef(Path("t1.nii"))
    assert lacks_all(CaseFiles("a", "a", {"t1": image, "t2": None})) is None
    assert lacks_all(CaseFiles("a", "a", {"t1": None, "t2": None})) == "a: lacks all of t1, t2; leave the case out by --cases"


def test_a_case_gets_the_channels_of_a_network():
    array = np.ones((2, 2, 2))
    case = Case(CaseFiles("a", "a", {"t2": None}), {"t2": array}, None, None, array.shape)
    found = with_channels(case, CHANNELS)
    assert list(found.channels) == CHANNELS
    assert (found.missing, found.channels["t2"] is array) == (["t1", "flair"], True)
