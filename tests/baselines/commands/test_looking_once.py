"""Before a training data are looked at once, however many folds and processes there are."""

import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from baselines.cli import app

SMALL = [
    "--set", "data.layout=images", "--set", "data.voxel_size=[8,8,8]", "--set", "model.width=8",
    "--set", "model.levels=2", "--set", "training.patch=[1,16,16]", "--set", "training.batch=2",
    "--set", "training.iterations=1", "--set", "prediction.tile=[1,32,32]",
    "--set", "prediction.overlap=[0,0,0]", "--device", "cpu",
]  # fmt: skip


@pytest.fixture
def images(tmp_path):
    """Two images and their masks."""
    random = np.random.default_rng(0)
    for name in ("images", "masks"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for name in "ab":
        values = random.integers(1, 255, (32, 32), np.uint8)
        Image.fromarray(values).save(tmp_path / f"data/images/{name}.png")
        mask = (values > 120).astype(np.uint8)
        Image.fromarray(mask).save(tmp_path / f"data/masks/{name}_mask.png")
    return tmp_path / "data"


def blacken(images):
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(images / "images/a.png")


def train(images, out, *more):
    words = ["train", "unet2d", "--data", images, "--out", out, *SMALL, *more]
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize("folds", [[], ["--folds", "1"]], ids=["a run", "an ensemble"])
def test_what_goes_on_is_not_looked_at_again_and_what_is_new_is(images, tmp_path, folds):
    first = train(images, tmp_path / "run", *folds)
    assert first.exit_code == 0, first.output
    blacken(images)
    again = train(images, tmp_path / "run", *folds)
    assert again.exit_code == 0, again.output
    anew = train(images, tmp_path / "new", *folds)
    assert anew.exit_code != 0
    assert "all pixels are zero" in str(anew.exception)


def test_of_two_processes_one_looks_and_both_hear_what_is_wrong(images, tmp_path):
    blacken(images)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    # Images that do not say their voxel size are worth a warning, said by whoever looks.
    words = ["train", "unet2d", "--data", images, "--out", tmp_path / "run", *SMALL,
             "--set", "data.voxel_size=[]"]  # fmt: skip
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "baselines", *map(str, words)],
            stderr=subprocess.PIPE, text=True,
            env={**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2",
                 "RANK": str(n), "LOCAL_RANK": str(n)},
        )
        for n in range(2)
    ]  # fmt: skip
    said = [child.communicate(timeout=200)[1] for child in children]
    assert [child.returncode for child in children] == [2, 2], said
    assert all("all pixels are zero" in text for text in said)
    assert ["warning: images do not say their voxel size" in text for text in said] == [True, False]
    assert not (tmp_path / "run").exists()
