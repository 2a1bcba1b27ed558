import numpy as np
import pytest

from baselines.phantoms.noise import Positions
from baselines.phantoms.painting import Part, paint
from baselines.phantoms.specimen import Specimen


def positions(nz, ny, nx, *, start=(0.0, 0.0, 0.0)):
    z, y, x = (s + 8.0 * np.arange(n) for s, n in zip(start, (nz, ny, nx), strict=True))
    return Positions(z, np.tile(y, (nz, 1)), np.tile(x, (nz, 1)))


@pytest.fixture(scope="module")
def block():
    return paint(Specimen(2, 400.0), positions(24, 64, 64))


def test_every_part_of_a_cell_is_painted(block):
    found = {Part(int(part)) for part in np.unique(block.part)}
    assert found >= set(Part) - {Part.NE_LUM, Part.NUCPL, Part.HCHROM}


def test_grey_stays_within_black_and_white(block):
    assert block.grey.min() >= 0
    assert block.grey.max() <= 1.2


def test_membranes_are_darker_than_what_they_enclose(block):
    pm, cyto = block.grey[block.part == Part.PM], block.grey[block.part == Part.CYTO]
    assert pm.mean() < cyto.mean() - 0.1


@pytest.mark.parametrize("part", [Part.PM, Part.MITO_MEM, Part.ER_MEM, Part.VES_MEM])
def test_a_threshold_cannot_tell_one_membrane_from_another(block, part):
    # Otherwise there would be nothing to learn.
    wanted = block.part == part
    for grey in np.linspace(0.2, 0.6, 20):
        dark = block.grey < grey
        assert 2 * (dark & wanted).sum() / (dark.sum() + wanted.sum()) < 0.75


def test_the_space_between_cells_belongs_to_no_cell(block):
    np.testing.assert_array_equal(block.cell == 0, block.part == Part.ECS)


def test_objects_are_made_of_their_own_parts(block):
    mito = np.isin(block.part, (Part.MITO_MEM, Part.MITO_LUM))
    ves = np.isin(block.part, (Part.VES_MEM, Part.VES_LUM))
    np.testing.assert_array_equal(block.mito > 0, mito)
    np.testing.assert_array_equal(block.ves > 0, ves)


def test_organelles_lie_inside_one_cell_each(block):
    for ids in (block.mito, block.ves, block.nuc):
        for number in np.unique(ids[ids > 0]):
            assert len(np.unique(block.cell[ids == number])) == 1


def test_a_block_is_the_same_wherever_it_is_cut(block):
    part = paint(Specimen(2, 400.0), positions(10, 30, 30, start=(40.0, 80.0, 160.0)))
    where = np.s_[5:15, 10:40, 20:50]
    inner = np.s_[1:-1, 1:-1, 1:-1]  # slopes look at neighbours
    assert (part.part[inner] == block.part[where][inner]).mean() > 0.9999
    np.testing.assert_array_equal(part.cell, block.cell[where])
    np.testing.assert_allclose(part.grey[inner], block.grey[where][inner], atol=0.02)


def fine(nz, ny, nx, *, start):
    z, y, x = (s + 2.0 * np.arange(n) for s, n in zip(start, (nz, ny, nx), strict=True))
    return Positions(z, np.tile(y, (nz, 1)), np.tile(x, (nz, 1)))


@pytest.fixture(scope="module")
def plane():
    """One plane of 1.2 micrometres at voxels of 2 nm."""
    return paint(Specimen(3, 500.0), fine(1, 600, 600, start=(100.0, 0.0, 0.0)))


def runs(values):
    """Lengths of the stretches of True in the rows of a plane."""
    padded = np.pad(values.astype(int), ((0, 0), (1, 1)))
    step = np.diff(padded, axis=1)
    return np.argwhere(step == -1)[:, 1] - np.argwhere(step == 1)[:, 1]


def test_plasma_membranes_are_about_nine_nanometres_thick(plane):
    thickness = 2.0 * np.median(runs(plane.part[0] == Part.PM))
    assert 7 < thickness < 18  # rows cut membranes at a slant, never across more than they are


def test_neighbouring_cells_are_a_narrow_gap_apart(plane):
    gaps = 2.0 * runs(plane.cell[0] == 0)
    assert 8 < np.percentile(gaps, 20) < 30


def test_cells_are_round_about_as_large_as_asked_for(plane):
    number = len(np.unique(plane.cell[plane.cell > 0]))
    assert 4 <= number <= 25  # 1200 nm across, 500 nm from cell to cell


def test_a_membrane_is_darkest_in_its_middle(plane):
    # depth runs from 0 at the surface of a cell inwards; the membrane's middle lies at 4.5 nm
    at = {
        d: plane.grey[(np.abs(plane.depth - d) < 1) & (plane.dark > 0)].mean()
        for d in (-3, 4.5, 14)
    }
    assert at[4.5] < at[-3]
    assert at[4.5] < at[14]


def test_two_specimens_do_not_look_alike():
    one, two = (paint(Specimen(seed, 400.0), positions(2, 24, 24)) for seed in (1, 2))
    assert (one.part != two.part).mean() > 0.1


def test_a_part_of_a_block_is_all_its_arrays_cut_alike(block):
    box = np.s_[2:5, 10:20, 30:50]
    part = block.inner(box)
    for name in ("grey", "dark", "part", "depth", "cell", "nuc", "mito", "ves"):
        np.testing.assert_array_equal(getattr(part, name), getattr(block, name)[box])


def test_shifted_sections_shift_labels_with_the_picture():
    straight = positions(2, 40, 40)
    shifted = Positions(straight.z, straight.y + np.array([[0.0], [16.0]]), straight.x)
    one, two = (paint(Specimen(2, 400.0), at) for at in (straight, shifted))
    np.testing.assert_array_equal(two.cell[1, :-2], one.cell[1, 2:])
    np.testing.assert_array_equal(two.cell[0], one.cell[0])
