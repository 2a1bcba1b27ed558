import numpy as np
import pytest

from baselines.objects.agreement import panoptic_quality
from baselines.objects.decoding import Thresholds, objects_of
from baselines.objects.heads import AFFINITY, BCD, COMPONENTS
from baselines.objects.tuning import Volume, tune
from benchmarks.cells import cells, head_of, seen

IDS = cells((24, 40, 40), 30, radius=8)


def dimmed(representation):
    """What a network says that is right, but never sure of it."""
    given = seen(IDS, head_of(representation), noise=0.04, blur=0.5).astype(float)
    return np.round(given * 0.5).astype(np.uint8)


@pytest.mark.parametrize("representation", [COMPONENTS, BCD, AFFINITY])
def test_what_is_chosen_is_better_than_the_defaults_and_as_good_as_it_says(representation):
    head, given = head_of(representation), dimmed(representation)
    before = panoptic_quality(IDS, objects_of(given, head, Thresholds(), smallest=20))
    found, quality = tune([Volume(given, IDS)], head, Thresholds(), smallest=20)
    after = panoptic_quality(IDS, objects_of(given, head, found, smallest=20))
    assert quality == pytest.approx(after)
    assert after > before + 0.2
    assert after > (0.9 if representation != COMPONENTS else 0.4)


def test_objects_are_told_apart_by_contours_that_are_hardly_seen():
    given = seen(IDS, head_of(BCD), noise=0.04, blur=0.5)
    given[1] = np.round(given[1] * 0.1)
    given[2] = 255  # nobody knows where the middle is
    found, quality = tune([Volume(given, IDS)], head_of(BCD), Thresholds(), smallest=20)
    assert found.seed_contour == 0.05
    assert quality > 0.8


def test_large_objects_decide_over_many_small_ones():
    ids = np.zeros((4, 40, 60), np.uint32)
    ids[:, 2:38, 2:20], ids[:, 2:38, 22:40] = 1, 2
    for n, y in enumerate(range(2, 38, 4), start=3):
        ids[:, y : y + 2, 44:56] = n
    given = np.where(ids > 2, 90, np.where(ids > 0, 230, 0)).astype(np.uint8)
    given[:, 2:38, 20:22] = 100  # what joins the large ones is surer than the small ones are
    found, _ = tune([Volume(given[None], ids)], head_of(COMPONENTS), Thresholds(), smallest=1)
    assert 100 / 255 < found.mask < 230 / 255


def test_contour_and_distance_are_chosen_together():
    ids = np.zeros((4, 20, 42), np.uint32)
    ids[:, 2:18, 1:21], ids[:, 2:18, 21:41] = 1, 2
    given = np.zeros((3, *ids.shape), np.uint8)
    given[0] = np.where(ids > 0, 255, 0)
    given[2] = np.where(ids > 0, 150, 0)
    given[2][:, :, [5, 20, 21, 36]] = 90  # deep ones are split, each into a large and a small part
    given[1][:, :, 20:22] = 20  # only a contour that is hardly seen parts them where they end
    found, quality = tune([Volume(given, ids)], head_of(BCD), Thresholds(), smallest=1)
    assert quality == 1
    assert found.seed_contour == 0.05
    assert found.seed_distance < 90 / 255


def test_only_what_matters_for_the_representation_is_changed():
    found, _ = tune([Volume(dimmed(COMPONENTS), IDS)], head_of(COMPONENTS), Thresholds())
    assert found == Thresholds(mask=found.mask)
    found, _ = tune([Volume(dimmed(AFFINITY), IDS)], head_of(AFFINITY), Thresholds())
    assert found == Thresholds(mask=found.mask, bias=found.bias)


def test_of_values_that_are_as_good_the_middle_one_is_taken():
    ids = np.zeros((4, 8, 8), np.uint32)
    ids[:, 2:6, 2:6] = 1
    given = np.where(ids > 0, 230, 26).astype(np.uint8)[None]
    found, quality = tune([Volume(given, ids)], head_of(COMPONENTS), Thresholds(mask=0.15))
    assert quality == 1
    assert found.mask == pytest.approx(0.45)  # of 0.1 to 0.85


def test_without_objects_nothing_is_chosen():
    base = Thresholds(mask=0.3)
    assert tune([], head_of(BCD), base) == (base, 0.0)
    empty = Volume(np.zeros((3, 4, 8, 8), np.uint8), np.zeros((4, 8, 8), np.uint32))
    assert tune([empty], head_of(BCD), base) == (base, 0.0)


def test_large_volumes_are_looked_at_in_their_middle():
    ids = np.arange(8 * 100 * 60).reshape(8, 100, 60)
    part = Volume(ids[None].repeat(3, 0), ids).central(9000)
    assert part.ids.shape == (8, 25, 30)
    assert part.probabilities.shape == (3, 8, 25, 30)
    assert part.ids[4, 12, 15] == ids[4, 49, 30]
    assert Volume(ids[None], ids).central(10**6).ids.shape == ids.shape


def test_several_volumes_count_alike():
    head = head_of(COMPONENTS)
    volumes = [Volume(dimmed(COMPONENTS), IDS)] * 2
    assert tune(volumes, head, Thresholds()) == tune(volumes[:1], head, Thresholds(), most=2**20)


def test_what_is_found_where_nobody_annotated_counts_neither_way():
    head, given = head_of(COMPONENTS), seen(IDS, head_of(COMPONENTS), noise=0.04)
    known = np.zeros(IDS.shape, bool)
    known[:, :, :20] = True
    annotated = np.where(known, IDS, 0)
    _, everywhere = tune([Volume(given, annotated)], head, Thresholds())
    found, quality = tune([Volume(given, annotated, known)], head, Thresholds())
    assert quality > everywhere + 0.1
    objects = objects_of(given, head, found)
    assert quality == pytest.approx(panoptic_quality(IDS[:, :, :20], objects[:, :, :20]))


def test_what_is_known_is_cut_with_the_volume():
    known = np.arange(8 * 100 * 60).reshape(8, 100, 60) % 7 > 0
    whole = Volume(known[None].astype(np.uint8), known.astype(np.uint32), known)
    part = whole.central(9000)
    np.testing.assert_array_equal(part.known, part.ids > 0)
