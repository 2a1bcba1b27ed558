import io

from rich.console import Console

from baselines.runs.display import shown, silent
from baselines.runs.journal import Noted, Trained

EVENT = Trained(40, 80, 2, 4, (0.5,), 1e-3, dice={"mito": 0.5}, speed=12.0, left=75.0)


def text_of(*, terminal):
    out = io.StringIO()
    with shown(Console(file=out, force_terminal=terminal, width=200)) as sink:
        sink(Noted(0, "begun", "80 iterations on [cpu]"))
        sink(EVENT)
    return out.getvalue()


def test_in_a_terminal_a_bar_shows_epoch_loss_dice_speed_and_what_is_left():
    text = text_of(terminal=True)
    for part in ("2/4", "40/80", "loss 0.5000", "Dice 0.500", "12.0/s", "1:15 left"):
        assert part in text
    assert "80 iterations on [cpu]" in text


def test_elsewhere_each_event_is_a_plain_line():
    lines = text_of(terminal=False).splitlines()
    assert lines[0] == "80 iterations on [cpu]"
    assert lines[1].startswith("iteration 40/80  epoch 2/4  loss 0.5000")
    assert "\x1b" not in "".join(lines)


def test_nobody_is_told_anything_by_silence(capsys):
    silent("words")
    assert capsys.readouterr() == ("", "")
