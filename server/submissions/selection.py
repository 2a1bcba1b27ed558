"""Which entry a team wants on the board, and which one organisers take off it."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.utils.timezone import now

from server.accounts import audit
from server.accounts.models import Team, User
from server.challenges.models import Selection
from server.errors import Refused
from server.notices import outbox
from server.submissions.models import Submission


@transaction.atomic
def choose(submission: Submission, *, by: User, at: datetime) -> Submission:
    """Put an entry on the board for its team, in place of the one chosen before.

    Refused: the phase decides itself or has closed, or the entry cannot stand on a board.
    """
    Team.objects.select_for_update().get(pk=submission.team_id)  # two members at once: one waits
    submission.refresh_from_db()
    _refuse_choice(submission, at=at)
    beside = Submission.objects.filter(team=submission.team_id, phase=submission.phase_id)
    for other in beside.filter(chosen=True).exclude(pk=submission.pk):
        _mark(other, chosen=False, by=by)
    if not submission.chosen:
        _mark(submission, chosen=True, by=by)
    return submission


@transaction.atomic
def unchoose(submission: Submission, *, by: User, at: datetime) -> Submission:
    """Take a choice back: the team's last entry stands again.  Refused as `choose`."""
    Team.objects.select_for_update().get(pk=submission.team_id)
    submission.refresh_from_db()
    _refuse_choice(submission, at=at)
    if submission.chosen:
        _mark(submission, chosen=False, by=by)
    return submission


def may_choose(submission: Submission, *, at: datetime) -> bool:
    """True if its team may put it on the board or take it off at this moment."""
    phase = submission.phase
    scored = submission.status == Submission.Status.SCORED
    open_ = phase.selection == Selection.CHOSEN and at < phase.closes
    return open_ and scored and not submission.disqualified


@transaction.atomic
def disqualify(submission: Submission, *, by: User, reason: str) -> Submission:
    """Take an entry off every board.  Its score stays; its team is told the reason.

    Refused: there is no reason, or it has been done.
    """
    if not reason.strip():
        raise Refused("no_reason", "Give the reason: the team is shown it.", status=400)
    submission.refresh_from_db()
    if submission.disqualified:
        raise Refused("disqualified", "This submission is disqualified already.")
    _rule(submission, reason.strip(), by=by)
    return submission


@transaction.atomic
def reinstate(submission: Submission, *, by: User, reason: str = "") -> Submission:
    """Put an entry back on the boards.  Refused: it is not disqualified."""
    submission.refresh_from_db()
    if not submission.disqualified:
        raise Refused("not_disqualified", "This submission is not disqualified.")
    _rule(submission, "", by=by, note=reason)
    return submission


def _refuse_choice(submission: Submission, *, at: datetime) -> None:
    phase = submission.phase
    if phase.selection != Selection.CHOSEN:
        word = phase.get_selection_display()
        raise Refused("no_choice", f"In {phase.title} {word} of a team's entries is on the board.")
    if at >= phase.closes:
        raise Refused("phase_closed", f"{phase.title} has closed: the choice stands as it is.")
    if not may_choose(submission, at=at):
        what = "disqualified" if submission.disqualified else submission.status
        raise Refused("cannot_stand", f"This submission is {what}. Choose one that is scored.")


def _mark(submission: Submission, *, chosen: bool, by: User) -> None:
    Submission.objects.filter(pk=submission.pk).update(chosen=chosen, changed=now())
    submission.chosen = chosen
    words = ("not chosen", "chosen")
    audit.record("choice", str(submission.pk), before=words[not chosen], after=words[chosen], by=by)


def _rule(submission: Submission, reason: str, *, by: User, note: str = "") -> None:
    words = ("on the board", "disqualified")
    before, after = words if reason else words[::-1]
    Submission.objects.filter(pk=submission.pk).update(disqualified=reason, changed=now())
    submission.disqualified = reason
    audit.record(
        "ruling", str(submission.pk), before=before, after=after, by=by, note=reason or note
    )
    text = (
        f"The organisers took it off the board: {reason} Its score stays on its page. Write to "
        "them if you think that this is wrong."
        if reason else "The organisers put it back on the board."
    )  # fmt: skip
    outbox.tell(
        "disqualified", team=submission.team, text=text, path=submission.get_absolute_url(),
        subject=f"{submission.method} is {after}", facts={"submission": submission.pk},
    )  # fmt: skip
