import numpy as np

from benchmarks.synthetic_registration import METAL_HU, PADDING_HU, with_artefacts
from tests.synthetic_heads import centred, head

SHAPE = (60, 60, 30)
AFFINE = centred((2.5, 2.5, 3.5), SHAPE, np.diag([-1, -1, 1]))  # j rises to the back, as in CT


def test_metal_is_in_front_and_below_and_the_couch_behind(rng):
    ct = head(AFFINE, SHAPE, "CT")
    spoiled = with_artefacts(ct, rng).array
    positions = np.argwhere(spoiled == METAL_HU) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    assert len(positions) > 20
    assert positions[:, 1].min() > 5
    assert positions[:, 2].max() < 0
    couch = np.argwhere((spoiled == 150) & (ct.array == -1000)) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    assert couch[:, 1].max() < -46  # behind the head
    assert (spoiled[0, 0] == PADDING_HU).all()
