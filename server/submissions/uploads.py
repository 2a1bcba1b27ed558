"""Receive a large file in parts: begin, write, finish, discard.  Nothing half-stored remains."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from io import BufferedRandom
from pathlib import Path
from typing import Protocol

from django.conf import settings
from django.db import transaction
from django.utils.timezone import now

from server.accounts.models import Team, User
from server.challenges.models import Phase
from server.errors import Refused
from server.submissions.models import Submission, Upload
from server.submissions.quota import refuse_submission

BLOCK = 2**20
ABANDONED = timedelta(minutes=10)
MAX_FILENAME = 200


class Stream(Protocol):
    """Anything bytes can be read from."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


@transaction.atomic
def begin(
    *, team: Team, user: User, phase: Phase, filename: str, size: int, sha256: str = "",
    at: datetime,
) -> Upload:  # fmt: skip
    """Open an upload.  Refused before the first byte if what it is for would be refused."""
    Team.objects.select_for_update().get(pk=team.pk)  # two at once: one waits
    refuse_submission(team, phase, at=at)
    if size > phase.max_bytes:
        raise Refused(
            "too_large",
            f"The file has {size:,} bytes; {phase.title} takes at most {phase.max_bytes:,}. Pack it"
            " again with `evaluator pack`, which compresses, or leave out what is not scored.",
        )
    for other in _unsubmitted(team, phase):
        if at - other.changed < ABANDONED:
            raise Refused(
                "upload_under_way",
                f"An upload of {other.filename} by your team is under way (begun "
                f"{other.created:%H:%M} UTC). Let it finish, or discard it with DELETE "
                f"/api/uploads/{other.id}/.",
            )
        discard(other, note="a newer upload took its place")
    refuse_without_space(size)
    keep = timedelta(hours=settings.UPLOAD_KEEP_HOURS)
    return Upload.objects.create(
        team=team, user=user, phase=phase, filename=filename[-MAX_FILENAME:], size=size,
        sha256=sha256, status=Upload.Status.OPEN, expires=at + keep,
    )  # fmt: skip


def refuse_without_space(size: int) -> None:
    """Refused (507) if so many bytes would not leave the reserve free on the disk."""
    Path(settings.UPLOAD_DIR).mkdir(parents=True, exist_ok=True)
    promised = sum(u.size - u.offset for u in Upload.objects.filter(status=Upload.Status.OPEN))
    free = shutil.disk_usage(settings.UPLOAD_DIR).free
    if free - promised - size < settings.UPLOAD_RESERVE_BYTES:
        raise _disk_full()


def write(upload: Upload, *, offset: int, length: int, stream: Stream) -> int:
    """Append a part; the new offset.  What arrived before a broken connection is kept.

    offset: where the sender believes the file ends; length: bytes in this part.
    """
    if upload.status != Upload.Status.OPEN:
        raise _over(upload)
    if length > settings.UPLOAD_MAX_PART_BYTES:
        most = settings.UPLOAD_MAX_PART_BYTES
        raise Refused("part_too_large", f"Send parts of at most {most:,} bytes.", status=413)
    with _held(upload) as file:
        at = file.seek(0, os.SEEK_END)
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
        at = _copy(stream, file, length=length)
    Upload.objects.filter(pk=upload.pk).update(changed=now())
    return at


def finish(upload: Upload) -> Upload:
    """Verify size and digest; from then on the bytes never change.  Refused: they are not right."""
    if upload.status == Upload.Status.FINISHED:
        return upload  # asked twice: the first answer may have been lost
    if upload.status != Upload.Status.OPEN:
        raise _over(upload)
    with _held(upload) as file:
        if (offset := file.seek(0, os.SEEK_END)) != upload.size:
            raise Refused(
                "incomplete",
                f"{offset:,} of {upload.size:,} bytes have arrived. Send the rest, then finish.",
            )
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if upload.sha256 and digest != upload.sha256:
            discard(upload, note=f"digest {digest} instead of {upload.sha256}")
            raise Refused(
                "wrong_digest",
                f"The bytes that arrived have SHA-256 {digest[:12]}…, and {upload.sha256[:12]}… was"
                " announced: they were changed on the way, and have been removed. Upload again.",
            )
        upload.advance(Upload.Status.FINISHED, by=upload.user, sha256=digest)
    return upload


@transaction.atomic
def discard(upload: Upload, *, by: User | None = None, note: str = "") -> None:
    """Remove the bytes of an upload nobody has submitted.  Refused: somebody has."""
    Upload.objects.select_for_update().get(pk=upload.pk)  # `submit` waits, or was first
    if Submission.objects.filter(upload=upload).exists():
        raise Refused(
            "submitted", "This upload belongs to a submission and is kept. Cancel that instead."
        )
    if upload.status != Upload.Status.EXPIRED:
        upload.advance(Upload.Status.EXPIRED, by=by, note=note)
    transaction.on_commit(lambda: upload.path.unlink(missing_ok=True))


def expire(*, at: datetime) -> int:
    """Discard uploads past their date that nobody has submitted; how many."""
    late = Upload.objects.exclude(status=Upload.Status.EXPIRED).filter(
        expires__lte=at, submission=None
    )
    uploads = list(late)
    for upload in uploads:
        discard(upload, note="expired")
    return len(uploads)


def remove_orphans() -> int:
    """Delete files that no upload owns, such as a discarded one's last part; how many."""
    files = list(Path(settings.UPLOAD_DIR).glob("*.zip"))  # before the rows: a row comes first
    owned = Upload.objects.exclude(status=Upload.Status.EXPIRED)
    names = {f"{key}.zip" for key in owned.values_list("pk", flat=True)}
    orphans = [path for path in files if path.name not in names]
    for path in orphans:
        path.unlink(missing_ok=True)
    return len(orphans)


def _unsubmitted(team: Team, phase: Phase) -> list[Upload]:
    rows = Upload.objects.exclude(status=Upload.Status.EXPIRED)
    return list(rows.filter(team=team, phase=phase, submission=None))


@contextmanager
def _held(upload: Upload) -> Iterator[BufferedRandom]:
    """The upload's file, opened for reading and appending by one request at a time.

    The row is read again once the file is held: another request may have finished or discarded it.
    """
    upload.path.parent.mkdir(parents=True, exist_ok=True)
    with upload.path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Refused(
                "busy", "Another request writes to this upload. Wait for it, then ask with HEAD."
            ) from error
        upload.refresh_from_db()
        if upload.status != Upload.Status.OPEN:
            if upload.status == Upload.Status.EXPIRED:  # opening the file has just made it again
                upload.path.unlink(missing_ok=True)
            raise _over(upload)
        yield file


def _copy(stream: Stream, file: BufferedRandom, *, length: int) -> int:
    """Append what the stream gives, at most `length` bytes; the file's new size."""
    left = length
    try:
        while left and (block := stream.read(min(BLOCK, left))):
            file.write(block)
            left -= len(block)
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full() from error
        raise
    return file.tell()


def _over(upload: Upload) -> Refused:
    state = "complete" if upload.status == Upload.Status.FINISHED else "expired or discarded"
    return Refused(
        f"upload_{upload.status}", f"This upload is {state}. Begin a new one to send more."
    )


def _disk_full() -> Refused:
    return Refused(
        "disk_full",
        "The server has no room for this file now. What arrived is kept; try again later, and tell "
        "the organisers if it lasts.",
        status=507,
    )
