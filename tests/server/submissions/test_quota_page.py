"""What the page for submitting says about quota, and a submission whose team goes meanwhile."""

import re
from datetime import timedelta

import pytest
from django.utils.timezone import now

from server.errors import Refused
from server.submissions import grants, intake
from server.submissions.models import Upload
from tests.server import entries
from tests.server.making import person, stored
from tests.server.reading import signed_in, text_of

pytestmark = pytest.mark.django_db


def shown(user) -> str:
    """The words of the page, in one line."""
    html = text_of(signed_in(user).get("/challenges/demo/submit/"))
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def ago(hours: float):
    return now() - timedelta(hours=hours)


def test_used_left_and_the_next_are_told_for_each_team_and_open_phase(ada):
    demo = entries.challenge()
    where = entries.phase(demo, per_day=3, total=10)
    entries.phase(demo, "over", opens=-9, closes=-1)
    entries.team("Lab", ada)
    row = entries.scored(where, ada.own_team, 0.5, created=ago(5))
    text = shown(ada)
    resets = row.created + timedelta(hours=24)
    assert "2 of 3 left; 1 used in the last 24 hours" in text
    assert f"the next comes back at {resets:%-d %b %Y, %H:%M} UTC" in text
    assert "9 of 10 left in all" in text
    assert "Lab , Phase test 3 of 3 left" in text
    assert "Phase over" not in text


def test_attempts_are_told_once_some_are_used(ada):
    where = entries.phase(entries.challenge(), attempts_per_day=2)
    assert "attempts" not in shown(ada)
    for hours in (3, 2):
        entries.submission(
            where, ada.own_team, status="rejected", quota_used=False, created=ago(hours)
        )
    text = shown(ada)
    assert "0 of 2 attempts left in 24 hours, rejected ones included; the next comes back" in text
    assert "not now" in text
    assert "evaluator check" in text


def test_no_limit_and_a_grant_are_told(ada):
    where = entries.phase(entries.challenge(), per_day=0, total=1)
    assert "0 used in the last 24 hours; no limit" in shown(ada)
    assert "1 of 1 left in all" in shown(ada)
    staff = person("Organiser", is_staff=True)
    grants.grant(team=ada.own_team, phase=where, what="total", extra=4, reason="r", by=staff,
                 at=now())  # fmt: skip
    assert "5 of 5 left in all" in shown(ada)


def test_an_upload_that_went_to_another_team_meanwhile_is_not_submitted(ada):
    where = entries.phase(entries.challenge())
    lab = entries.team("Lab", ada)
    upload = stored(where, ada.own_team, b"x", user=ada)
    Upload.objects.filter(pk=upload.pk).update(team=lab)  # `upload` is as the view read it
    with pytest.raises(Refused, match="merged into Lab") as refusal:
        intake.submit(upload=upload, user=ada, method="M", at=now())
    assert refusal.value.code == "team_merged"
    assert not lab.submissions.exists()
