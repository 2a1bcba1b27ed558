"""A phase's boards through time: how a new edition is proposed, and how it changes state."""

from __future__ import annotations

from django.db import transaction
from django.utils.timezone import now

from server.accounts import audit
from server.accounts.models import User
from server.challenges.models import Edition, Phase, ProtocolVersion, TruthVersion
from server.errors import IllegalTransition

State = Edition.State
IN_PREPARATION = (State.DRAFT, State.SCORING, State.READY)
SHOWN = (State.PUBLISHED, State.REPLACED)
STEPS = {
    State.DRAFT: {State.SCORING, State.DISCARDED},
    State.SCORING: {State.READY, State.DISCARDED},
    State.READY: {State.SCORING, State.PUBLISHED, State.DISCARDED},
    State.PUBLISHED: {State.REPLACED},
}


def key_of(edition: Edition) -> str:
    """Its name in the audit: `challenge/phase/number`."""
    return f"{edition.phase.challenge.slug}/{edition.phase.slug}/{edition.number}"


@transaction.atomic
def move(
    edition: Edition, to: str, *, by: User | None = None, note: str = "", **fields: object
) -> bool:
    """Move to a new state in one UPDATE, written down.  False: somebody moved it before us.

    Raises IllegalTransition for a step that `STEPS` does not know.
    """
    before = edition.state
    if to not in STEPS.get(State(before), ()):
        raise IllegalTransition(f"edition {edition.pk}: {before} → {to}")
    rows = Edition.objects.filter(pk=edition.pk, state=before)
    won = bool(rows.update(state=to, **fields))
    if won:
        audit.record("edition", key_of(edition), before=before, after=to, by=by, note=note)
    edition.refresh_from_db()
    return won


@transaction.atomic
def propose(
    phase: Phase, *, truth: TruthVersion, protocol: ProtocolVersion, by: User | None = None,
    note: str = "",
) -> Edition:  # fmt: skip
    """A draft of the phase's board under this truth and protocol.

    One that waits under the same two is kept; one under others is discarded for it.
    """
    Phase.objects.select_for_update().get(pk=phase.pk)
    waiting = phase.editions.filter(state__in=IN_PREPARATION).first()
    if waiting and (waiting.truth_id, waiting.protocol_id) == (truth.pk, protocol.pk):
        return waiting
    if waiting:
        move(waiting, State.DISCARDED, by=by, note="another one was proposed")
    edition = Edition.objects.create(
        phase=phase, number=_next_number(phase), truth=truth, protocol=protocol, by=by, note=note
    )
    audit.record("edition", key_of(edition), after=edition.state, by=by, note=_terms(edition))
    return edition


@transaction.atomic
def replace(edition: Edition, *, by: User | None = None, note: str = "") -> None:
    """Make an edition the phase's board; the one before it stays as a replaced one.

    The caller has made sure that nothing on the board would be missing.
    """
    phase = Phase.objects.select_for_update().get(pk=edition.phase_id)
    for old in phase.editions.filter(state=State.PUBLISHED):  # first: one is published at a time
        move(old, State.REPLACED, by=by)
    move(edition, State.PUBLISHED, by=by, note=note or _terms(edition), published=now())
    phase.truth, phase.protocol = edition.truth, edition.protocol
    phase.save(update_fields=["truth", "protocol"])


@transaction.atomic
def adopt(phase: Phase, *, truth: TruthVersion, protocol: ProtocolVersion, by: User | None) -> bool:
    """Put a phase under this truth and protocol: at once if nothing was scored in it yet.

    True if its board is under both now; False if a draft waits for its re-scoring.
    """
    if (phase.truth_id, phase.protocol_id) == (truth.pk, protocol.pk):
        return True
    edition = propose(phase, truth=truth, protocol=protocol, by=by, note=truth.note)
    if phase.submissions.filter(status="scored").exists() or edition.state != State.DRAFT:
        return False
    move(edition, State.SCORING, by=by, note="nothing to score")
    move(edition, State.READY, by=by)
    replace(edition, by=by)
    phase.refresh_from_db(fields=["truth", "protocol"])
    return True


def successor(edition: Edition) -> Edition | None:
    """The edition that took its place on the board; None if none did."""
    later = edition.phase.editions.filter(number__gt=edition.number, state__in=SHOWN)
    return later.order_by("number").first()


def _next_number(phase: Phase) -> int:
    newest = phase.editions.order_by("-number").first()
    return newest.number + 1 if newest else 1


def _terms(edition: Edition) -> str:
    return f"truth {edition.truth.number}, protocol {edition.protocol}"
