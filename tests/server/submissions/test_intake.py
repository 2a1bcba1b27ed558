from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections
from django.utils.timezone import now

from server import queue
from server.accounts.models import AuditEvent
from server.errors import Refused
from server.submissions import intake
from server.submissions.models import Evaluation, Item, Submission, Upload
from tests.server.making import entered, stored


def refused(call, *arguments, **named) -> Refused:
    with pytest.raises(Refused) as caught:
        call(*arguments, **named)
    return caught.value


def submit(upload: Upload, **fields) -> Submission:
    wish = {"user": upload.user, "method": "M", "at": now()} | fields
    return intake.submit(upload=upload, **wish)


def test_a_submission_belongs_to_the_uploads_team_and_phase(phase, people, queue_up):
    upload = stored(phase, people.ada.own_team, b"abc", user=people.ada)
    submission = submit(upload, description="Deep")
    assert (submission.team, submission.phase) == (people.ada.own_team, phase)
    assert (submission.status, submission.quota_used, submission.blame) == ("received", True, "")
    assert f"check-{submission.pk}" in queue.waiting(queue.CHECK)
    event = AuditEvent.objects.get(kind="submission")
    assert (event.actor, event.after) == (people.ada, "received")


def test_an_unfinished_upload_cannot_be_submitted(phase, people, queue_up):
    upload = Upload.objects.create(
        team=people.ada.own_team, phase=phase, filename="x", size=3, status="open", expires=now()
    )
    assert refused(submit, upload).code == "upload_not_finished"
    assert not Submission.objects.exists()
    assert queue.waiting(queue.CHECK) == set()


def test_an_upload_is_submitted_once(phase, people, queue_up):
    submission = entered(phase, people.ada, b"abc")
    assert refused(submit, submission.upload).code == "already_submitted"


def test_the_phase_may_close_between_upload_and_submission(phase, people, queue_up):
    upload = stored(phase, people.ada.own_team, b"abc")
    assert refused(submit, upload, at=phase.closes).code == "phase_closed"


def test_a_second_submission_waits_for_the_first(phase, people, queue_up):
    entered(phase, people.ada, b"abc")
    assert refused(entered, phase, people.ada, b"def").code == "already_running"
    entered(phase, people.bob, b"abc")  # another team is not in the way


def test_the_quota_counts_24_hours_back(phase, people, queue_up):
    for _ in range(3):
        entered(phase, people.ada, b"abc")
        Submission.objects.update(status="scored")
    assert refused(entered, phase, people.ada, b"abc").code == "over_quota"
    oldest = Submission.objects.order_by("created").first()
    Submission.objects.filter(pk=oldest.pk).update(created=now() - timedelta(hours=24))
    entered(phase, people.ada, b"abc")


def test_racing_submissions_cannot_pass_the_limits(phase, people, queue_up):
    uploads = [stored(phase, people.ada.own_team, b"abc", user=people.ada) for _ in range(8)]

    def attempt(upload: Upload) -> str:
        try:
            return submit(upload).status
        except Refused as refusal:
            return refusal.code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        answers = sorted(pool.map(attempt, uploads))
    assert answers == ["already_running"] * 7 + ["received"]


def test_what_is_no_zip_is_rejected_and_costs_no_quota(phase, people, work):
    submission = entered(phase, people.ada, b"this is no zip")
    work()
    submission.refresh_from_db()
    assert (submission.status, submission.blame) == ("rejected", "participant")
    assert submission.quota_used is False
    assert [p["code"] for p in submission.report["problems"]] == ["not_a_zip"]
    assert submission.message.startswith(submission.report["problems"][0]["message"])
    assert not Evaluation.objects.exists()


def test_a_good_one_gets_a_row_and_a_message_per_target(phase, people, queue_up, packed):
    submission = entered(phase, people.ada, packed.read_bytes())
    queue_up.flushall()
    intake.check(submission.pk)
    submission.refresh_from_db()
    assert submission.status == "queued"
    items = list(Item.objects.order_by("pk"))
    assert len(items) == 6
    assert [i.voxels for i in items] == sorted(i.voxels for i in items)
    assert [i.place for i in items] == list(range(6))
    assert {i.label for i in items[:3]} == {"membrane", "mito", "nucleus"}
    assert queue.length(queue.SCORE) == 6
    assert submission.evaluation.truth == phase.truth


def test_checking_twice_begins_one_evaluation(phase, people, queue_up, packed):
    submission = entered(phase, people.ada, packed.read_bytes())
    intake.check(submission.pk)
    intake.check(submission.pk)
    assert Evaluation.objects.count() == 1


def test_a_cancelled_submission_is_not_checked(phase, people, queue_up, packed):
    submission = entered(phase, people.ada, packed.read_bytes())
    intake.cancel(submission, by=people.ada)
    intake.check(submission.pk)
    submission.refresh_from_db()
    assert (submission.status, submission.report) == ("cancelled", None)
    assert not Evaluation.objects.exists()


def test_a_check_that_breaks_is_our_fault_and_costs_nothing(phase, people, work):
    submission = entered(phase, people.ada, b"abc")
    submission.phase.truth.__class__.objects.update(manifest_csv="damaged")
    work()
    submission.refresh_from_db()
    assert (submission.status, submission.blame) == ("failed", "system")
    assert submission.quota_used is False
    assert len(submission.incident) == 8
    assert submission.incident in submission.message


def test_cancelling_before_scoring_gives_the_quota_back(phase, people, queue_up, packed):
    submission = entered(phase, people.ada, packed.read_bytes())
    intake.check(submission.pk)
    submission.refresh_from_db()
    intake.cancel(submission, by=people.ada)
    assert (submission.status, submission.quota_used) == ("cancelled", False)
    assert submission.evaluation.status == "cancelled"


def test_cancelling_during_scoring_does_not(phase, people, queue_up):
    submission = entered(phase, people.ada, b"abc")
    Submission.objects.update(status="scoring")
    submission.refresh_from_db()
    intake.cancel(submission, by=people.ada)
    assert (submission.status, submission.quota_used) == ("cancelled", True)


@pytest.mark.parametrize("status", ["scored", "rejected", "failed", "cancelled"])
def test_what_has_ended_cannot_be_cancelled(phase, people, queue_up, status):
    submission = entered(phase, people.ada, b"abc")
    Submission.objects.update(status=status)
    submission.refresh_from_db()
    refusal = refused(intake.cancel, submission, by=people.ada)
    assert (refusal.code, status in refusal.sentence) == ("ended", True)
