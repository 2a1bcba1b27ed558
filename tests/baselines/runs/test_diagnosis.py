import re

import numpy as np
import pytest
import torch

from baselines.config import Config
from baselines.runs.diagnosis import (
    GOOD,
    OVERFITTING,
    POOR,
    RATE,
    STUCK,
    diagnose,
    memory_hints,
)
from baselines.runs.journal import Trained, Validated


def trained(losses, *, waited=0.0, speed=20.0):
    losses = list(map(float, losses))
    return [
        Trained(n + 20, len(losses), 1, 1, tuple(losses[n : n + 20]), 1e-3, waited=waited,
                speed=speed)
        for n in range(0, len(losses), 20)
    ]  # fmt: skip


def validated(*pairs):
    return [Validated(n, loss, {"a": dice}, dice, False) for n, (loss, dice) in enumerate(pairs)]


FALLING = np.geomspace(1.5, 0.2, 200)


def test_curves_that_converge_together_are_good():
    assert diagnose([*trained(FALLING), *validated((0.5, 0.8), (0.25, 0.9))]) == [GOOD]


def test_a_loss_that_does_not_fall_points_to_the_learning_rate():
    assert diagnose(trained(np.full(200, 1.5))) == [RATE, STUCK]  # the rate, then the data
    assert diagnose(trained(np.linspace(1.0, 2.0, 200)))[0] == RATE
    assert "Try the default or a lower training.lr" in RATE


def test_a_loss_that_stays_high_points_to_the_annotations():
    assert diagnose(trained(np.linspace(1.5, 1.4, 200))) == [STUCK]
    assert "poor annotation is the most common cause" in STUCK
    assert "Check the annotations" in STUCK
    assert "add more data" in STUCK


def test_a_validation_loss_far_above_the_training_loss_is_overfitting():
    found = diagnose([*trained(FALLING), *validated((0.9, 0.8), (1.1, 0.75))])
    assert found == [OVERFITTING]
    assert "Switch augmentation on, and add more data" in OVERFITTING
    assert diagnose([*trained(FALLING), *validated((0.9, 0.8), (0.25, 0.9))]) == [GOOD]


def test_a_poor_dice_asks_for_more_data():
    assert POOR in diagnose([*trained(FALLING), *validated((0.3, 0.5))])
    assert "more diverse annotated data" in POOR


def test_waiting_for_patches_is_told_with_figures():
    (hint,) = diagnose(trained(FALLING, waited=0.4, speed=3.0))
    assert "waits for patches 40% of the time (3.0 patches/s)" in hint


def test_a_slow_training_is_told_to_take_less():
    (hint,) = diagnose(trained(FALLING, speed=0.25))
    assert "very slow (0.25 patches/s" in hint
    assert "reduce training.batch or training.patch" in hint


@pytest.mark.parametrize("events", [[], trained(np.full(20, 1.5))])
def test_a_training_that_has_hardly_begun_is_not_judged(events):
    assert diagnose(events) == []


def test_out_of_memory_names_four_ways_out_in_order_with_present_values():
    hints = memory_hints(Config(), torch.device("cpu"))
    places = [hints.index(word) for word in (
        "1. Reduce the batch: training.batch is 8", "2. Use smaller patches: training.patch is [1,",
        "3. Take a leaner model: model.width is 24", "4. Use a GPU with more memory",
    )]  # fmt: skip
    assert places == sorted(places)
    assert re.search(r"out of memory on cpu \(peak \d+\.\d GB\)", hints)
