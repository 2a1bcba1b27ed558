"""What people were told, how, and whether it arrived.

Notice    one thing that happened        Receipt   it stands in one person's list
Delivery  its way to one mailbox or webhook: waiting → sent | failed
"""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils.crypto import get_random_string, salted_hmac
from django.utils.timezone import now

from server.accounts.models import Team, User


class Kind(models.TextChoices):
    """What can happen."""

    SCORED = "scored", "a submission was scored"
    REJECTED = "rejected", "a submission was rejected by its check"
    FAILED = "failed", "a submission failed for a reason of ours"
    RESCORED = "rescored", "a board was made anew under another truth or protocol"
    QUARANTINED = "quarantined", "a target could not be scored and needs an organiser"
    DEADLINE = "deadline", "a phase closes within a day"
    GRANTED = "granted", "organisers gave extra submissions"
    DISQUALIFIED = "disqualified", "a submission was taken off the board"
    TEST = "test", "a webhook is tried out"


class Notice(models.Model):
    """One thing that happened, told once.

    path: the page on this site that shows it.  facts: the same for programs, JSON values.
    once: a name under which it is told a single time; empty for all others.
    """

    kind = models.CharField(max_length=20, choices=Kind)
    team = models.ForeignKey(Team, null=True, on_delete=models.CASCADE, related_name="notices")
    staff = models.BooleanField(default=False)
    subject = models.CharField(max_length=200)
    text = models.TextField()
    path = models.CharField(max_length=300)
    facts = models.JSONField(default=dict)
    once = models.CharField(max_length=100, null=True, unique=True)  # noqa: DJ001 -- unique, and most have none
    created = models.DateTimeField(default=now, editable=False, db_index=True)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return self.subject


class Receipts(models.QuerySet["Receipt"]):
    """What stands in people's lists."""

    def of(self, user: Any) -> Receipts:
        """A person's own, newest first; none for a visitor."""
        rows = self.select_related("notice").order_by("-notice_id")
        return rows.filter(user=user) if user.is_authenticated else rows.none()

    def about(self, path: str) -> Receipts:
        """Those about one page."""
        return self.filter(notice__path=path)

    def unread(self) -> Receipts:
        """Those that nobody has looked at."""
        return self.filter(read=None)


class Receipt(models.Model):
    """A notice in one person's list.  read: when they had seen it."""

    notice = models.ForeignKey(Notice, on_delete=models.CASCADE, related_name="receipts")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="receipts")
    read = models.DateTimeField(null=True)

    objects = Receipts.as_manager()

    class Meta:
        ordering = ("-pk",)
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["notice", "user"], name="one_receipt_per_person")
        ]
        indexes: ClassVar = [models.Index(fields=["user", "read"])]

    def __str__(self) -> str:
        return f"{self.notice} to {self.user}"


class Mute(models.Model):
    """A person wants no e-mail of this kind; the list on the site shows it all the same."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="mutes")
    kind = models.CharField(max_length=20, choices=Kind)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "kind"], name="muted_once")
        ]

    def __str__(self) -> str:
        return f"{self.user}: no e-mail when {self.kind}"


def _nonce() -> str:
    return get_random_string(32)


class Webhook(models.Model):
    """An address of a team's, or of the organisers' (no team), that notices are posted to.

    kinds: which ones; empty for all.  nonce: with the site's key it makes the secret, so that the
    database alone can sign nothing.
    """

    team = models.ForeignKey(Team, null=True, on_delete=models.CASCADE, related_name="webhooks")
    url = models.CharField(max_length=500)
    kinds = models.JSONField(default=list)
    nonce = models.CharField(max_length=32, default=_nonce, editable=False)
    by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created = models.DateTimeField(default=now, editable=False)

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return self.url

    @property
    def secret(self) -> str:
        """The key that signs what is posted; told once, to whoever made the webhook."""
        made = salted_hmac("server.notices.webhook", self.nonce, algorithm="sha256")
        return f"whsec_{made.hexdigest()}"

    def wants(self, kind: str) -> bool:
        """True if notices of this kind go here."""
        return not self.kinds or kind in self.kinds


class Delivery(models.Model):
    """A notice on its way to a mailbox (`user`) or to a webhook.

    due: when it is tried next.  answer: what the other side said last, in a few words.
    """

    class Status(models.TextChoices):
        WAITING = "waiting"
        SENT = "sent"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    notice = models.ForeignKey(Notice, on_delete=models.CASCADE, related_name="deliveries")
    user = models.ForeignKey(User, null=True, on_delete=models.CASCADE, related_name="+")
    webhook = models.ForeignKey(
        Webhook, null=True, on_delete=models.CASCADE, related_name="deliveries"
    )
    status = models.CharField(max_length=10, choices=Status, default=Status.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    due = models.DateTimeField(default=now)
    changed = models.DateTimeField(default=now)
    answer = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ("-changed",)
        indexes: ClassVar = [models.Index(fields=["status", "due"])]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=models.Q(user=None) ^ models.Q(webhook=None), name="one_addressee"
            )
        ]

    def __str__(self) -> str:
        return f"{self.notice} to {self.user or self.webhook}"

    @property
    def is_last_try(self) -> bool:
        """True if nothing follows a failure now."""
        return self.attempts >= settings.NOTICE_ATTEMPTS
