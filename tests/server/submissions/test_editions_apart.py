"""Editions in preparation: they wait, move nobody's submission, and are shown only whole."""

import pytest
from django.utils.timezone import now

from server.accounts.models import AuditEvent
from server.challenges.editions import propose
from server.challenges.models import Edition, Phase
from server.errors import Refused
from server.notices.models import Notice
from server.submissions import evaluation, rescoring, upkeep
from server.submissions.models import Evaluation, Item, Submission
from tests.server import entries
from tests.server.making import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def where():
    made = entries.phase(entries.challenge())
    entries.truth_version(made.challenge, number=2)
    return made


@pytest.fixture
def staff():
    return person("Organiser", is_staff=True)


@pytest.fixture
def entered(where) -> list[Submission]:
    """Two scored submissions under the first truth."""
    teams = [entries.team(name, person(name)) for name in ("Ada", "Bob")]
    return [entries.scored(where, team, 0.5 + n / 10) for n, team in enumerate(teams)]


@pytest.fixture
def edition(where, entered, staff) -> Edition:
    """Under the second truth, begun: nothing of it is scored."""
    truth = where.challenge.truths.get(number=2)
    made = propose(where, truth=truth, protocol=where.protocol, by=staff)
    rescoring.begin(made, by=staff)
    return made


def finish(row: Evaluation, overall: float = 0.9) -> None:
    """As workers would."""
    row.items.update(status="scored", score={})
    labels = {"mito": {"kind": "instance", "score": overall}}
    Evaluation.objects.filter(pk=row.pk).update(
        status="scored", overall=overall, instance=overall, semantic=overall, labels=labels,
        result="{}", finished=now(),
    )  # fmt: skip


def finish_all(edition: Edition) -> None:
    for row in edition.evaluations.all():
        finish(row)


def refused(call, *arguments, **named) -> str:
    with pytest.raises(Refused) as caught:
        call(*arguments, **named)
    return caught.value.sentence


def test_what_waits_is_in_the_background_and_moves_no_submission(edition, entered):
    rows = edition.evaluations.all()
    assert {row.background for row in rows} == {True}
    assert set(Item.objects.filter(evaluation__in=rows).values_list("background", flat=True)) == {
        True
    }
    assert set(Submission.objects.values_list("status", flat=True)) == {"scored"}
    assert [row.evaluation.overall for row in entered] == [0.5, 0.6]


def test_publishing_waits_for_the_last_score(edition, staff, where):
    first, second = edition.evaluations.all()
    assert "2 of 2 submissions wait" in refused(rescoring.publish, edition, by=staff)
    finish(first)
    assert "1 of 2 submissions wait" in refused(rescoring.publish, edition, by=staff)
    assert Phase.objects.get().truth.number == 1
    assert Evaluation.objects.filter(background=True).count() == 2
    assert not Notice.objects.filter(kind="rescored").exists()
    assert not AuditEvent.objects.filter(kind="edition", after="published").exists()
    finish(second)
    rescoring.publish(edition, by=staff)
    assert Phase.objects.get().truth.number == 2
    assert not Evaluation.objects.filter(background=True).exists()


def test_it_is_published_once(edition, staff):
    finish_all(edition)
    rescoring.publish(edition, by=staff)
    assert "it is published" in refused(rescoring.publish, edition, by=staff)
    assert Notice.objects.filter(kind="rescored").count() == 2
    assert AuditEvent.objects.filter(kind="edition", after="published").count() == 1


def test_a_failure_in_the_background_fails_nobodys_submission(edition, entered, staff):
    """The organisers are told; the team sees its old score and hears nothing."""
    row = edition.evaluations.first()
    Evaluation.objects.filter(pk=row.pk).update(status="scoring")
    row.items.update(status="failed", blame="organiser", trouble="no truth")
    assert evaluation.settle(evaluation.loaded(row.pk))
    row.submission.refresh_from_db()
    assert (row.submission.status, row.submission.message) == ("scored", "")
    assert not Notice.objects.exclude(team=None).exists()
    assert Notice.objects.filter(kind="failed", staff=True).count() == 1
    for other in edition.evaluations.exclude(pk=row.pk):
        finish(other)
    sentence = refused(rescoring.publish, edition, by=staff)
    assert "1 of 2 submissions could not be scored under it" in sentence
    assert rescoring.progress(edition).broken == 1


