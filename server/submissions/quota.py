"""What a team may still submit to a phase: counted from rows, never kept as a number.

Two budgets: what is scored (strict), and what is tried (loose).  A submission that fails by a
fault of the system or of the organisers uses neither; one that is rejected is a try.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from server.accounts.models import Team
from server.challenges.models import Phase
from server.errors import Refused
from server.moments import in_words
from server.submissions.models import Grant, Submission, Submissions

DAY = timedelta(hours=24)
Status = Submission.Status
What = Grant.What


@dataclass(frozen=True, slots=True)
class Allowance:
    """One limit of a phase, and how much of it a team has used.

    limit, left: None where there is no limit.  resets: when the next one comes back: if nothing
    is left, the first moment at which one more is allowed.  None: nothing comes back by waiting.
    """

    used: int
    limit: int | None = None
    resets: datetime | None = None

    @property
    def left(self) -> int | None:
        """How many more; None without a limit."""
        return None if self.limit is None else max(0, self.limit - self.used)


@dataclass(frozen=True, slots=True)
class Quota:
    """What a team may submit to a phase at a moment.

    per_day, total: submissions that are scored, in 24 hours and in all.  attempts: in 24 hours,
    with those that are rejected.  concurrent: under way.  refusal, code: why nothing can be
    submitted at this moment, as a sentence and as a word; empty if something can.
    """

    team: Team
    phase: Phase
    per_day: Allowance
    total: Allowance
    attempts: Allowance
    concurrent: Allowance
    refusal: str = ""
    code: str = ""


def quota(team: Team, phase: Phase, *, at: datetime) -> Quota:
    """What a team may still submit to a phase."""
    allowances = _allowances(team, phase, at=at)
    try:
        _refuse(team, phase, *allowances, at=at)
    except Refused as refused:
        return Quota(team, phase, *allowances, refusal=refused.sentence, code=refused.code)
    return Quota(team, phase, *allowances)


def refuse_submission(team: Team, phase: Phase, *, at: datetime) -> None:
    """Refused, with its sentence, if the team may not submit to the phase at this moment.

    Only whoever holds a lock on the team's row can rely on the answer.
    """
    _refuse(team, phase, *_allowances(team, phase, at=at), at=at)


def _allowances(
    team: Team, phase: Phase, *, at: datetime
) -> tuple[Allowance, Allowance, Allowance, Allowance]:
    """Per day, in all, attempts, at once."""
    rows = Submission.objects.filter(team=team, phase=phase).order_by("created")
    counted = rows.filter(quota_used=True)
    grants = list(Grant.objects.filter(team=team, phase=phase, created__lte=at))
    recent = list(counted.filter(created__gt=at - DAY).values_list("created", flat=True))
    tried = list(_tries(rows).filter(created__gt=at - DAY).values_list("created", flat=True))
    return (
        _rolling(recent, _limit(phase.per_day, What.PER_DAY, grants), at=at),
        Allowance(counted.count(), _limit(phase.total, What.TOTAL, grants)(at)),
        _rolling(tried, _limit(phase.attempts_per_day, What.ATTEMPTS, grants), at=at),
        Allowance(rows.filter(status__in=Submission.LIVE).count(), phase.concurrent or None),
    )


def _tries(rows: Submissions) -> Submissions:
    """All but what failed by no fault of the team's, and what was cancelled before its check."""
    again = {"status__in": (*Submission.LIVE, Status.SCORED), "quota_used": False}
    rows = rows.exclude(status=Status.FAILED).exclude(**again)  # failed, and was tried again
    return rows.exclude(status=Status.CANCELLED, report__isnull=True)


Limit = Callable[[datetime], int | None]


def _limit(base: int, what: str, grants: Sequence[Grant]) -> Limit:
    """The limit at a moment: the phase's own (0: none), and what organisers added to it."""
    mine = [grant for grant in grants if grant.what == what]

    def at(moment: datetime) -> int | None:
        return base + sum(g.extra for g in mine if g.lasts(moment)) if base else None

    return at


def _rolling(created: list[datetime], limit: Limit, *, at: datetime) -> Allowance:
    """An allowance of the last 24 hours.  created: of those that count, oldest first."""
    present = limit(at)
    ends = [moment + DAY for moment in created]
    if present is None or len(created) < present:
        return Allowance(len(created), present, ends[0] if ends else None)
    for place, end in enumerate(ends):
        left, allowed = len(ends) - place - 1, limit(end)
        if allowed is None or left < allowed:
            return Allowance(len(created), present, end)
    return Allowance(len(created), present)


def _refuse(
    team: Team, phase: Phase, per_day: Allowance, total: Allowance, attempts: Allowance,
    concurrent: Allowance, *, at: datetime,
) -> None:  # fmt: skip
    phase.refuse_unless_open(at)
    _refuse_merged(team, phase)
    if concurrent.left == 0:
        raise Refused(
            "already_running",
            f"Your team has {_count(concurrent.used, 'submission')} under way in {phase.title}, and"
            f" {concurrent.limit} may run at once. Wait for it to finish, or cancel it.",
        )
    if total.left == 0:
        raise Refused(
            "over_total",
            f"Your team has used all its {_count(total.limit, 'submission')} to {phase.title}. Ask "
            "the organisers if there is a reason for more.",
        )
    if per_day.left == 0:
        raise Refused(
            "over_quota",
            f"Your team has used its {_count(per_day.limit, 'submission')} per 24 hours in "
            f"{phase.title}; {_next(per_day, phase)}.",
        )
    if attempts.left == 0:
        raise Refused(
            "over_attempts",
            f"Your team has used its {_count(attempts.limit, 'attempt')} per 24 hours in "
            f"{phase.title}, rejected ones included; {_next(attempts, phase)}. `evaluator check` "
            "tells beforehand what would be rejected.",
        )


def _refuse_merged(team: Team, phase: Phase) -> None:
    """Refused if the team's own entries of this phase went to another team, with their quota."""
    into = Team.objects.filter(merged=team).first()  # asked anew: the caller's row may be old
    if into and (not team.person_id or into.submissions.filter(phase=phase).exists()):
        raise Refused(
            "team_merged",
            f"{team} is part of {into} now, and so are its submissions. Submit for {into.slug}.",
        )


def _next(allowance: Allowance, phase: Phase) -> str:
    if allowance.resets is None or allowance.resets >= phase.closes:
        return "no other becomes free before it closes"
    return f"the next one is free on {in_words(allowance.resets)}"


def _count(number: int | None, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
