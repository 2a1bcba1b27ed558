"""What a submission's pages show, worked out from its rows: stages, history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q, QuerySet

from server.accounts.models import AuditEvent
from server.submissions.models import Item, Submission

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
    scored = Item.objects.filter(
        evaluation__submission=submission, status=Item.Status.SCORED
    ).count()
    last = submission.evaluations.order_by("-pk").values_list("pk", "changed").first()
    state = f"{submission.changed.timestamp()}-{last[0]}-{last[1].timestamp()}" if last else "0"
    return f'"{submission.pk}-{viewer_pk}-{submission.status}-{scored}-{state}"'


def _state(index: int, place: int, *, last: int) -> str:
    if index < place or place == last:
        return "done"
    return "now" if index == place else "todo"
