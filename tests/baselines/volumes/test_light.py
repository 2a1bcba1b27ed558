import numpy as np

from baselines.volumes.light import measure_light
from baselines.volumes.readers import InMemory


def test_light_comes_from_percentiles_without_lost_sections():
    raw = np.full((10, 20, 20), 100.0)
    raw[:, :, 10:] = 120
    lost = raw.copy()
    lost[[2, 9]] = 0
    assert measure_light(InMemory(lost)) == measure_light(InMemory(raw))
    assert measure_light(InMemory(np.zeros((2, 4, 4)))).spread == 1.0


def test_normalised_raw_does_not_depend_on_the_instruments_scale():
    raw = np.random.default_rng(0).normal(100, 10, (4, 32, 32))
    light, scaled = measure_light(InMemory(raw)), measure_light(InMemory(raw * 5 + 7))
    one, two = light.normalise(raw), scaled.normalise(raw * 5 + 7)
    np.testing.assert_allclose(one, two, atol=1e-3)
    assert abs(one.std() - 1) < 0.1
