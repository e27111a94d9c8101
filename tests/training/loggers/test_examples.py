import numpy as np
from PIL import Image

from data_prep.grid.geometry import Geometry
from data_prep.grid.slice_pictures import CAPTION_HEIGHT, HEIGHT
from training.loggers.examples import draw_example


def test_a_picture_shows_the_slice_with_the_most_tumour_plain_annotated_and_predicted(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.random((4, 20, 20)).astype(np.float32)
    truth, prediction = np.zeros((2, 4, 20, 20), np.uint8)
    truth[2, 4:16, 4:16], prediction[2, 6:16, 6:16] = 1, 2
    prediction[0] = 1
    truth[3] = 255  # not annotated
    geometry = Geometry.uncropped((20, 20, 4), np.diag([2.0, 1.0, 3.0, 1.0]))
    path = draw_example(tmp_path / "a.png", image, truth, prediction, geometry, "a, T2")
    picture = np.asarray(Image.open(path)).astype(int)
    panels = np.split(picture[CAPTION_HEIGHT:], 3, axis=1)
    assert picture.shape == (CAPTION_HEIGHT + HEIGHT, 3 * 2 * HEIGHT, 3)  # voxels are twice as wide as high
    coloured = [(panel.max(axis=-1) != panel.min(axis=-1)).mean() for panel in panels]
    np.testing.assert_allclose(coloured, [0, 144 / 400, 100 / 400], atol=0.02)
    assert (panels[1][..., 2] > panels[1][..., 0]).sum() > 0.3 * HEIGHT * 2 * HEIGHT  # class 1 is blue, class 2 red
    assert (panels[2][..., 0] > panels[2][..., 2]).sum() > 0.2 * HEIGHT * 2 * HEIGHT
