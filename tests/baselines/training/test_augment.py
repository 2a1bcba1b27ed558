import dataclasses

import pytest
import torch

from baselines.config import AugmentConfig
from baselines.training.augment import augment, relight
from baselines.training.sampling import Batch

CUBES = (8.0, 8.0, 8.0)
STILL = AugmentConfig(
    flips=False, turns=False, rotation=0, scaling=0, gain=0, bias=0, gamma=0, noise=0, blur=0
)


def only(**settings):
    return dataclasses.replace(STILL, **settings)


def batch(n=2, shape=(4, 16, 16), context=0, seed=0):
    """Raw that is a function of its ids, so that they can be seen to move together."""
    random = torch.Generator().manual_seed(seed)
    z, y, x = shape
    deep = torch.randint(0, 2**30, (n, 1, z + 2 * context, y, x), generator=random)
    ids = deep[:, :, context : context + z].int()
    return Batch((deep % 4096).float(), ids.clone(), (ids % 7) > 0)


def changed(config, given=None, seed=0, voxel_size=CUBES):
    given = given or batch()
    copy = Batch(given.raw.clone(), given.ids.clone(), given.known.clone())
    return augment(copy, config, torch.Generator().manual_seed(seed), voxel_size)


def fits(found, context=0):
    depth = found.ids.shape[2]
    inner = found.raw[:, :, context : context + depth]
    return torch.equal(inner, (found.ids % 4096).float()) and torch.equal(
        found.known, (found.ids % 7) > 0
    )


@pytest.mark.parametrize("context", [0, 2])
def test_raw_ids_and_what_is_known_are_turned_alike(context):
    config = only(flips=True, turns=True)
    for seed in range(10):
        found = changed(config, batch(context=context), seed)
        assert fits(found, context)
        assert sorted(found.ids.flatten()) == sorted(batch(context=context).ids.flatten())


def test_all_sixteen_orientations_of_a_volume_turn_up_and_patches_differ():
    one = Batch(*(part[:1] for part in dataclasses.astuple(batch())))
    config = only(flips=True, turns=True)
    assert len({changed(config, one, seed).raw.numpy().tobytes() for seed in range(150)}) == 16
    twins = Batch(*(torch.cat([part[:1]] * 8) for part in dataclasses.astuple(batch())))
    assert len({part.numpy().tobytes() for part in changed(config, twins).raw}) > 3


def test_oblong_voxels_and_oblong_patches_are_not_turned_by_a_quarter():
    config = only(turns=True)
    given = batch(n=8)
    turned = changed(config, given, voxel_size=(8, 4, 8)).raw
    assert torch.equal(turned, given.raw)
    assert not torch.equal(changed(config, given).raw, given.raw)
    oblong = batch(n=8, shape=(4, 16, 8))
    assert torch.equal(changed(config, oblong).raw, oblong.raw)


def test_switched_off_nothing_happens():
    given = batch()
    for config in (STILL, AugmentConfig(enabled=False)):
        found = changed(config, given)
        assert all(
            torch.equal(a, b)
            for a, b in zip(dataclasses.astuple(found), dataclasses.astuple(given), strict=True)
        )


def test_where_orientation_matters_only_light_and_size_change():
    config = AugmentConfig(orientation=False, scaling=0, misalignment=0)
    found = changed(config)
    assert torch.equal(found.ids, batch().ids)
    assert not torch.equal(found.raw, batch().raw)


