"""Two real processes, started as torchrun starts them, on one machine without a GPU."""

import dataclasses
import os
import socket
import subprocess
import sys

import pytest
import torch

from baselines.config import to_json
from baselines.runs.checkpoint import Run
from baselines.runs.journal import Trained
from baselines.training.ranks import ALONE, joined
from baselines.training.train import train
from tests.baselines.conftest import tiny

TRAIN = """
import dataclasses, pathlib, sys, torch
from baselines.runs.checkpoint import Run
from baselines.config import load_config
from baselines.layout import DataFolder
from baselines.training.ranks import joined
from baselines.training.train import train
torch.set_num_threads(1)
config, data, out = map(pathlib.Path, sys.argv[1:])
with joined(torch.device("cpu")) as ranks:
    train(load_config(config), DataFolder(data), Run(out), device=torch.device("cpu"), ranks=ranks,
          progress=lambda _: None)
"""


def launched(*arguments):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    together = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", TRAIN, *map(str, arguments)],
            env={**os.environ, **together, "RANK": str(n), "LOCAL_RANK": str(n)},
            stderr=subprocess.PIPE, text=True,
        )
        for n in range(2)
    ]  # fmt: skip
    errors = [child.communicate(timeout=200)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0], errors


def losses(run):
    return [loss for e in run.events() if isinstance(e, Trained) for loss in e.losses]


def test_two_processes_train_like_one_with_twice_the_batch(phantom, tmp_path):
    settings = [
        tiny(iterations=6, batch=batch, precision="fp32", validate_every=3) for batch in (4, 2)
    ]
    still = dataclasses.replace(settings[0].augment, enabled=False)
    alone, together = (dataclasses.replace(config, augment=still) for config in settings)
    one, two = Run(tmp_path / "one"), Run(tmp_path / "two")
    train(alone, phantom, one, device=torch.device("cpu"), progress=lambda _: None)
    (tmp_path / "two.json").write_text(to_json(together))
    launched(tmp_path / "two.json", phantom.root, two.folder)
    assert len(losses(two)) == 6
    assert losses(two) == pytest.approx(losses(one), abs=1e-4)
    assert two.results()["dice"] == pytest.approx(one.results()["dice"], abs=0.01)
    weights = [run.model().state_dict() for run in (one, two)]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, atol=2e-3, rtol=1e-2)


def test_alone_everything_is_its_own_sum():
    with joined(torch.device("cpu")) as ranks:
        assert ranks == ALONE
    assert ALONE.first
    assert ALONE.gathered(3) == [3]
    assert ALONE.any(True)
    assert not ALONE.any(False)
    model = torch.nn.Linear(1, 1)
    assert ALONE.wrap(model) is model
    value = torch.ones(2, requires_grad=True)
    assert ALONE.total(value) is value
