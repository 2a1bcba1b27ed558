import numpy as np

from baselines.augment import relight, turn_and_flip
from baselines.config import AugmentConfig


def test_raw_and_target_are_turned_alike():
    raw = np.arange(2 * 4 * 4).reshape(2, 4, 4)
    for seed in range(20):
        random = np.random.default_rng(seed)
        one, two = turn_and_flip([raw, raw[None] * 10], AugmentConfig(), random)
        np.testing.assert_array_equal(one * 10, two[0])


def test_all_eight_orientations_of_the_plane_turn_up():
    plane = np.arange(16).reshape(1, 4, 4)
    seen = {
        turn_and_flip([plane], AugmentConfig(), np.random.default_rng(s))[0].tobytes()
        for s in range(200)
    }
    assert len(seen) == 8


def test_no_voxel_is_lost():
    raw = np.arange(2 * 4 * 6).reshape(2, 4, 6)
    for seed in range(10):
        (found,) = turn_and_flip([raw], AugmentConfig(), np.random.default_rng(seed))
        assert found.shape == raw.shape
        assert sorted(found.ravel()) == sorted(raw.ravel())


def test_switched_off_nothing_happens():
    still = AugmentConfig(flips=False, turns=False, gain=0, bias=0, gamma=0, noise=0)
    raw = np.linspace(-2, 2, 32, dtype=np.float32).reshape(2, 4, 4)
    random = np.random.default_rng(0)
    assert turn_and_flip([raw], still, random)[0] is raw
    np.testing.assert_allclose(relight(raw, still, random), raw, atol=1e-5)


def test_other_light_keeps_the_order_of_grey_values():
    config = AugmentConfig(noise=0)
    raw = np.linspace(-2, 2, 50, dtype=np.float32).reshape(1, 1, 50)
    for seed in range(10):
        lit = relight(raw, config, np.random.default_rng(seed))
        assert (np.diff(lit) >= 0).all()
        assert lit.dtype == np.float32


def test_noise_is_added_voxel_by_voxel():
    config = AugmentConfig(gain=0, bias=0, gamma=0, noise=0.5)
    lit = relight(np.zeros((1, 20, 20), np.float32), config, np.random.default_rng(1))
    assert lit.std() > 0.05
