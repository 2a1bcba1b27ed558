"""Webhooks: who may have them, and what is posted."""

from __future__ import annotations

import json
from collections.abc import Iterable

from django.conf import settings
from django.db import models, transaction
from django.utils.timezone import now

from server.accounts import audit
from server.accounts.models import Membership, Team, User
from server.errors import Refused
from server.notices import outbox, posting
from server.notices.models import Delivery, Kind, Notice, Webhook

MOST = 5  # per team, and of the organisers'
LONGEST_TEXT = 4000  # characters of a notice that are posted


def managed(user: User) -> models.QuerySet[Webhook]:
    """Those a person may see and remove: of teams they own; the organisers' for organisers."""
    mine = models.Q(team__in=owned(user))
    mine |= models.Q(team=None) if user.is_staff else models.Q()
    return Webhook.objects.filter(mine).select_related("team")


def owned(user: User) -> models.QuerySet[Team]:
    """Teams whose owner a person is; their own team of one is one of them."""
    rows = Membership.objects.filter(user=user, role=Membership.Role.OWNER)
    return Team.objects.filter(pk__in=rows.values("team")).order_by("name")


@transaction.atomic
def add(user: User, *, team: Team | None, url: str, kinds: Iterable[str] = ()) -> Webhook:
    """A new webhook, for a team of the person's or (no team) for the organisers.

    Its `secret` is to be shown now and never again.  Refused: not theirs to make, too many, or the
    site may not post there.
    """
    if (team is None and not user.is_staff) or (
        team is not None and not owned(user).filter(pk=team.pk).exists()
    ):
        raise Refused(
            "not_owner",
            "Only a team's owners make webhooks for it, and only organisers make their own.",
            status=403,
        )
    posting.refuse_url(url)
    if team is not None:
        Team.objects.select_for_update().get(pk=team.pk)  # two at once: one waits
    if Webhook.objects.filter(team=team).count() >= MOST:
        raise Refused("too_many_webhooks", f"There are {MOST} webhooks already. Remove one first.")
    wanted = [Kind(kind).value for kind in kinds]
    hook = Webhook.objects.create(team=team, url=url, kinds=wanted, by=user)
    _record(hook, user, before="", after="added")
    return hook


@transaction.atomic
def remove(hook: Webhook, *, by: User) -> None:
    """Nothing is posted there any more, not even what waits."""
    _record(hook, by, before="added", after="removed")
    hook.delete()


@transaction.atomic
def try_out(hook: Webhook) -> Delivery:
    """Post a notice that says nothing, to see whether it arrives; in nobody's list."""
    notice = Notice.objects.create(
        kind=Kind.TEST, team=hook.team, subject="A test", path="/webhooks/",
        text="If you can read this and its signature is right, the webhook works.",
    )  # fmt: skip
    delivery = Delivery.objects.create(notice=notice, webhook=hook)
    outbox.ask_to_send(delivery)
    return delivery


def post(delivery: Delivery) -> str:
    """Post a delivery to its webhook, signed; what came back.  Raises posting.Undelivered."""
    hook, at = delivery.webhook, int(now().timestamp())
    assert hook is not None
    body = body_of(delivery)
    headers = {
        "User-Agent": "Crista-Webhook/1",
        "Crista-Delivery": str(delivery.pk),
        "Crista-Kind": delivery.notice.kind,
        "Crista-Signature": f"t={at},v1={posting.signature(hook.secret, at, body)}",
    }
    return posting.post(hook.url, body, headers)


def body_of(delivery: Delivery) -> bytes:
    """What is posted: canonical JSON, the same in each try."""
    notice = delivery.notice
    values = {
        "id": str(delivery.pk),
        "kind": notice.kind,
        "at": notice.created.isoformat(),
        "site": settings.SITE_URL,
        "team": notice.team.slug if notice.team else None,
        "subject": notice.subject,
        "text": notice.text[:LONGEST_TEXT],
        "url": f"{settings.SITE_URL}{notice.path}",
        "facts": notice.facts,
    }
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()


def _record(hook: Webhook, user: User, *, before: str, after: str) -> None:
    whose = hook.team.slug if hook.team else "organisers"
    audit.record(
        "webhook", str(hook.pk), before=before, after=after, by=user, note=f"{whose}: {hook.url}"
    )
