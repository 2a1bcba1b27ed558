"""Teams that merge while bytes arrive, and requests that hold a row of the team that is gone."""

import io
from datetime import timedelta

import pytest
from django.utils.timezone import now

from server.accounts import invitations
from server.accounts.models import Team
from server.accounts.teams import create_team
from server.errors import Refused
from server.submissions import intake, uploads
from server.submissions.merging import merge
from server.submissions.models import Submission, Upload
from tests.server import entries
from tests.server.making import person

pytestmark = pytest.mark.django_db
DATA = b"some bytes" * 100


@pytest.fixture
def where():
    return entries.phase(entries.challenge(), per_day=2)


@pytest.fixture
def lab():
    return create_team(person("Ada"), name="Lab")


@pytest.fixture
def guild():
    return create_team(person("Bob"), name="Guild")


def sending(where, team: Team) -> Upload:
    """Of which half has arrived."""
    upload = uploads.begin(
        team=team, user=team.members.first(), phase=where, filename="x.zip", size=len(DATA),
        at=now(),
    )  # fmt: skip
    uploads.write(upload, offset=0, length=500, stream=io.BytesIO(DATA[:500]))
    return upload


def merged(team: Team, into: Team) -> Team:
    return merge(team, offer=invitations.merge_offer(into), by=team.members.first(), at=now())


@pytest.mark.parametrize("status", ["open", "verifying"])
@pytest.mark.parametrize("whose", ["goes", "receives"])
def test_bytes_that_arrive_hold_the_merging_up_and_lose_nothing(where, lab, guild, status, whose):
    upload = sending(where, {"goes": guild, "receives": lab}[whose])
    Upload.objects.update(status=status)
    with pytest.raises(Refused, match=r"is uploading x\.zip\. Let it finish, or discard it"):
        merged(guild, lab)
    upload.refresh_from_db()
    assert (upload.status, upload.offset) == (status, 500)
    assert not Team.objects.exclude(merged_into=None).exists()


def test_once_it_is_discarded_they_merge_and_its_bytes_are_nobodys(where, lab, guild):
    upload = sending(where, guild)
    uploads.discard(upload)
    assert merged(guild, lab) == lab
    upload.refresh_from_db()
    assert (upload.team, upload.status) == (lab, "expired")


def test_a_finished_upload_goes_along_and_is_submitted_for_the_new_team(where, lab, guild):
    upload = sending(where, guild)
    Upload.objects.update(status="finished")
    merged(guild, lab)
    fresh = Upload.objects.get(pk=upload.pk)
    made = intake.submit(upload=fresh, user=fresh.user, method="Method", at=now())
    assert (made.team, fresh.team) == (lab, lab)


def test_a_request_that_read_the_upload_before_submits_for_nobody(where, lab, guild):
    sending(where, guild)
    Upload.objects.update(status="finished")
    stale = Upload.objects.get()
    merged(guild, lab)
    with pytest.raises(Refused, match=r"Guild was merged into Lab\. Submit again for it"):
        intake.submit(upload=stale, user=stale.user, method="Method", at=now())
    assert not Submission.objects.exists()


def test_the_team_that_went_can_begin_no_upload(where, lab, guild):
    merged(guild, lab)
    with pytest.raises(Refused) as refused:
        sending(where, guild)
    assert refused.value.code == "team_merged"
    assert not Upload.objects.exists()


def test_the_quota_of_both_is_used_by_the_one(where, lab, guild):
    """Two days of the phase have begun; on this one both have entered once."""
    for team in (lab, guild):
        entries.submission(where, team, status="scored", created=now() - timedelta(hours=1))
    merged(guild, lab)
    with pytest.raises(Refused) as refused:
        sending(where, lab)
    assert refused.value.code == "over_quota"
    assert "has used its 2 submissions per 24 hours" in refused.value.sentence
    assert not Upload.objects.filter(status="open").exists()
