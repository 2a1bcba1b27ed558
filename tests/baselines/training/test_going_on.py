"""A run that was stopped ends as if it had not been, with every optimizer and every schedule."""

import pytest
import torch

from baselines.runs.checkpoint import Run
from baselines.runs.journal import Trained
from baselines.training.train import train
from tests.baselines.conftest import tiny

CPU = torch.device("cpu")


def trained(settings, data, folder, **options):
    return train(settings, data, Run(folder), device=CPU, progress=lambda _: None, **options)


def told(folder):
    return [event for event in Run(folder).events() if isinstance(event, Trained)]


def losses(folder):
    return [loss for event in told(folder) for loss in event.losses]


def stopped_after_a_third(settings, data, run):
    """Stopped in the middle of the schedule, and gone on with."""

    def ask(event):
        if event.iteration >= settings.training.iterations // 3 and isinstance(event, Trained):
            run.stop.touch()

    with pytest.raises(KeyboardInterrupt):
        trained(settings, data, run.folder, sinks=[ask])
    assert 0 < run.load_last()["standing"]["iteration"] < settings.training.iterations
    trained(settings, data, run.folder)


@pytest.mark.parametrize(
    "given",
    [{"optimizer": "radam"}, {"optimizer": "sgd", "lr": 0.05}, {"schedule": "poly"}],
    ids=lambda given: next(iter(given.values())),
)
def test_a_run_goes_on_to_the_last_digit(phantom, tmp_path, given):
    settings = tiny(iterations=26, precision="fp32", save_every=13, **given)
    trained(settings, phantom, tmp_path / "whole")
    stopped_after_a_third(settings, phantom, Run(tmp_path / "parts"))
    one, two = (Run(tmp_path / name).model().state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")


def test_a_rate_that_fell_for_lack_of_gain_stays_fallen_after_a_break(phantom, tmp_path):
    """So small a rate brings no gain, so that every second validation halves it."""
    settings = tiny(iterations=60, precision="fp32", save_every=20, validate_every=10, lr=1e-8,
                    ema=0.0, schedule="plateau", plateau=2, patience=0, warmup=0.0)  # fmt: skip
    trained(settings, phantom, tmp_path / "whole")
    stopped_after_a_third(settings, phantom, Run(tmp_path / "parts"))
    rates = [[event.lr for event in told(tmp_path / name)] for name in ("whole", "parts")]
    assert rates[0][0] == 1e-8
    assert rates[0][-1] == 1e-8 / 4  # the first is the best; two and two more were not better
    assert rates[0] == rates[1]


def test_validations_with_a_limit_go_on_to_the_last_digit(phantom, tmp_path):
    settings = tiny(iterations=30, precision="fp32", save_every=10, validate_every=5,
                    validation_tiles=3)  # fmt: skip
    trained(settings, phantom, tmp_path / "whole")
    stopped_after_a_third(settings, phantom, Run(tmp_path / "parts"))
    one, two = (Run(tmp_path / name).results() for name in ("whole", "parts"))
    for key in ("iteration", "dice", "loss", "thresholds", "objects", "quality"):
        assert one[key] == two[key]
