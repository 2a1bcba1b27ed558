"""Chapter one: a finished upload becomes a submission; its check decides whether it is scored."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from server import interruption, queue, stages
from server.accounts import audit
from server.accounts.models import Team, User
from server.errors import Refused
from server.notices import outbox
from server.submissions import evaluation, leases, storage
from server.submissions.models import Blame, Evaluation, Submission, Upload
from server.submissions.quota import refuse_submission

CHECK_TIMEOUT_S = 3600  # seconds as a rule; of a bucket, the bytes have to be fetched first
CHECK_JOB = "server.submissions.intake.check"
Status = Submission.Status


@transaction.atomic
def submit(
    *, upload: Upload, user: User, method: str, description: str = "", at: datetime
) -> Submission:
    """Make a complete upload a submission and queue its check.  Refused: a rule says no.

    Its digest may still be under way: the check waits for that.  The team and the phase are the
    upload's own; nobody can submit for another team.
    """
    team = Team.objects.select_for_update().get(pk=upload.team_id)  # two at once: one waits
    upload = Upload.objects.select_for_update().get(pk=upload.pk)
    if upload.team_id != team.pk:  # while we waited for the row
        raise Refused("team_merged", f"{team} was merged into {upload.team}. Submit again for it.")
    if upload.status not in (Upload.Status.VERIFYING, Upload.Status.FINISHED):
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
        timeout_s=CHECK_TIMEOUT_S,
    )  # fmt: skip


def check(submission_id: int) -> None:
    """Job: look at the metadata; reject, or accept and begin chapter two in one transaction."""
    submission = Submission.objects.select_related(
        "upload", "team", "phase__truth", "phase__protocol"
    ).get(pk=submission_id)
    if submission.upload.status == Upload.Status.VERIFYING:
        return  # asked for again once the digest is known
    if submission.status != Status.RECEIVED or not submission.advance(
        Status.CHECKING, checks=submission.checks + 1, lease=leases.until()
    ):
        return  # cancelled meanwhile, or checked by another worker
    try:
        accepted, report = _look(submission)
    except interruption.Interrupted:
        _return(submission)
    except stages.StageRefused as refusal:
        evaluation.fail(submission, error=refusal, during="the check")
    except stages.StageDied as death:
        died = death.reason != stages.LOST
        check_again(submission, error=death, died=died, note=str(death))
    except Exception as error:  # whatever it is, the row must not stay held; then it is seen
        check_again(submission, error=error, note=type(error).__name__)
        raise
    else:
        _decide(submission, accepted=accepted, report=report)


def check_again(
    submission: Submission, *, error: BaseException | None, died: bool = False, note: str
) -> None:
    """Queue a check that came to nothing once more, or fail: the third time, or the second if it
    brought its process down."""
    if submission.status != Status.CHECKING:
        return
    most = settings.ITEM_DEATHS if died else settings.CHECK_ATTEMPTS
    if submission.checks >= most:
        evaluation.fail(submission, error=error, during="the check")
    elif submission.advance(Status.RECEIVED, lease=None, note=note):
        ask_for_check(submission)


def _return(submission: Submission) -> None:
    """Give a check back: without a trace if we were asked to, as an attempt if we were orphaned."""
    if interruption.orphaned():
        check_again(submission, error=None, note="the worker was killed")
    elif submission.advance(
        Status.RECEIVED, lease=None, checks=submission.checks - 1, note="its worker was stopped"
    ):
        ask_for_check(submission)


def _look(submission: Submission) -> tuple[bool, dict[str, Any]]:
    rules = submission.phase.truth.rules(submission.phase.protocol.name)
    upload = submission.upload
    row = Submission.objects.filter(
        pk=submission.pk, status=Status.CHECKING, checks=submission.checks
    )
    with (
        leases.kept(row, seconds=CHECK_TIMEOUT_S),
        interruption.interruptible(),
        storage.local(upload) as path,
    ):
        return stages.check(path, rules, called=upload.filename)


@transaction.atomic
def _decide(submission: Submission, *, accepted: bool, report: dict[str, Any]) -> None:
    if accepted:
        evaluation.accept(submission, report=report)
        return
    reject(submission, report, blame=Blame.PARTICIPANT)


@transaction.atomic
def reject(submission: Submission, report: dict[str, Any], *, blame: Blame) -> None:
    """End a submission whose file cannot be scored as a whole; it uses no quota."""
    if submission.status == Status.RECEIVED:
        submission.advance(Status.CHECKING)
    reason = _first_reason(report)
    if submission.status == Status.CHECKING and submission.advance(
        Status.REJECTED, report=report, quota_used=False, blame=blame, message=reason
    ):
        outbox.tell(
            "rejected", team=submission.team, subject=f"{submission.method} was rejected",
            text=f"{reason} No quota was used.", path=submission.get_absolute_url(),
            facts={"submission": submission.pk},
        )  # fmt: skip


@transaction.atomic
def try_again(submission: Submission, *, by: User) -> None:
    """Let an organiser have a failed one checked or scored again.  Refused: it has not failed.

    What has a score keeps it, and no quota is used: the failure was not the team's.
    """
    failed = submission.evaluations.filter(status=Evaluation.Status.FAILED, background=False)
    row = failed.first()
    if row is not None:
        evaluation.try_again(row, by=by)
    elif submission.status == Status.FAILED and not submission.evaluations.exists():
        submission.advance(
            Status.RECEIVED, by=by, note="tried again", checks=0, lease=None, blame="", message="",
            incident="",
        )  # fmt: skip
        ask_for_check(submission)
    else:
        raise Refused(
            "not_failed",
            f"This submission is {submission.status}; only a failed one can be tried again.",
        )


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