def test_the_same_generator_gives_the_same_batch_and_another_another():
    config = AugmentConfig(missing=0.5, misalignment=0.5, stripes=0.5, blur=0.5)
    one, two, other = (changed(config, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.raw, two.raw)
    assert torch.equal(one.ids, two.ids)
    assert not torch.equal(one.raw, other.raw)


def disc(radius=5, at=(0, 0), size=33, planes=1):
    y, x = (torch.arange(size) - size // 2 - offset for offset in at)
    inside = (y[:, None] ** 2 + x[None] ** 2 <= radius**2).int()
    ids = inside.expand(1, 1, planes, size, size).clone()
    return Batch(ids.float(), ids, torch.ones_like(ids, dtype=torch.bool))


def agree(found):
    """The share of voxels where the interpolated raw and the nearest id say the same."""
    return ((found.raw > 0.5) == (found.ids > 0)).float().mean().item()


@pytest.mark.parametrize("seed", range(5))
def test_any_angle_turns_raw_and_ids_alike_about_the_middle(seed):
    found = changed(only(rotation=1.0), disc(at=(8, 0), size=65), seed)
    assert agree(found) > 0.99
    inside = found.ids[0, 0, 0].nonzero().float().mean(dim=0) - 32
    assert inside.norm().item() == pytest.approx(8, abs=0.4)
    assert (found.ids > 0).sum().item() == pytest.approx((disc().ids > 0).sum().item(), abs=6)


def test_a_turned_disc_stays_a_disc_in_nanometres_where_voxels_are_oblong():
    y = torch.arange(65)[:, None] - 32.0
    x = torch.arange(65)[None] - 32.0
    inside = ((2 * y) ** 2 + x**2 <= 20**2).int()[None, None, None]
    given = Batch(inside.float(), inside, inside >= 0)
    found = changed(only(rotation=1.0), given, seed=2, voxel_size=(8, 16, 8))
    overlap = ((found.ids > 0) & (inside > 0)).sum() / (inside > 0).sum()
    assert overlap > 0.97


@pytest.mark.parametrize("scale", [0.8, 1.25])
def test_enlarged_by_a_factor_areas_grow_by_its_square(scale):
    config = only(scaling=1.0, scale=(scale, scale))
    found = changed(config, disc(radius=10))
    area = (disc(radius=10).ids > 0).sum()
    assert ((found.ids > 0).sum() / area).item() == pytest.approx(scale**2, abs=0.05)
    assert agree(found) > 0.99


def test_a_volume_is_enlarged_along_z_too_but_context_planes_stay():
    ids = torch.zeros((1, 1, 17, 9, 9), dtype=torch.int32)
    ids[:, :, 6:11] = 1
    config = only(scaling=1.0, scale=(1.8, 1.8))
    found = changed(config, Batch(ids.float(), ids, ids >= 0))
    assert (found.ids[0, 0, :, 4, 4] > 0).sum() == 9
    plane = Batch(ids.float(), ids[:, :, 8:9], (ids >= 0)[:, :, 8:9])
    found = changed(config, plane)
    assert (found.raw[0, 0, :, 4, 4] > 0.5).sum() == 5


def test_large_ids_survive_being_turned():
    given = disc()
    big = Batch(given.raw, given.ids * (2**31 - 5), given.known)
    found = changed(only(rotation=1.0), big)
    assert set(found.ids.unique().tolist()) == {0, 2**31 - 5}


def test_other_light_keeps_the_order_of_grey_values():
    raw = torch.linspace(-2, 2, 50).reshape(1, 1, 1, 1, 50)
    for seed in range(10):
        lit = relight(raw, AugmentConfig(noise=0), torch.Generator().manual_seed(seed))
        assert (lit.diff() >= 0).all()
        assert lit.dtype == torch.float32
        assert not torch.equal(lit, raw)


def test_noise_is_added_voxel_by_voxel():
    raw = torch.zeros((1, 1, 1, 20, 20))
    lit = relight(raw, only(noise=0.5), torch.Generator().manual_seed(1))
    assert lit.std() > 0.05
    assert abs(lit.mean()) < 3 * lit.std() / 20


def test_a_blurred_patch_keeps_its_mean_and_loses_its_grain():
    given = batch()
    found = changed(only(blur=1.0), given)
    assert found.raw.mean().item() == pytest.approx(given.raw.mean().item(), rel=0.02)
    assert found.raw.std() < 0.6 * given.raw.std()
    assert torch.equal(found.ids, given.ids)


def test_a_missing_section_is_black_and_its_annotation_stays():
    given = batch(n=4)
    found = changed(only(missing=1.0), given)
    black = (found.raw == found.raw.amin(dim=(1, 2, 3, 4), keepdim=True)).all(dim=(3, 4))
    assert (black.sum(dim=2) == 1).all()
    assert torch.equal(found.ids, given.ids)


def test_a_single_plane_never_goes_missing():
    given = batch(shape=(1, 16, 16))
    found = changed(only(missing=1.0, misalignment=1.0), given)
    assert torch.equal(found.raw, given.raw)


@pytest.mark.parametrize("context", [0, 1])
def test_sections_jump_together_with_their_annotation(context):
    given = batch(n=8, shape=(4, 32, 32), context=context)
    found = changed(only(misalignment=1.0), given)
    assert fits(found, context)
    same = (found.raw == given.raw).flatten(3).all(dim=3)[:, 0]
    assert same[:, 0].all()  # the first section is where it was
    assert not same.all(dim=1).all()


def test_stripes_are_the_same_along_one_axis_of_all_planes():
    given = Batch(*(torch.zeros_like(part) for part in dataclasses.astuple(batch(n=6))))
    found = changed(only(stripes=1.0), given).raw[:, 0]
    along_x = (found == found[:, :, :, :1]).all(dim=3).flatten(1).all(dim=1)
    along_y = (found == found[:, :, :1]).all(dim=2).flatten(1).all(dim=1)
    assert (along_x ^ along_y).all()
    assert along_x.any()
    assert along_y.any()


def test_shares_are_kept():
    given = Batch(*(torch.cat([part] * 100) for part in dataclasses.astuple(batch())))
    found = changed(only(missing=0.3), given)
    touched = (found.raw != given.raw).flatten(1).any(dim=1).float().mean()
    assert touched == pytest.approx(0.3, abs=0.1)
