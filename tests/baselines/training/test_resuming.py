"""A training that breaks off before every one of its steps, and goes on each time."""

import pytest
import torch

from baselines.runs.checkpoint import Run
from baselines.runs.journal import Trained
from baselines.training.train import train
from baselines.training.trainer import Trainer
from tests.baselines.conftest import tiny

STEPS = 12


class Break(Exception):
    """A crash, as far as a training can see."""


def go(settings, phantom, folder):
    return train(
        settings, phantom, Run(folder), device=torch.device("cpu"), progress=lambda _: None
    )


def losses(folder):
    return [loss for e in Run(folder).events() if isinstance(e, Trained) for loss in e.losses]


@pytest.mark.parametrize("workers", [0, 2])
def test_wherever_it_breaks_off_the_same_weights_come_out(phantom, tmp_path, monkeypatch, workers):
    settings = tiny(iterations=STEPS, precision="fp32", save_every=4, workers=workers)
    go(settings, phantom, tmp_path / "whole")
    update, left, steps = Trainer.update, list(range(STEPS)), []

    def breaking(trainer, batch):
        if trainer.at.iteration in left:
            left.remove(trainer.at.iteration)
            raise Break
        steps.append(trainer.at.iteration)
        update(trainer, batch)

    monkeypatch.setattr(Trainer, "update", breaking)
    for _ in range(STEPS):
        with pytest.raises(Break):
            go(settings, phantom, tmp_path / "parts")
    go(settings, phantom, tmp_path / "parts")
    assert left == []
    assert steps == [0, 0, 1, 0, 1, 2, 0, 1, 2, 3, 4, 4, 5, 4, 5, 6, 4, 5, 6, 7, 8, 8, 9, 8, 9, 10,
                     8, 9, 10, 11]  # fmt: skip
    one, other = (Run(tmp_path / name).model().state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    assert len(losses(tmp_path / "whole")) == STEPS
