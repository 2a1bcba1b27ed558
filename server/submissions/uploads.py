"""Receive a large file in parts: begin, write, finish, discard.  Nothing half-stored remains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Protocol

from django.conf import settings
from django.db import transaction
from django.utils.timezone import now

from server import queue
from server.accounts.models import Team, User
from server.challenges.models import Phase
from server.errors import Refused
from server.submissions import storage
from server.submissions.arriving import Stream
from server.submissions.growing import Growing
from server.submissions.models import Submission, Upload
from server.submissions.quota import refuse_submission

BLOCK = 2**20
ABANDONED = timedelta(minutes=10)
MAX_FILENAME = 200
VERIFY_JOB = "server.submissions.verification.verify"
GIVE_UP_JOB = "server.submissions.verification.give_up"
SLOWEST = 10_000_000  # bytes per second that a digest is computed at, at worst
Status = Upload.Status
_growing = Growing()


class Checksum(Protocol):
    """What the bytes of one part must add up to."""

    def update(self, block: bytes, /) -> None:
        """Add bytes."""
        ...

    def refuse_wrong(self) -> None:
        """Refused (460): they add up to something else."""
        ...


def begin(
    *, team: Team, user: User, phase: Phase, filename: str, size: int, sha256: str = "",
    at: datetime,
) -> Upload:  # fmt: skip
    """Open an upload, or take up the one that was begun with the same size and digest.

    Refused before the first byte if what it is for would be refused.
    """
    with transaction.atomic():
        Team.objects.select_for_update().get(pk=team.pk)  # two at once: one waits
        refuse_submission(team, phase, at=at)
        _refuse_size(size, phase)
        if known := _same(team, phase, size=size, sha256=sha256):
            return known
        _make_way(team, phase, at=at)
        still_open = Upload.objects.filter(status=Status.OPEN)
        promised = sum(u.size - u.offset for u in still_open if not u.multipart)
        storage.refuse_without_space(size, promised=promised)
        upload = Upload.objects.create(
            team=team, user=user, phase=phase, filename=filename[-MAX_FILENAME:], size=size,
            sha256=sha256, status=Status.OPEN, created=at, expires=_expiry(at),
        )  # fmt: skip
    if more := storage.for_new().prepare(upload):
        Upload.objects.filter(pk=upload.pk).update(**more)
        upload.refresh_from_db()
    return upload


def write(
    upload: Upload, *, offset: int, length: int, stream: Stream, checksum: Checksum | None = None
) -> int:
    """Append a part; the new offset.  What arrived before a broken connection is kept.

    offset: where the sender believes the file ends; length: bytes in this part.  A part with a
    checksum is kept whole or not at all.  After the last byte the digest is asked for.
    """
    if upload.status != Status.OPEN:
        raise over(upload)
    with _held(upload, whole=checksum is not None) as end:
        _refuse_part(upload, at=end.offset, offset=offset, length=length)
        digested = _growing.take(upload.pk, end, whole=checksum is not None)
        try:
            if checksum is None:
                _receive(stream, digested, length=length)
            else:
                _receive_whole(stream, digested, length=length, checksum=checksum)
        finally:
            _growing.keep(upload.pk, digested)
        arrived = end.offset
        Upload.objects.filter(pk=upload.pk).update(changed=now(), expires=_expiry(now()))
        if arrived == upload.size:
            _ask_for_verification(upload)
    return arrived


def finish(upload: Upload) -> Upload:
    """All parts are there: have the digest verified, which makes it final.  Refused: some are not.

    Asked again it changes nothing: the first answer may have been lost.
    """
    if upload.status in (Status.VERIFYING, Status.FINISHED):
        return upload
    if upload.status != Status.OPEN:
        raise over(upload)
    with _held(upload, whole=False):
        if (there := storage.offset(upload)) != upload.size:
            raise Refused(
                "incomplete",
                f"{there:,} of {upload.size:,} bytes have arrived. Send the rest, then finish.",
            )
        _ask_for_verification(upload)
    return upload


def seen(upload: Upload) -> int:
    """The offset to tell a sender.

    If all bytes are there and nobody noticed, because the server died right then, that is mended:
    a sender that sees all of them there has nothing more to send.
    """
    if upload.status == Status.EXPIRED:
        return 0
    if upload.status != Status.OPEN:
        return upload.size
    there = storage.offset(upload)
    if there == upload.size:
        with suppress(Refused):  # another request holds it, and notices by itself
            finish(upload)
    return there


def ask_for_verification(upload: Upload) -> None:
    """Queue the computing of the digest, once the transaction has committed."""
    queue.enqueue(
        queue.CHECK, VERIFY_JOB, str(upload.pk), name=f"verify-{upload.pk}",
        timeout_s=600 + upload.size // SLOWEST, on_failure=GIVE_UP_JOB,
    )  # fmt: skip


def discard(upload: Upload, *, by: User | None = None, note: str = "", trouble: str = "") -> None:
    """Remove the bytes of an upload nobody has submitted.  Refused: somebody has.

    trouble: why, in a sentence for the team.
    """
    with transaction.atomic():
        Upload.objects.select_for_update().get(pk=upload.pk)  # `submit` waits, or was first
        if Submission.objects.filter(upload=upload).exists():
            raise Refused(
                "submitted", "This upload belongs to a submission and is kept. Cancel that instead."
            )
        if upload.status != Status.EXPIRED:
            upload.advance(Status.EXPIRED, by=by, note=note, trouble=trouble)
        transaction.on_commit(lambda: storage.of(upload).remove(upload))


def expire(*, at: datetime) -> int:
    """Discard uploads past their date that nobody has submitted; how many."""
    late = Upload.objects.exclude(status=Status.EXPIRED).filter(expires__lte=at, submission=None)
    uploads = list(late)
    for upload in uploads:
        discard(upload, note="expired", trouble="It was not submitted in time and has expired.")
    return len(uploads)


def remove_orphans() -> int:
    """Delete bytes that no upload owns, such as a discarded one's last part; how many."""
    return storage.remove_others(_owned)


