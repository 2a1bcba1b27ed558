"""What an update takes, counted without computing anything."""

import dataclasses

import pytest
import torch

from baselines.config import Config, DataConfig, ModelConfig, TrainingConfig
from baselines.config.schema import TrainedConfig
from baselines.runs.checkpoint import heads_in, network_of
from baselines.training.losses import loss_of
from baselines.training.memory import Alive, counted, empty_batch, measured


def settings(batch=2, patch=(8, 32, 32), **model):
    return Config(
        data=DataConfig(labels=("mito", "er"), voxel_size=(8.0, 8.0, 8.0)),
        model=ModelConfig(**{"dims": 3, "width": 8, "levels": 2} | model),
        training=TrainingConfig(batch=batch, patch=patch),
        trained=TrainedConfig(kinds={"mito": "semantic", "er": "semantic"}),
    )


def test_what_is_let_go_is_no_longer_counted():
    with Alive() as alive:
        one = torch.zeros(1000)
        two = one + 1
        assert alive.now == 8000
        del one
        assert alive.now == 4000
        three = torch.zeros(250)
        assert alive.now == 5000
    assert alive.peak == 8000
    assert len(two) == 1000
    assert len(three) == 250


def test_views_of_a_tensor_are_counted_once():
    with Alive() as alive:
        whole = torch.zeros(10, 10)
        parts = [whole.T, whole[2:], whole.reshape(-1)]
    assert len(parts) == 3
    assert alive.peak == 400


def test_gradients_are_counted_with_what_they_need():
    x = torch.ones(1000, requires_grad=True)
    with Alive() as alive:
        (x.exp() * x).sum().backward()
    assert alive.peak >= 3 * 4000


def test_twice_the_batch_takes_twice_the_maps():
    one, two, four = (counted(settings(n)) for n in (1, 2, 4))
    assert four - two == pytest.approx(2 * (two - one), rel=0.05)


def test_the_count_is_what_an_update_on_a_processor_really_holds():
    config = settings()
    batch = empty_batch(config, torch.device("cpu"))

    model = network_of(config).train()
    with Alive() as alive:
        target = torch.zeros(2, 2, 8, 32, 32)
        loss, _ = loss_of(model(batch.raw), target, torch.ones_like(target), heads_in(config),
                          config.loss)  # fmt: skip
        loss.backward()
    assert alive.peak <= counted(config) <= 1.3 * alive.peak


def test_context_and_coarser_losses_take_more():
    plain = counted(settings(dims=2, levels=3, patch=(1, 32, 32)))
    assert counted(settings(dims=2, levels=3, context=2, patch=(1, 32, 32))) > plain
    deep = {"dims": 3, "levels": 4, "block": "residual", "patch": (8, 32, 32)}
    assert counted(settings(deep_supervision=True, **deep)) > counted(settings(**deep))


def test_counting_computes_nothing_and_so_plans_for_what_no_machine_has():
    huge = counted(settings(batch=8, patch=(512, 512, 512)))
    assert huge > 100 * 2**30


def test_a_batch_of_the_settings_size():
    config = settings(dims=2, context=1, patch=(1, 32, 48))
    batch = empty_batch(dataclasses.replace(config), torch.device("cpu"))
    assert batch.raw.shape == (2, 1, 3, 32, 48)
    assert batch.ids.shape == batch.known.shape == (2, 2, 1, 32, 48)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_takes_what_was_counted_or_less_and_refuses_what_it_lacks():
    device = torch.device("cuda")
    config = settings(batch=4, patch=(32, 128, 128))
    found = measured(config, device)
    assert found is not None
    assert found < 2 * counted(config)
    assert measured(settings(batch=64, patch=(512, 512, 512)), device) is None
