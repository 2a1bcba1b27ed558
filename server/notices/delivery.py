"""Carry notices to mailboxes and webhooks.  A try that fails is made again, ever later."""

from __future__ import annotations

import smtplib
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import F
from django.utils.timezone import now

from server.notices import webhooks
from server.notices.models import Delivery
from server.notices.posting import Undelivered

FIRST_PAUSE_S = 30
LEASE = timedelta(seconds=90)  # longer than a try may take
Status = Delivery.Status
log = structlog.get_logger(__name__)


def send(delivery_id: str) -> None:
    """Job: try once.  Twice, late, or beside itself it sends nothing that was sent."""
    delivery = _claim(delivery_id)
    if delivery is None:
        return
    try:
        answer = _mail(delivery) if delivery.user_id else webhooks.post(delivery)
    except Undelivered as failure:
        _try_later(delivery, answer=str(failure))
    else:
        _settle(delivery, status=Status.SENT, answer=answer[:200])


def give_up(job: Any, connection: Any, kind: Any, error: BaseException, trace: Any) -> None:
    """Called when a try broke: a mistake of ours, which the log shows; it counts as a failure."""
    log.error("a notice could not be sent", delivery=job.args[0], exc_info=error)
    delivery = Delivery.objects.filter(pk=job.args[0], status=Status.WAITING).first()
    if delivery is not None:
        _try_later(delivery, answer="the server's own mistake; its log has more")


def _claim(delivery_id: str) -> Delivery | None:
    """Take a delivery whose time has come; until the lease ends nobody else takes it."""
    at = now()
    row = Delivery.objects.filter(pk=delivery_id, status=Status.WAITING, due__lte=at)
    if not row.update(attempts=F("attempts") + 1, due=at + LEASE, changed=at):
        return None
    return Delivery.objects.select_related("notice__team", "user", "webhook").get(pk=delivery_id)


def _mail(delivery: Delivery) -> str:
    """Send one mail to one person.  Its Message-ID is the delivery's: twice is seen as once."""
    notice, user = delivery.notice, delivery.user
    assert user is not None
    host = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].strip("> ")
    mail = EmailMessage(
        f"[{settings.SITE_NAME}] {notice.subject}",
        f"Hello {user},\n\n{notice.text}\n\n{settings.SITE_URL}{notice.path}\n\n--\n"
        f"Which notices come by e-mail: {settings.SITE_URL}/notices/\n",
        to=[user.email],
        headers={"Message-ID": f"<{delivery.pk}@{host}>", "Auto-Submitted": "auto-generated"},
    )
    try:
        mail.send()
    except (OSError, smtplib.SMTPException) as error:
        raise Undelivered(f"{type(error).__name__}: {error}") from error
    return "handed to the mail server"


def _try_later(delivery: Delivery, *, answer: str) -> None:
    """After 30 s, then three times as long each time; for good after the last try."""
    pause = timedelta(seconds=FIRST_PAUSE_S * 3 ** max(0, delivery.attempts - 1))
    status = Status.FAILED if delivery.is_last_try else Status.WAITING
    log.warning("notice not delivered", delivery=str(delivery.pk), answer=answer, status=status)
    _settle(delivery, status=status, answer=answer[:200], due=now() + pause)


def _settle(delivery: Delivery, **fields: Any) -> None:
    """Write how a try ended, unless a later one has begun."""
    row = Delivery.objects.filter(pk=delivery.pk, attempts=delivery.attempts, status=Status.WAITING)
    row.update(changed=now(), **fields)
