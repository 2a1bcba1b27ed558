import numpy as np
import pytest

from evaluator import ManifestError, array_digest, create_volume, json_digest
from evaluator.truth import open_truth
from tests.evaluator.shapes import target

SHAPE = (7, 5, 6)
MITO = target("instance", SHAPE)
ER = target("semantic", SHAPE, label="er")
IDS = np.arange(210, dtype=np.uint16).reshape(SHAPE) // 30


def write(folder, path, array):
    create_volume(folder / path, MITO.grid, array.dtype, chunks=(3, 4, 4))[:] = array


def test_the_digest_is_that_of_the_content_however_it_was_read(tmp_path):
    write(tmp_path, MITO.path, IDS)
    for reads in ([], [(0, 7)], [(0, 2), (2, 7)], [(0, 3), (0, 7)], [(4, 6)], [(0, 5), (3, 6)]):
        truth = open_truth(MITO, tmp_path)
        for start, stop in reads:
            np.testing.assert_array_equal(truth.planes.planes(start, stop), IDS[start:stop])
        assert truth.digest == array_digest(IDS)


def test_a_mask_beside_the_truth_is_part_of_its_digest(tmp_path):
    mask = (IDS > 3).astype(np.uint8)
    write(tmp_path, MITO.path, IDS)
    write(tmp_path, f"{MITO.path}_mask", mask)
    truth = open_truth(MITO, tmp_path)
    np.testing.assert_array_equal(truth.mask.planes(0, 7), mask)
    assert truth.digest == json_digest([array_digest(IDS), array_digest(mask)])


def test_without_a_mask_there_is_none(tmp_path):
    write(tmp_path, MITO.path, IDS)
    assert open_truth(MITO, tmp_path).mask is None


def test_ids_that_are_stored_as_floats_are_ids(tmp_path):
    write(tmp_path, MITO.path, IDS.astype(np.float32))
    planes = open_truth(MITO, tmp_path).planes
    assert planes.dtype == planes.planes(0, 2).dtype == np.int64
    np.testing.assert_array_equal(planes.planes(0, 7), IDS)
    assert planes.digest() == array_digest(IDS.astype(np.float32))


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, 1e20])
def test_fractions_are_no_ids_and_the_organiser_is_told(tmp_path, value):
    array = IDS.astype(np.float64)
    array[6, 4, 5] = value
    write(tmp_path, MITO.path, array)
    planes = open_truth(MITO, tmp_path).planes
    np.testing.assert_array_equal(planes.planes(0, 6), IDS[:6])
    with pytest.raises(ManifestError, match="crop1/mito is float64 and holds fractions"):
        planes.planes(6, 7)


def test_a_semantic_truth_may_hold_fractions(tmp_path):
    write(tmp_path, ER.path, np.full(SHAPE, 0.5, np.float32))
    assert open_truth(ER, tmp_path).planes.planes(0, 1).dtype == np.float32


def test_a_mask_of_another_shape_is_the_organisers_mistake(tmp_path):
    write(tmp_path, MITO.path, IDS)
    other = target("instance", (3, 3, 3), label="mito_mask")
    create_volume(tmp_path / other.path, other.grid, "u1")
    with pytest.raises(ManifestError, match=r"crop1/mito_mask has the shape \(3, 3, 3\)"):
        open_truth(MITO, tmp_path)


def test_a_damaged_chunk_is_the_organisers_mistake_and_tells_no_path(tmp_path):
    write(tmp_path, MITO.path, IDS)
    chunk = next(f for f in sorted((tmp_path / MITO.path).rglob("*")) if f.name == "1")
    chunk.write_bytes(b"no chunk")
    planes = open_truth(MITO, tmp_path).planes
    with pytest.raises(ManifestError, match="truth of crop1/mito cannot be read") as caught:
        planes.digest()
    assert str(tmp_path) not in str(caught.value)
