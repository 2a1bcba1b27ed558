import numpy as np
import pytest

from baselines.noise import Positions
from baselines.painting import Part, paint
from baselines.specimen import Specimen


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
