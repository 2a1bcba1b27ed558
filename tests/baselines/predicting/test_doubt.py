import numpy as np
import pytest

from baselines.predicting.doubt import Tally, tally, usual_doubt


def stored(values):
    return np.round(255 * np.asarray(values)).astype(np.uint8)


def votes(seed=0):
    """Probabilities of three networks for an image, (3, Z, Y, X)."""
    return np.random.default_rng(seed).uniform(0.2, 1, (3, 4, 30, 30))


def test_uncertainty_and_doubt_are_means_over_what_is_more_likely_than_not():
    seen = votes()
    found = tally(stored(seen.mean(0)), stored(2 * seen.std(0)))
    there = stored(seen.mean(0)) > 127
    assert found.voxels == there.sum()
    assert found.mean_uncertainty == pytest.approx(4 * seen.var(0)[there].mean(), abs=0.002)
    doubt = 4 * (seen * (1 - seen)).mean(0)[there].mean()
    assert found.mean_doubt == pytest.approx(doubt, abs=0.003)


def test_together_they_are_the_spread_of_the_mean_vote():
    seen = votes(1)
    found, mean = tally(stored(seen.mean(0)), stored(2 * seen.std(0))), seen.mean(0)
    there = stored(mean) > 127
    both = found.mean_uncertainty + found.mean_doubt
    assert both == pytest.approx((4 * mean * (1 - mean))[there].mean(), abs=0.002)


def test_one_vote_has_doubt_alone_and_a_sure_one_none():
    found = tally(stored([0.1, 0.75, 1.0]))
    assert (found.voxels, found.mean_uncertainty) == (2, 0)
    assert found.mean_doubt == pytest.approx(0.75 / 2, abs=0.005)  # 4 x 0.75 x 0.25, and 0
    assert tally(stored([1.0, 1.0])).mean_doubt == 0


def test_parts_of_an_image_add_up_to_the_whole():
    mean, apart = stored(votes().mean(0)), stored(2 * votes().std(0))
    parts = [tally(mean[z : z + 1], apart[z : z + 1]) for z in range(len(mean))]
    together, whole = sum(parts, Tally()), tally(mean, apart)
    assert together.voxels == whole.voxels
    assert together.mean_doubt == pytest.approx(whole.mean_doubt)
    assert together.mean_uncertainty == pytest.approx(whole.mean_uncertainty)


def test_without_foreground_there_is_nothing_to_doubt():
    found = tally(stored([0.0, 0.3, 0.5]))  # one half is stored as 128 of 255
    assert found.voxels == 1
    assert tally(stored([0.0, 0.3])) == Tally()
    assert Tally().mean_doubt is None
    assert Tally().mean_uncertainty is None


def test_the_limit_is_where_one_more_image_would_stay_below_19_times_of_20():
    # Of 4 degrees of freedom, Student's 95 % point is 2.1318; deviation of the five: 1.5811.
    found = usual_doubt([[1.0, 2.0, 3.0, 4.0, 5.0]])
    assert found.limit == pytest.approx(3 + 2.1318 * 1.5811 * 1.2**0.5, abs=1e-3)
    assert found.images == 5


def test_networks_that_are_less_sure_than_others_do_not_widen_what_is_usual():
    alike = usual_doubt([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]])
    apart = usual_doubt([[0.0, 0.1, 0.2], [0.2, 0.3, 0.4]])
    assert apart.limit == pytest.approx(alike.limit)


def test_images_that_validate_alone_share_a_mean():
    assert usual_doubt([[0.1], [0.2], [0.3]]) == usual_doubt([[0.1, 0.2, 0.3]])


@pytest.mark.parametrize("few", [[], [[]], [[0.1]], [[0.1, 0.2]], [[0.1], [0.2]]])
def test_of_too_few_images_nobody_knows_what_is_usual(few):
    assert usual_doubt(few) is None


def test_false_alarms_are_as_rare_as_promised_however_few_images_there_are():
    random = np.random.default_rng(0)
    for sizes in ([4], [3, 3], [5] * 5):
        alarms = []
        for _ in range(4000):
            means = random.normal(0.3, 0.05, len(sizes))
            found = usual_doubt(
                [random.normal(m, 0.01, n).tolist() for m, n in zip(means, sizes, strict=True)]
            )
            alarms.append(random.normal(means.mean(), 0.01) > found.limit)
        assert np.mean(alarms) == pytest.approx(0.05, abs=0.012), sizes
