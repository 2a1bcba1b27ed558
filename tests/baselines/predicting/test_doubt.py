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
    assert found.limit({"a": Part(1.0, 0.0)}) == pytest.approx(
        3 + 2.1318 * 1.5811 * 1.2**0.5, abs=1e-3
    )
    assert found.images == 5


def test_networks_that_are_less_sure_than_others_do_not_widen_what_is_usual():
    alike = usual_doubt([[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]])
    apart = usual_doubt([[0.0, 0.1, 0.2], [0.2, 0.3, 0.4]])
    assert apart.excess == pytest.approx(alike.excess)
    assert apart.overall == pytest.approx(alike.overall)


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
            alarms.append(random.normal(means.mean(), 0.01) > found.overall + found.excess)
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


def test_an_image_is_compared_with_its_labels_in_the_other_images():
    # Each lies 5/4 times as far from the other four as from all, and half of that counts.
    found = usual_of([images([0.38, 0.39, 0.4, 0.41, 0.42])])
    assert found.labels == pytest.approx({"a": 0.4, "b": 0.2})
    assert found.excess == pytest.approx(2.1318 * 1.25 * 0.0158114 / 2 * 1.2**0.5, rel=1e-3)
    assert found.limit({"a": Part(0.1, 0.9), "b": Part(0.9, 0.9)}) == pytest.approx(
        0.1 * 0.4 + 0.9 * 0.2 + found.excess
    )


def test_an_image_is_not_doubted_for_what_there_is_to_see_in_it():
    shares, doubts = np.array([0.1, 0.3, 0.5, 0.7, 0.9]), [0.8, 0.8, 0.8, 0.8, 0.8]
    usual = [images(doubts, shares)]
    blind = usual_doubt([[overall(image) for image in usual[0]]])
    assert usual_of(usual).excess == pytest.approx(0, abs=1e-9)
    assert blind.excess > 0.3


def test_one_image_full_of_a_label_does_not_make_itself_the_measure_of_all():
    # Compared with a mean that it makes up by itself, nothing would seem to vary.
    shares = np.array([0.9, 1e-4, 1e-4, 1e-4, 1e-4])
    found = usual_of([images([0.6, 0.4, 0.4, 0.4, 0.4], shares)])
    deviation = 0.9 * 0.2 / 5**0.5
    assert found.excess > 2.1318 * deviation


def test_what_no_other_image_has_is_compared_with_the_doubt_over_all_labels():
    usual = images([0.4, 0.4, 0.4, 0.4])
    found = usual_of([[*usual, {"a": Part(0.5, 0.4), "c": Part(0.5, 0.3)}]])
    assert found.excess == pytest.approx(0, abs=1e-9)  # 0.3 is the mean of the others
    strange = usual_of([usual])
    assert strange.of("d") == pytest.approx(0.3)
    assert strange.limit({"d": Part(1.0, 0.9)}) == pytest.approx(0.3 + strange.excess)


def test_one_label_is_limited_as_if_nobody_knew_of_labels():
    doubts = [0.1, 0.2, 0.3, 0.25]
    assert usual_doubt([doubts], [[{"a": Part(1.0, d)} for d in doubts]]) == usual_doubt([doubts])


@pytest.mark.parametrize("few", [[[]], [[0.1]], [[0.1, 0.2]], [[0.1], [0.2]]])
def test_labels_do_not_help_where_images_are_too_few(few):
    assert usual_of([images(one) for one in few]) is None


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
    doubts = 0.3 + 0.2 * np.arange(labels) / labels
    doubts = doubts + 0.01 * apart / np.sqrt(np.maximum(shares, 1e-6) * labels)
    return [
        {str(k): Part(float(s), float(d)) for k, (s, d) in enumerate(zip(*row, strict=True)) if s}
        for row in zip(shares, doubts, strict=True)
    ]


@pytest.mark.parametrize("sizes", [[4], [3, 3], [3] * 5], ids=str)
@pytest.mark.parametrize(
    ("labels", "alike", "there"),
    [(1, 0.0, 1.0), (2, 0.0, 1.0), (3, 0.8, 1.0), (5, 0.0, 0.5), (48, 0.3, 0.3), (48, 0.0, 1.0)],
)
def test_false_alarms_are_rare_over_all_labels_together(sizes, labels, alike, there):
    random, alarms, tries = np.random.default_rng(0), 0, 30000 // (labels * sum(sizes)) + 600
    for _ in range(tries):
        drawn = iter(draw(random, sum(sizes) + 1, labels, alike=alike, there=there))
        usual = usual_of([[next(drawn) for _ in range(size)] for size in sizes])
        (new,) = drawn
        alarms += overall(new) > usual.limit(new)
    assert alarms / tries < 0.05 + 2.5 * (0.05 * 0.95 / tries) ** 0.5
    assert alarms > 0  # the limit is no higher than it needs to be


def test_doubt_is_found_that_hides_behind_what_there_is_to_see():
    random = np.random.default_rng(0)
    members = [draw(random, 3, 5, alike=0.0, there=0.5) for _ in range(5)]
    usual, blind = usual_of(members), usual_doubt([[overall(i) for i in one] for one in members])
    found = seen = 0
    for image in draw(random, 200, 5, alike=0.0, there=0.5):
        doubted = {name: Part(part.share, part.doubt + 0.06) for name, part in image.items()}
        found += overall(doubted) > usual.limit(doubted)
        seen += overall(doubted) > blind.limit(doubted)
    assert found > 190
    assert seen < 170
