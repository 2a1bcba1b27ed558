"""Three teams with 1, 10 and 100 waiting targets: nobody waits for somebody else's heap."""

from collections import Counter
from datetime import timedelta

import pytest
from django.db.models import F
from django.utils.timezone import now

from server import queue, scoring
from server.accounts.models import Team
from server.submissions import leases, turns
from server.submissions.models import Evaluation, Item
from tests.server import entries

BOTH = (queue.SCORE, queue.SCORE_LARGE)
SIZES = {"One": 1, "Ten": 10, "Hundred": 100}


@pytest.fixture
def where(db):
    return entries.phase(entries.challenge())


@pytest.fixture
def crowd(where) -> dict[str, Evaluation]:
    """The largest heap came first."""
    names = sorted(SIZES, key=lambda name: -SIZES[name])
    return {name: waiting(where, entries.team(name), SIZES[name]) for name in names}


def waiting(where, team: Team, number: int, **fields) -> Evaluation:
    submission = entries.submission(where, team, status="queued")
    row = Evaluation.objects.create(
        submission=submission, truth=where.truth, protocol=where.protocol, status="queued",
        evaluator=scoring.version(), background=fields.get("background", False),
    )  # fmt: skip
    Item.objects.bulk_create(
        Item(evaluation=row, team=team, target=f"crop{n}/a", crop=f"crop{n}", label="a",
             voxels=n + 1, place=n, **fields)
        for n in range(number)
    )  # fmt: skip
    return row


def claims(number: int) -> list[str]:
    """The teams of the next targets, each finished before the next is taken."""
    found = []
    for _ in range(number):
        item = turns.claim(BOTH)
        if item is None:
            break
        found.append(item.team.name)
        Item.objects.filter(pk=item.pk).update(status="scored")
    return found


def test_each_is_served_in_the_first_round(crowd):
    assert sorted(claims(3)) == sorted(SIZES)


def test_ten_targets_are_done_when_the_largest_heap_has_had_ten(crowd):
    order = claims(21)
    assert Counter(order) == {"One": 1, "Ten": 10, "Hundred": 10}
    assert order[3:] == ["Hundred", "Ten"] * 9  # in turns, in the order of the first round


def test_nothing_is_left_and_nothing_comes_twice(crowd):
    assert Counter(claims(200)) == SIZES
    assert turns.claim(BOTH) is None
    assert set(Item.objects.values_list("attempts", flat=True)) == {1}


def test_workers_at_once_are_shared_out_by_what_each_team_holds(crowd):
    """Nine workers and nothing finished: the heaps have as many as each other, not all of them."""
    held = Counter(turns.claim(BOTH).team.name for _ in range(9))
    assert held == {"One": 1, "Ten": 4, "Hundred": 4}


def test_who_comes_late_does_not_wait_behind_those_already_there(crowd, where):
    claims(30)
    waiting(where, entries.team("Late"), 2)
    assert claims(1) == ["Late"]
    assert "Late" in claims(3)


def test_two_submissions_of_one_team_have_one_turn_between_them(where):
    twice, once = entries.team("Twice"), entries.team("Once")
    first, second = waiting(where, twice, 2), waiting(where, twice, 2)
    waiting(where, once, 4)
    assert Counter(claims(4)) == {"Twice": 2, "Once": 2}
    assert not first.items.filter(status="queued").exists()  # the older one ends first
    assert second.items.filter(status="queued").count() == 2


def test_the_places_of_one_submission_are_kept_whatever_others_do(crowd):
    claims(60)
    done = crowd["Hundred"].items.filter(status="scored").order_by("place")
    assert list(done.values_list("place", flat=True)) == list(range(done.count()))


def test_a_heap_in_the_background_waits_for_the_last_target_of_anybody(where):
    heap, team = entries.team("Heap"), entries.team("Small")
    waiting(where, heap, 5, background=True)
    waiting(where, team, 3)
    assert claims(4) == ["Small", "Small", "Small", "Heap"]
    waiting(where, team, 1)
    assert claims(2) == ["Small", "Heap"]


def test_a_team_whose_targets_all_pause_does_not_stop_the_others(crowd):
    Item.objects.filter(team__name="Hundred").update(due=now() + timedelta(seconds=60))
    assert Counter(claims(50)) == {"One": 1, "Ten": 10}
    Item.objects.update(due=F("due") - timedelta(seconds=61))
    assert claims(1) == ["Hundred"]


def test_a_pause_ends_at_its_moment_and_not_before(where):
    waiting(where, entries.team("T"), 1)
    at = now()
    Item.objects.update(due=at)
    assert turns.upcoming(BOTH, at=at - timedelta(microseconds=1)) is None
    assert turns.upcoming(BOTH, at=at) is not None


def test_what_another_version_began_is_not_taken_and_does_not_hold_its_place(crowd):
    pk = crowd["Hundred"].pk
    Evaluation.objects.filter(pk=pk).update(evaluator="0.0.1")
    assert Counter(claims(50)) == {"One": 1, "Ten": 10}


def test_a_turn_is_used_by_who_takes_it_and_by_nobody_else(crowd):
    taken = turns.claim(BOTH)
    served = dict(Team.objects.values_list("name", "served"))
    assert served.pop(taken.team.name) == taken.begun
    assert set(served.values()) == {None}


def test_a_target_given_back_is_the_next_one_of_its_team(crowd):
    """A worker that is stopped costs its team a turn, and not its place in the line."""
    first = turns.claim(BOTH)
    assert leases.give_back(first)
    others = claims(2)
    assert first.team.name not in others
    again = turns.claim(BOTH)
    assert (again.pk, again.attempts) == (first.pk, 1)
