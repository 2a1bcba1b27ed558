"""The whole digest is computed by a job, which may be lost, repeated, or find nothing to read."""

import hashlib
from datetime import timedelta

import pytest
from django.utils.timezone import now

from server import queue
from server.accounts.models import AuditEvent
from server.submissions import intake, uploads, verification
from server.submissions.models import Submission, Upload

DATA = b"not a zip at all" * 100


@pytest.fixture
def sent(phase, people):
    """All bytes of a file, with the digest that was announced."""

    def run(data: bytes = DATA, sha256: str = "") -> Upload:
        upload = uploads.begin(
            team=people.ada.own_team, user=people.ada, phase=phase, filename="x.zip",
            size=len(data), sha256=sha256, at=now(),
        )  # fmt: skip
        with upload.path.open("wb") as file:
            file.write(data)
        return uploads.finish(upload)

    return run


def submit(upload: Upload) -> Submission:
    return intake.submit(upload=upload, user=upload.user, method="Method", at=now())


def test_the_digest_is_computed_by_a_worker(sent, work):
    upload = sent()
    assert (upload.status, upload.sha256) == ("verifying", "")
    work()
    upload.refresh_from_db()
    assert (upload.status, upload.sha256) == ("finished", hashlib.sha256(DATA).hexdigest())
    assert queue.waiting(queue.CHECK) == set()


def test_a_submission_made_meanwhile_is_checked_after_the_digest(sent, packed, work):
    submission = submit(sent(packed.read_bytes()))
    intake.check(submission.pk)
    submission.refresh_from_db()
    assert submission.status == "received"
    work()
    submission.refresh_from_db()
    assert submission.status == "scored"
    events = AuditEvent.objects.order_by("pk").values_list("kind", "after")
    kinds = [pair for pair in events if pair[0] in ("upload", "submission")]
    assert kinds.index(("upload", "finished")) < kinds.index(("submission", "checking"))


def test_a_submission_whose_bytes_were_changed_is_rejected_and_free(sent, work):
    submission = submit(sent(sha256="0" * 64))
    work()
    submission.refresh_from_db()
    assert (submission.status, submission.quota_used) == ("rejected", False)
    assert submission.report["problems"][0]["code"] == "wrong_digest"
    assert "Upload the file again." in submission.message
    upload = Upload.objects.get()
    assert (upload.status, upload.path.exists()) == ("expired", False)


def test_a_cancelled_one_stays_cancelled_whatever_the_digest(sent, people, work):
    submission = submit(sent(sha256="0" * 64))
    intake.cancel(submission, by=people.ada)
    work()
    submission.refresh_from_db()
    assert submission.status == "cancelled"


def test_verifying_twice_or_late_changes_nothing(sent):
    upload = sent()
    for _ in range(3):
        verification.verify(str(upload.pk))
    upload.refresh_from_db()
    assert (upload.status, upload.attempts) == ("finished", 1)
    assert AuditEvent.objects.filter(kind="upload", after="finished").count() == 1


def test_bytes_that_are_gone_fail_the_submission_by_our_fault(sent, work):
    upload = sent()
    submission = submit(upload)
    upload.path.unlink()
    work()
    submission.refresh_from_db()
    assert (submission.status, submission.blame, submission.quota_used) == (
        "failed", "system", False,
    )  # fmt: skip
    assert Upload.objects.get().status == "expired"


def test_a_lost_message_is_sent_again_and_a_hopeless_one_is_given_up(sent, queue_up):
    upload = sent()
    queue_up.flushall()
    assert verification.ask_again(at=now()) == 0
    late = now() + verification.PATIENCE + timedelta(seconds=1)
    assert verification.ask_again(at=late) == 1
    assert queue.waiting(queue.CHECK) == {f"verify-{upload.pk}"}
    Upload.objects.update(attempts=verification.TRIES)
    submission = submit(upload)
    assert verification.ask_again(at=late) == 1
    submission.refresh_from_db()
    assert (submission.status, submission.blame) == ("failed", "system")


def test_bytes_nobody_noticed_were_complete_are_noticed_by_the_reconciler(phase, people):
    upload = uploads.begin(
        team=people.ada.own_team, user=people.ada, phase=phase, filename="x", size=3, at=now()
    )
    upload.path.write_bytes(b"abc")
    late = now() + verification.PATIENCE + timedelta(seconds=1)
    assert verification.ask_again(at=late) == 1
    verification.verify(str(upload.pk))
    short = uploads.begin(
        team=people.bob.own_team, user=people.bob, phase=phase, filename="y", size=3, at=now()
    )
    assert verification.ask_again(at=late) == 0
    short.refresh_from_db()
    upload.refresh_from_db()
    assert (upload.status, short.status) == ("finished", "open")
