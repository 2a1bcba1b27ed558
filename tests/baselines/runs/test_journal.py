import dataclasses
import json

import pytest

from baselines.runs.journal import (
    Noted,
    Trained,
    Validated,
    duration,
    events_of,
    line_of,
    sentence_of,
    sentences,
    up_to,
)

TRAINED = Trained(
    40, 100, 2, 5, losses=(0.5, 0.25), lr=1e-3, dice={"mito": 0.5, "er": 0.7}, seconds=8.0,
    left=3723.4, waited=0.031, speed=12.34,
)  # fmt: skip
VALIDATED = Validated(40, 0.4, {"mito": 0.8}, 0.8, True)
NOTED = Noted(40, "done", "done: here")


@pytest.mark.parametrize("event", [TRAINED, VALIDATED, NOTED])
def test_what_is_written_is_read_again(event):
    assert events_of(line_of(event) + "\n") == [event]


def test_machines_find_the_kind_of_an_event_under_one_key():
    names = [json.loads(line_of(event))["event"] for event in (TRAINED, VALIDATED, NOTED)]
    assert names == ["training", "validation", "done"]


def test_losses_come_back_to_the_last_digit():
    exact = dataclasses.replace(TRAINED, losses=(0.1 + 0.2, 1 / 3))
    assert events_of(line_of(exact) + "\n")[0].losses == (0.1 + 0.2, 1 / 3)


def test_a_line_that_a_crash_cut_off_is_left_out():
    text = line_of(TRAINED) + "\n" + line_of(VALIDATED)[:20]
    assert events_of(text) == [TRAINED]


def test_what_is_going_to_happen_again_is_forgotten():
    events = [dataclasses.replace(VALIDATED, iteration=n) for n in (10, 20, 30)]
    assert [event.iteration for event in up_to(events, 20)] == [10, 20]


def test_people_read_epoch_loss_dice_speed_and_what_is_left():
    assert sentence_of(TRAINED) == (
        "iteration 40/100  epoch 2/5  loss 0.3750  Dice 0.6000  12.3 patches/s  waited 3%  "
        "1:02:03 left"
    )
    assert sentence_of(VALIDATED) == (
        "iteration 40  validation loss 0.4000  Dice 0.8000, the best so far"
    )
    said = []
    sentences(said.append)(NOTED)
    assert said == ["done: here"]


def test_an_event_without_losses_and_dice_can_be_told():
    assert "loss nan" in sentence_of(dataclasses.replace(TRAINED, losses=(), dice={}))


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59.4, "59 s"), (60, "1:00"), (3600, "1:00:00")]
)
def test_durations(seconds, said):
    assert duration(seconds) == said
