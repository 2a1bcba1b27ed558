"""What `manage.py rescore` refuses, and says before and after."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from server.challenges.editions import propose
from server.challenges.models import Edition, Phase
from server.errors import Refused
from server.submissions import rescoring
from server.submissions.models import Evaluation
from tests.server import entries
from tests.server.making import api, person

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("rescore", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def phase():
    phase = entries.phase(entries.challenge())
    entries.truth_version(phase.challenge, number=2)
    return phase


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nowhere", "test"), "There is no phase test of nowhere"),
        (("demo", "test"), "No edition waits"),
        (("demo", "test", "--truth", "9"), "no such truth version"),
        (("demo", "test", "--protocol", "x"), "no such protocol"),
        (("demo", "test", "--truth", "2", "--by", "ada@example.org"), "No organiser has"),
    ],
)
def test_what_does_not_exist_is_said(phase, arguments, sentence):
    person("Ada")
    with pytest.raises(CommandError, match=sentence):
        run(*arguments)
    assert phase.editions.count() == 1


def test_a_plan_of_nothing_costs_nothing_and_begins_nothing(phase):
    text = run("demo", "test", "--truth", "2", "--plan")
    assert "0 submissions with 0 items" in text
    assert "unknown time" in text
    assert phase.editions.get(number=2).state == "draft"


def test_an_edition_without_submissions_is_ready_at_once(phase):
    assert "Ready. Decide with" in run("demo", "test", "--truth", "2")
    assert "Published." in run("demo", "test", "--publish")
    assert phase.editions.get(number=1).state == "replaced"


def test_discarding_is_written_down_with_who_did_it(phase):
    staff = person("Organiser", is_staff=True)
    run("demo", "test", "--truth", "2", "--by", staff.email)
    assert "Discarded" in run("demo", "test", "--discard", "--by", staff.email)
    edition = phase.editions.get(number=2)
    assert (edition.state, edition.by) == ("discarded", staff)


def test_what_could_not_be_scored_stops_the_command_and_is_tried_again_next_time(phase):
    entry = entries.scored(phase, person("Ada").own_team, 0.5)
    edition = propose(phase, truth=phase.challenge.truths.get(number=2), protocol=phase.protocol)
    entries.evaluation(entry, status="failed")
    Evaluation.objects.filter(status="failed").update(edition=edition, background=True)
    Edition.objects.filter(pk=edition.pk).update(state="scoring")
    edition.refresh_from_db()
    found = rescoring.progress(edition)
    assert (found.submissions, found.waiting, found.broken) == (1, 0, 1)
    assert not rescoring.settle(edition)
    with pytest.raises(Refused, match="1 of 1 submissions could not be scored"):
        rescoring.publish(edition)
    assert "1 submissions wait for their score" in run("demo", "test")
    assert edition.evaluations.get().status == "queued"


def test_targets_are_told_where_the_phase_shows_as_much(phase):
    ada = person("Ada")
    entry = entries.scored(phase, ada.own_team, 0.5)
    url = f"/api/submissions/{entry.pk}/targets/"
    rows = api(ada).get(url).json()["results"]
    assert [row["target"] for row in rows] == ["crop1/membrane", "crop1/mito", "crop2/mito"]
    assert all(row["score"] is not None for row in rows)
    for fields in ({"visibility": "own"}, {"visibility": "staff", "detail": "target"}):
        Phase.objects.update(**fields)
        assert api(ada).get(url).json()["results"] == []
    Phase.objects.update(visibility="own", detail="target", digits=1)
    shown = api(ada).get(url).json()["results"]
    assert [row["score"] for row in shown] == [round(row["score"], 1) for row in rows]
    assert api(person("Bob")).get(url).status_code == 404