def over(upload: Upload) -> Refused:
    """Why an upload takes no more bytes."""
    if upload.status == Status.EXPIRED:
        reason = upload.trouble or "This upload expired or was discarded."
        return Refused("upload_expired", f"{reason} Begin a new one to send more.", status=410)
    return Refused(
        f"upload_{upload.status}", "This upload is complete. Begin a new one to send more."
    )


def _owned() -> set[str]:
    rows = Upload.objects.exclude(status=Status.EXPIRED)
    return {str(key) for key in rows.values_list("pk", flat=True)}


def _expiry(at: datetime) -> datetime:
    return at + timedelta(hours=settings.UPLOAD_KEEP_HOURS)


def _refuse_size(size: int, phase: Phase) -> None:
    if size > phase.max_bytes:
        raise Refused(
            "too_large",
            f"The file has {size:,} bytes; {phase.title} takes at most {phase.max_bytes:,}. Pack it"
            " again with `evaluator pack`, which compresses, or leave out what is not scored.",
            status=413,
        )


def _same(team: Team, phase: Phase, *, size: int, sha256: str) -> Upload | None:
    """An upload of these very bytes that can be taken up, or that waits to be submitted."""
    wish = (sha256, size)
    alike = (u for u in _unsubmitted(team, phase) if sha256 and (u.sha256, u.size) == wish)
    return next(alike, None)


def _make_way(team: Team, phase: Phase, *, at: datetime) -> None:
    """Discard what the team left lying.  Refused: it is still being sent."""
    for other in _unsubmitted(team, phase):
        if at - other.changed < ABANDONED:
            raise Refused(
                "upload_under_way",
                f"An upload of {other.filename} by your team is under way (begun "
                f"{other.created:%H:%M} UTC). Let it finish, or discard it with DELETE "
                f"/api/uploads/{other.id}/.",
            )
        discard(other, note="a newer upload took its place", trouble="A newer one took its place.")


def _unsubmitted(team: Team, phase: Phase) -> list[Upload]:
    rows = Upload.objects.exclude(status=Status.EXPIRED)
    return list(rows.filter(team=team, phase=phase, submission=None))


@contextmanager
def _held(upload: Upload, *, whole: bool) -> Iterator[storage.End]:
    """The end of the upload's bytes, for one request at a time.

    The row is read again once the bytes are held: another request may have finished or discarded
    the upload.
    """
    place = storage.of(upload)
    with place.held(upload, whole=whole) as end:
        upload.refresh_from_db()
        if upload.status != Status.OPEN:
            if upload.status == Status.EXPIRED:  # holding it may just have made its file again
                place.remove(upload)
            raise over(upload)
        yield end


def _refuse_part(upload: Upload, *, at: int, offset: int, length: int) -> None:
    if at != offset:
        raise Refused(
            "wrong_offset",
            f"The server has {at:,} bytes, and this part begins at {offset:,}. Ask with HEAD "
            f"and go on from Upload-Offset.",
        )
    if at + length > upload.size:
        raise Refused(
            "too_many_bytes",
            f"This part would make {at + length:,} bytes of a file announced with "
            f"{upload.size:,}. Begin a new upload with the right size.",
            status=413,
        )


def _receive(stream: Stream, end: storage.End, *, length: int) -> None:
    """Append what the stream gives; whatever came is kept, however the stream ends."""
    left = length
    try:
        while left and (block := stream.read(min(BLOCK, left))):
            end.append(block)
            left -= len(block)
    finally:
        end.keep()


def _receive_whole(
    stream: Stream, end: storage.End, *, length: int, checksum: Checksum
) -> None:  # fmt: skip
    """Append a part if it comes whole and adds up; otherwise nothing of it is kept."""
    start, left, good = end.offset, length, False
    try:
        while left and (block := stream.read(min(BLOCK, left))):
            end.append(block)
            checksum.update(block)
            left -= len(block)
        if not left:
            checksum.refuse_wrong()
        good = not left
    finally:
        if not good:
            end.cut(start)
    end.keep()


def _ask_for_verification(upload: Upload) -> None:
    """For whoever holds the bytes: nobody writes from here on."""
    received = _growing.finish(upload.pk, upload.size)
    if upload.advance(Status.VERIFYING, by=upload.user, received=received):
        ask_for_verification(upload)
