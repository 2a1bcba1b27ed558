import sys
from pathlib import Path

import pytest
import torch

from baselines.config import ConfigError, ModelConfig, load_config
from baselines.models import MonaiNet, build_model
from baselines.models.adapters import NETS
from baselines.models.blocks import pack, spread
from baselines.models.unet import plan_levels

SETTINGS = {"dims": 2, "width": 8, "levels": 3}
VARIANTS = [
    {"dims": 2, "context": 1},
    {"dims": 2, "context": 2, "stem": 2},
    {"dims": 2, "block": "residual"},
    {"dims": 3, "block": "residual", "depths": (1, 2, 1)},
    {"dims": 3, "block": "residual", "levels": 4, "deep_supervision": True},
    {"dims": 2, "stem": 2, "levels": 4, "deep_supervision": True},
    *({"dims": 3, "norm": norm} for norm in ("group", "instance", "batch")),
    *({"dims": dims, "up": up} for dims in (2, 3) for up in ("nearest", "linear", "transpose")),
]


def make(dims, *, labels=3, stem=1, levels=3, voxel_size=(8.0, 4.0, 4.0)):
    config = ModelConfig(dims=dims, width=8, levels=levels, stem=stem)
    return build_model(config, channels=labels, voxel_size=voxel_size)


def variant(given, *, channels=2, voxel_size=(8.0, 4.0, 4.0), patch=()):
    return build_model(
        ModelConfig(**SETTINGS | given), channels=channels, voxel_size=voxel_size, patch=patch
    )


def raw_for(model, *, n=2, times=2):
    z, y, x = model.multiple
    return torch.randn(n, 1, times * z + 2 * model.context, times * y, times * x)


def finest(logits):
    return logits[0] if isinstance(logits, list) else logits


