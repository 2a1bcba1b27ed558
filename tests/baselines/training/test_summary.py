"""What stands in the summary before a training."""

import dataclasses

from baselines.config import build
from baselines.config.schema import Config
from baselines.data.crops import load_crops
from baselines.training.schedule import plan_schedule
from baselines.training.summary import sizes, summarise
from baselines.training.train import filled
from tests.baselines.conftest import tiny


def summary_of(phantom, config):
    labels, crops = load_crops(phantom, config, progress=lambda _: None)
    full = filled(config, phantom, labels, crops)
    return summarise(full, crops, plan_schedule(full, len(crops))), crops


def test_labels_come_with_kind_channels_crops_and_voxels(phantom):
    summary, crops = summary_of(phantom, tiny())
    cell, mem = summary.labels
    assert (cell.label, cell.kind, cell.crops) == ("cell", "instance", 2)
    assert (mem.kind, mem.channels) == ("semantic", ("mask",))
    assert cell.voxels == sum(crop.count["cell"] for crop in crops) > 0


def test_voxels_to_train_and_validate_on_add_up_to_all(phantom):
    summary, crops = summary_of(phantom, tiny())
    told = [
        int(summary.facts[k].split()[0].replace(",", "")) for k in ("trained on", "validated on")
    ]
    assert sum(told) == sum(crop.grid.voxels for crop in crops)
    assert "the last 20% of the planes" in summary.facts["validated on"]


def test_the_schedule_is_told_in_iterations_and_epochs(phantom):
    config = build(Config, {"training": {"epochs": 3, "batch": 4}, "sampling": {
        "patches_per_image": 10}, "model": {"width": 8, "levels": 2}, "data": {"labels": ["mem"]},
        }, where="")  # fmt: skip
    summary, _ = summary_of(phantom, config)
    assert summary.facts["iterations"] == "15 (3 epochs)"  # 2 crops, 10 patches each, 4 at once


def test_memory_is_told_and_grows_with_the_batch(phantom):
    told = [summary_of(phantom, tiny(batch=n))[0].facts["memory"] for n in (1, 64)]
    small, large = (float(text.split()[1]) for text in told)
    assert 0 <= small < large < 10


def test_a_label_without_a_voxel_is_remarked_upon(phantom):
    config = tiny()
    labels, crops = load_crops(phantom, config, progress=lambda _: None)
    full = filled(config, phantom, labels, crops)
    empty = [dataclasses.replace(crop, count={**crop.count, "mem": 0}) for crop in crops]
    remarks = summarise(full, empty, plan_schedule(full, 2)).remarks
    assert "mem has no voxel in the training boxes." in remarks


def test_nothing_to_validate_on_is_remarked_upon(phantom):
    config = dataclasses.replace(tiny(), split=dataclasses.replace(tiny().split, fraction=0.0))
    assert any("nothing is kept" in text for text in summary_of(phantom, config)[0].remarks)


def test_sizes_are_written_in_order():
    assert sizes((8.0, 4.5, 4)) == "8 x 4.5 x 4"


def test_a_limit_on_validation_is_told(phantom):
    told = [
        summary_of(phantom, tiny(validate_every=3, validation_tiles=n))[0].facts["validated every"]
        for n in (0, 4)
    ]
    assert told == ["3 iterations", "3 iterations, on 4 tiles"]
