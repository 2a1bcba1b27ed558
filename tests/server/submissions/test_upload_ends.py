"""How uploads end: in the middle of a part, at their date, twice, or with other bytes than said."""

import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connections
from django.utils.timezone import now

from server import queue
from server.accounts.models import AuditEvent
from server.errors import Refused
from server.notices.models import Notice
from server.submissions import intake, uploads, verification
from server.submissions.models import Submission, Upload
from tests.server import entries
from tests.server.making import person

DATA = bytes(range(256)) * 40
DIGEST = hashlib.sha256(DATA).hexdigest()
TICK = timedelta(microseconds=1)


@pytest.fixture
def ada(transactional_db, queue_up):
    return person("Ada")


@pytest.fixture
def where(transactional_db):
    return entries.phase(entries.challenge())


@pytest.fixture
def begin(where, ada):
    def run(**fields) -> Upload:
        wish = {"filename": "x.zip", "size": len(DATA), "at": now()} | fields
        return uploads.begin(team=ada.own_team, user=ada, phase=where, **wish)

    return run


class Breaking(io.BytesIO):
    """A stream whose connection breaks after its last byte."""

    def read(self, size: int | None = -1, /) -> bytes:
        if block := super().read(size):
            return block
        raise ConnectionResetError("gone")


def write(upload: Upload, data: bytes, *, offset: int = 0) -> int:
    return uploads.write(upload, offset=offset, length=len(data), stream=io.BytesIO(data))


def whole(begin, **fields) -> Upload:
    """All bytes have arrived; nobody has verified them."""
    upload = begin(**fields)
    write(upload, DATA)
    upload.refresh_from_db()
    return upload


def verified(upload: Upload) -> Upload:
    verification.verify(str(upload.pk))
    upload.refresh_from_db()
    return upload


def submit(upload: Upload) -> Submission:
    return intake.submit(upload=upload, user=upload.user, method="Method", at=now())


def refused(call, *arguments, **named) -> tuple[str, int]:
    with pytest.raises(Refused) as caught:
        call(*arguments, **named)
    return caught.value.code, caught.value.status


def files() -> list[Path]:
    return sorted(Path(settings.UPLOAD_DIR).glob("*"))


class Filling(io.BytesIO):
    """A stream after whose first block the disk is full: the open file becomes such a device."""

    def __init__(self, data: bytes, upload: Upload) -> None:
        super().__init__(data)
        self.upload = upload

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            numbers = map(int, os.listdir("/proc/self/fd"))
            mine = next(n for n in numbers if _name(n) == str(self.upload.path))
            with Path("/dev/full").open("wb", buffering=0) as full:
                os.dup2(full.fileno(), mine)
        return super().read(size)


def _name(number: int) -> str:
    """What an open file is called; "" if it was closed meanwhile."""
    try:
        return str(Path(f"/proc/self/fd/{number}").readlink())
    except OSError:
        return ""


def test_a_disk_that_fills_up_in_a_part_keeps_what_it_took(begin, monkeypatch):
    monkeypatch.setattr(uploads, "BLOCK", 1000)
    upload = begin()
    stream = Filling(DATA, upload)
    assert refused(
        uploads.write, upload, offset=0, length=len(DATA), stream=stream
    ) == ("disk_full", 507)  # fmt: skip
    assert (upload.offset, Upload.objects.get().status) == (1000, "open")
    assert write(upload, DATA[1000:], offset=1000) == len(DATA)
    assert verified(upload).sha256 == DIGEST


def test_on_a_full_disk_a_complete_file_can_still_be_finished(begin, settings):
    upload = begin()
    upload.path.parent.mkdir(parents=True, exist_ok=True)
    upload.path.write_bytes(DATA)
    settings.UPLOAD_RESERVE_BYTES = 10**18
    assert uploads.finish(upload).status == "verifying"
    assert verified(upload).status == "finished"


def test_a_disk_without_room_refuses_the_whole_before_its_first_byte(begin, settings):
    settings.UPLOAD_RESERVE_BYTES = 10**18
    assert refused(begin) == ("disk_full", 507)
    assert not Upload.objects.exists()
    assert files() == []


def test_the_bytes_before_a_broken_connection_are_where_one_goes_on(begin):
    upload = begin()
    with pytest.raises(ConnectionResetError):
        uploads.write(upload, offset=0, length=len(DATA), stream=Breaking(DATA[:777]))
    assert uploads.seen(upload) == 777
    assert write(upload, DATA[777:], offset=777) == len(DATA)
    assert verified(upload).sha256 == DIGEST


