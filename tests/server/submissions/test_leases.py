import os
import subprocess
import time
from datetime import timedelta

import pytest
from django.utils.timezone import now

from server.submissions import leases
from server.submissions.models import Item
from tests.server import entries


@pytest.fixture
def item(transactional_db) -> Item:
    where = entries.phase(entries.challenge())
    row = entries.evaluation(entries.submission(where, entries.team("T")))
    return row.items.first()


def take(item: Item) -> Item:
    assert leases.take(item, at=now())
    return item


def test_a_taken_target_names_who_has_it_since_when_and_until_when(item):
    take(item)
    assert (item.status, item.attempts, item.worker) == ("scoring", 1, leases.holder())
    assert item.begun < now() < item.lease <= now() + timedelta(seconds=90)
    assert not leases.take(item, at=now())


def test_this_process_lives_and_an_ended_one_is_gone():
    assert not leases.is_gone(leases.holder())
    with subprocess.Popen(["sleep", "60"]) as process:
        name = leases.holder(process.pid)
        assert not leases.is_gone(name)
        process.kill()
    assert leases.is_gone(name)


@pytest.mark.parametrize("name", ["", "x", "other 1 2", "a b c 1 1"])
def test_of_other_machines_nobody_knows(name):
    assert not leases.is_gone(name)


def test_a_later_process_of_the_same_number_is_another_one():
    place, _ = leases.holder().rsplit(" ", 1)
    assert leases.is_gone(f"{place} 1")


def test_given_back_it_is_as_if_it_had_never_been_taken(item):
    assert leases.give_back(take(item))
    item.refresh_from_db()
    assert (item.status, item.attempts, item.worker, item.lease) == ("queued", 0, "", None)


def test_who_comes_back_late_cannot_write(item):
    late = take(item)
    assert leases.take_back(late, trouble="gone") == "queued"
    Item.objects.update(due=None)
    take(Item.objects.get(pk=item.pk))
    assert not leases.held(late).exists()
    assert leases.take_back(late, trouble="late") is None
    assert not leases.give_back(late)
    assert Item.objects.get(pk=item.pk).attempts == 2


def test_failures_are_tried_again_ever_later_and_the_third_is_the_last(item, settings):
    settings.ITEM_PAUSE_S = 10
    found = []
    for attempt in (1, 2, 3):
        Item.objects.update(due=None)
        found.append(leases.take_back(take(item), trouble=f"trouble {attempt}"))
        item.refresh_from_db()
        if attempt < 3:
            wait = (item.due - now()).total_seconds()
            assert 10 * attempt - 5 < wait <= 10 * attempt
    assert found == ["queued", "queued", "failed"]
    assert (item.blame, item.trouble, item.due, item.lease) == ("system", "trouble 3", None, None)


def test_the_second_death_quarantines(item):
    assert leases.take_back(take(item), trouble="memory", died=True) == "queued"
    Item.objects.update(due=None)
    item.refresh_from_db()
    assert leases.take_back(take(item), trouble="memory", died=True) == "quarantined"
    item.refresh_from_db()
    assert (item.deaths, item.blame) == (2, "organiser")


def test_what_somebody_is_to_blame_for_is_not_tried_again(item):
    assert leases.take_back(take(item), trouble="no truth", blame="organiser") == "failed"
    item.refresh_from_db()
    assert (item.blame, item.attempts) == ("organiser", 1)


def test_a_holder_shows_that_it_lives_but_not_beyond_its_time(item, settings):
    settings.ITEM_LEASE_S = 0.2
    first = take(item).lease
    with leases.kept(leases.held(item), seconds=0.5):
        deadline = time.monotonic() + 10
        while Item.objects.get(pk=item.pk).lease <= first:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.6)
        last = Item.objects.get(pk=item.pk).lease
        time.sleep(0.3)
        assert Item.objects.get(pk=item.pk).lease == last


def test_a_name_fits_its_column():
    assert len(leases.holder()) < Item._meta.get_field("worker").max_length
    assert f" {os.getpid()} " in leases.holder()
