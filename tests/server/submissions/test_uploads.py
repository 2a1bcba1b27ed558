import hashlib
import io
import shutil
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connections
from django.utils.timezone import now

from server import queue
from server.errors import Refused
from server.submissions import storage, uploads, verification
from server.submissions.models import Submission, Upload
from tests.server.making import entered, stored

DATA = bytes(range(256)) * 40


@pytest.fixture
def begin(phase, people):
    """Begin an upload for Ada's team."""

    def run(**fields) -> Upload:
        wish = {"filename": "x.zip", "size": len(DATA), "at": now()} | fields
        return uploads.begin(team=people.ada.own_team, user=people.ada, phase=phase, **wish)

    return run


def write(upload: Upload, data: bytes, *, offset: int = 0) -> int:
    return uploads.write(upload, offset=offset, length=len(data), stream=io.BytesIO(data))


def refused(call, *arguments, **named) -> Refused:
    with pytest.raises(Refused) as caught:
        call(*arguments, **named)
    return caught.value


def finished(upload: Upload) -> Upload:
    """The upload after somebody has verified it."""
    verification.verify(str(upload.pk))
    upload.refresh_from_db()
    return upload


def files() -> list[Path]:
    return list(Path(settings.UPLOAD_DIR).glob("*"))


def test_parts_in_order_make_the_file_and_its_digest(begin):
    upload = begin(sha256=hashlib.sha256(DATA).hexdigest())
    assert write(upload, DATA[:1000]) == 1000
    assert (upload.offset, upload.status) == (1000, "open")
    assert write(upload, DATA[1000:], offset=1000) == len(DATA)
    assert upload.status == "verifying"
    finished(upload)
    assert (upload.status, upload.sha256) == ("finished", hashlib.sha256(DATA).hexdigest())
    assert (upload.verified, upload.attempts) == (len(DATA), 1)
    assert upload.path.read_bytes() == DATA


def test_finishing_twice_is_finishing_once(begin, queue_up):
    upload = begin()
    write(upload, DATA)
    assert uploads.finish(upload).status == uploads.finish(upload).status == "verifying"
    assert uploads.finish(finished(upload)).status == "finished"
    assert len(queue.waiting(queue.CHECK)) == 1


def test_an_upload_begun_again_with_the_same_digest_is_taken_up(begin):
    digest = hashlib.sha256(DATA).hexdigest()
    first = begin(sha256=digest)
    write(first, DATA[:100])
    assert begin(sha256=digest) == first
    write(first, DATA[100:], offset=100)
    assert begin(sha256=digest) == first
    assert begin(sha256=digest).status == "verifying"
    assert refused(begin, sha256="0" * 64).code == "upload_under_way"


def test_each_part_gives_seven_more_days(begin):
    upload = begin(at=now() - timedelta(days=6))
    before = upload.expires
    write(upload, DATA[:10])
    upload.refresh_from_db()
    assert upload.expires - before > timedelta(days=5)


def test_a_part_at_the_wrong_place_is_refused_and_changes_nothing(begin):
    upload = begin()
    write(upload, DATA[:100])
    refusal = refused(write, upload, DATA[:100])
    assert (refusal.code, refusal.status) == ("wrong_offset", 409)
    assert "server has 100 bytes, and this part begins at 0" in refusal.sentence
    assert upload.path.read_bytes() == DATA[:100]


def test_more_bytes_than_announced_are_refused(begin):
    upload = begin(size=10)
    refusal = refused(write, upload, DATA[:11])
    assert (refusal.code, refusal.status) == ("too_many_bytes", 413)
    assert upload.offset == 0


def test_what_came_before_the_connection_broke_is_kept(begin):
    upload = begin()
    end = uploads.write(upload, offset=0, length=len(DATA), stream=io.BytesIO(DATA[:700]))
    assert end == upload.offset == 700
    assert write(upload, DATA[700:], offset=700) == len(DATA)


def test_an_incomplete_file_cannot_be_finished(begin):
    upload = begin()
    write(upload, DATA[:10])
    refusal = refused(uploads.finish, upload)
    assert refusal.code == "incomplete"
    assert "10 of 10,240 bytes have arrived" in refusal.sentence
    assert upload.offset == 10


def test_bytes_that_changed_on_the_way_are_removed(begin):
    upload = begin(sha256="0" * 64)
    write(upload, DATA)
    finished(upload)
    assert (upload.status, upload.sha256) == ("expired", "0" * 64)
    assert "000000000000… was announced: the file was changed while it was sent" in upload.trouble
    assert files() == []
    assert "has been removed. Begin a new one" in refused(uploads.finish, upload).sentence


def test_a_discarded_upload_leaves_no_bytes_and_takes_no_more(begin, people):
    upload = begin()
    write(upload, DATA[:100])
    uploads.discard(upload, by=people.ada)
    assert files() == []
    assert refused(write, upload, DATA).code == "upload_expired"
    assert files() == []


def test_a_request_that_holds_an_old_row_brings_no_file_back(begin):
    upload = begin()
    stale = Upload.objects.get()
    uploads.discard(upload)
    assert refused(write, stale, DATA).code == "upload_expired"
    assert files() == []