def test_of_two_writers_each_byte_comes_from_one(begin):
    """Both send the same part at once: one is refused and nothing is written twice."""
    upload = begin(size=len(DATA) * 200)
    part = DATA * 100

    def attempt(_: int) -> str:
        try:
            return str(write(Upload.objects.get(), part))
        except Refused as refusal:
            return refusal.code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(attempt, range(4)))
    assert answers[0] == str(len(part))
    assert set(answers[1:]) <= {"busy", "wrong_offset"}
    assert upload.path.read_bytes() == part


@pytest.mark.parametrize("stage", ["open", "verifying", "finished"])
def test_each_kind_expires_at_its_date_and_not_before(begin, stage):
    upload = begin() if stage == "open" else whole(begin)
    if stage == "open":
        write(upload, DATA[:10])
    elif stage == "finished":
        verified(upload)
    date = Upload.objects.get().expires
    assert Upload.objects.get().status == stage
    assert uploads.expire(at=date - TICK) == 0
    assert len(files()) == 1
    assert uploads.expire(at=date) == 1
    assert uploads.expire(at=date) == 0
    assert files() == []
    upload.refresh_from_db()
    assert (upload.status, uploads.seen(upload)) == ("expired", 0)
    assert refused(submit, upload) == ("upload_not_finished", 409)
    assert refused(write, upload, b"x") == ("upload_expired", 410)
    assert refused(uploads.finish, upload) == ("upload_expired", 410)


@pytest.mark.parametrize("status", [*Submission.LIVE, "scored", "rejected", "failed", "cancelled"])
def test_what_was_submitted_never_expires(where, ada, status):
    row = entries.submission(where, entries.team("Lab", ada), status=status)
    row.upload.path.parent.mkdir(parents=True, exist_ok=True)
    row.upload.path.write_bytes(b"x")
    assert uploads.expire(at=now() + timedelta(days=3650)) == 0
    assert uploads.remove_orphans() == 0
    assert files() == [row.upload.path]
    assert refused(uploads.discard, row.upload)[0] == "submitted"


def test_the_verifying_of_an_expired_upload_finds_nothing_to_do(begin):
    upload = whole(begin)
    uploads.expire(at=Upload.objects.get().expires)
    assert (verified(upload).status, upload.sha256) == ("expired", "")
    assert files() == []


def test_orphans_are_removed_and_the_files_of_others_are_not(begin):
    upload = begin()
    write(upload, DATA[:10])
    gone = upload.path.with_name("11111111-1111-1111-1111-111111111111.zip")
    foreign = upload.path.with_name("notes.txt")
    gone.write_bytes(b"x")
    foreign.write_bytes(b"x")
    assert uploads.remove_orphans() == 1
    assert files() == sorted([upload.path, foreign])
    uploads.discard(upload)
    upload.path.write_bytes(b"a last part that came too late")
    assert uploads.remove_orphans() == 1
    assert files() == [foreign]


def test_finishing_many_times_at_once_asks_for_one_digest(begin, queue_up):
    upload = begin()
    upload.path.parent.mkdir(parents=True, exist_ok=True)
    upload.path.write_bytes(DATA)

    def attempt(_: int) -> str:
        try:
            return uploads.finish(Upload.objects.get()).status
        except Refused as refusal:
            return refusal.code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(attempt, range(8)))
    assert "verifying" in answers
    assert answers <= {"verifying", "busy", "upload_verifying"}
    assert queue.length(queue.CHECK) == 1
    assert AuditEvent.objects.filter(kind="upload", after="verifying").count() == 1


def test_a_digest_that_was_verified_is_not_asked_for_again(begin):
    upload = verified(whole(begin, sha256=DIGEST))
    upload.path.write_bytes(b"changed on the disk")
    assert verified(upload).sha256 == DIGEST
    assert uploads.finish(upload).status == "finished"
    assert (upload.attempts, upload.verified) == (1, len(DATA))


def test_other_bytes_than_announced_end_the_submission_with_both_digests(begin):
    upload = whole(begin, sha256="0" * 64)
    submission = submit(upload)
    assert verified(upload).status == "expired"
    submission.refresh_from_db()
    assert (submission.status, submission.blame, submission.quota_used) == (
        "rejected", "participant", False,
    )  # fmt: skip
    (problem,) = submission.report["problems"]
    assert (problem["code"], problem["severity"]) == ("wrong_digest", "reject")
    assert (problem["expected"], problem["got"]) == ("0" * 64, DIGEST)
    assert problem["blame"] == "participant"
    assert problem["remedy"] == "Upload the file again."
    assert submission.report["accepted"] is False
    assert Notice.objects.get(kind="rejected").team == submission.team
    assert files() == []


def test_after_other_bytes_the_same_file_can_be_begun_anew(begin):
    first = verified(whole(begin, sha256="0" * 64))
    assert "was announced" in first.trouble
    second = whole(begin, sha256=DIGEST)
    assert second.pk != first.pk
    assert verified(second).status == "finished"
