"""How far a submission is: first values early, its place in the queue, when it will be ready."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from baselines.phantoms.phantom import LABELS, PhantomPlan, write_phantom
from server import scoring
from server.challenges.bundle import read_bundle
from server.challenges.loading import load
from server.submissions import items, progress, turns
from server.submissions.models import Evaluation, Item, Submission
from tests.server import entries
from tests.server.making import api
from tests.server.submissions.test_turns import three, waits
from tests.server.taking import checked, score, score_one
from tests.synthetic import write_submission

CROPS = 12


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """The bundle of a phantom with a dozen hidden crops, and a submission to it."""
    data = tmp_path_factory.mktemp("phantom") / "data"
    plan = PhantomPlan(
        shape=(4, 24, 24), voxel_size=(16.0, 16.0, 16.0), train=0, hidden=CROPS, cell_nm=300.0
    )
    write_phantom(data, plan, progress=lambda _: None)
    packed = data / "packed.zip"
    write_submission(packed, data / "challenge", quality=0.8)
    return data / "challenge", packed


@pytest.fixture
def phantom_phase(transactional_db, phantom):
    return load(read_bundle(phantom[0]), in_place=True).phases.first()


@pytest.fixture
def where(transactional_db):
    return entries.phase(entries.challenge())


@pytest.fixture
def accepted(phase, people, queue_up, packed) -> Evaluation:
    return checked(phase, people.ada, packed.read_bytes())


def test_every_label_has_its_turn_before_a_tenth_of_the_voxels(phantom_phase):
    rules = phantom_phase.truth.rules(phantom_phase.protocol.name)
    known = scoring.items(rules)
    order = turns.places(known)
    whole = sum(item.voxels for item in known)
    seen, labels = 0, set()
    for item in order:
        if len(labels) == len(LABELS):
            break
        seen += item.voxels
        labels.add(item.label)
    assert len(known) == CROPS * len(LABELS)
    assert seen < 0.1 * whole


def test_every_label_has_a_first_value_before_a_tenth_of_the_voxels_is_scored(
    phantom_phase, phantom, people, queue_up
):
    row = checked(phantom_phase, people.ada, phantom[1].read_bytes())
    while any(label["score"] is None for label in progress.labels(row)):
        items.work()
    standing = progress.standing(row)
    assert standing.total == CROPS * len(LABELS)
    assert 0 < standing.voxels_done < 0.1 * standing.voxels
    told = api(people.ada).get(f"/api/submissions/{row.submission_id}/").data
    assert {label["label"] for label in told["labels"]} == set(LABELS)
    assert all(label["score"] is not None for label in told["labels"])
    assert told["status"] == "scoring"
    assert told["eta_seconds"] > 0


def test_labels_give_a_first_value_and_then_the_final_one(accepted):
    assert {row["score"] for row in progress.labels(accepted)} == {None}
    first = accepted.items.first()
    score_one(accepted, first.target)
    rows = {row["label"]: row for row in progress.labels(accepted)}
    assert list(rows) == ["membrane", "mito", "nucleus"]
    assert (rows[first.label]["done"], rows[first.label]["total"]) == (1, 2)
    assert 0 < rows[first.label]["score"] <= 1
    assert [row["score"] for name, row in rows.items() if name != first.label] == [None, None]
    score(accepted)
    for row in progress.labels(accepted):
        assert row["score"] == accepted.labels[row["label"]]["score"]
        assert (row["done"], row["total"]) == (2, 2)


def test_the_first_in_the_queue_waits_for_nobody(where):
    row = waits(where, entries.team("One"), three("a"))
    assert progress.standing(row).position == 0


def test_of_every_team_before_it_one_target_comes_first(where):
    for name in ("One", "Two", "Three"):
        waits(where, entries.team(name), three("a"))
    mine = waits(where, entries.team("Mine"), three("b"))
    assert progress.standing(mine).position == 3
    assert [turns.claim(("score",)).target for _ in range(4)][3] == "crop1/b"


def test_an_older_submission_of_the_same_team_comes_first(where):
    team = entries.team("Mine")
    waits(where, team, three("a"))
    second = waits(where, team, three("b"))
    assert progress.standing(second).position == 3


def test_re_scoring_waits_for_all_others(where):
    waits(where, entries.team("One"), three("a"))
    waits(where, entries.team("Two"), three("a"))
    row = waits(where, entries.team("Mine"), three("b"), background=True)
    assert progress.standing(row).position == 6


def test_the_estimated_order_is_the_order(where):
    """Each of four teams is told how many targets come before its own; then that happens."""
    rows = [waits(where, entries.team(name), three(name)) for name in "abcd"]
    told = {row.pk: progress.standing(row).position for row in rows}
    first: dict[int, int] = {}
    for number in range(12):
        first.setdefault(turns.claim(("score",)).evaluation_id, number)
    assert all(first[key] <= told[key] for key in told)  # nobody waits longer than they were told
    assert max(told.values()) == 3


def test_nothing_is_said_of_the_time_before_anything_was_scored(where):
    row = waits(where, entries.team("One"), three("a"))
    assert progress.standing(row).eta_s is None


def test_the_time_left_goes_by_voxels_and_by_who_works(where):
    """100 voxels took 10 s; 200 are left, and 50 of another team come between."""
    team, other = entries.team("Mine"), entries.team("Other")
    row = waits(where, team, [("c1/a", 100), ("c2/a", 80), ("c3/a", 120)])
    Item.objects.filter(evaluation=row, place=0).update(status="scored", seconds=10.0)
    waits(where, other, [("c1/b", 50)])
    assert progress.standing(row).eta_s == 25
    Item.objects.filter(target="c1/b").update(status="scoring")
    Item.objects.filter(target="c3/a").update(status="scoring")
    assert progress.standing(row).eta_s == 10  # 200 voxels, two at work


def test_what_was_looked_up_says_nothing_about_speed(where):
    row = waits(where, entries.team("Mine"), [("c1/a", 100), ("c2/a", 80)])
    fields = {"status": "scored", "seconds": 0.001, "reused": True}
    Item.objects.filter(evaluation=row, place=0).update(**fields)
    assert progress.standing(row).eta_s is None


def test_what_has_ended_waits_for_nothing(where):
    done = entries.scored(where, entries.team("One"), 0.5)
    standing = progress.standing(done.evaluation)
    assert (standing.done, standing.total) == (3, 3)
    assert (standing.position, standing.eta_s) == (None, None)
    assert standing.voxels_done == standing.voxels


def test_a_tag_changes_with_every_score_and_with_nothing_else(accepted):
    def tag() -> str:
        return progress.tag(Submission.objects.get())

    tags = [tag()]
    for item in accepted.items.all():
        score_one(accepted, item.target)
        tags.append(tag())
    assert len(set(tags)) == 7
    assert tag() == tags[-1]
    Item.objects.update(lease=None)
    assert tag() == tags[-1]


def test_a_tag_changes_when_others_leave_the_queue(where):
    before = waits(where, entries.team("One"), three("a"))
    row = waits(where, entries.team("Mine"), three("b"))
    tag = progress.tag(row.submission)
    before.items.update(status="cancelled")
    assert progress.tag(row.submission) != tag


def test_a_tag_reads_no_score(accepted):
    score(accepted)
    row = Submission.objects.get()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        progress.tag(row)
    asked = [query["sql"] for query in queries if "submissions_item" in query["sql"]]
    assert asked
    assert not any('"score"' in sql for sql in asked)