@pytest.mark.parametrize("stem", [1, 2])
@pytest.mark.parametrize(("dims", "size"), [(2, (1, 32, 48)), (3, (8, 32, 16))])
def test_logits_have_one_channel_per_label_and_the_size_of_the_raw(dims, size, stem):
    assert make(dims, stem=stem)(torch.zeros(2, 1, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize("given", VARIANTS)
def test_every_variant_gives_logits_of_the_size_of_the_planes_in_the_middle(given):
    model = variant(given)
    raw = raw_for(model)
    z = raw.shape[2] - 2 * model.context
    wanted = (2, 2, z, *raw.shape[3:])
    assert finest(model(raw)).shape == wanted
    assert model.eval()(raw).shape == wanted


@pytest.mark.parametrize("given", VARIANTS)
def test_every_weight_of_every_variant_takes_part(given):
    model = variant(given)
    # Four times the multiple: a norm of a single voxel would give it no gradient.
    logits = model(raw_for(model, times=4))
    every = logits if isinstance(logits, list) else [logits]
    sum(level.square().sum() for level in every).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("context", [1, 2])
def test_a_plane_sees_its_neighbours_and_only_them(context):
    model = variant({"context": context, "levels": 2}).eval()
    raw = torch.randn(1, 1, 9 + 2 * context, 16, 16)
    before = model(raw)
    assert before.shape[2] == 9
    raw[:, :, 6] += 1
    changed = (model(raw) - before).abs().amax((0, 1, 3, 4)) > 1e-6
    # Plane 6 of the raw is plane 6 - context of the logits.
    seen = {plane for plane in range(9) if abs(plane - (6 - context)) <= context}
    assert set(changed.nonzero()[:, 0].tolist()) == seen


def test_the_order_of_the_neighbours_matters():
    model = variant({"context": 1, "levels": 2}).eval()
    raw = torch.randn(1, 1, 3, 16, 16)
    assert not torch.allclose(model(raw), model(raw.flip(2)), atol=1e-4)


def test_context_is_for_planes():
    with pytest.raises(ConfigError, match=r"model.context is for planes.* must be 0"):
        variant({"dims": 3, "context": 1})


@pytest.mark.parametrize(
    ("dims", "levels", "stem", "sizes"),
    [
        (3, 5, 1, [(16, 32, 32), (8, 16, 16), (4, 8, 8)]),
        (3, 4, 2, [(16, 32, 32), (8, 8, 8)]),
        (2, 4, 1, [(16, 32, 32), (16, 16, 16)]),
        (3, 3, 1, [(16, 32, 32)]),
    ],
)
def test_deep_supervision_gives_finest_first_and_not_the_two_coarsest(dims, levels, stem, sizes):
    model = variant(
        {"dims": dims, "levels": levels, "stem": stem, "deep_supervision": True},
        voxel_size=(8.0, 8.0, 8.0) if stem == 1 else (8.0, 4.0, 4.0),
    )
    logits = model(torch.randn(1, 1, 16, 32, 32))
    assert [tuple(level.shape[2:]) for level in logits] == sizes
    assert {level.shape[1] for level in logits} == {2}
    assert torch.is_tensor(model.eval()(torch.randn(1, 1, 16, 32, 32)))


def test_deep_supervision_changes_nothing_in_prediction():
    torch.manual_seed(3)
    plain = variant({"levels": 4}).eval()
    torch.manual_seed(3)
    deep = variant({"levels": 4, "deep_supervision": True}).eval()
    deep.load_state_dict(plain.state_dict(), strict=False)
    raw = torch.randn(1, 1, 1, 32, 32)
    torch.testing.assert_close(deep(raw), plain(raw))


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


def test_few_planes_are_not_halved():
    model = variant({"dims": 3}, voxel_size=(8.0, 8.0, 8.0), patch=(3, 64, 64))
    assert model.multiple == (1, 4, 4)
    assert model(torch.zeros(1, 1, 3, 64, 64)).shape == (1, 2, 3, 64, 64)
    model.check_patch((3, 64, 64))


@pytest.mark.parametrize(
    ("planes", "halved"), [(1, 1), (3, 1), (7, 1), (8, 2), (10, 2), (16, 4), (20, 4), (64, 4)]
)
def test_an_axis_is_halved_while_four_voxels_are_left_and_it_divides(planes, halved):
    factors, _ = plan_levels((8.0, 8.0, 8.0), 3, patch=(planes, 64, 64))
    assert factors[0][0] * factors[1][0] == halved


def test_an_axis_too_short_to_be_halved_does_not_hold_the_others_back():
    """Z is the finest here, but its 4 planes cannot be halved: Y and X go on without it."""
    factors, _ = plan_levels((4.0, 10.0, 10.0), 3, patch=(4, 64, 64))
    assert factors == [(1, 2, 2), (1, 2, 2)]


@pytest.mark.parametrize(
    ("voxel_size", "factors", "kernels"),
    [
        # Voxels of nnU-Net's own examples in medicine (mm), patches large enough.
        ((1.0, 1.0, 1.0), [(2, 2, 2)] * 3, [(3, 3, 3)] * 4),
        ((5.0, 0.8, 0.8), [(1, 2, 2), (1, 2, 2), (2, 2, 2)],
         [(1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3)]),
        ((2.5, 1.0, 1.0), [(1, 2, 2), (2, 2, 2), (2, 2, 2)],
         [(1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)]),
        ((1.5, 1.0, 1.0), [(2, 2, 2)] * 3, [(3, 3, 3)] * 4),
    ],
)  # fmt: skip
def test_kernels_and_strides_follow_the_voxels(voxel_size, factors, kernels):
    """nnU-Net's rules: an axis within twice the finest is halved; kernels are 1 until then, and 3
    for good afterwards."""
    assert plan_levels(voxel_size, 4) == (factors, kernels)


def test_a_stem_makes_voxels_larger_within_the_plane():
    """Packed 4 x 4, planes of 16 nm are as coarse as the rest: Z is halved at once."""
    assert variant({"dims": 3, "stem": 4}, voxel_size=(16.0, 4.0, 4.0)).factors == [(2, 2, 2)] * 2
    assert variant({"dims": 3}, voxel_size=(16.0, 4.0, 4.0)).factors[0] == (1, 2, 2)


def test_a_residual_encoder_looks_at_every_plane_where_it_halves_them():
    """Voxels are cubes after one level: the kernel along Z is 1 above, and the stride 2 below."""
    model = variant({"dims": 3, "block": "residual"}, voxel_size=(8.0, 4.0, 4.0))
    raw = torch.zeros(1, 1, *(4 * n for n in model.multiple), requires_grad=True)
    model(raw).sum().backward()
    assert raw.grad.abs().amax((0, 1, 3, 4)).gt(0).all()


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


def test_parameters_are_counted_by_hand():
    """One level: 1 x 3 x 3 into 8 channels, a plain block, a head."""
    model = variant({"levels": 1}, channels=3)
    enter, block, head = 9 * 8 + 8, 2 * (9 * 8 * 8 + 2 * 8), 8 * 3 + 3
    assert sum(p.numel() for p in model.parameters()) == enter + block + head


@pytest.mark.parametrize(
    ("preset", "dims", "least", "most"),
    [("fast", 2, 0.5e6, 2e6), ("balanced", 3, 40e6, 100e6), ("high_quality", 2, 10e6, 40e6)],
)
def test_presets_have_small_middling_and_large_networks(preset, dims, least, most):
    config = load_config(Path(preset), [f"model.dims={dims}"]).model
    with torch.device("meta"):
        model = build_model(config, channels=4, voxel_size=(8.0, 8.0, 8.0))
    assert least < sum(p.numel() for p in model.parameters()) < most


def test_depths_are_counted_from_the_finest_level_and_the_last_goes_on():
    model = variant({"block": "residual", "levels": 6})
    assert [len(level) for level in model.down] == [1, 3, 4, 6, 6, 6]
    given = variant({"block": "residual", "depths": (1, 2, 2)})
    assert [len(level) for level in given.down] == [1, 2, 2]


def test_depths_that_are_too_few_are_an_error_with_the_number_of_levels():
    with pytest.raises(
        ConfigError, match=r"model.depths \[1, 2\] needs a number for each of the 3"
    ):
        variant({"block": "residual", "depths": (1, 2)})


@pytest.mark.parametrize("norm", ["group", "instance"])
def test_patches_of_a_batch_do_not_touch_each_other(norm):
    model = variant({"norm": norm})
    raw = torch.randn(3, 1, 1, 16, 16)
    apart = torch.cat([model(raw[k : k + 1]) for k in range(3)])
    torch.testing.assert_close(model(raw), apart, atol=1e-5, rtol=1e-4)


def test_batch_normalisation_learns_how_the_data_are_spread():
    model = variant({"norm": "batch"})
    raw = torch.randn(3, 1, 1, 16, 16)
    together = model(raw)
    assert not torch.allclose(together[:1], model(raw[:1]), atol=1e-4)
    assert any("running_mean" in name for name in model.state_dict())


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
    model.place(torch.device("cpu"), trains=True)
    assert model.down[0][-1].second.weight.is_contiguous()
    torch.testing.assert_close(model(raw), before, atol=1e-5, rtol=1e-4)


def monai(net, dims, **given):
    config = {"name": f"monai:{net}", "width": 8, "levels": 3, "norm": "instance"} | given
    size = (32, 32, 32)[-dims:]
    return build_model(
        ModelConfig(dims=dims, **config), channels=2, voxel_size=(8.0, 8.0, 8.0),
        patch=(1,) * (3 - dims) + size,
    )  # fmt: skip


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("dims", [2, 3])
def test_networks_of_monai_have_the_same_face(net, dims):
    model = monai(net, dims).eval()
    assert isinstance(model, MonaiNet)
    raw = torch.randn(1, 1, 32 if dims == 3 else 2, 32, 32)
    model.place(torch.device("cpu"))
    with torch.inference_mode():
        assert model(raw).shape == (1, 2, *raw.shape[2:])
    model.check_patch((32, 32, 32))
    with torch.inference_mode():
        raw = torch.randn(1, 1, *(2 * n for n in model.multiple))
        assert model(raw).shape[2:] == raw.shape[2:]


def test_a_network_of_monai_takes_neighbours_as_channels():
    model = monai("UNet", 2, context=1)
    assert model(torch.randn(2, 1, 5, 32, 32)).shape == (2, 2, 3, 32, 32)


@pytest.mark.parametrize("given", [{"stem": 2}, {"deep_supervision": True}])
def test_settings_that_networks_of_monai_lack_are_errors(given):
    (key,) = given
    with pytest.raises(ConfigError, match=f"model.{key} is a setting of unet, not of monai:UNet"):
        monai("UNet", 2, **given)


def test_a_patch_that_does_not_go_through_a_network_of_monai_is_refused():
    with pytest.raises(ConfigError, match=r"must be a multiple of \[16, 16, 16\]"):
        monai("BasicUNet", 3).check_patch((16, 16, 24))


def test_without_monai_a_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "monai", None)
    for name in [name for name in sys.modules if name.startswith("monai.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"not installed here: pip install 'crista\[extras\]'"):
        build_model(ModelConfig(name="monai:UNet"), channels=1, voxel_size=(1.0, 1.0, 1.0))
