import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from evaluator.consensus import (
    ConsensusError,
    Votes,
    count_votes,
    fuse,
    staple,
)
from evaluator.volume import ArrayPlanes

# What SimpleITK 2.5.7 says of `drawn(seed)`, with `STAPLE(masks, 1.0) > 0.5` and its two lists:
# seed, voxels of the consensus, sensitivities and specificities.
ORACLE = [
    (0, 444, [0.813139, 0.806228], [0.921842, 0.924536]),
    (1, 1044, [0.872628, 0.779623, 0.844022], [0.960916, 0.923673, 0.846217]),
    (2, 370, [0.85855, 0.987299, 0.955068, 0.711208], [0.908752, 0.984657, 0.907368, 0.975357]),
    (
        3,
        1332,
        [0.33284, 0.906152, 0.584087, 0.926693, 0.983506],
        [0.949707, 0.984329, 0.942546, 0.856933, 0.978862],
    ),
    (
        4,
        480,
        [0.965661, 0.954819, 0.849658, 0.949981, 0.681193, 0.675973],
        [0.847384, 0.974083, 0.964331, 0.901792, 0.978075, 0.967433],
    ),
    (5, 708, [0.883122, 0.618949], [0.915697, 0.972112]),
    (6, 503, [0.896124, 0.669056, 0.898461], [0.925947, 0.919754, 0.915418]),
    (7, 1136, [0.957724, 0.644597, 0.959006, 0.84086], [0.969744, 0.951735, 0.904264, 0.907444]),
    (
        8,
        405,
        [0.834491, 0.976396, 0.977192, 0.891043, 0.929703],
        [0.92304, 0.960787, 0.8698, 0.959381, 0.961332],
    ),
    (
        9,
        1539,
        [0.968555, 0.425918, 0.709758, 0.523762, 0.993785, 0.283707],
        [0.962245, 0.940338, 0.960651, 0.91039, 0.952101, 0.940387],
    ),
    (10, 618, [0.894838, 0.878087], [0.937647, 0.946133]),
    (11, 580, [0.651896, 0.528102, 0.734686], [0.954672, 0.937563, 0.882816]),
    (12, 570, [0.580999, 0.477004, 0.931135, 0.94931], [0.984615, 0.990432, 0.907791, 0.940464]),
    (
        13,
        1280,
        [0.910092, 0.900008, 0.851234, 0.340377, 0.928438],
        [0.88449, 0.916438, 0.994867, 0.981543, 0.88506],
    ),
    (
        14,
        508,
        [0.989034, 0.814114, 0.813445, 0.902744, 0.979045, 0.939957],
        [0.899998, 0.979143, 0.967818, 0.947975, 0.976236, 0.892799],
    ),
    (15, 625, [0.738098, 0.701498], [0.939438, 0.946256]),
    (16, 370, [0.909993, 0.95172, 0.690779], [0.877143, 0.972959, 0.998425]),
    (17, 1349, [0.927909, 0.899709, 0.901664, 0.388454], [0.900819, 0.957215, 0.905546, 0.986942]),
    (
        18,
        437,
        [0.898977, 0.758961, 0.930088, 0.916933, 0.873944],
        [0.958973, 0.954898, 0.824539, 0.820426, 0.924854],
    ),
    (
        19,
        759,
        [0.939662, 0.930406, 0.394309, 0.856237, 0.994886, 0.649668],
        [0.980423, 0.844938, 0.989521, 0.90593, 0.830887, 0.997683],
    ),
]


def drawn(seed: int) -> list[np.ndarray]:
    """Two to six experts' masks of a ball in 2D or 3D, each with their own slips."""
    rng = np.random.default_rng(seed)
    shape = (12, 24, 24) if seed % 2 else (1, 48, 48)
    z, y, x = np.indices(shape)
    centre, radius = np.array(shape) / 2, shape[2] / 4
    distance = np.sqrt(sum((a - c) ** 2 for a, c in zip((z, y, x), centre, strict=True)))
    masks = []
    for _ in range(2 + seed % 5):
        ball = distance < radius * rng.uniform(0.7, 1.3)
        slips = rng.random(shape) < rng.uniform(0, 0.1)
        masks.append(ball ^ slips)
    return masks


def votes_of(*masks: object) -> Votes:
    return count_votes([ArrayPlanes(np.array(mask, ndmin=3)) for mask in masks])


def fused(masks: list[np.ndarray], method: str = "staple", undecided: int = 0) -> np.ndarray:
    planes = [ArrayPlanes(mask) for mask in masks]
    votes = count_votes(planes)
    labels = getattr(votes, f"by_{method}")(undecided=undecided)
    return np.concatenate(list(fuse(planes, votes, labels)))


# ------------------------------------------------------------------------------ real experts