def test_an_old_row_does_not_harm_a_finished_file(begin):
    upload = begin()
    stale = Upload.objects.get()
    write(upload, DATA)
    assert refused(write, stale, b"x", offset=len(DATA)).code == "upload_verifying"
    stale.status = "open"
    finished(upload)
    assert refused(write, stale, b"x", offset=len(DATA)).code == "upload_finished"
    assert upload.path.read_bytes() == DATA


def test_a_submitted_upload_cannot_be_discarded(phase, people, queue_up):
    submission = entered(phase, people.ada, DATA)
    assert refused(uploads.discard, submission.upload).code == "submitted"
    assert submission.upload.path.exists()


def test_a_second_upload_beside_an_active_one_is_refused(begin):
    first = begin()
    refusal = refused(begin)
    assert refusal.code == "upload_under_way"
    assert str(first.id) in refusal.sentence


def test_an_abandoned_upload_makes_room_for_the_next(begin):
    first = begin()
    write(first, DATA[:100])
    Upload.objects.update(changed=now() - timedelta(minutes=11))
    second = begin()
    first.refresh_from_db()
    assert (first.status, second.status) == ("expired", "open")
    assert files() == []


def test_another_team_is_not_in_the_way(begin, phase, people):
    begin()
    uploads.begin(
        team=people.bob.own_team, user=people.bob, phase=phase, filename="y", size=1, at=now()
    )
    assert Upload.objects.filter(status="open").count() == 2


def test_a_file_too_large_for_the_phase_is_refused_before_its_first_byte(begin, phase):
    refusal = refused(begin, size=phase.max_bytes + 1)
    assert refusal.code == "too_large"
    assert "50,000,001 bytes; Test phase takes at most 50,000,000" in refusal.sentence
    assert not Upload.objects.exists()


def test_a_closed_phase_takes_no_bytes(begin, phase):
    assert refused(begin, at=phase.closes).code == "phase_closed"
    assert refused(begin, at=phase.opens - timedelta(seconds=1)).code == "phase_not_begun"


def test_a_running_submission_refuses_the_next_upload(begin, phase, people, queue_up):
    entered(phase, people.ada, DATA)
    assert refused(begin).code == "already_running"


def test_a_used_quota_refuses_the_next_upload(begin, phase, people, queue_up):
    for _ in range(3):
        entered(phase, people.ada, DATA)
        Submission.objects.update(status="scored")
    assert refused(begin).code == "over_quota"


def test_space_promised_to_open_uploads_is_not_promised_twice(begin, phase, people, settings):
    free = shutil.disk_usage(settings.UPLOAD_DIR).free
    settings.UPLOAD_RESERVE_BYTES = free - 45_000_000
    begin(size=30_000_000)
    refusal = refused(
        uploads.begin, team=people.bob.own_team, user=people.bob, phase=phase, filename="y",
        size=30_000_000, at=now(),
    )  # fmt: skip
    assert (refusal.code, refusal.status) == ("disk_full", 507)
    assert Upload.objects.count() == 1


def test_a_full_disk_is_an_answer_and_the_upload_stays_open(begin):
    upload = begin()
    write(upload, DATA[:100])
    kept = upload.path.rename(upload.path.with_suffix(".kept"))
    upload.path.symlink_to("/dev/full")  # a device of the kernel's whose disk is always full
    refusal = refused(write, upload, DATA[:10])
    assert (refusal.code, refusal.status) == ("disk_full", 507)
    kept.replace(upload.path)
    assert (Upload.objects.get().status, upload.offset) == ("open", 100)
    assert write(upload, DATA[100:], offset=100) == len(DATA)


def test_two_requests_cannot_write_one_file_at_once(begin):
    upload = begin()
    with storage.of(upload).held(upload, whole=False):
        refusal = refused(write, Upload.objects.get(), DATA)
        assert (refusal.code, refusal.status) == ("busy", 423)
    assert write(upload, DATA) == len(DATA)


def test_of_many_uploads_begun_at_once_one_gets_through(begin):
    def attempt(_: int) -> str:
        try:
            return begin().status
        except Refused as refusal:
            return refusal.code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(attempt, range(12)))
    assert answers == ["open"] + ["upload_under_way"] * 11


class Zeros:
    """As many zeros as anybody reads."""

    def read(self, size: int, /) -> bytes:
        return bytes(size)


def test_a_large_part_needs_little_memory(begin):
    upload = begin(size=40 * 2**20)
    tracemalloc.start()
    uploads.write(upload, offset=0, length=40 * 2**20, stream=Zeros())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert upload.offset == 40 * 2**20
    assert peak < 4 * 2**20


def test_uploads_past_their_date_are_removed_but_not_submitted_ones(phase, people, queue_up):
    kept = entered(phase, people.ada, DATA).upload
    gone = stored(phase, people.bob.own_team, DATA)
    Upload.objects.update(expires=now() - timedelta(seconds=1))
    assert uploads.expire(at=now()) == 1
    gone.refresh_from_db()
    assert gone.status == "expired"
    assert files() == [kept.path]


def test_files_nobody_owns_are_removed(begin):
    upload = begin()
    write(upload, DATA[:10])
    stray = upload.path.with_name("00000000-0000-0000-0000-000000000000.zip")
    stray.write_bytes(b"x")
    assert uploads.remove_orphans() == 1
    assert files() == [upload.path]
