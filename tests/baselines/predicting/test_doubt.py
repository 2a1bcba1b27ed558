import numpy as np
import pytest

from baselines.predicting.doubt import Part, Tally, parts_of, tally, usual_doubt


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


def test_parts_of_an_image_are_shares_of_its_foreground_and_only_of_labels_that_it_has():
    found = parts_of({"a": Tally(30, 12.0), "b": Tally(10, 9.0, 4.0), "c": Tally()})
    assert found == {"a": Part(0.75, 0.4), "b": Part(0.25, 0.5)}
    assert parts_of({"a": Tally()}) == {}


def images(doubts, shares=0.5):
    """Images with a label of such doubts, and a second one that is always alike."""
    shares = np.broadcast_to(shares, np.shape(doubts))
    return [
        {"a": Part(float(s), float(d)), "b": Part(1 - float(s), 0.2)}
        for s, d in zip(shares, doubts, strict=True)
    ]  # fmt: skip


def overall(image):
    return sum(part.share * part.doubt for part in image.values())


def usual_of(members):
    return usual_doubt([[overall(image) for image in one] for one in members], members)


def test_a_label_is_limited_by_how_it_differs_from_its_mean_in_the_other_images():
    # Each lies 5/4 times as far from the other four as from all: deviation 1.25 x 0.015811.
    # Of 2.5 % of false alarms two labels get half each: Student's 98.75 % point is 3.4954.
    found = usual_of([images([0.38, 0.39, 0.4, 0.41, 0.42])]).labels["a"]
    assert (found.share, found.doubt) == pytest.approx((0.5, 0.4))
    assert found.excess == pytest.approx(3.4954 * 1.25 * 0.0158114 * 1.2**0.5, rel=1e-3)
    assert found.limit(0.5) == pytest.approx(0.4 + found.excess)


def test_the_doubt_over_all_labels_keeps_half_of_the_false_alarms():
    found = usual_of([images([0.38, 0.39, 0.4, 0.41, 0.42])])
    alone = usual_doubt([[0.29, 0.295, 0.3, 0.305, 0.31]])
    assert found.limit - 0.3 == pytest.approx((alone.limit - 0.3) * 2.7764 / 2.1318, rel=1e-3)


def test_a_label_of_which_there_is_little_may_be_doubted_more():
    found = usual_of([images([0.38, 0.39, 0.4, 0.41, 0.42])]).labels["a"]
    assert found.limit(0.25) == pytest.approx(0.4 + 2 * found.excess)
    assert found.limit(1e-9) == 1.0


def test_a_label_of_which_there_is_much_is_doubted_no_less():
    found = usual_of([images([0.38, 0.39, 0.4, 0.41, 0.42])]).labels["a"]
    assert found.limit(0.9) == found.limit(0.5)


def test_one_image_full_of_a_label_does_not_make_itself_the_measure_of_all():
    # Were it compared with a mean that it makes up by itself, nothing would seem to vary.
    shares = np.array([0.9, 1e-4, 1e-4, 1e-4, 1e-4])
    found = usual_of([images([0.6, 0.38, 0.39, 0.41, 0.42], shares)]).labels["a"]
    assert found.limit(0.9) > 0.8


def test_one_label_is_limited_as_all_labels_together_are():
    doubts = [0.1, 0.2, 0.3, 0.25]
    assert usual_doubt([doubts], [[{"a": Part(1.0, d)} for d in doubts]]) == usual_doubt([doubts])


def test_a_label_that_few_images_have_has_no_limit_and_takes_none_of_the_false_alarms():
    usual = images([0.38, 0.39, 0.4, 0.41, 0.42])
    rare = [image | {"rare": Part(0.01, 0.5)} if k < 2 else image for k, image in enumerate(usual)]
    assert usual_of([rare]).labels.keys() == {"a", "b"}
    assert usual_of([rare]).labels["a"] == usual_of([usual]).labels["a"]


def test_with_labels_in_too_few_images_each_the_doubt_over_all_goes_on_as_without_them():
    apart = [[{"a": Part(1.0, 0.1)}, {"b": Part(1.0, 0.2)}, {"c": Part(1.0, 0.3)}]]
    assert usual_of(apart) == usual_doubt([[0.1, 0.2, 0.3]])


def draw(random, images, labels, *, alike, there):
    """Usual images: doubts that vary more where there is little of a label, and vary together.

    alike: the correlation of labels within an image.  there: the chance that it has a label.
    """
    shares = random.gamma(4, np.arange(1, labels + 1), (images, labels))
    shares *= random.random((images, labels)) < there
    shares[:, 0] += 0.1
    shares /= shares.sum(1, keepdims=True)
    together, own = random.normal(size=(images, 1)), random.normal(size=(images, labels))
    apart = np.sqrt(alike) * together + np.sqrt(1 - alike) * own
    doubts = 0.3 + 0.01 * np.arange(labels) / labels
    doubts = doubts + 0.01 * apart / np.sqrt(np.maximum(shares, 1e-6) * labels)
    return [
        {str(k): Part(float(s), float(d)) for k, (s, d) in enumerate(zip(*row, strict=True)) if s}
        for row in zip(shares, doubts, strict=True)
    ]


@pytest.mark.parametrize("sizes", [[4], [3, 3], [3] * 5], ids=str)
@pytest.mark.parametrize(
    ("labels", "alike", "there"), [(2, 0.0, 1.0), (3, 0.8, 1.0), (5, 0.0, 0.5), (48, 0.3, 0.3)]
)
def test_false_alarms_are_rare_over_all_labels_together(sizes, labels, alike, there):
    random, alarms, tries = np.random.default_rng(0), 0, 30000 // (labels * sum(sizes)) + 600
    for _ in range(tries):
        drawn = iter(draw(random, sum(sizes) + 1, labels, alike=alike, there=there))
        usual = usual_of([[next(drawn) for _ in range(size)] for size in sizes])
        (new,) = drawn
        above = [
            new[n].doubt > of.limit(new[n].share) for n, of in usual.labels.items() if n in new
        ]
        alarms += any(above) or overall(new) > usual.limit
    assert alarms / tries < 0.05 + 2.5 * (0.05 * 0.95 / tries) ** 0.5
    assert alarms > 0  # the limits are no higher than they need to be


def test_one_label_that_is_doubted_more_is_found_where_the_doubt_over_all_hides_it():
    random = np.random.default_rng(0)
    usual = usual_of([draw(random, 3, 3, alike=0.0, there=1.0) for _ in range(5)])
    found = hidden = 0
    for image in draw(random, 200, 3, alike=0.0, there=1.0):
        part = Part(image["1"].share, image["1"].doubt + 0.06)
        found += part.doubt > usual.labels["1"].limit(part.share)
        hidden += overall(image | {"1": part}) <= usual.limit
    assert found > 150
    assert hidden > 20
