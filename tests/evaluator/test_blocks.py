import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from evaluator import Manifest, array_digest, get_protocol
from evaluator.blocks import (
    Block,
    BlockError,
    block_digests,
    content_digest,
    open_blocks,
    protocols_of,
    write_blocks,
)
from evaluator.reading import Prediction, Reader
from evaluator.volume import ArrayPlanes, create_volume
from tests.evaluator.shapes import target

SOUND, OFFICIAL = get_protocol("crista-1"), get_protocol("cellmap-2026.1")
TARGET = target(shape=(4, 6, 8))
IDS = np.arange(4 * 6 * 8, dtype="u2").reshape(4, 6, 8)


@contextmanager
def blocks(folder: Path, count: int):
    files = [os.open(folder / str(n), os.O_RDWR | os.O_CREAT | os.O_TRUNC) for n in range(count)]
    try:
        yield files
    finally:
        for file in files:
            os.close(file)


def array(values: np.ndarray, protocol=SOUND, **facts) -> Prediction:
    return Prediction(protocol, "ok", ArrayPlanes(values), **facts)


@pytest.mark.parametrize("dtype", ["?", "i1", ">u2", "<i4", ">u8", "f2", ">f4", "f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_written_is_read_again(tmp_path, dtype, order):
    values = np.asarray(IDS.astype(dtype), order=order)
    with blocks(tmp_path, 1) as files:
        facts = write_blocks(array(values, resampled=True, quirks=frozenset({"collides"})), files)
        again = open_blocks(facts, TARGET, SOUND, files)
        assert np.array_equal(again.planes.planes(0, 4), values)
        assert np.array_equal(again.planes.planes(1, 3), values[1:3])
        assert block_digests(again) == [array_digest(values)]
    assert (again.planes.order, again.resampled, again.quirks) == (order, True, {"collides"})
    assert again.planes.dtype == values.dtype.newbyteorder("=")


@pytest.mark.parametrize("status", ["missing", "unreadable"])
def test_what_has_no_array_has_no_block(tmp_path, status):
    none = Prediction(SOUND, status, quirks=frozenset({"reads_v3"}))
    with blocks(tmp_path, 1) as files:
        again = open_blocks(write_blocks(none, files), TARGET, SOUND, files)
        assert os.fstat(files[0]).st_size == 0
        assert block_digests(again) == [""]
    assert again == none


def test_a_protocol_and_the_one_beside_it_may_read_differently(tmp_path):
    both = array(IDS, OFFICIAL, beside=array(IDS + 1))
    with blocks(tmp_path, 2) as files:
        facts = write_blocks(both, files)
        again = open_blocks(facts, TARGET, OFFICIAL, files)
        one, two = again.readings()
        assert np.array_equal(one.planes.planes(0, 4), IDS)
        assert np.array_equal(two.planes.planes(0, 4), IDS + 1)
        assert len(set(block_digests(again))) == 2
    assert [fact["block"] for fact in facts] == [0, 1]
    assert protocols_of(OFFICIAL) == [OFFICIAL, SOUND]


@pytest.fixture
def submission(tmp_path) -> Path:
    create_volume(tmp_path / "sent" / TARGET.path, TARGET.grid, IDS.dtype, chunks=(2, 2, 2))[:] = (
        IDS
    )
    return tmp_path / "sent"


def test_what_both_read_alike_is_written_once(tmp_path, submission):
    read = Reader.open(submission, Manifest((TARGET,)), OFFICIAL).read(TARGET)
    with blocks(tmp_path, 2) as files:
        facts = write_blocks(read, files)
        assert [fact["block"] for fact in facts] == [0, 0]
        assert [os.fstat(file).st_size for file in files] == [IDS.nbytes, 0]


def test_what_is_damaged_in_the_middle_leaves_an_empty_block(tmp_path, submission):
    (submission / TARGET.path / "1" / "1" / "1").write_bytes(b"\x28\xb5\x2f\xfdnonsense")
    read = Reader.open(submission, Manifest((TARGET,)), SOUND).read(TARGET)
    assert read.status == "ok"  # nobody has looked yet
    with blocks(tmp_path, 1) as files:
        (fact,) = write_blocks(read, files)
        assert os.fstat(files[0]).st_size == 0
    assert (fact["status"], fact["block"]) == ("unreadable", None)


GOOD = {
    "status": "ok", "quirks": [], "opening": [], "resampled": False, "block": 0, "dtype": "<u2",
    "order": "C",
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"status": "perfect"},
        {"status": "missing"},
        {"quirks": ["no such rule"]},
        {"quirks": "collides"},
        {"opening": [5]},
        {"resampled": 1},
        {"block": 1},
        {"block": -1},
        {"block": True},
        {"block": None},
        {"dtype": "<u4"},
        {"dtype": ">u2"},
        {"dtype": "|O"},
        {"dtype": "<U500000000"},
        {"dtype": "u1,u1"},
        {"dtype": 5},
        {"order": "A"},
        {"order": ["C"]},
        {"truth": "/"},
    ],
)
def test_facts_that_cannot_be_are_refused(tmp_path, change):
    with blocks(tmp_path, 1) as files:
        os.write(files[0], IDS.tobytes())
        open_blocks([GOOD], TARGET, SOUND, files)
        with pytest.raises(BlockError):
            open_blocks([GOOD | change], TARGET, SOUND, files)


@pytest.mark.parametrize("facts", [None, {}, [], [5], [GOOD, GOOD], "ok", [[GOOD]]])
def test_facts_of_another_form_are_refused(tmp_path, facts):
    with blocks(tmp_path, 1) as files, pytest.raises(BlockError):
        open_blocks(facts, TARGET, SOUND, files)


@pytest.mark.parametrize("bytes_more", [-1, 1])
def test_a_block_of_another_size_is_refused(tmp_path, bytes_more):
    with blocks(tmp_path, 1) as files:
        os.ftruncate(files[0], IDS.nbytes + bytes_more)
        with pytest.raises(BlockError, match="size"):
            open_blocks([GOOD], TARGET, SOUND, files)


def test_a_block_that_shrinks_while_it_is_read_is_an_error(tmp_path):
    with blocks(tmp_path, 1) as files:
        os.ftruncate(files[0], IDS.nbytes)
        block = open_blocks([GOOD], TARGET, SOUND, files).planes
        os.ftruncate(files[0], 5)
        with pytest.raises(BlockError, match="shorter"):
            block.planes(0, 4)


def test_a_yes_or_no_that_is_neither_is_an_error(tmp_path):
    with blocks(tmp_path, 1) as files:
        os.write(files[0], bytes([0, 1, 2]))
        with pytest.raises(BlockError, match="yes and no"):
            Block(files[0], (1, 1, 3), np.dtype("?"), "C").planes(0, 1)


def test_every_fact_changes_the_content(tmp_path):
    variants = [
        array(IDS),
        array(IDS, resampled=True),
        array(IDS, quirks=frozenset({"collides"})),
        array(IDS, opening=frozenset({"reads_unpacked"})),
        array(np.asfortranarray(IDS)),
        Prediction(SOUND, "missing"),
        Prediction(SOUND, "unreadable"),
    ]
    contents = {content_digest(one, [""]) for one in variants}
    contents.add(content_digest(array(IDS), ["a" * 64]))
    assert len(contents) == len(variants) + 1
