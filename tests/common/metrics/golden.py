"""Golden values of official tools, from the files in `data`, and the masks that they belong to."""

import gzip
import json
import math
from functools import cache
from pathlib import Path

import numpy as np

from common.boxes import foreground_box
from common.metrics.lesion_rules import LESION_RULES

DATA = Path(__file__).parent / "data"
SHAPE = (48, 48, 48)
REGIONS = {
    "gli": {"snfh": [2], "et": [3], "netc": [1], "rc": [4], "tc": [1, 3], "wt": [1, 2, 3]},
    "mets": {"et": [3], "rc": [4], "tc": [1, 3], "wt": [1, 2, 3]},
    "ped": {"et": [1], "netc": [2], "cc": [3], "ed": [4], "tc": [1, 2, 3], "wt": [1, 2, 3, 4]},
    "MenRT": {"gtv": [1]},
}
SPACINGS = {"1x1x1": (1.0, 1.0, 1.0), "3x1x1": (3.0, 1.0, 1.0)}


@cache
def brats2026():
    """Golden values of BraTS 2026."""
    return json.loads(gzip.decompress((DATA / "brats2026.json.gz").read_bytes()))


@cache
def brats2023():
    """Golden values of BraTS 2023."""
    return json.loads((DATA / "brats2023.json").read_text())


def rule_2026(config, official):
    """Rule of a task of BraTS 2026; the official one applies spacing in reversed order."""
    return LESION_RULES[f"brats2026-{config.lower()}{'-official' if official else ''}"]


def boxes(listed):
    """Mask of boxes [x0, x1, y0, y1, z0, z1)."""
    mask = np.zeros(SHAPE, bool)
    for x0, x1, y0, y1, z0, z1 in listed:
        mask[x0:x1, y0:y1, z0:z1] = True
    return mask


@cache
def masks_2026(config, case, region):
    """Masks of a region in truth and prediction of a case, cropped to the box of both."""
    truth, prediction = (np.isin(volume, REGIONS[config][region]) for volume in _volumes_2026(config, case))
    box = foreground_box(truth | prediction)
    return truth[box], prediction[box]


@cache
def _volumes_2026(config, case):
    """Ids of a case in truth and prediction."""
    ids, found = brats2026()["recipe"]["value_map"][config], []
    for side in ("gt", "pred"):
        volume = np.zeros(SHAPE, np.uint8)
        for value, x0, x1, y0, y1, z0, z1 in brats2026()["cases"][case][side]:
            volume[x0:x1, y0:y1, z0:z1] = ids[str(value)]
        found.append(volume)
    return found


def differences(found, expected, path=()):
    """Paths of the values that differ by more than the 9 decimals of the files; text is `nan` or `inf`."""
    for name, value in expected.items():
        mine, wanted = float(found[name]), float(value)
        if not (mine == wanted or (math.isnan(mine) and math.isnan(wanted)) or abs(mine - wanted) < 2e-9):
            yield (*path, name, mine, wanted)