def test_begun_again_only_what_failed_is_tried_again(edition, staff):
    failed, good = edition.evaluations.all()
    finish(good)
    Evaluation.objects.filter(pk=failed.pk).update(status="failed")
    assert rescoring.begin(edition, by=staff) == 1
    failed.refresh_from_db()
    assert (failed.edition, failed.background) == (None, True)  # nobody is shown it, ever
    assert set(edition.evaluations.values_list("status", flat=True)) == {"scored", "queued"}
    assert edition.evaluations.filter(pk=good.pk).exists()


def test_the_reconciler_adds_each_late_submission_once(edition, where):
    finish_all(edition)
    late = entries.scored(where, entries.team("Late", person("Late")), 0.7)
    assert upkeep.STEPS["editions"](now()) > 0
    assert edition.evaluations.filter(submission=late).count() == 1
    upkeep.STEPS["editions"](now())
    assert edition.evaluations.count() == 3
    edition.refresh_from_db()
    assert edition.state == "scoring"
    finish(edition.evaluations.get(submission=late))
    upkeep.STEPS["editions"](now())
    edition.refresh_from_db()
    assert edition.state == "ready"
    assert {row["name"] for row in edition.diff["rows"]} == {"Ada", "Bob", "Late"}


def test_a_ready_edition_that_somebody_joins_is_not_ready(edition, where, staff):
    finish_all(edition)
    rescoring.settle(edition)
    assert edition.state == "ready"
    entries.scored(where, entries.team("Late", person("Late")), 0.7)
    assert "1 of 3 submissions wait" in refused(rescoring.publish, edition, by=staff)


@pytest.mark.parametrize("status", ["received", "scoring", "rejected", "failed", "cancelled"])
def test_what_has_no_score_joins_no_edition(edition, where, status, staff):
    team = entries.team("Other", person("Other"))
    entries.submission(where, team, status=status)
    rescoring.extend()
    assert not edition.evaluations.filter(submission__team=team).exists()
    finish_all(edition)
    rescoring.publish(edition, by=staff)  # and holds up nobody


def test_a_discarded_one_stops_and_takes_nobody_in(edition, where, staff):
    rescoring.discard(edition, by=staff, note="wrong file")
    assert set(edition.evaluations.values_list("status", flat=True)) == {"cancelled"}
    items = Item.objects.filter(evaluation__edition=edition)
    assert set(items.values_list("status", flat=True)) == {"cancelled"}
    late = entries.scored(where, entries.team("Late", person("Late")), 0.7)
    assert rescoring.extend() == 0
    assert not late.evaluations.filter(edition=edition).exists()
    assert "it is discarded" in refused(rescoring.publish, edition, by=staff)
    assert set(Submission.objects.values_list("status", flat=True)) == {"scored"}


def test_an_evaluation_that_ends_under_the_old_truth_is_followed_by_one_under_the_new(
    edition, where, staff
):
    """It was being scored while the board was replaced: its team is not left behind."""
    team = entries.team("Between", person("Between"))
    between = entries.submission(where, team, status="scoring")
    entries.evaluation(between, status="scoring")
    finish_all(edition)
    rescoring.publish(edition, by=staff)
    assert rescoring.extend() == 0  # it has not ended
    finish(between.evaluations.get())
    Submission.objects.filter(pk=between.pk).update(status="scored")
    assert rescoring.extend() == 1
    assert rescoring.extend() == 0
    newest = between.evaluations.first()
    assert (newest.truth.number, newest.background, newest.status) == (2, False, "queued")


def test_a_plan_begins_nothing(where, entered, staff):
    truth = where.challenge.truths.get(number=2)
    draft = propose(where, truth=truth, protocol=where.protocol, by=staff)
    before = Evaluation.objects.count(), Item.objects.count()
    found = rescoring.plan(draft)
    assert (found.submissions, found.items, found.computed) == (2, 6, 6)  # no content is known
    assert found.seconds is None  # nothing was ever timed
    assert (Evaluation.objects.count(), Item.objects.count(), draft.state) == (*before, "draft")
