import hashlib

import numpy as np
import pytest

from evaluator.digest import ArrayDigest, array_digest, canonical_json, file_digest, json_digest


def test_json_has_one_spelling_whatever_the_order_of_the_keys():
    assert canonical_json({"b": 1, "a": [0.1, None, True]}) == '{"a":[0.1,null,true],"b":1}\n'
    assert json_digest({"b": 1, "a": 2}) == json_digest({"a": 2, "b": 1})


def test_a_float_is_written_so_that_it_reads_back_to_the_same_bits():
    assert canonical_json(0.1 + 0.2) == "0.30000000000000004\n"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_refused(number):
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json({"score": number})


def test_a_files_digest_is_that_of_its_bytes(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"crista" * 100_000)
    assert file_digest(file) == hashlib.sha256(b"crista" * 100_000).hexdigest()


def test_slabs_memory_order_and_byte_order_do_not_change_an_arrays_digest():
    array = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
    in_slabs = ArrayDigest(array.shape, array.dtype)
    for start, stop in ((0, 1), (1, 3)):
        in_slabs.update(array[start:stop])
    assert in_slabs.hexdigest() == array_digest(array)
    assert array_digest(np.asfortranarray(array)) == array_digest(array)
    assert array_digest(array.astype(">u2")) == array_digest(array)


def test_another_value_shape_or_dtype_is_another_digest():
    array = np.zeros((2, 3, 4), np.uint8)
    other = array.copy()
    other[1, 2, 3] = 1
    variants = [array, other, array.reshape(4, 3, 2), array.astype(np.uint16)]
    assert len({array_digest(variant) for variant in variants}) == 4
