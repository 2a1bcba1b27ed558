import numpy as np
import pytest

from baselines.volumes.light import Light, measure_light
from baselines.volumes.readers import InMemory


def test_light_comes_from_percentiles_without_lost_sections():
    raw = np.full((10, 20, 20), 100.0)
    raw[:, :, 10:] = 120
    lost = raw.copy()
    lost[[2, 9]] = 0
    assert measure_light(InMemory(lost)) == measure_light(InMemory(raw))
    assert measure_light(InMemory(np.zeros((2, 4, 4)))).spread == 1.0


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_raw_stays_as_it_is_when_it_is_normalised(dtype):
    raw = np.full((1, 2, 2), 150, dtype)
    found = Light(100.0, 25.0).normalise(raw)
    assert (found == 2).all()
    assert found.dtype == np.float32
    assert (raw == 150).all()


def test_normalised_raw_does_not_depend_on_the_instruments_scale():
    raw = np.random.default_rng(0).normal(100, 10, (4, 32, 32))
    light, scaled = measure_light(InMemory(raw)), measure_light(InMemory(raw * 5 + 7))
    one, two = light.normalise(raw), scaled.normalise(raw * 5 + 7)
    np.testing.assert_allclose(one, two, atol=1e-3)
    assert abs(one.std() - 1) < 0.1
