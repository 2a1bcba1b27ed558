"""Chapter one: a finished upload becomes a submission; its check decides whether it is scored."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction

from server import queue, scoring
from server.accounts import audit
from server.accounts.models import Team, User
from server.errors import Refused
from server.submissions import evaluation
from server.submissions.models import Blame, Submission, Upload
from server.submissions.quota import refuse_submission

CHECK_TIMEOUT_S = 600
CHECK_JOB = "server.submissions.intake.check"
GIVE_UP_JOB = "server.submissions.intake.give_up"
Status = Submission.Status


@transaction.atomic
def submit(
    *, upload: Upload, user: User, method: str, description: str = "", at: datetime
) -> Submission:
    """Make a finished upload a submission and queue its check.  Refused: a rule says no.

    The team and the phase are the upload's own; nobody can submit for another team.
    """
    team = Team.objects.select_for_update().get(pk=upload.team_id)  # two at once: one waits
    upload = Upload.objects.select_for_update().get(pk=upload.pk)
    if upload.status != Upload.Status.FINISHED:
        raise Refused(
            "upload_not_finished",
            f"This upload is {upload.status}. Send all its parts and finish it, then submit.",
        )
    if Submission.objects.filter(upload=upload).exists():
        raise Refused("already_submitted", "This upload was submitted already. Begin a new upload.")
    refuse_submission(team, upload.phase, at=at)
    submission = Submission.objects.create(
        upload=upload, phase=upload.phase, team=team, user=user, method=method,
        description=description, status=Status.RECEIVED, created=at,
    )  # fmt: skip
    audit.record("submission", str(submission.pk), after=Status.RECEIVED, by=user, note=method)
    ask_for_check(submission)
    return submission


def ask_for_check(submission: Submission) -> None:
    """Queue the check, once the transaction has committed."""
    queue.enqueue(
        queue.CHECK, CHECK_JOB, submission.pk, name=f"check-{submission.pk}",
        timeout_s=CHECK_TIMEOUT_S, on_failure=GIVE_UP_JOB,
    )  # fmt: skip


def check(submission_id: int) -> None:
    """Job: look at the metadata; reject, or accept and begin chapter two in one transaction."""
    submission = Submission.objects.select_related("upload", "phase__truth", "phase__protocol").get(
        pk=submission_id
    )
    if submission.status != Status.RECEIVED or not submission.advance(Status.CHECKING):
        return  # cancelled meanwhile, or checked by another worker
    rules = evaluation.rules_of(submission.phase.truth, submission.phase.protocol.name)
    upload = submission.upload
    accepted, report = scoring.check(upload.path, rules, called=upload.filename)
    if accepted:
        evaluation.start(submission, report=report)
    else:
        submission.advance(
            Status.REJECTED, report=report, quota_used=False, blame=Blame.PARTICIPANT,
            message=_first_reason(report),
        )  # fmt: skip


def give_up(job: Any, connection: Any, kind: Any, error: BaseException, trace: Any) -> None:
    """Called when a check raised: that is a mistake of ours."""
    submission = Submission.objects.get(pk=job.args[0])
    if submission.status in (Status.RECEIVED, Status.CHECKING):
        evaluation.fail(submission, error=error, during="the check")


@transaction.atomic
def cancel(submission: Submission, *, by: User) -> Submission:
    """Stop a submission.  Its quota comes back unless scoring has begun.  Refused: it has ended."""
    for _ in range(3):  # a worker may move it between our look and our step
        if not submission.is_live:
            raise Refused(
                "ended", f"This submission is {submission.status} already; nothing was cancelled."
            )
        evaluation.cancel(submission)  # first, as workers do: the same order cannot deadlock
        used = submission.status == Status.SCORING
        if submission.advance(Status.CANCELLED, by=by, quota_used=used):
            break
    return submission


def _first_reason(report: dict[str, Any]) -> str:
    reasons = [p for p in report["problems"] if p["severity"] == "reject"]
    return f"{reasons[0]['message']} {reasons[0]['remedy']}"
