from datetime import timedelta

import pytest
from django.utils.timezone import now

from server.challenges.models import Phase
from server.notices.models import Notice, Receipt
from server.submissions import deadlines, upkeep
from server.submissions.models import Upload
from tests.server import entries
from tests.server.making import person

pytestmark = pytest.mark.django_db


def closing(hours: float, **fields) -> Phase:
    row = entries.phase(entries.challenge(f"c{hours}"), **fields)
    Phase.objects.filter(pk=row.pk).update(closes=now() + timedelta(hours=hours))
    row.refresh_from_db()
    return row


def test_a_team_with_an_entry_is_told_once_a_day_before(ada):
    phase = closing(23)
    entries.scored(phase, entries.team("Lab", ada, person("Bob")), 0.5)
    assert deadlines.tell(at=now()) == 1
    assert deadlines.tell(at=now()) == 0
    notice = Notice.objects.get()
    assert notice.kind == "deadline"
    assert notice.subject.startswith("Demo challenge: Phase test closes on ")
    assert notice.path == f"/challenges/{phase.challenge.slug}/submit/?phase=test"
    assert sorted(row.user.name for row in Receipt.objects.all()) == ["Ada", "Bob"]


def test_an_upload_is_a_beginning_too_and_who_has_not_begun_is_left_alone(ada):
    phase, bob = closing(2), person("Bob")
    entries.submission(closing(900), bob.own_team)
    Upload.objects.create(
        team=ada.own_team, phase=phase, filename="x", size=1, status="open", expires=now()
    )
    assert deadlines.tell(at=now()) == 1
    assert [row.user.name for row in Receipt.objects.all()] == ["Ada"]


@pytest.mark.parametrize("hours", [25, 24 * 30, -1])
def test_a_phase_that_closes_later_or_has_closed_tells_nobody(ada, hours):
    entries.scored(closing(hours, opens=-40), ada.own_team, 0.5)
    assert deadlines.tell(at=now()) == 0


def test_a_phase_that_is_extended_is_told_of_again_a_day_before_its_new_end(ada):
    phase = closing(20)
    entries.scored(phase, ada.own_team, 0.5)
    assert deadlines.tell(at=now()) == 1
    Phase.objects.filter(pk=phase.pk).update(closes=now() + timedelta(hours=48))
    assert deadlines.tell(at=now()) == 0
    assert deadlines.tell(at=now() + timedelta(hours=25)) == 1


def test_a_team_that_may_submit_nothing_more_is_told_so(ada):
    entries.scored(closing(5, per_day=1), ada.own_team, 0.5, created=now())
    deadlines.tell(at=now())
    assert "has used its 1 submission" in Notice.objects.get().text


def test_teams_that_went_into_others_and_baselines_hear_nothing(ada):
    phase, lab = closing(5), entries.team("Lab", person("Bob"))
    gone = ada.own_team
    entries.scored(phase, gone, 0.5)
    entries.scored(phase, entries.team("Base", person("Org"), baseline=True), 0.5)
    gone.merged_into = lab
    gone.save()
    assert deadlines.tell(at=now()) == 0


def test_the_reconciler_does_it(ada):
    entries.scored(closing(5), ada.own_team, 0.5)
    assert upkeep.reconcile(at=now()).done["deadlines"] == 1
