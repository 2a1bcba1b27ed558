import dataclasses
import json
import re
import shutil

import pytest
import torch

from baselines.config import SplitConfig
from baselines.layout import DataFolder, Purpose
from baselines.runs.checkpoint import Run, members
from baselines.training.folds import count_folds, train_folds
from baselines.volumes.readers import InMemory
from evaluator.geometry import VoxelGrid
from tests.baselines.conftest import tiny
from tests.baselines.made_crops import make_crop

CPU = torch.device("cpu")


def crops(count, dataset="{n}"):
    empty = InMemory(torch.zeros(2, 4, 4, dtype=torch.uint8).numpy())
    grid = VoxelGrid((2, 4, 4), (8.0, 8.0, 8.0))
    return [
        make_crop(f"c{n}", grid, empty, {"a": empty}, dataset=dataset.format(n=n))
        for n in range(count)
    ]


def kfold(**split):
    """Settings with a patch that single crops are too small to make blocks of."""
    return dataclasses.replace(tiny(), split=SplitConfig(kind="kfold", **split))


@pytest.mark.parametrize(("images", "folds"), [(15, 5), (5, 5), (3, 3), (2, 2), (1, 1)])
def test_there_are_as_many_models_as_images_but_five_at_most(images, folds):
    assert count_folds(crops(images), kfold()) == folds


def test_crops_of_a_dataset_count_once_where_datasets_stay_together():
    assert count_folds(crops(6, dataset="same"), kfold(by="dataset")) == 1
    assert count_folds(crops(6), kfold(by="dataset")) == 5


def test_two_images_make_two_models_that_validate_on_one_image_each(phantom, tmp_path):
    settings = tiny(iterations=2)
    found = train_folds(settings, phantom, tmp_path, device=CPU, progress=lambda _: None)
    assert len(found) == 2
    assert json.loads((tmp_path / "ensemble.json").read_text()) == {"members": ["fold-0", "fold-1"]}
    runs = members(tmp_path)
    assert [run.folder.name for run in runs] == ["fold-0", "fold-1"]
    kept = [
        {name for name, boxes in run.results()["split"].items() if boxes["validation"]}
        for run in runs
    ]
    assert sorted(map(sorted, kept)) == [["phantom-train-1"], ["phantom-train-2"]]
    for run, names in zip(runs, kept, strict=True):
        trains = {n for n, boxes in run.results()["split"].items() if boxes["training"]}
        assert not trains & names


def test_folds_that_are_done_are_not_trained_again_and_some_can_be_asked_for(phantom, tmp_path):
    settings = dataclasses.replace(tiny(iterations=2), name="again")
    say = []
    train_folds(settings, phantom, tmp_path, device=CPU, progress=say.append, only=[1])
    assert not (tmp_path / "fold-0").exists()
    before = Run(tmp_path / "fold-1").events()
    train_folds(settings, phantom, tmp_path, device=CPU, progress=say.append)
    assert Run(tmp_path / "fold-1").events() == before
    assert Run(tmp_path / "fold-0").weights.is_file()


def test_one_volume_alone_makes_models_that_validate_on_its_blocks(phantom, tmp_path):
    """64 x 64 voxels hold two blocks of a patch of 32, and a gap of 16 leaves half of one."""
    data = DataFolder(tmp_path / "data")
    shutil.copytree(phantom.root, data.root)
    table = data.table(Purpose.TRAIN)
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(line for line in lines if not re.search("train-2|,2,", line)))
    assert len(data.manifest(Purpose.TRAIN).crops) == 1
    train_folds(tiny(iterations=2), data, tmp_path / "runs", device=CPU, progress=lambda _: None)
    runs = members(tmp_path / "runs")
    assert len(runs) == 2
    found = [run.results()["split"]["phantom-train-1"] for run in runs]
    assert [boxes["validation"] for boxes in found] == [
        [[[0, 0, 0], [12, 32, 64]]], [[[0, 32, 0], [12, 64, 64]]],
    ]  # fmt: skip
    assert [boxes["training"] for boxes in found] == [
        [[[0, 48, 0], [12, 64, 64]]], [[[0, 0, 0], [12, 16, 64]]],
    ]  # fmt: skip
    assert all(run.results()["dice"] for run in runs)
