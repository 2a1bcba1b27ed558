"""Who is told, by which way, and who is not: who left, muted kinds, last tries."""

from types import SimpleNamespace

import pytest
from django.conf import settings as shipped
from django.db import IntegrityError, transaction
from django.utils.timezone import now

from server.accounts.models import Membership
from server.notices import delivery, muting, outbox, webhooks
from server.notices.models import Delivery, Mute, Notice, Receipt, Webhook
from tests.server.making import api

LAST = shipped.NOTICE_ATTEMPTS


def tell(kind="scored", **fields):
    usual = {"subject": "S", "text": "T", "path": "/submissions/7/", "facts": {}}
    return outbox.tell(kind, **usual | fields)


def mailed() -> list[str]:
    return sorted(Delivery.objects.filter(webhook=None).values_list("user__name", flat=True))


def leave(team, user):
    Membership.objects.filter(team=team, user=user).delete()


def test_who_left_a_team_hears_nothing_of_it_any_more(lab, people, queue_up):
    tell(team=lab)
    leave(lab, people.bob)
    tell(team=lab)
    assert Receipt.objects.filter(user=people.bob).count() == 1  # of the time they were in it
    assert mailed() == ["Ada", "Ada", "Bob"]


def test_who_joins_a_team_hears_nothing_of_what_was(lab, people, queue_up):
    tell(team=lab)
    Membership.objects.create(team=lab, user=people.staff)
    assert not Receipt.objects.filter(user=people.staff).exists()
    assert api(people.staff).get("/api/notices/").json()["count"] == 0


def test_who_left_manages_no_webhook_of_the_team_though_they_made_it(lab, people, settings):
    settings.WEBHOOK_HOSTS = ["hooks.example.org"]
    hook = webhooks.add(people.ada, team=lab, url="https://hooks.example.org/")
    leave(lab, people.ada)
    assert list(webhooks.managed(people.ada)) == []
    assert api(people.ada).delete(f"/api/webhooks/{hook.pk}/").status_code == 404
    assert Webhook.objects.filter(pk=hook.pk).exists()


@pytest.mark.parametrize("way", ["team", "user", "staff"])
def test_an_account_that_is_closed_gets_no_mail_by_any_way(people, queue_up, way):
    people.staff.is_active = False
    people.staff.save()
    to = {"team": people.staff.own_team, "user": people.staff, "staff": True}[way]
    tell(**{way: to})
    assert mailed() == []
    assert not Receipt.objects.exists()


@pytest.mark.parametrize("kind", [kind for kind, _ in muting.CHOICES])
def test_each_kind_can_be_muted_alone(people, queue_up, kind):
    muting.mute(people.ada, [kind])
    for each, _ in muting.CHOICES:
        tell(each, user=people.ada)
    sent = set(Delivery.objects.values_list("notice__kind", flat=True))
    assert sent == {each for each, _ in muting.CHOICES} - {kind}
    assert Receipt.objects.count() == len(muting.CHOICES)


def test_muting_everything_leaves_the_list_on_the_site_and_the_webhooks(lab, people, queue_up):
    for user in (people.ada, people.bob):
        muting.mute(user, [kind for kind, _ in muting.CHOICES])
    hook = Webhook.objects.create(team=lab, url="https://hooks.example.org/")
    tell(team=lab)
    assert mailed() == []
    assert Receipt.objects.count() == 2
    assert hook.deliveries.count() == 1


def test_a_test_of_a_webhook_cannot_be_muted_nor_subscribed_to(people):
    assert "test" not in [kind for kind, _ in muting.CHOICES]
    answer = api(people.ada).put("/api/notices/mails/", {"muted": ["test"]}, format="json")
    assert answer.status_code == 400
    assert not Mute.objects.exists()


@pytest.mark.parametrize(("attempts", "status"), [(1, "waiting"), (LAST - 1, "waiting"),
                                                  (LAST, "failed")])  # fmt: skip
def test_after_the_last_try_it_is_given_up(people, queue_up, attempts, status):
    tell(user=people.ada)
    row = Delivery.objects.get()
    Delivery.objects.update(attempts=attempts)
    delivery.give_up(SimpleNamespace(args=[str(row.pk)]), None, None, ValueError("x"), None)
    row.refresh_from_db()
    assert (row.status, row.attempts) == (status, attempts)


def test_what_was_given_up_is_not_tried_again_by_anybody(people, queue_up, work, mailoutbox):
    tell(user=people.ada)
    Delivery.objects.update(status="failed", attempts=LAST, due=now())
    assert outbox.send_late(at=now()) == 0
    outbox.ask_to_send(Delivery.objects.get())
    work()
    assert mailoutbox == []
    assert Delivery.objects.get().attempts == LAST
    assert Receipt.objects.unread().count() == 1  # it stands in the list all the same


def test_a_failed_mail_to_one_keeps_no_other_from_being_sent(lab, people, work, mailoutbox):
    tell(team=lab)
    Delivery.objects.filter(user=people.ada).update(status="failed")
    work()
    assert [mail.to for mail in mailoutbox] == [["bob@example.org"]]


@pytest.mark.parametrize("ends", [{}, {"user": True, "webhook": True}])
def test_a_delivery_has_one_addressee(people, lab, ends):
    hook = Webhook.objects.create(team=lab, url="https://hooks.example.org/")
    notice = Notice.objects.create(kind="scored", subject="S", text="T", path="/")
    to = {"user": people.ada, "webhook": hook}
    with pytest.raises(IntegrityError), transaction.atomic():
        Delivery.objects.create(notice=notice, **{name: to[name] for name in ends})


def test_deleting_a_team_takes_its_notices_and_what_waits(lab, people, queue_up, work, mailoutbox):
    tell(team=lab)
    lab.delete()
    work()
    assert (Notice.objects.count(), Receipt.objects.count(), mailoutbox) == (0, 0, [])


def test_a_long_subject_and_no_facts_are_no_mistake(people, queue_up):
    notice = tell(user=people.ada, subject="x" * 200)
    assert (len(notice.subject), notice.facts) == (200, {})
    assert len(tell(user=people.ada, subject="x" * 201).subject) == 200


def test_nobody_to_tell_is_a_notice_in_no_list(people, queue_up):
    assert tell() is not None
    assert (Receipt.objects.count(), Delivery.objects.count()) == (0, 0)
