"""Whatever the settings say of a network, it takes raw and gives logits of the same size."""

from itertools import product

import pytest
import torch

from baselines.config import Config, ModelConfig, build
from baselines.models import build_model

SIZES = {2: (2, 16, 16), 3: (8, 16, 16)}


def logits_of(settings: ModelConfig, channels: int = 3):
    """Shapes of what the network gives in training."""
    z, y, x = SIZES[settings.dims]
    model = build_model(
        settings, channels=channels, voxel_size=(8.0, 8.0, 8.0), patch=(z, y, x)
    ).train()
    with torch.no_grad():
        out = model(torch.zeros(2, 1, z + 2 * settings.context, y, x))
    return [tuple(part.shape) for part in (out if isinstance(out, list) else [out])]


@pytest.mark.parametrize(
    ("dims", "block", "norm", "up"),
    list(product(
        (2, 3), ("plain", "residual"), ("group", "instance", "batch"),
        ("nearest", "linear", "transpose"),
    )),
)  # fmt: skip
def test_every_combination_of_block_norm_and_way_up_keeps_the_size(dims, block, norm, up):
    settings = ModelConfig(dims=dims, width=8, levels=3, block=block, norm=norm, up=up)
    assert logits_of(settings) == [(2, 3, *SIZES[dims])]


@pytest.mark.parametrize("context", [1, 2])
def test_neighbouring_planes_go_in_and_do_not_come_out(context):
    settings = ModelConfig(dims=2, width=8, levels=3, context=context)
    assert logits_of(settings) == [(2, 3, *SIZES[2])]


def test_deep_supervision_gives_coarser_logits_in_training_only():
    settings = ModelConfig(dims=3, width=8, levels=4, deep_supervision=True)
    finest, *coarser = logits_of(settings)
    assert finest == (2, 3, *SIZES[3])
    assert coarser
    assert all(shape[1] == 3 and shape[-1] < SIZES[3][-1] for shape in coarser)


@pytest.mark.parametrize(("dims", "levels"), [(2, 1), (2, 2), (3, 2)])
def test_few_levels_and_a_stem_are_networks_too(dims, levels):
    assert logits_of(ModelConfig(dims=dims, width=8, levels=levels, stem=2)) == [
        (2, 3, *SIZES[dims])
    ]


def test_depths_are_blocks_per_level():
    few = ModelConfig(dims=2, width=8, levels=2, block="residual", depths=(1, 1))
    many = ModelConfig(dims=2, width=8, levels=2, block="residual", depths=(1, 4))
    count = [
        sum(w.numel() for w in build_model(s, channels=1, voxel_size=(8, 8, 8)).parameters())
        for s in (few, many)
    ]
    assert count[0] < count[1]


@pytest.mark.parametrize("name", ["UNet", "BasicUNet", "DynUNet", "SegResNet"])
def test_networks_of_monai_are_had_by_their_names(name):
    pytest.importorskip("monai")
    config = build(Config, {"model": {"name": f"monai:{name}", "levels": 4}}, where="")
    model = build_model(
        config.model, channels=3, voxel_size=(8.0, 8.0, 8.0), patch=(1, 64, 64)
    ).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 1, 2, 64, 64)).shape == (1, 3, 2, 64, 64)
