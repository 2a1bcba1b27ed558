from datetime import timedelta

import pytest
from django.core import mail
from django.db import transaction
from django.utils.timezone import now

from server import queue
from server.notices import outbox
from server.notices.models import Delivery, Mute, Notice, Receipt, Webhook
from tests.server import entries


def told(**fields):
    usual = {"subject": "Scored: By hand", "text": "Look.", "path": "/submissions/7/", "facts": {}}
    return outbox.tell(fields.pop("kind", "scored"), **usual | fields)


def names(receipts):
    return sorted(receipt.user.name for receipt in receipts)


def test_a_team_is_told_on_the_site_and_by_one_mail_each(lab, people, work):
    told(team=lab)
    assert names(Receipt.objects.all()) == ["Ada", "Bob"]
    assert mail.outbox == []
    work()
    assert sorted(m.to[0] for m in mail.outbox) == ["ada@example.org", "bob@example.org"]
    first = mail.outbox[0]
    assert first.subject == "[Crista] Scored: By hand"
    assert "Look." in first.body
    assert "http://localhost:8000/submissions/7/" in first.body
    assert {row.status for row in Delivery.objects.all()} == {"sent"}


def test_nobody_is_told_twice_whatever_they_are(people, queue_up):
    team = entries.team("Both", people.staff, people.ada)
    told(team=team, user=people.ada, staff=True)
    assert names(Receipt.objects.all()) == ["Ada", "Organiser"]


def test_organisers_alone_hear_of_what_is_theirs_and_who_left_hears_nothing(people, queue_up):
    people.bob.is_active = False
    people.bob.save()
    told(kind="quarantined", staff=True)
    told(user=people.ada)
    assert names(Receipt.objects.all()) == ["Ada", "Organiser"]
    assert names(Receipt.objects.filter(notice__kind="quarantined")) == ["Organiser"]


def test_a_transaction_that_is_rolled_back_tells_nothing(lab, queue_up):
    with transaction.atomic():
        told(team=lab)
        transaction.set_rollback(True)
    assert not Notice.objects.exists()
    assert queue.waiting(queue.NOTIFY) == set()


def test_what_is_told_once_is_told_once(lab, queue_up):
    assert told(team=lab, once="deadline-1-2") is not None
    assert told(team=lab, once="deadline-1-2") is None
    assert told(team=lab, once="deadline-1-3") is not None
    assert Notice.objects.count() == 2
    assert Receipt.objects.count() == 4


def test_who_wants_no_mail_of_a_kind_still_finds_it_on_the_site(lab, people, work):
    Mute.objects.create(user=people.ada, kind="scored")
    told(team=lab)
    told(kind="failed", team=lab)
    work()
    assert names(Receipt.objects.filter(notice__kind="scored")) == ["Ada", "Bob"]
    subjects = [m.to[0] for m in mail.outbox]
    assert (subjects.count("ada@example.org"), subjects.count("bob@example.org")) == (1, 2)


def test_a_subject_is_one_line_whatever_the_method_is_called(people, work):
    told(user=people.ada, subject="Scored: a\r\nBcc: eve@example.org\n" + "x" * 300)
    work()
    notice = Notice.objects.get()
    assert len(notice.subject) == 200
    assert mail.outbox[0].subject.startswith("[Crista] Scored: a Bcc: eve@example.org xxx")
    assert mail.outbox[0].recipients() == ["ada@example.org"]


def test_webhooks_hear_of_their_own_team_and_of_the_kinds_they_want(lab, people, queue_up):
    every = Webhook.objects.create(team=lab, url="https://hooks.example.org/a")
    failures = Webhook.objects.create(team=lab, url="https://x.example.org", kinds=["failed"])
    staff = Webhook.objects.create(url="https://hooks.example.org/staff")
    Webhook.objects.create(team=people.bob.own_team, url="https://hooks.example.org/rival")
    told(team=lab)
    assert list(every.deliveries.values_list("notice__kind", flat=True)) == ["scored"]
    assert not failures.deliveries.exists()
    assert not staff.deliveries.exists()
    told(kind="failed", team=lab, staff=True)
    assert [hook.deliveries.count() for hook in (every, failures, staff)] == [2, 1, 1]
    assert Delivery.objects.filter(webhook__team=people.bob.own_team).count() == 0


def test_losing_the_queue_loses_no_notice(lab, queue_up, work):
    told(team=lab)
    queue_up.flushall()
    assert outbox.send_late(at=now()) == 2
    assert outbox.send_late(at=now()) == 0  # they wait in the queue now
    work()
    assert len(mail.outbox) == 2
    assert outbox.send_late(at=now() + timedelta(days=1)) == 0


def test_an_unknown_kind_is_a_mistake_of_ours(people):
    with pytest.raises(ValueError, match="lost"):
        told(kind="lost", user=people.ada)


def test_old_notices_are_forgotten_with_all_that_belongs_to_them(lab, queue_up):
    told(team=lab)
    assert outbox.forget_old(at=now() + timedelta(days=364)) == 0
    assert outbox.forget_old(at=now() + timedelta(days=366)) == 1
    assert not Receipt.objects.exists()
    assert not Delivery.objects.exists()
