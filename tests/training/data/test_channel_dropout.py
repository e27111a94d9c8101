import numpy as np
import pytest

from training.data.channel_dropout import ChannelDropout

PICTURE = np.arange(1, 2 * 3 * 6 + 1, dtype=np.float16).reshape(2, 3, 6)


def kept_of(image, channels):
    """Which channels an image of these holds; each whole or zero in every slice."""
    parts = image.reshape(*image.shape[:-1], -1, channels)
    kept = (parts != 0).any(axis=(0, 1, 2))
    np.testing.assert_array_equal(parts, PICTURE.reshape(parts.shape) * kept)
    return tuple(kept.tolist())


@pytest.mark.parametrize("channels", [3, 6])
def test_channels_are_whole_or_zero_in_all_slices_and_one_stays(channels):
    dropout, rng = ChannelDropout(None, 0.6, channels), np.random.default_rng(0)
    found = [dropout((PICTURE, {"label": PICTURE}), rng) for _ in range(400)]
    kept = [kept_of(image, channels) for image, _ in found]
    assert all(any(each) for each in kept)
    assert len(set(kept)) >= 2**channels - 4
    assert np.mean([each[0] for each in kept]) == pytest.approx(0.4, abs=0.1)
    assert found[0][0].dtype == np.float16
    assert all(labels["label"] is PICTURE for _, labels in found)
    assert (PICTURE > 0).all()


def test_what_comes_before_is_drawn_first():
    def before(element, rng):
        return PICTURE * element, {}

    image, _ = ChannelDropout(before, 0.0, 3)(2, np.random.default_rng(0))
    np.testing.assert_array_equal(image, 2 * PICTURE)
