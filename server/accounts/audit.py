"""The record of every decision that can change a result: written once, never changed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC

from django.db import models, transaction

from server.accounts.models import AuditEvent, User

BATCH = 1000  # events sealed in one transaction, which others wait for


def record(
    kind: str, key: str, *, after: str, before: str = "", by: User | None = None, note: str = ""
) -> None:
    """Write down that something changed, in the transaction that changes it.

    kind, key: what it is, such as "phase" and "demo/test".  before, after: its states, in words.
    by: who did it; nobody means the system.
    """
    AuditEvent.objects.create(
        actor=by, actor_name=by.email if by else "", kind=kind, key=key, before=before,
        after=after, note=note,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verified:
    """What a look at the whole chain found.

    events: how many are sealed.  head: the digest of the last of them; "" if there are none.
    fault: the first thing that is wrong, in words; "" if nothing is.
    """

    events: int
    head: str
    fault: str = ""


def seal() -> int:
    """Give every event that has none its number and its digest in the chain; how many.

    The digest covers the event and the digest before it, so that none can be changed or removed
    without all later digests.  In transactions of its own, apart from those that record.
    """
    sealed = 0
    while count := _seal_some():
        sealed += count
    return sealed


def verify(*, head: str = "") -> Verified:
    """Work out the chain anew and compare.

    head: a digest noted down earlier, which must be part of the chain: nothing that was sealed by
    then has been cut off since.
    """
    seen, previous, found = 0, "", not head
    for event in chain().iterator(BATCH):
        if event.number != seen + 1:
            return Verified(seen, previous, f"event {seen + 1} is missing")
        if event.digest != _digest(event, number=event.number, previous=previous):
            return Verified(seen, previous, f"event {event.number} was changed")
        seen, previous = event.number, event.digest
        found = found or previous == head
    fault = "" if found else f"no event has the digest {head}: the end of the record was cut off"
    return Verified(seen, previous, fault)


def chain() -> models.QuerySet[AuditEvent]:
    """The sealed events, in the order of the chain."""
    return AuditEvent.objects.filter(number__isnull=False).order_by("number")


@transaction.atomic
def _seal_some() -> int:
    AuditEvent.objects.select_for_update().order_by("pk").first()  # two at once: one waits
    last = chain().last()
    first, digest = ((last.number or 0) + 1, last.digest) if last else (1, "")
    waiting = list(AuditEvent.objects.filter(number=None).order_by("pk")[:BATCH])
    for number, event in enumerate(waiting, start=first):
        digest = _digest(event, number=number, previous=digest)
        AuditEvent._base_manager.filter(pk=event.pk).update(number=number, digest=digest)
    return len(waiting)


def _digest(event: AuditEvent, *, number: int, previous: str) -> str:
    """SHA-256 of an event's canonical JSON, with the digest before it."""
    said = [event.kind, event.key, event.before, event.after, event.note]
    parts = [number, event.at.astimezone(UTC).isoformat(), event.actor_name, *said, previous]
    text = json.dumps(parts, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
