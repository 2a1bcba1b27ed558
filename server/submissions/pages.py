"""What a submission's pages show, worked out from its rows: stages, history, waiting, blame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from server.accounts.models import AuditEvent
from server.submissions import progress
from server.submissions.models import Blame, Item, Submission

Status = Submission.Status
WAY = {
    Status.RECEIVED: "Received",
    Status.CHECKING: "Check",
    Status.QUEUED: "Waiting",
    Status.SCORING: "Scoring",
    Status.SCORED: "Scored",
}
ENDS = {
    Status.REJECTED: "Rejected",
    Status.FAILED: "Failed",
    Status.CANCELLED: "Cancelled",
}
OVER_LIMITS = (": memory", ": cpu", ": time")  # how `stages.StageDied` ends
BLAME = {
    "participant": "Something in the file must be mended.",
    "organiser": "The organisers must act; nothing is wrong with your file.",
    "system": "The fault is ours; nothing is wrong with your file.",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """A step on a submission's way.  state: "done", "now", "todo" or "bad".  at: when it began."""

    title: str
    state: str
    at: datetime | None


def way(status: str, times: Mapping[str, datetime]) -> list[Stage]:
    """The stages of a submission in this status.  times: when each status was reached."""
    reached = [step for step in WAY if step in times]
    if status in ENDS:
        stages = [Stage(WAY[step], "done", times[step]) for step in reached]
        return [*stages, Stage(ENDS[Status(status)], "bad", times.get(status))]
    place = list(WAY).index(Status(status))
    last = len(WAY) - 1
    return [
        Stage(title, _state(index, place, last=last), times.get(step) if index <= place else None)
        for index, (step, title) in enumerate(WAY.items())
    ]


def history(submission: Submission) -> QuerySet[AuditEvent]:
    """Who did what to a submission, its upload and its evaluations, oldest first."""
    evaluations = [str(row.pk) for row in submission.evaluations.filter(background=False)]
    about = Q(kind="submission", key=str(submission.pk))
    about |= Q(kind="upload", key=str(submission.upload_id))
    about |= Q(kind="evaluation", key__in=evaluations)
    return AuditEvent.objects.filter(about).select_related("actor").order_by("at", "id")


def times(submission: Submission, events: Iterable[AuditEvent]) -> dict[str, datetime]:
    """When each status of a submission was reached last."""
    found = {event.after: event.at for event in events if event.kind == "submission"}
    return {str(Status.RECEIVED): submission.created} | found


def state_tag(submission: Submission, viewer_pk: int) -> str:
    """An ETag that changes whenever the submission's page would."""
    return f'"{progress.tag(submission)}-{viewer_pk}"'


def failure(submission: Submission) -> str:
    """The code of the catalogue that says why a submission failed; "" for all others.

    Read from rows: the words of what went wrong are for organisers, they may tell of the truth.
    """
    if submission.status != Status.FAILED:
        return ""
    if submission.report is None:
        return "check_died" if submission.checks > 1 else "incident"
    if submission.blame != Blame.ORGANISER:
        return "incident"
    items = Item.objects.filter(evaluation__submission=submission)
    died = items.filter(status=Item.Status.QUARANTINED).values_list("trouble", flat=True)
    if not died:
        return "truth_unreadable"
    return "over_limits" if all(text.endswith(OVER_LIMITS) for text in died) else "quarantined"


def about(seconds: int | None) -> str:
    """A time to wait in words, in steps that do not flicker; "" if it is not known."""
    if seconds is None:
        return ""
    if seconds > 5400:
        return f"about {math.ceil(seconds / 3600)} hours"
    if seconds > 90:
        return f"about {math.ceil(seconds / 60)} minutes"
    return f"about {10 * max(1, math.ceil(seconds / 10))} seconds"


def _state(index: int, place: int, *, last: int) -> str:
    if index < place or place == last:
        return "done"
    return "now" if index == place else "todo"
