"""The record of every decision that can change a result: written once, never changed."""

from __future__ import annotations

from server.accounts.models import AuditEvent, User


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
