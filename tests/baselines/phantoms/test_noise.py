import numpy as np

from baselines.phantoms.noise import Positions, hash_uniform, smooth_noise


def grid(nz, ny, nx, *, start=(0.0, 0.0, 0.0), step=4.0):
    z, y, x = (s + step * np.arange(n) for s, n in zip(start, (nz, ny, nx), strict=True))
    return Positions(z, np.tile(y, (nz, 1)), np.tile(x, (nz, 1)))


def test_the_hash_is_uniform_and_differs_with_every_integer():
    values = hash_uniform(3, *np.meshgrid(np.arange(-20, 20), np.arange(40), indexing="ij"))
    assert 0 <= values.min() < 0.01
    assert 0.99 < values.max() < 1
    assert abs(values.mean() - 0.5) < 0.03
    assert len(np.unique(values)) == values.size


def test_another_seed_gives_another_hash():
    assert hash_uniform(1, 5) != hash_uniform(2, 5)


def test_noise_has_mean_zero_and_deviation_near_one():
    noise = smooth_noise(grid(40, 60, 60, step=30.0), seed=1, period=20.0)
    assert abs(noise.mean()) < 0.05
    assert 0.85 < noise.std() < 1.15


def test_noise_is_smooth_over_its_period():
    noise = smooth_noise(grid(1, 1, 200, step=1.0), seed=1, period=50.0)
    assert np.abs(np.diff(noise)).max() < 0.15


def test_noise_does_not_depend_on_where_a_block_is_cut():
    whole = smooth_noise(grid(8, 20, 20), seed=4, period=13.0)
    part = smooth_noise(grid(3, 5, 6, start=(8.0, 20.0, 40.0)), seed=4, period=13.0)
    np.testing.assert_allclose(part, whole[2:5, 5:10, 10:16], atol=1e-5)


def test_noise_is_there_at_negative_positions_too():
    noise = smooth_noise(grid(4, 4, 4, start=(-100.0, -50.0, -7.0)), seed=4, period=13.0)
    assert np.isfinite(noise).all()


def test_a_shifted_plane_shows_its_noise_shifted():
    straight = grid(2, 6, 6)
    shifted = Positions(straight.z, straight.y + np.array([[0.0], [4.0]]), straight.x)
    noise, moved = (smooth_noise(at, seed=2, period=11.0) for at in (straight, shifted))
    np.testing.assert_allclose(moved[0], noise[0], atol=1e-6)
    np.testing.assert_allclose(moved[1, :-1], noise[1, 1:], atol=1e-5)


def test_periods_say_how_fast_noise_changes():
    at = grid(1, 1, 400, step=2.0)
    slow, fast = (smooth_noise(at, seed=1, period=p)[0, 0] for p in (200.0, 20.0))
    assert np.abs(np.diff(fast)).mean() > 4 * np.abs(np.diff(slow)).mean()


def test_fields_of_different_seeds_are_unrelated():
    one, two = (smooth_noise(grid(20, 30, 30, step=25.0), seed=s, period=20.0) for s in (1, 2))
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.05
