import json
import re
from datetime import timedelta

import pytest
from django.conf import settings
from django.utils.timezone import now

from server.accounts.models import AuditEvent
from server.errors import Refused
from server.notices import outbox, posting, webhooks
from server.notices.models import Delivery, Notice, Receipt


@pytest.fixture(autouse=True)
def _listed(settings):
    settings.WEBHOOK_HOSTS = ["hooks.example.org"]


URL = "https://hooks.example.org/x"


def tell(team, kind="scored"):
    return outbox.tell(
        kind, team=team, subject="It was scored", text="Look.", path="/submissions/7/",
        facts={"submission": 7},
    )  # fmt: skip


def test_what_arrives_is_signed_json_that_its_secret_verifies(lab, people, receiver, work):
    hook = webhooks.add(people.ada, team=lab, url=receiver.url)
    notice = tell(lab)
    work()
    ((_, headers, body),) = receiver.came
    delivery = hook.deliveries.get()
    assert json.loads(body) == {
        "id": str(delivery.pk), "kind": "scored", "at": notice.created.isoformat(),
        "site": "http://localhost:8000", "team": "lab", "subject": "It was scored",
        "text": "Look.", "url": "http://localhost:8000/submissions/7/", "facts": {"submission": 7},
    }  # fmt: skip
    said = dict(part.split("=") for part in headers["Crista-Signature"].split(","))
    assert abs(int(said["t"]) - now().timestamp()) < 60
    assert said["v1"] == posting.signature(hook.secret, int(said["t"]), body)
    assert headers["Crista-Delivery"] == str(delivery.pk)
    assert (delivery.status, delivery.answer, delivery.attempts) == ("sent", "answered 200", 1)


def test_a_receiver_that_fails_is_tried_again_ever_later_and_given_up_after_eight(
    lab, people, receiver, work
):
    receiver.status = 500
    hook = webhooks.add(people.ada, team=lab, url=receiver.url)
    tell(lab)
    pauses = []
    for number in range(1, 9):
        work()
        row = hook.deliveries.get()
        assert (row.attempts, row.answer) == (number, "answered 500")
        pauses.append(round((row.due - row.changed).total_seconds()))
        assert outbox.send_late(at=now()) == 0  # not before its time
        Delivery.objects.update(due=now())
        assert outbox.send_late(at=now()) == (0 if number == 8 else 1)
    assert pauses[:7] == [30, 90, 270, 810, 2430, 7290, 21870]
    assert hook.deliveries.get().status == "failed"
    receiver.status = 200
    work()
    assert len(receiver.came) == 8


def test_a_receiver_that_recovers_gets_the_same_bytes_under_the_same_id(
    lab, people, receiver, work
):
    receiver.status = 503
    webhooks.add(people.ada, team=lab, url=receiver.url)
    tell(lab)
    work()
    receiver.status = 204
    Delivery.objects.update(due=now())
    outbox.send_late(at=now())
    work()
    first, second = receiver.came
    assert first[2] == second[2]
    assert first[1]["Crista-Delivery"] == second[1]["Crista-Delivery"]
    assert Delivery.objects.get(webhook__isnull=False).status == "sent"


def test_a_slow_receiver_does_not_keep_mails_from_being_sent(
    lab, people, receiver, work, mailoutbox
):
    receiver.status = 500
    webhooks.add(people.ada, team=lab, url=receiver.url)
    tell(lab)
    work()
    assert len(mailoutbox) == 2


def test_a_message_that_comes_twice_posts_once(lab, people, receiver, work):
    webhooks.add(people.ada, team=lab, url=receiver.url)
    tell(lab)
    outbox.ask_to_send(Delivery.objects.get(webhook__isnull=False))
    work()
    outbox.ask_to_send(Delivery.objects.get(webhook__isnull=False))
    work()
    assert len(receiver.came) == 1


def test_only_owners_make_webhooks_of_a_team_and_only_organisers_their_own(lab, people):
    for user, team in ((people.bob, lab), (people.bob, None), (people.staff, lab)):
        with pytest.raises(Refused, match="Only a team's owners"):
            webhooks.add(user, team=team, url=URL)
    webhooks.add(people.ada, team=lab, url=URL)
    webhooks.add(people.bob, team=people.bob.own_team, url=URL)
    webhooks.add(people.staff, team=None, url=URL)
    assert [hook.team for hook in webhooks.managed(people.ada)] == [lab]
    assert [hook.team for hook in webhooks.managed(people.bob)] == [people.bob.own_team]
    assert [hook.team for hook in webhooks.managed(people.staff)] == [None]


