"""Patches and batches for the memory at hand."""

import dataclasses
import json

import pytest
import torch

from baselines.config import Config, ConfigError, DataConfig, ModelConfig, build
from baselines.config.schema import TrainedConfig
from baselines.runs.checkpoint import network_of
from baselines.training.memory import counted
from baselines.training.planning import (
    CPU_BYTES,
    SHARE,
    Plan,
    budget_of,
    growing,
    last,
    plan,
    sized,
)

CPU = torch.device("cpu")


def settings(dims=3, *, voxel_size=(8.0, 8.0, 8.0), **model):
    return Config(
        data=DataConfig(labels=("mito",), voxel_size=voxel_size),
        model=ModelConfig(**{"dims": dims, "width": 8, "levels": 3} | model),
        trained=TrainedConfig(kinds={"mito": "semantic"}),
    )


def planned(config, shape, budget):
    return plan(config, [shape], device=CPU, budget=budget)


def test_more_memory_takes_larger_patches_and_never_more_than_there_is():
    plans = [planned(settings(), (192, 192, 192), n) for n in (10**8, 10**9)]
    volumes = [p.patch[0] * p.patch[1] * p.patch[2] for p in plans]
    assert volumes[0] < volumes[1]
    assert all(p.needed <= p.budget for p in plans)
    assert plans[0].needed > 0.5 * plans[0].budget


def test_patches_are_as_wide_in_nanometres_along_every_axis():
    z, y, x = planned(settings(voxel_size=(40.0, 10.0, 10.0)), (200, 800, 800), 10**9).patch
    assert y == x
    assert 0.6 < (40 * z) / (10 * y) < 1.6


def test_patches_are_no_larger_than_the_crops_and_batches_take_the_rest():
    found = planned(settings(), (24, 64, 40), CPU_BYTES)
    assert found.patch == (24, 64, 40)
    assert found.batch == 8


def test_crops_of_another_size_count_by_the_middle():
    shapes = [(8, 16, 16), (24, 64, 64), (300, 300, 300)]
    assert plan(settings(), shapes, device=CPU).patch == (24, 64, 64)


@pytest.mark.parametrize("planes", [1, 3, 10])
def test_few_planes_are_taken_as_they_are(planes):
    config = settings()
    found = planned(config, (planes, 64, 64), CPU_BYTES)
    assert planes <= found.patch[0] <= planes + 1
    network_of(found.applied(config)).check_patch(found.patch)


def test_planes_stay_planes():
    found = planned(settings(2), (20, 1024, 1024), CPU_BYTES)
    assert found.patch == (1, 512, 512)


@pytest.mark.parametrize(
    ("dims", "model"),
    [(2, {"stem": 2}), (2, {"context": 1}), (3, {"block": "residual", "deep_supervision": True})],
)
def test_what_is_planned_goes_through_the_network_and_its_rules(dims, model):
    config = settings(dims, voxel_size=(30.0, 8.0, 8.0), **model)
    found = planned(config, (50, 200, 300), 3 * 10**8)
    applied = found.applied(config)
    network_of(applied).check_patch(found.patch)
    build(Config, json.loads(json.dumps(dataclasses.asdict(applied))), where="")
    assert applied.training.batch == found.batch
    assert all(t % p == 0 for t, p in zip(applied.prediction.tile, found.patch, strict=True))


def test_a_wider_network_gets_smaller_patches():
    narrow, wide = (planned(settings(width=w), (192, 192, 192), 10**9) for w in (8, 32))
    assert narrow.patch > wide.patch


def test_too_little_memory_is_an_error_that_says_what_to_do():
    with pytest.raises(ConfigError, match=r"not even one patch of \[16, 16, 16\] fits into 0.0001"):
        planned(settings(), (64, 64, 64), 100_000)


def test_a_short_memory_takes_single_patches():
    config = settings()
    one = planned(config, (16, 16, 16), counted(sized(config, (16, 16, 16), 1)))
    assert one.patch == (16, 16, 16)
    assert one.batch == 1
    assert one.needed == one.budget


def test_patches_grow_step_by_step_along_the_narrowest_axis():
    grown = growing(settings(voxel_size=(16.0, 8.0, 8.0)), [(24, 24, 24)])
    assert grown == [(16, 16, 16), (16, 20, 16), (16, 20, 20), (16, 24, 20), (16, 24, 24),
                     (20, 24, 24), (24, 24, 24)]  # fmt: skip


@pytest.mark.parametrize("limit", range(7))
def test_the_last_that_holds(limit):
    asked = []

    def holds(k):
        asked.append(k)
        return k <= limit

    assert last(holds, 7) == limit
    assert len(asked) <= 3


def test_a_processor_has_a_budget_of_its_own():
    assert budget_of(CPU) == CPU_BYTES
    assert planned(settings(), (32, 32, 32), 0).budget == CPU_BYTES


def test_a_plan_says_what_it_takes():
    found = Plan((8, 64, 64), 2, 3_500_000_000, 4_000_000_000, "cpu", False)
    assert found.text() == "patch [8, 64, 64], batch 2: 3.50 GB of 4.00 GB on cpu (counted)"
    assert json.loads(json.dumps(found.to_json()))["patch"] == [8, 64, 64]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_updates_are_tried():
    found = plan(settings(), [(96, 96, 96)], device=torch.device("cuda"))
    assert found.measured
    assert 0 < found.needed <= SHARE * torch.cuda.get_device_properties(0).total_memory
