import numpy as np
import pytest

from baselines.phantoms.specimen import Specimen


@pytest.fixture(scope="module")
def cells():
    specimen = Specimen(seed=5, cell_nm=600.0)
    keys = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    return [specimen.cell(tuple(map(int, key))) for key in keys]


def test_the_same_seed_grows_the_same_cell():
    one, two = Specimen(1).cell((0, -3, 2)), Specimen(1).cell((0, -3, 2))
    np.testing.assert_array_equal(one.centre, two.centre)
    assert [v.radius for v in one.vesicles] == [v.radius for v in two.vesicles]


def test_another_seed_grows_another_cell():
    assert (Specimen(1).cell((0, 0, 0)).centre != Specimen(2).cell((0, 0, 0)).centre).any()


def test_some_cells_have_a_nucleus_and_some_have_none(cells):
    assert 0 < sum(cell.nucleus is not None for cell in cells) < len(cells)


def test_there_are_mitochondria_and_vesicles(cells):
    assert sum(len(cell.mitochondria) for cell in cells) > 10
    assert sum(len(cell.vesicles) for cell in cells) > 100


def test_no_two_objects_of_a_kind_share_a_number(cells):
    for kind in ("mitochondria", "vesicles"):
        numbers = [thing.id for cell in cells for thing in getattr(cell, kind)]
        assert len(set(numbers)) == len(numbers)


def test_vesicles_do_not_touch_each_other(cells):
    vesicles = max((cell.vesicles for cell in cells), key=len)
    for n, one in enumerate(vesicles):
        for other in vesicles[:n]:
            assert np.linalg.norm(one.centre - other.centre) > one.radius + other.radius


def test_organelles_lie_in_their_own_cell(cells):
    specimen = Specimen(seed=5, cell_nm=600.0)
    for cell in cells[:9]:
        _, centres = specimen.centres(cell.centre - 1, cell.centre + 1)
        points = [v.centre for v in cell.vesicles] + [p for m in cell.mitochondria for p in m.axis]
        for point in points:
            nearest = centres[np.linalg.norm(centres - point, axis=1).argmin()]
            np.testing.assert_allclose(nearest, cell.centre)


def test_no_vesicle_lies_in_the_nucleus(cells):
    for cell in (cell for cell in cells if cell.nucleus is not None):
        for vesicle in cell.vesicles:
            assert cell.nucleus.distance(vesicle.centre) > 0


def test_the_distance_to_a_nucleus_is_negative_inside_and_zero_on_its_surface(cells):
    nucleus = next(cell.nucleus for cell in cells if cell.nucleus is not None)
    pole = nucleus.centre + np.array([nucleus.axes[0], 0, 0])
    assert nucleus.distance(nucleus.centre + 1.0) < 0
    assert abs(nucleus.distance(pole)) < 1e-6
    assert nucleus.distance(pole + np.array([10, 0, 0])) == pytest.approx(10, rel=0.1)


def test_larger_cells_hold_more(cells):
    large = Specimen(seed=5, cell_nm=1500.0).cell((0, 0, 0))
    assert len(large.vesicles) > 3 * np.mean([len(cell.vesicles) for cell in cells])
    assert len(large.mitochondria) > 3 * np.mean([len(cell.mitochondria) for cell in cells])


def test_organelles_have_their_natural_size_whatever_the_cell():
    for size in (400.0, 1200.0):
        cell = Specimen(seed=5, cell_nm=size).cell((1, 1, 1))
        assert all(17 <= v.radius <= 25 for v in cell.vesicles)
        assert all(42 <= m.radius <= 74 for m in cell.mitochondria)


def test_mitochondria_of_a_cell_do_not_touch():
    cell = Specimen(seed=8, cell_nm=1500.0).cell((0, 0, 0))
    assert len(cell.mitochondria) > 5
    for n, one in enumerate(cell.mitochondria):
        for other in cell.mitochondria[:n]:
            gap = np.linalg.norm(one.axis[:, None] - other.axis[None], axis=-1).min()
            assert gap > one.radius + other.radius


def test_numbers_of_cells_are_positive_and_differ():
    keys = np.stack(np.meshgrid(*[np.arange(-5, 5)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    numbers = Specimen(1).numbers(keys)
    assert numbers.min() >= 1
    assert len(np.unique(numbers)) == len(keys)


def test_centres_lie_in_their_own_lattice_cell():
    specimen = Specimen(1, 100.0)
    keys, centres = specimen.centres(np.array([-150.0] * 3), np.array([150.0] * 3))
    np.testing.assert_array_equal(np.floor(centres / 100.0), keys)
    assert (keys.min(axis=0) == -5).all()  # three more than the box on each side