def test_staple_gives_the_published_consensus_of_five_labs(real_data):
    """Not one differing pixel in 14 images, and the sensitivities that were recorded with them."""
    folder = real_data / "multi_expert_fluo"
    with (folder / "staple_expected.csv").open() as file:
        rows = list(csv.DictReader(file))
    images = sorted({row["image"] for row in rows})
    assert len(images) == 14
    for image in images:
        expected = [r for r in rows if r["image"] == image and r["rater"].startswith("expert")]
        masks = [picture(folder / "masks" / row["rater"] / image) for row in expected]
        assert np.array_equal(fused(masks)[0], picture(folder / "masks" / "est_GT" / image)[0])
        (strict,) = [r for r in rows if (r["image"], r["rater"]) == (image, "strict_majority")]
        assert fused(masks, "majority").sum() == int(strict["foreground_pixels"])
        found = count_votes([ArrayPlanes(mask) for mask in masks]).staple[1]
        assert found.converged
        for name, values in (
            ("sensitivity", found.sensitivity),
            ("specificity", found.specificity),
        ):
            known = [float(row[f"staple_{name}"]) for row in expected]
            assert np.allclose(values, known, rtol=0, atol=1e-6)


def picture(path):
    with Image.open(path) as image:
        return np.asarray(image)[None]


@pytest.mark.parametrize(("seed", "voxels", "sensitivity", "specificity"), ORACLE)
def test_staple_agrees_with_the_usual_library(seed, voxels, sensitivity, specificity):
    masks = drawn(seed)
    found = votes_of(*masks).staple[1]
    assert fused(masks).sum() == voxels
    assert np.allclose(found.sensitivity, sensitivity, rtol=0, atol=2e-6)
    assert np.allclose(found.specificity, specificity, rtol=0, atol=2e-6)


# ------------------------------------------------------------------------------ by hand


def test_votes_are_counted_by_pattern():
    votes = votes_of([0, 0, 1, 1, 1], [0, 1, 0, 1, 1])
    assert votes.values == (0, 1)
    assert votes.patterns.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert votes.counts.tolist() == [1, 1, 1, 2]


def test_more_than_half_is_a_majority_and_half_is_undecided():
    masks = [np.array([[row]]) for row in ([0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 1])]
    assert fused(masks, "majority").ravel().tolist() == [0, 0, 0, 1]
    assert fused(masks, "majority", undecided=9).ravel().tolist() == [0, 0, 9, 1]


def test_of_several_labels_the_most_frequent_wins_and_a_draw_is_undecided():
    masks = [np.array([[row]]) for row in ([1, 1, 1, 0], [1, 2, 2, 3], [3, 2, 3, 0])]
    assert fused(masks, "majority").ravel().tolist() == [1, 2, 0, 0]
    assert fused(masks, "majority", undecided=7).ravel().tolist() == [1, 2, 7, 0]


def test_staple_by_hand():
    """Two experts, 8 voxels: both say no on 6, yes on 1; on 1 only the first says yes.

    First guess of the truth: 0, 1, ½.  Sensitivities (1 + ½) / 1½ = 1 and 1 / 1½ = 2/3,
    specificities 6 / 6½ = 12/13 and 6½ / 6½ = 1.  Prior 3/16.  The third voxel: yes
    3/16 · 1 · 1/3 = 1/16, no 13/16 · 1/13 · 1 = 1/16: again ½, so this is where it ends.
    """
    found = staple(np.array([[0, 0], [1, 1], [1, 0]], bool), np.array([6, 1, 1]))
    assert found.converged
    assert found.probability == pytest.approx([0, 1, 0.5], abs=1e-12)
    assert found.sensitivity == pytest.approx([1, 2 / 3], abs=1e-12)
    assert found.specificity == pytest.approx([12 / 13, 1], abs=1e-12)


def test_an_expert_who_knows_less_weighs_less():
    rng = np.random.default_rng(0)
    truth = rng.random((1, 100, 100)) < 0.3
    good = [truth ^ (rng.random(truth.shape) < 0.02) for _ in range(2)]
    bad = [truth ^ (rng.random(truth.shape) < 0.4) for _ in range(3)]
    masks = [*good, *bad]
    found = votes_of(*masks).staple[1]
    assert found.sensitivity[:2].min() > 0.9
    assert found.sensitivity[2:].max() < 0.7
    wrong = {way: int((fused(masks, way) != truth).sum()) for way in ("staple", "majority")}
    assert wrong["staple"] < wrong["majority"] / 2


def test_background_is_a_choice_where_no_label_is_probable():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 4, (3, 40, 40))
    masks = []
    for _ in range(5):
        mask = truth.copy()
        slips = rng.random(truth.shape) < 0.1
        mask[slips] = rng.integers(0, 4, slips.sum())
        masks.append(mask.astype(np.uint8))
    assert (fused(masks) != truth).mean() < 0.01
    votes = votes_of(*masks)
    assert set(votes.staple) == {0, 1, 2, 3}


