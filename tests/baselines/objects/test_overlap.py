import numpy as np

from baselines.objects.overlap import alike, numbered, pairs_of


def test_pairs_lie_on_the_same_voxels():
    pairs, counts = pairs_of(np.array([0, 1, 1, 2, 2**32 - 1]), np.array([5, 5, 5, 0, 7]))
    assert pairs.tolist() == [[1, 5], [2**32 - 1, 7]]
    assert counts.tolist() == [2, 1]


def test_alike_is_what_shares_half_of_both_together():
    one = np.array([1, 1, 1, 1, 2, 2, 2, 3])
    assert alike(one, np.array([4, 4, 0, 0, 5, 0, 0, 0])).tolist() == [[1, 4]]  # 2 of 4; 1 of 3
    assert alike(one, one).tolist() == [[1, 1], [2, 2], [3, 3]]
    assert alike(one, np.zeros_like(one)).shape == (0, 2)


def test_pairs_make_groups_in_the_order_of_their_least_ids():
    table = numbered(6, [np.array([[5, 2], [6, 5]]), np.array([[4, 3]])])
    assert table.tolist() == [0, 1, 2, 3, 3, 2, 2]
    assert table.dtype == np.uint32


def test_without_pairs_every_id_is_its_own():
    assert numbered(3, []).tolist() == [0, 1, 2, 3]
    assert numbered(0, []).tolist() == [0]
