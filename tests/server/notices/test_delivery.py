from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import connections
from django.utils.timezone import now

from server.notices import delivery, muting, outbox, webhooks
from server.notices.models import Delivery, Mute, Receipt
from server.notices.templatetags.notices import unread_notices


@pytest.fixture
def waiting(people, queue_up) -> Delivery:
    """A mail to Ada that waits."""
    outbox.tell("scored", user=people.ada, subject="S", text="T", path="/", facts={})
    return Delivery.objects.get()


def sent(row: Delivery) -> Delivery:
    """The row after one try."""
    delivery.send(str(row.pk))
    row.refresh_from_db()
    return row


def test_eight_workers_at_once_post_a_notice_once(people, queue_up, receiver):
    hook = webhooks.add(people.ada, team=people.ada.own_team, url=receiver.url)
    row = webhooks.try_out(hook)

    def try_it(_: int) -> None:
        try:
            delivery.send(str(row.pk))
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(try_it, range(8)))
    assert len(receiver.came) == 1
    row.refresh_from_db()
    assert (row.status, row.attempts) == ("sent", 1)


def test_before_its_time_nothing_is_sent(waiting, mailoutbox):
    Delivery.objects.update(due=now() + timedelta(minutes=1))
    assert (sent(waiting).status, waiting.attempts) == ("waiting", 0)
    assert mailoutbox == []


def test_a_delivery_that_is_gone_is_no_mistake(waiting, mailoutbox):
    key = str(waiting.pk)
    waiting.notice.delete()
    delivery.send(key)
    assert mailoutbox == []


def test_a_mail_carries_the_id_of_its_delivery_and_says_how_to_turn_it_off(waiting, mailoutbox):
    sent(waiting)
    (mail,) = mailoutbox
    assert mail.extra_headers["Message-ID"] == f"<{waiting.pk}@localhost>"
    assert mail.extra_headers["Auto-Submitted"] == "auto-generated"
    assert "http://localhost:8000/notices/" in mail.body


def test_a_try_that_broke_counts_and_is_made_again(waiting):
    Delivery.objects.update(attempts=1)
    delivery.give_up(SimpleNamespace(args=[str(waiting.pk)]), None, None, ValueError("x"), None)
    waiting.refresh_from_db()
    assert (waiting.status, waiting.attempts) == ("waiting", 1)
    assert waiting.due > now() + timedelta(seconds=20)
    assert "own mistake" in waiting.answer


def test_a_try_that_broke_after_it_was_sent_changes_nothing(waiting):
    sent(waiting)
    delivery.give_up(SimpleNamespace(args=[str(waiting.pk)]), None, None, ValueError("x"), None)
    waiting.refresh_from_db()
    assert waiting.status == "sent"


def test_a_late_answer_of_an_earlier_try_does_not_overrule_a_later_one(waiting):
    earlier = delivery._claim(str(waiting.pk))
    Delivery.objects.update(attempts=2)
    delivery._settle(earlier, status="failed", answer="late")
    waiting.refresh_from_db()
    assert (waiting.status, waiting.answer) == ("waiting", "")


def test_muting_is_exact_and_twice_changes_nothing(people):
    muting.mute(people.ada, ["scored", "failed"])
    muting.mute(people.ada, ["failed", "failed"])
    muting.mute(people.bob, ["scored"])
    assert muting.muted(people.ada) == ["failed"]
    assert Mute.objects.count() == 2
    with pytest.raises(ValueError, match="lost"):
        muting.mute(people.ada, ["lost"])
    assert muting.muted(people.ada) == ["failed"]


def test_only_what_one_has_not_read_is_counted(waiting, people):
    assert unread_notices(people.ada) == 1
    assert unread_notices(people.bob) == 0
    Receipt.objects.update(read=now())
    assert unread_notices(people.ada) == 0
