import numpy as np
from PIL import Image

from baselines.curves import draw_curves


def picture(tmp_path, lines):
    draw_curves(lines, tmp_path / "curves.png")
    return np.asarray(Image.open(tmp_path / "curves.png").convert("RGB"))


def blue(image):
    return (image[..., 2].astype(int) - image[..., 0]) > 60


def test_a_falling_loss_falls_in_the_picture(tmp_path):
    image = picture(tmp_path, [{"step": n, "loss": 100.0 - n} for n in range(100)])
    ys, xs = np.nonzero(blue(image))
    assert ys[xs.argmin()] < ys[xs.argmax()]


def test_a_single_report_draws_no_line(tmp_path):
    assert not blue(picture(tmp_path, [{"step": 1, "loss": 1.0}])).any()
