"""An upload in parts: each byte is in one of them, and what follows a gap does not count."""

import io

import pytest

from server.submissions.models import Upload
from server.submissions.parts import PartsEnd, WholeEnd, length_of, parts_of, unbroken

PART = 10
DATA = bytes(range(100))


class Kept:
    """Parts by number, and the last tail with the bytes before it."""

    def __init__(self) -> None:
        self.parts: dict[int, bytes] = {}
        self.tail = (0, b"")

    def put_part(self, upload, number, body):
        self.parts[number] = body.read()

    def put_tail(self, upload, whole, body):
        self.tail = (whole, body.read())


def upload_of(size: int) -> Upload:
    return Upload(size=size, part_size=PART)


@pytest.mark.parametrize(
    ("size", "lengths"),
    [(1, [1]), (9, [9]), (10, [10]), (11, [10, 1]), (29, [10, 10, 9]), (30, [10, 10, 10])],
)
def test_each_byte_is_in_one_part(size, lengths):
    upload = upload_of(size)
    assert [length_of(upload, n) for n in range(1, parts_of(upload) + 1)] == lengths


@pytest.mark.parametrize(
    ("have", "bytes_"),
    [
        ({}, 0), ({1: 10}, 10), ({1: 10, 2: 10, 3: 5}, 25), ({1: 10, 3: 5}, 10), ({2: 10, 3: 5}, 0),
        ({1: 10, 2: 9, 3: 5}, 10), ({1: 10, 2: 10, 3: 10}, 20), ({1: 10, 2: 10, 4: 10}, 20),
    ],
)  # fmt: skip
def test_what_a_gap_or_a_wrong_length_follows_does_not_count(have, bytes_):
    parts = {number: (length, "tag") for number, length in have.items()}
    assert unbroken(upload_of(25), parts) == bytes_


@pytest.mark.parametrize("step", [1, 7, 10, 25, 100])
def test_pieces_of_any_size_fill_the_same_parts(step):
    kept, rest = Kept(), io.BytesIO()
    end = PartsEnd(kept, upload_of(25), rest, whole=0)
    for start in range(0, 25, step):
        end.append(memoryview(DATA)[start : min(start + step, 25)])
    assert kept.parts == {1: DATA[:10], 2: DATA[10:20]}
    end.keep()
    assert kept.parts == {1: DATA[:10], 2: DATA[10:20], 3: DATA[20:25]}
    assert (kept.tail, end.offset) == ((0, b""), 25)


def test_what_fills_no_part_is_a_tail_and_the_next_request_goes_on_from_it():
    kept, upload = Kept(), upload_of(25)
    end = PartsEnd(kept, upload, io.BytesIO(), whole=0)
    end.append(DATA[:13])
    end.keep()
    whole, tail = kept.tail
    assert (whole, tail) == (10, DATA[10:13])
    rest = io.BytesIO()
    rest.write(tail)
    after = PartsEnd(kept, upload, rest, whole=whole)
    assert after.offset == 13
    after.append(DATA[13:20])
    assert kept.parts == {1: DATA[:10], 2: DATA[10:20]}


def test_what_waits_for_its_checksum_reaches_no_part_and_can_be_cut_off():
    kept = Kept()
    end = WholeEnd(PartsEnd(kept, upload_of(25), io.BytesIO(), whole=0), io.BytesIO())
    end.append(DATA[:12])
    assert (end.offset, kept.parts) == (12, {})
    end.cut(0)
    assert end.offset == 0
    end.append(DATA[:11])
    end.keep()
    assert (end.offset, kept.parts, kept.tail) == (11, {1: DATA[:10]}, (10, DATA[10:11]))