def test_symmetric_votes_are_undecided():
    masks = [np.array([[[0, 1, 2]]]), np.array([[[0, 2, 1]]])]
    assert fused(masks, undecided=5).ravel().tolist() == [0, 5, 5]


# ------------------------------------------------------------------------------ always finite


@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("experts", [1, 2, 5])
def test_all_empty_and_all_full_are_finite(value, experts):
    masks = [np.full((2, 3, 4), value, np.uint8)] * experts
    found = votes_of(*masks).staple[1]
    assert found.converged
    for values in (found.probability, found.sensitivity, found.specificity):
        assert np.isfinite(values).all()
    assert np.array_equal(fused(masks), masks[0])
    assert np.array_equal(fused(masks, "majority"), masks[0])


def test_a_single_expert_is_their_own_consensus_however_little_they_drew():
    mask = np.zeros((10, 100, 100), bool)
    mask[5, 5, 5] = True
    assert np.array_equal(fused([mask]), mask)


MASKS = st.integers(1, 5).flatmap(
    lambda experts: arrays(np.uint8, (experts, 2, 3, 4), elements=st.integers(0, 3))
)


@given(MASKS, st.booleans())
@settings(deadline=None)
def test_any_masks_give_finite_estimates_and_labels_that_were_voted_for(masks, plain):
    masks = list(masks > 1) if plain else list(masks)
    votes = votes_of(*masks)
    assert votes.counts.sum() == masks[0].size
    for found in votes.staple.values():
        for values in (found.probability, found.sensitivity, found.specificity):
            assert np.isfinite(values).all()
            assert values.min() >= 0
            assert values.max() <= 1
    for way in ("staple", "majority"):
        assert np.isin(fused(masks, way), votes.values).all()


@given(MASKS, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_order_of_experts_decides_nothing(masks, random):
    order = list(range(len(masks)))
    random.shuffle(order)
    mixed = [masks[place] for place in order]
    for way in ("staple", "majority"):
        assert np.array_equal(fused(list(masks), way, 9), fused(mixed, way, 9))
    first, other = votes_of(*masks), votes_of(*mixed)
    for label, found in first.staple.items():
        assert np.array_equal(found.sensitivity[order], other.staple[label].sensitivity)


@given(arrays(np.uint8, (2, 3, 4), elements=st.integers(0, 3)), st.integers(1, 6))
@settings(deadline=None)
def test_experts_who_agree_are_followed(mask, experts):
    for way in ("staple", "majority"):
        assert np.array_equal(fused([mask] * experts, way), mask)


def test_slabs_are_put_together_as_if_read_at_once(monkeypatch):
    masks = drawn(3)
    whole = fused(masks)
    monkeypatch.setattr("evaluator.consensus.SLAB_VOXELS", 24 * 24 * len(masks) * 5)
    assert np.array_equal(fused(masks), whole)


def test_rounds_are_limited_and_said_so(monkeypatch):
    monkeypatch.setattr("evaluator.consensus.MOST_ROUNDS", 2)
    found = votes_of(*drawn(4)).staple[1]
    assert (found.rounds, found.converged) == (2, False)


# ------------------------------------------------------------------------------ values


def test_pictures_with_255_and_masks_with_1_mean_the_same():
    votes = votes_of([0, 255], np.array([0, 1]), np.array([False, True]))
    assert votes.values == (0, 1)
    assert votes.patterns.tolist() == [[0, 0, 0], [1, 1, 1]]


def test_255_beside_other_labels_is_a_label():
    assert votes_of([0, 255], [2, 255]).values == (0, 2, 255)


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", "u2", "i4", "u8", "i8"])
def test_every_integer_dtype_is_counted(dtype):
    votes = votes_of(np.array([0, 1, 1], dtype), np.array([0, 0, 1], dtype))
    assert votes.counts.tolist() == [1, 1, 1]


def test_empty_masks_have_one_label_that_nobody_chose():
    assert votes_of([0, 0], [0, 0]).labels == (1,)


@pytest.mark.parametrize(
    ("masks", "expert", "sentence"),
    [
        (([0, 1], [0, 1, 1]), 1, r"\(1, 1, 3\); expected \(1, 1, 2\)"),
        (([0, 1], [0, 0.5]), 1, "float64"),
        (([-1, 1], [0, 1]), 0, "from -1 to 1"),
        (([0, 1], [0, 70_000]), 1, "to 70000"),
        ((range(101), range(101)), 0, "101 values"),
    ],
)
def test_what_is_no_mask_is_refused_with_its_expert(masks, expert, sentence):
    with pytest.raises(ConsensusError, match=sentence) as caught:
        votes_of(*map(list, masks))
    assert caught.value.expert == expert


def test_no_mask_and_too_many_are_refused():
    with pytest.raises(ConsensusError, match="no mask"):
        count_votes([])
    with pytest.raises(ConsensusError, match="62 experts with 2 labels are too many"):
        votes_of(*[[0, 1]] * 62)
