import numpy as np
from PIL import Image

from baselines.runs.curves import draw, draw_curves
from baselines.runs.journal import Trained, Validated


def blue(path):
    image = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return (image[..., 2] - image[..., 0]) > 60  # the first curve's colour


def orange(path):
    image = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return (image[..., 0] - image[..., 2]) > 100  # the second curve's


def test_a_falling_curve_falls_in_the_picture(tmp_path):
    draw(tmp_path / "a.png", "loss", {"training": [(n, 100.0 - n) for n in range(100)]})
    ys, xs = np.nonzero(blue(tmp_path / "a.png")[:, :450])  # the legend lies on the right
    assert ys[xs.argmin()] < ys[xs.argmax()]


def test_loss_and_dice_have_a_picture_each(tmp_path):
    events = [
        Trained(n, 60, 1, 3, (1.0 / n,), 1e-3, dice={"a": 0.3, "b": 0.5}) for n in (20, 40, 60)
    ]
    events += [Validated(60, 0.2, {"a": 0.7}, 0.7, True)]
    draw_curves(events, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"curves_loss.png", "curves_dice.png"}
    assert all(blue(path).sum() > 200 for path in tmp_path.iterdir())


def test_validation_has_a_curve_beside_that_of_the_training(tmp_path):
    events = [Trained(n, 60, 1, 3, (1.0 / n,), 1e-3, dice={"a": 0.3}) for n in (20, 40, 60)]
    draw_curves(events, tmp_path)
    legends = {path: orange(path).sum() for path in tmp_path.iterdir()}
    events += [Validated(n, 2.0 / n, {"a": 0.7}, 0.7, True) for n in (20, 40, 60)]
    draw_curves(events, tmp_path)
    assert len(legends) == 2
    assert all(orange(path).sum() > 3 * before > 0 for path, before in legends.items())


def test_nothing_that_happened_is_an_empty_frame(tmp_path):
    draw_curves([], tmp_path)
    filled = blue(tmp_path / "curves_loss.png").sum()
    draw_curves([Trained(n, 40, 1, 2, (1.0,), 1e-3) for n in (20, 40)], tmp_path)
    assert blue(tmp_path / "curves_loss.png").sum() > 3 * filled
