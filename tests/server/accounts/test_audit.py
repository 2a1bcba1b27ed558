"""The record is only added to, and a change of it is seen."""

import hashlib
import json
import threading

import pytest
from django.db import connection, connections, transaction

from server.accounts import audit
from server.accounts.models import AuditEvent
from tests.server.making import person

pytestmark = pytest.mark.django_db


def happened(*keys: str) -> None:
    for key in keys:
        audit.record("phase", key, before="per_day 3", after="per_day 5", note="Fünf “mehr”")


def tamper(sql: str, *values: object) -> None:
    """What somebody with the database's password could do."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def test_an_event_says_who_did_what_and_keeps_the_name_when_the_account_goes():
    ada = person("Ada")
    audit.record("phase", "demo/test", before="a", after="b" * 500, by=ada, note="why")
    ada.delete()
    event = AuditEvent.objects.get(kind="phase")
    assert (event.actor, event.actor_name) == (None, "ada@example.org")
    assert (event.before, event.after, event.note) == ("a", "b" * 500, "why")


def test_nothing_of_it_can_be_changed_or_removed():
    happened("a", "b")
    event = AuditEvent.objects.first()
    for change in (
        event.save, event.delete, AuditEvent.objects.all().delete,
        lambda: AuditEvent.objects.filter(key="a").update(after="x"),
        lambda: AuditEvent.objects.bulk_update([event], ["after"]),
    ):  # fmt: skip
        with pytest.raises(TypeError, match="only added to"), transaction.atomic():
            change()
    assert AuditEvent.objects.count() == 2


def test_sealing_numbers_events_once_in_their_order():
    happened("a", "b")
    assert (audit.seal(), audit.seal()) == (2, 0)
    before = list(audit.chain().values_list("number", "key", "digest"))
    happened("c")
    assert audit.seal() == 1
    after = list(audit.chain().values_list("number", "key", "digest"))
    assert [row[:2] for row in after] == [(1, "a"), (2, "b"), (3, "c")]
    assert after[:2] == before
    assert len({row[2] for row in after}) == 3
    assert audit.verify() == audit.Verified(3, after[-1][2])


def test_an_empty_record_is_whole():
    assert audit.seal() == 0
    assert audit.verify() == audit.Verified(0, "")


def test_more_than_a_batch_is_sealed_at_once(monkeypatch):
    monkeypatch.setattr(audit, "BATCH", 3)
    happened(*"abcdefgh")
    assert audit.seal() == 8
    assert audit.verify().events == 8


@pytest.mark.parametrize("column", ["after", "note", "actor_name", "kind", "at"])
def test_a_changed_event_is_found(column):
    happened("a", "b", "c")
    audit.seal()
    value = "2020-01-01 00:00:00" if column == "at" else "x"
    tamper(f"UPDATE accounts_auditevent SET {column} = %s WHERE number = 2", value)
    found = audit.verify()
    assert (found.events, found.fault) == (1, "event 2 was changed")


def test_a_removed_event_is_found():
    happened("a", "b", "c")
    audit.seal()
    tamper("DELETE FROM accounts_auditevent WHERE number = 2")
    assert audit.verify().fault == "event 2 is missing"


def test_an_end_that_was_cut_off_is_found_by_whoever_noted_the_head():
    happened("a", "b", "c")
    audit.seal()
    head = audit.verify().head
    happened("d")
    audit.seal()
    assert audit.verify(head=head).fault == ""
    tamper("DELETE FROM accounts_auditevent WHERE number >= 3")
    assert audit.verify().fault == ""
    assert "cut off" in audit.verify(head=head).fault


def test_events_exchanged_with_their_numbers_are_found():
    happened("a", "b")
    audit.seal()
    tamper("UPDATE accounts_auditevent SET number = 3 WHERE number = 1")
    tamper("UPDATE accounts_auditevent SET number = 1 WHERE number = 2")
    tamper("UPDATE accounts_auditevent SET number = 2 WHERE number = 3")
    assert audit.verify().fault == "event 1 was changed"


@pytest.mark.django_db(transaction=True)
def test_many_that_record_and_seal_at_once_make_one_chain():
    def both(name: str) -> None:
        try:
            for number in range(5):
                happened(f"{name}-{number}")
                audit.seal()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=both, args=(name,)) for name in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    audit.seal()
    assert (audit.verify().events, audit.verify().fault) == (30, "")


def test_anybody_can_work_out_the_chain_from_what_is_written_about_it():
    audit.record("phase", "demo/test", before="per_day 3", after="per_day 5", note="Fünf")
    audit.record("team", "lab", after="created", by=person("Ada"))
    audit.seal()
    previous = ""
    for event in audit.chain():
        said = [event.kind, event.key, event.before, event.after, event.note]
        at = event.at.isoformat()
        assert at.endswith("+00:00")
        text = json.dumps(
            [event.number, at, event.actor_name, *said, previous], separators=(",", ":")
        )
        assert event.digest == hashlib.sha256(text.encode("ascii")).hexdigest()
        previous = event.digest
