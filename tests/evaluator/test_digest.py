import hashlib
import math

import numpy as np
import pytest

from evaluator import array_digest, canonical_json, file_digest, json_digest
from evaluator.digest import ArrayDigest


def test_canonical_json_has_one_spelling():
    assert canonical_json({"b": 1, "a": [0.1, 1e16, None, "é"]}) == (
        '{"a":[0.1,1e+16,null,"\\u00e9"],"b":1}\n'
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_canonical_json_refuses_what_json_cannot_say(value):
    with pytest.raises(ValueError, match="JSON"):
        canonical_json([value])


def test_json_digest_is_that_of_the_canonical_text():
    assert json_digest({}) == hashlib.sha256(b"{}\n").hexdigest()
    assert json_digest({"a": 1, "b": 2}) == json_digest({"b": 2, "a": 1})


def test_file_digest_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    assert file_digest(path) == hashlib.sha256(b"abc").hexdigest()


def test_array_digest_ignores_memory_order_and_byte_order():
    array = np.arange(24, dtype="<u2").reshape(2, 3, 4)
    expected = array_digest(array)
    assert array_digest(np.asfortranarray(array)) == expected
    assert array_digest(array.astype(">u2")) == expected


def test_array_digest_sees_shape_values_and_dtype():
    array = np.arange(24, dtype="u2").reshape(2, 3, 4)
    changed = array.copy()
    changed[1, 2, 3] = 0
    others = [changed, array.reshape(4, 3, 2), array.astype("u4"), array.astype("i2")]
    digests = {array_digest(other) for other in (array, *others)}
    assert len(digests) == 5


def test_array_digest_may_be_fed_in_slabs():
    array = np.arange(60, dtype="u4").reshape(5, 3, 4)
    digest = ArrayDigest(array.shape, array.dtype)
    for z in (slice(0, 2), slice(2, 3), slice(3, 5)):
        digest.update(array[z])
    assert digest.hexdigest() == array_digest(array)
