"""Whose turn it is, from made-up rows: no truth, no files."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.utils.timezone import now

from server import queue, scoring
from server.accounts.models import Team
from server.submissions import leases, turns
from server.submissions.models import Evaluation, Item
from tests.server import entries

BOTH = (queue.SCORE, queue.SCORE_LARGE)


@pytest.fixture
def where(transactional_db):
    return entries.phase(entries.challenge())


def waits(where, team: Team, targets: list[tuple[str, int]], **fields) -> Evaluation:
    """An evaluation of a team with these targets waiting, in this order."""
    submission = entries.submission(where, team, status="queued")
    row = Evaluation.objects.create(
        submission=submission, truth=where.truth, protocol=where.protocol, status="queued",
        evaluator=scoring.version(), background=fields.get("background", False),
    )  # fmt: skip
    for place, (target, voxels) in enumerate(targets):
        crop, label = target.split("/")
        Item.objects.create(
            evaluation=row, team=team, target=target, crop=crop, label=label, voxels=voxels,
            place=place, **fields,
        )  # fmt: skip
    return row


def three(name: str) -> list[tuple[str, int]]:
    return [(f"crop{number}/{name}", number) for number in range(1, 4)]


def taken(number: int, queues=BOTH) -> list[str]:
    return [item.target for item in (turns.claim(queues) for _ in range(number)) if item]


def item(target: str, voxels: int) -> scoring.Item:
    crop, label = target.split("/")
    return scoring.Item(target, crop, label, voxels, "d", (1, 1, voxels), (1.0, 1.0, 1.0))


def test_the_smallest_of_each_label_comes_first_and_then_the_rest_by_size():
    sizes = {"c1/a": 9, "c2/a": 2, "c1/b": 5, "c3/a": 3, "c2/b": 7, "c4/c": 100}
    order = turns.places([item(target, voxels) for target, voxels in sizes.items()])
    assert [found.target for found in order] == ["c2/a", "c1/b", "c4/c", "c3/a", "c2/b", "c1/a"]


def test_equal_sizes_come_in_the_order_of_their_names():
    order = turns.places([item(target, 1) for target in ("c2/a", "c1/a", "c1/b")])
    assert [found.target for found in order] == ["c1/a", "c1/b", "c2/a"]


def test_teams_take_turns_however_much_one_of_them_waits_for(where):
    many, few = entries.team("Many"), entries.team("Few")
    waits(where, many, three("a"))
    waits(where, many, three("b"))
    waits(where, few, three("c"))
    assert taken(6) == ["crop1/a", "crop1/c", "crop2/a", "crop2/c", "crop3/a", "crop3/c"]
    assert taken(6) == ["crop1/b", "crop2/b", "crop3/b"]


def test_who_has_fewer_targets_being_scored_is_served_first(where):
    busy, idle = entries.team("Busy"), entries.team("Idle")
    waits(where, busy, three("a"))
    assert taken(2) == ["crop1/a", "crop2/a"]
    waits(where, idle, three("b"))
    Team.objects.filter(pk=idle.pk).update(served=now() + timedelta(hours=1))
    assert taken(2) == ["crop1/b", "crop2/b"]


def test_re_scoring_waits_for_everything_else(where):
    old, new = entries.team("Old"), entries.team("New")
    waits(where, old, three("a"), background=True)
    waits(where, new, three("b"))
    assert taken(6) == [f"crop{n}/b" for n in (1, 2, 3)] + [f"crop{n}/a" for n in (1, 2, 3)]


def test_a_worker_without_much_memory_leaves_the_large_ones(where):
    waits(where, entries.team("T"), three("a"), queue=queue.SCORE_LARGE)
    assert taken(1, (queue.CHECK, queue.SCORE)) == []
    assert taken(1, queue.QUEUES) == ["crop1/a"]


def test_what_failed_a_moment_ago_is_not_taken_at_once(where):
    row = waits(where, entries.team("T"), three("a"))
    row.items.filter(place=0).update(due=now() + timedelta(seconds=60))
    assert taken(3) == ["crop2/a", "crop3/a"]


@pytest.mark.parametrize("status", ["cancelled", "failed", "scored"])
def test_nothing_is_taken_of_what_has_ended(where, status):
    row = waits(where, entries.team("T"), three("a"))
    Evaluation.objects.filter(pk=row.pk).update(status=status)
    assert taken(1) == []


def test_claims_at_once_never_take_one_target_twice_and_none_is_left(where):
    for name in "abcd":
        waits(where, entries.team(name), three(name))

    def claim(_: int) -> str | None:
        try:
            found = turns.claim(BOTH)
            return found.target if found else None
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        found = Counter(pool.map(claim, range(16)))
    assert found.pop(None) == 4
    assert set(found.values()) == {1}
    assert len(found) == 12
    assert set(Item.objects.values_list("attempts", "worker")) == {(1, leases.holder())}


def test_as_many_messages_wait_as_targets_and_no_more_however_often_one_asks(where, queue_up):
    waits(where, entries.team("T"), three("a"))
    waits(where, entries.team("U"), three("b"), queue=queue.SCORE_LARGE)
    for _ in range(3):
        turns.top_up()
    assert (queue.length(queue.SCORE), queue.length(queue.SCORE_LARGE)) == (3, 3)


def test_ten_thousand_targets_do_not_make_as_many_messages(where, queue_up):
    row = waits(where, entries.team("T"), [])
    Item.objects.bulk_create(
        Item(evaluation=row, team=row.submission.team, target=f"c{n}/a", voxels=n, place=n)
        for n in range(10_000)
    )
    turns.top_up()
    assert queue.length(queue.SCORE) == turns.TOKENS


def test_messages_come_with_the_commit(where, queue_up):
    with transaction.atomic():
        waits(where, entries.team("T"), three("a"))
        turns.top_up()
        assert queue.length(queue.SCORE) == 0
    assert queue.length(queue.SCORE) == 3
