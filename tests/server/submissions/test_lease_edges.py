"""Leases at the edges of the clock, and holders that come back when nobody expects them."""

from datetime import timedelta

import pytest
from django.utils.timezone import now

from server.notices.models import Notice
from server.submissions import items, leases, upkeep
from server.submissions.models import Evaluation, Item, Submission
from tests.server import entries
from tests.server.making import person
from tests.server.taking import hold

TICK = timedelta(microseconds=1)


@pytest.fixture
def row(db) -> Evaluation:
    team = entries.team("Lab", person("Ada"))
    where = entries.phase(entries.challenge())
    return entries.evaluation(entries.submission(where, team), status="scoring")


def fresh(item: Item) -> Item:
    return Item.objects.get(pk=item.pk)


def test_a_lease_holds_until_its_very_moment(row):
    item = hold(row.items.first())
    assert upkeep._leases(item.lease - TICK) == 0
    assert upkeep._leases(item.lease) == 0
    assert fresh(item).status == "scoring"
    assert upkeep._leases(item.lease + TICK) == 1
    assert (fresh(item).status, fresh(item).deaths) == ("queued", 1)


def test_two_reconcilers_at_once_count_one_death(row):
    item = hold(row.items.first())
    seen = [fresh(item), fresh(item)]  # both have read the row before either moved it
    assert [upkeep._take_back(found) for found in seen] == [True, False]
    assert fresh(item).deaths == 1


def test_a_heartbeat_that_comes_first_saves_the_holding(row):
    item = hold(row.items.first(), until=now() - TICK)
    assert leases._extend(leases.held(item))
    assert upkeep._leases(now()) == 0
    assert fresh(item).status == "scoring"


def test_a_heartbeat_that_comes_second_is_told_so_and_changes_nothing(row):
    item = hold(row.items.first(), until=now() - TICK)
    assert upkeep._leases(now()) == 1
    assert not leases._extend(leases.held(item))
    assert fresh(item).lease is None


def test_a_clock_that_goes_back_takes_nothing_from_anybody(row):
    hold(row.items.first())
    assert upkeep._leases(now() - timedelta(days=1)) == 0


def test_the_old_holder_cannot_write_over_the_new_ones_work(row, settings):
    settings.ITEM_PAUSE_S = 0
    old = hold(row.items.first(), by="first 1 2")
    leases.take_back(old, trouble="gone", died=True)
    new = hold(fresh(old), by="second 1 2")
    items._write(old, items.Found({"by": "old"}, "a" * 64, reused=False, seconds=1.0))
    assert (fresh(new).status, fresh(new).score) == ("scoring", None)
    items._write(new, items.Found({"by": "new"}, "b" * 64, reused=False, seconds=1.0))
    items._write(old, items.Found({"by": "old"}, "a" * 64, reused=False, seconds=1.0))
    found = fresh(new)
    assert (found.status, found.score, found.content) == ("scored", {"by": "new"}, "b" * 64)
    assert (found.lease, found.trouble) == (None, "")


@pytest.mark.parametrize("died", [False, True])
def test_what_is_scored_is_taken_back_by_nobody(row, died):
    item = hold(row.items.first())
    items._write(item, items.Found({"a": 1}, "a" * 64, reused=False, seconds=1.0))
    assert leases.take_back(item, trouble="late", died=died) is None
    assert not leases.give_back(item)
    assert upkeep._leases(now() + timedelta(days=9)) == 0
    assert (fresh(item).status, fresh(item).trouble) == ("scored", "")


def test_deaths_and_failures_have_one_count_each(row, settings):
    """Failed, failed, died: that is three attempts and one death, and the end is ours."""
    settings.ITEM_PAUSE_S = 0
    item = row.items.first()
    ends = [
        leases.take_back(hold(fresh(item)), trouble="x", died=died) for died in (False, False, True)
    ]
    assert ends == ["queued", "queued", "failed"]
    assert (fresh(item).attempts, fresh(item).deaths, fresh(item).blame) == (3, 1, "system")


def test_a_second_death_in_the_last_attempt_is_a_quarantine(row, settings):
    settings.ITEM_PAUSE_S = 0
    item = row.items.first()
    ends = [
        leases.take_back(hold(fresh(item)), trouble="x", died=died) for died in (True, False, True)
    ]
    assert ends == ["queued", "queued", "quarantined"]
    assert fresh(item).blame == "organiser"


def test_a_stop_signal_any_number_of_times_uses_no_attempt(row):
    item = row.items.first()
    for _ in range(5):
        assert leases.give_back(hold(fresh(item)))
    assert (fresh(item).status, fresh(item).attempts, fresh(item).due) == ("queued", 0, None)


def test_the_workers_that_vanish_twice_on_one_target_stop_no_other(row, settings):
    """By the reconciler alone, as after two machines that lost their power."""
    settings.ITEM_PAUSE_S = 0
    poison, *others = row.items.order_by("pk")
    for _ in range(2):
        hold(fresh(poison), until=now() - TICK)
        assert upkeep._leases(now()) == 1
    assert fresh(poison).status == "quarantined"
    assert {fresh(item).status for item in others} == {"queued"}
    row.refresh_from_db()
    assert (row.status, row.submission.status) == ("scoring", "scoring")
    assert Notice.objects.filter(kind="quarantined", staff=True).count() == 1
    for item in others:
        items._write(hold(fresh(item)), items.Found({}, "a" * 64, reused=False, seconds=1.0))
    assert upkeep._results(now()) == 1
    submission = Submission.objects.get()
    assert (submission.status, submission.blame) == ("failed", "organiser")
    assert poison.target in submission.message
    assert all(item.target not in submission.message for item in others)
    assert upkeep._results(now()) == 0
    assert Notice.objects.filter(kind="quarantined").count() == 1


def test_a_dead_child_gives_back_only_what_it_held(row):
    """Another process of another machine may have the same number."""
    mine, theirs, _ = row.items.order_by("pk")
    place = leases.holder(1).rsplit(" ", 2)[0]
    hold(mine, by=f"{place} 4242 99")
    hold(theirs, by="other-machine boot space 4242 99")
    items.horse_died(4242)
    assert (fresh(mine).status, fresh(mine).deaths) == ("queued", 1)
    assert (fresh(theirs).status, fresh(theirs).deaths) == ("scoring", 0)
    assert "supervised it was killed" in fresh(mine).trouble


def test_numbers_that_begin_alike_are_different_processes(row):
    item = hold(row.items.first(), by=leases.holder(1).rsplit(" ", 2)[0] + " 42420 99")
    items.horse_died(4242)
    assert fresh(item).status == "scoring"
