import pytest
import torch

from baselines.config import ConfigError, ModelConfig
from baselines.models import build_model
from baselines.models.blocks import pack, spread
from baselines.models.unet import plan_levels


def make(dims, *, labels=3, stem=1, levels=3, voxel_size=(8.0, 4.0, 4.0)):
    config = ModelConfig(dims=dims, width=8, levels=levels, stem=stem)
    return build_model(config, channels=labels, voxel_size=voxel_size)


@pytest.mark.parametrize("stem", [1, 2])
@pytest.mark.parametrize(("dims", "size"), [(2, (1, 32, 48)), (3, (8, 32, 16))])
def test_logits_have_one_channel_per_label_and_the_size_of_the_raw(dims, size, stem):
    assert make(dims, stem=stem)(torch.zeros(2, 1, *size)).shape == (2, 3, *size)


def test_a_planar_network_treats_planes_one_by_one():
    model = make(2).eval()
    raw = torch.randn(1, 1, 3, 16, 16)
    apart = torch.cat([model(raw[:, :, z : z + 1]) for z in range(3)], dim=2)
    torch.testing.assert_close(model(raw), apart)


@pytest.mark.parametrize("space", [(8, 16), (3, 8, 16)])
def test_packing_and_spreading_undo_each_other(space):
    raw = torch.randn(2, 5, *space)
    packed = pack(raw, 2)
    assert packed.shape == (2, 20, *space[:-2], 4, 8)
    torch.testing.assert_close(spread(packed, 2), raw)


def test_a_coarse_axis_is_left_alone_until_the_others_have_caught_up():
    factors, kernels = plan_levels((40.0, 4.0, 4.0), 5)
    assert factors == [(1, 2, 2), (1, 2, 2), (1, 2, 2), (2, 2, 2)]
    assert kernels[0] == (1, 3, 3)
    assert kernels[-1] == (3, 3, 3)


def test_cubic_voxels_are_pooled_along_all_axes():
    assert plan_levels((8.0, 8.0, 8.0), 3)[0] == [(2, 2, 2), (2, 2, 2)]


def test_a_patch_that_does_not_go_through_is_refused():
    with pytest.raises(ConfigError, match=r"must be a multiple of \[2, 4, 4\]"):
        make(3).check_patch((5, 32, 32))
    make(3).check_patch((2, 4, 4))


def test_the_multiple_is_what_the_network_really_needs():
    model = make(3, stem=2, levels=2, voxel_size=(8.0, 8.0, 8.0))
    assert model(torch.zeros(1, 1, *model.multiple)).shape[2:] == model.multiple


def test_an_unknown_network_is_named():
    with pytest.raises(ConfigError, match="known are: unet, monai:UNet"):
        build_model(ModelConfig(name="transformer"), channels=1, voxel_size=(1.0, 1.0, 1.0))


@pytest.mark.parametrize("dims", [2, 3])
def test_every_weight_takes_part(dims):
    model = make(dims, stem=2)
    model(torch.randn(2, 1, *model.multiple)).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_network_learns_no_place_it_shifts_with_its_input():
    model = make(2, levels=2).eval()
    raw = torch.zeros(1, 1, 1, 64, 64)
    raw[..., 20:30, 20:30] = 1
    moved = torch.roll(raw, (8, 4), dims=(-2, -1))
    with torch.inference_mode():
        one, two = model(raw), model(moved)
    inner = (..., slice(20, 44), slice(20, 44))  # padding at the borders stays where it is
    back = torch.roll(two, (-8, -4), dims=(-2, -1))
    torch.testing.assert_close(one[inner], back[inner], atol=1e-4, rtol=1e-3)


def test_channels_double_up_to_the_most():
    config = ModelConfig(dims=2, width=8, levels=5, most=24)
    model = build_model(config, channels=1, voxel_size=(1.0, 1.0, 1.0))
    assert [block[-1].first.out_channels for block in model.down] == [8, 16, 24, 24, 24]


def test_the_same_seed_builds_the_same_network():
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(make(2).state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_placing_a_network_changes_nothing_but_its_layout():
    model = make(2)
    raw = torch.randn(1, 1, 1, 16, 16)
    before = model(raw)
    model.place(torch.device("cpu"))
    torch.testing.assert_close(model(raw), before, atol=1e-5, rtol=1e-4)
    weight = model.down[0][-1].second.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