def test_there_are_at_most_five_and_each_is_recorded(lab, people):
    hooks = [webhooks.add(people.ada, team=lab, url=URL) for _ in range(webhooks.MOST)]
    with pytest.raises(Refused, match="Remove one first"):
        webhooks.add(people.ada, team=lab, url=URL)
    webhooks.remove(hooks[0], by=people.ada)
    webhooks.add(people.ada, team=lab, url=URL)
    events = AuditEvent.objects.filter(kind="webhook")
    assert events.filter(after="added").count() == 6
    assert events.get(after="removed").note == f"lab: {URL}"


def test_secrets_differ_and_the_database_alone_does_not_tell_them(lab, people, settings):
    one, two = (webhooks.add(people.ada, team=lab, url=URL) for _ in range(2))
    assert one.secret != two.secret
    assert one.secret == type(one).objects.get(pk=one.pk).secret
    assert one.nonce not in one.secret
    before = one.secret
    settings.SECRET_KEY = "another key " * 5
    assert one.secret != before


def test_an_address_that_is_not_allowed_makes_no_webhook(lab, people):
    with pytest.raises(Refused, match="not listed"):
        webhooks.add(people.ada, team=lab, url="https://elsewhere.example.org/")
    assert not lab.webhooks.exists()


def test_a_host_taken_off_the_list_gets_nothing_more(lab, people, receiver, work, settings):
    webhooks.add(people.ada, team=lab, url=receiver.url)
    settings.WEBHOOK_HOSTS = []
    tell(lab)
    work()
    assert receiver.came == []
    assert "not listed" in Delivery.objects.get(webhook__isnull=False).answer


def test_removing_a_webhook_drops_what_waits(lab, people, receiver, work):
    hook = webhooks.add(people.ada, team=lab, url=receiver.url)
    tell(lab)
    webhooks.remove(hook, by=people.ada)
    work()
    assert receiver.came == []


def test_trying_out_posts_and_tells_nobody_else(lab, people, receiver, work, mailoutbox):
    hook = webhooks.add(people.ada, team=lab, url=receiver.url, kinds=["failed"])
    webhooks.try_out(hook)
    work()
    ((_, headers, _),) = receiver.came
    assert headers["Crista-Kind"] == "test"
    assert mailoutbox == []
    assert not Receipt.objects.exists()


def test_a_long_text_is_cut_and_the_body_stays_small(lab, people):
    hook = webhooks.add(people.ada, team=lab, url=URL)
    notice = Notice.objects.create(kind="failed", subject="s", text="x" * 10**6, path="/")
    delivery = Delivery(notice=notice, webhook=hook)
    assert len(webhooks.body_of(delivery)) < 5000


def test_a_mail_server_that_is_away_is_tried_again(lab, people, work, settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    outbox.tell("scored", user=people.ada, subject="S", text="T", path="/", facts={})
    work()
    row = Delivery.objects.get()
    assert (row.status, row.attempts) == ("waiting", 1)
    assert "ConnectionRefused" in row.answer
    assert row.due > now() + timedelta(seconds=20)


def test_a_worker_that_dies_while_it_sends_leaves_it_for_later(people, queue_up, work, mailoutbox):
    outbox.tell("scored", user=people.ada, subject="S", text="T", path="/", facts={})
    queue_up.flushall()
    Delivery.objects.update(attempts=1, due=now() + timedelta(seconds=90))  # claimed, then killed
    assert outbox.send_late(at=now()) == 0
    Delivery.objects.update(due=now())
    assert outbox.send_late(at=now()) == 1
    work()
    assert len(mailoutbox) == 1


def test_the_receiver_that_the_documentation_shows_tells_ours_from_others(
    lab, people, receiver, work
):
    text = (settings.BASE_DIR / "docs" / "notices.md").read_text("utf-8")
    shown: dict = {}
    exec(re.search(r"```python\n(.+?)```", text, re.DOTALL)[1], shown)
    hook = webhooks.add(people.ada, team=lab, url=receiver.url)
    webhooks.try_out(hook)
    work()
    ((_, headers, body),) = receiver.came
    header = headers["Crista-Signature"]
    assert shown["is_ours"](hook.secret, header, body)
    assert not shown["is_ours"](hook.secret, header, body + b" ")
    assert not shown["is_ours"]("whsec_other", header, body)
    old = posting.signature(hook.secret, 1700000000, body)
    assert not shown["is_ours"](hook.secret, f"t=1700000000,v1={old}", body)
