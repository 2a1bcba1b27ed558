import dataclasses

import numpy as np
import pytest

from baselines.config import Config, ConfigError, TrainingConfig, build
from baselines.training.schedule import Schedule, learning_rate, plan_schedule


def planned(images=2, patches=50, **training):
    config = build(
        Config, {"sampling": {"patches_per_image": patches}, "training": training}, where=""
    )
    return plan_schedule(config, images)


@pytest.mark.parametrize(
    ("iterations", "images", "batch", "epochs"),
    [(1000, 20, 4, 200), (1000, 15, 4, 267), (1, 100, 1, 1), (10, 3, 5, 17)],
)
def test_epochs_are_iterations_over_images_by_batch_rounded_up(iterations, images, batch, epochs):
    found = planned(images=images, patches=1, batch=batch, iterations=iterations)
    assert found.epochs == epochs
    assert found.epoch_of(1) == 1 or images < batch


@pytest.mark.parametrize(("images", "patches", "batch"), [(3, 50, 8), (7, 11, 9), (1, 50, 3)])
def test_so_many_epochs_as_are_asked_for_are_told_of(images, patches, batch):
    found = planned(images=images, patches=patches, batch=batch, epochs=6)
    assert found.epochs == 6
    assert images * patches * 6 - batch < found.iterations * batch <= images * patches * 6
    assert found.epoch_of(found.iterations) == 6


def test_an_epoch_is_so_many_patches_of_each_image():
    assert planned(images=3, patches=50, batch=8, iterations=100).epoch == 18.75  # 150 / 8
    assert planned(images=3, patches=50, batch=8, iterations=100).epochs == 6


def test_epochs_decide_on_the_iterations_and_on_validating_once_per_epoch():
    found = planned(images=2, patches=8, batch=4, epochs=10, iterations=7)
    assert found == Schedule(40, 4, 4, 4)
    assert found.epochs == 10


def test_without_epochs_only_the_last_iteration_is_validated_unless_asked():
    assert planned(iterations=100).validate_every == 0
    assert planned(iterations=100, validate_every=30).validate_every == 30
    assert planned(epochs=3, validate_every=30).validate_every == 30


def test_a_tenth_of_the_schedule_lies_between_saves():
    assert planned(iterations=100).save_every == 10
    assert planned(iterations=5).save_every == 1
    assert planned(iterations=100, save_every=50).save_every == 50


def test_saves_divide_the_schedule_that_follows_from_epochs_too():
    with pytest.raises(ConfigError, match="does not divide the 40 iterations; the nearest"):
        planned(images=2, patches=8, batch=4, epochs=10, save_every=7)


def rates(schedule, warmup=0.1):
    settings = TrainingConfig(lr=1.0, warmup=warmup, schedule=schedule)
    return [learning_rate(settings, done) for done in np.linspace(0, 1, 101)]


@pytest.mark.parametrize("schedule", ["cosine", "poly"])
def test_the_rate_climbs_then_falls_to_a_hundredth(schedule):
    found = rates(schedule)
    assert 0 < found[0] < 0.2
    assert max(found) == pytest.approx(1.0, abs=0.02)
    assert int(np.argmax(found)) in (10, 11)
    assert all(np.diff(found[11:]) < 0)
    assert found[-1] == pytest.approx(0.01)


def test_halfway_down_a_cosine_is_at_its_middle_and_a_power_above_it():
    assert rates("cosine", warmup=0.0)[50] == pytest.approx(0.01 + 0.99 / 2)
    assert rates("poly", warmup=0.0)[50] == pytest.approx(0.01 + 0.99 * 0.5**0.9)


def test_a_constant_rate_stays_after_the_climb():
    assert rates("constant")[10:] == [1.0] * 91


def test_beyond_its_end_the_rate_stays_where_it_was():
    settings = dataclasses.replace(TrainingConfig(), lr=1.0)
    assert learning_rate(settings, 1.7) == learning_rate(settings, 1.0)


def test_on_a_plateau_the_rate_halves_at_each_fall_down_to_a_hundredth():
    settings = TrainingConfig(lr=0.8, warmup=0.1, schedule="plateau")
    assert [learning_rate(settings, 0.5, falls=n) for n in range(3)] == [0.8, 0.4, 0.2]
    assert learning_rate(settings, 0.9, falls=0) == 0.8
    assert learning_rate(settings, 0.5, falls=50) == pytest.approx(0.008)
    assert learning_rate(settings, 0.05, falls=1) < 0.8


def test_other_schedules_know_no_falls():
    settings = TrainingConfig(schedule="cosine")
    assert learning_rate(settings, 0.5, falls=3) == learning_rate(settings, 0.5)
