"""Between the last byte and the check: the digest of the whole file decides.

It was computed while the bytes came, or right behind them; where the site was stopped before it was
known, the file is read once.

A submission may be made meanwhile; it waits here.  Reading may be repeated, or done twice at once.
"""

from __future__ import annotations

import hashlib
import time
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import transaction
from django.db.models import F
from django.utils.timezone import now

from server import scoring
from server.submissions import evaluation, intake, storage, uploads
from server.submissions.models import Blame, Submission, Upload

BLOCK = 4 * 2**20
BEAT_S = 2.0
PATIENCE = timedelta(minutes=2)  # without a sign of life, which comes every few seconds
TRIES = 10
Status = Upload.Status

log = structlog.get_logger(__name__)


def verify(upload_id: str) -> None:
    """Job: read the whole upload; finish it, or remove it and say why."""
    upload = Upload.objects.get(pk=upload_id)
    if upload.status == Status.VERIFYING:
        rows = Upload.objects.filter(pk=upload.pk, status=Status.VERIFYING)
        rows.update(attempts=F("attempts") + 1, changed=now(), verified=0)
        storage.of(upload).seal(upload)
        digest = upload.received or _digest(upload)
        if upload.sha256 in ("", digest):
            upload.advance(Status.FINISHED, by=upload.user, sha256=digest, verified=upload.size)
        else:
            _refuse(upload, digest=digest)
    _wake(upload)


def give_up(job: Any, connection: Any, kind: Any, error: BaseException, trace: Any) -> None:
    """Called when reading failed: bytes that are gone do not come back, the rest is tried again."""
    upload = Upload.objects.get(pk=job.args[0])
    log.warning("an upload could not be read", upload=str(upload.pk), error=repr(error))
    if upload.status == Status.VERIFYING and (
        isinstance(error, FileNotFoundError) or upload.attempts >= TRIES
    ):
        _lose(upload, error=error)


def ask_again(*, at: datetime) -> int:
    """Verifications that no worker gives a sign of, and uploads nobody noticed were complete."""
    count = 0
    for upload in Upload.objects.filter(status=Status.VERIFYING, changed__lt=at - PATIENCE):
        if upload.attempts >= TRIES:
            _lose(upload, error=None)
        else:
            uploads.ask_for_verification(upload)
        count += 1
    for upload in Upload.objects.filter(status=Status.OPEN, changed__lt=at - PATIENCE):
        count += uploads.seen(upload) == upload.size
    return count


def _digest(upload: Upload) -> str:
    """SHA-256 of all its bytes, in constant memory; the row shows how far it is."""
    sha, done, told = hashlib.sha256(), 0, time.monotonic()
    rows = Upload.objects.filter(pk=upload.pk, status=Status.VERIFYING)
    with storage.of(upload).opened(upload) as file:
        while block := file.read(BLOCK):
            sha.update(block)
            done += len(block)
            if time.monotonic() - told > BEAT_S:
                rows.update(verified=done, changed=now())
                told = time.monotonic()
    return sha.hexdigest()


def _refuse(upload: Upload, *, digest: str) -> None:
    """What arrived is not what was announced: nothing of it is worth keeping."""
    trouble = (
        f"The bytes that arrived have SHA-256 {digest[:12]}…, and {upload.sha256[:12]}… was "
        "announced: the file was changed while it was sent, or on its way. It has been removed."
    )
    note = f"digest {digest} instead of {upload.sha256}"
    with transaction.atomic():
        Upload.objects.select_for_update().get(pk=upload.pk)  # `submit` waits, or was first
        if not upload.advance(Status.EXPIRED, note=note, trouble=trouble):
            return
        submission = Submission.objects.filter(upload=upload).first()
        if submission is not None and submission.is_live:
            report = scoring.rejection(
                "wrong_digest", trouble, remedy="Upload the file again.",
                expected=upload.sha256, got=digest,
            )  # fmt: skip
            intake.reject(submission, report, blame=Blame.PARTICIPANT)
        transaction.on_commit(lambda: storage.of(upload).remove(upload))


def _lose(upload: Upload, *, error: BaseException | None) -> None:
    """The bytes cannot be read, and it is our fault: the upload and its submission end here."""
    trouble = "Its bytes cannot be read from our storage any more."
    with transaction.atomic():
        if upload.advance(Status.EXPIRED, note="unreadable", trouble=trouble):
            submission = Submission.objects.filter(upload=upload).first()
            if submission is not None:
                evaluation.fail(submission, error=error, during="the reading of its file")


def _wake(upload: Upload) -> None:
    """Have its submission checked, if it was made before the digest was known."""
    waiting = Submission.objects.filter(upload=upload, status=Submission.Status.RECEIVED).first()
    if waiting is not None and upload.status == Status.FINISHED:
        intake.ask_for_check(waiting)
