"""Digests that grow with their uploads: right or not known, never wrong."""

import hashlib
import io
import uuid

import pytest
from django.utils.timezone import now

from server.errors import Refused
from server.submissions import growing, uploads, verification
from server.submissions.growing import Growing
from server.submissions.models import Upload
from server.submissions.tus import Sum

DATA = bytes(range(256)) * 40
RIGHT = hashlib.sha256(DATA).hexdigest()
KEY = uuid.uuid4()


class Bytes:
    """The end of bytes in memory.  room: how many there may be."""

    def __init__(self, room: int = 10**9) -> None:
        self.data, self.room = b"", room

    @property
    def offset(self) -> int:
        return len(self.data)

    def append(self, block: bytes) -> None:
        self.data += block[: self.room - self.offset]
        if self.offset == self.room:
            raise OSError("full")

    def cut(self, offset: int) -> None:
        self.data = self.data[:offset]

    def keep(self) -> None:
        pass


def send(known: Growing, end: Bytes, data: bytes) -> None:
    digested = known.take(KEY, end, whole=False)
    try:
        digested.append(data)
    finally:
        known.keep(KEY, digested)


def test_parts_in_order_make_the_digest_of_the_whole():
    known, end = Growing(), Bytes()
    for start in range(0, len(DATA), 1000):
        send(known, end, DATA[start : start + 1000])
    assert known.finish(KEY, len(DATA)) == RIGHT
    assert known.finish(KEY, len(DATA)) == ""  # told once


def test_a_part_that_another_process_received_makes_it_unknown():
    here, there, end = Growing(), Growing(), Bytes()
    send(here, end, DATA[:1000])
    send(there, end, DATA[1000:2000])
    send(here, end, DATA[2000:])
    assert here.finish(KEY, len(DATA)) == ""
    assert there.finish(KEY, len(DATA)) == ""


def test_the_digest_of_a_beginning_is_not_that_of_the_whole():
    here, end = Growing(), Bytes()
    send(here, end, DATA[:1000])
    end.append(DATA[1000:])  # by another process, the last part too
    assert here.finish(KEY, len(DATA)) == ""


def test_what_was_cut_off_makes_it_unknown_until_the_upload_begins_anew():
    known, end = Growing(), Bytes()
    send(known, end, DATA[:1000])
    digested = known.take(KEY, end, whole=False)
    digested.append(b"spoilt")
    digested.cut(1000)
    known.keep(KEY, digested)
    send(known, end, DATA[1000:])
    assert known.finish(KEY, len(DATA)) == ""
    end.cut(0)
    send(known, end, DATA)
    assert known.finish(KEY, len(DATA)) == RIGHT


def test_what_a_full_disk_took_of_a_block_makes_it_unknown():
    known, end = Growing(), Bytes(room=1500)
    send(known, end, DATA[:1000])
    with pytest.raises(OSError, match="full"):
        send(known, end, DATA[1000:2000])
    end.room = 10**9
    send(known, end, DATA[1500:])
    assert end.data == DATA
    assert known.finish(KEY, len(DATA)) == ""


def test_no_more_are_remembered_than_a_process_has_room_for(monkeypatch):
    monkeypatch.setattr(growing, "MOST", 2)
    known, keys = Growing(), [uuid.uuid4() for _ in range(3)]
    for key in keys:
        digested = known.take(key, Bytes(), whole=False)
        digested.append(DATA)
        known.keep(key, digested)
    assert [known.finish(key, len(DATA)) for key in keys] == ["", RIGHT, RIGHT]


@pytest.fixture
def begun(phase, people, queue_up):
    def begin(sha256: str = RIGHT) -> Upload:
        return uploads.begin(
            team=people.ada.own_team, user=people.ada, phase=phase, filename="x.zip",
            size=len(DATA), sha256=sha256, at=now(),
        )  # fmt: skip

    return begin


def put(upload: Upload, start: int, stop: int) -> None:
    part = DATA[start:stop]
    uploads.write(upload, offset=start, length=len(part), stream=io.BytesIO(part))


def test_an_upload_in_one_go_is_finished_without_another_reading(begun, monkeypatch):
    upload = begun()
    put(upload, 0, 5000)
    put(upload, 5000, len(DATA))
    upload.refresh_from_db()
    assert (upload.status, upload.received) == ("verifying", RIGHT)
    monkeypatch.setattr(verification, "BLOCK", -1)  # reading would take all at once: nobody reads
    verification.verify(str(upload.pk))
    upload.refresh_from_db()
    assert (upload.status, upload.sha256) == ("finished", RIGHT)


def test_after_a_crash_the_new_process_catches_up_from_the_file(begun, monkeypatch):
    upload = begun()
    put(upload, 0, 5000)
    monkeypatch.setattr(uploads, "_growing", Growing())  # what a new process knows
    put(upload, 5000, len(DATA))
    upload.refresh_from_db()
    assert (upload.status, upload.received) == ("verifying", RIGHT)


def test_who_received_nothing_leaves_the_reading_to_the_job(begun, monkeypatch):
    upload = begun()
    monkeypatch.setattr(uploads, "_ask_for_verification", lambda _: None)  # killed just before
    put(upload, 0, len(DATA))
    monkeypatch.undo()
    monkeypatch.setattr(uploads, "_growing", Growing())
    assert uploads.seen(upload) == len(DATA)
    upload.refresh_from_db()
    assert (upload.status, upload.received) == ("verifying", "")
    verification.verify(str(upload.pk))
    upload.refresh_from_db()
    assert (upload.status, upload.sha256) == ("finished", RIGHT)


def test_a_part_that_was_cut_off_for_its_checksum_is_in_no_digest(begun):
    upload = begun()
    put(upload, 0, 5000)
    wrong = Sum(announced=b"", found=hashlib.sha256())
    with pytest.raises(Refused):
        uploads.write(
            upload, offset=5000, length=100, stream=io.BytesIO(bytes(100)), checksum=wrong
        )
    put(upload, 5000, len(DATA))
    upload.refresh_from_db()
    assert upload.received == RIGHT


def test_a_wrong_digest_is_found_either_way(begun):
    upload = begun("0" * 64)
    put(upload, 0, len(DATA))
    upload.refresh_from_db()
    assert upload.received == RIGHT
    verification.verify(str(upload.pk))
    upload.refresh_from_db()
    assert upload.status == "expired"
    assert "announced" in upload.trouble
    with pytest.raises(Refused):
        put(upload, 0, 10)
