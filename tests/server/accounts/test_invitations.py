import pytest
from django.core import signing

from server.accounts import invitations
from server.accounts.models import AuditEvent, Team
from server.accounts.teams import create_team
from server.errors import Refused
from tests.server.making import person

pytestmark = pytest.mark.django_db


def test_an_invitation_leads_into_its_team_and_an_offer_to_its_own(lab):
    assert invitations.invited_to(invitations.invitation(lab)) == lab
    assert invitations.offered_by(invitations.merge_offer(lab)) == lab


def test_neither_serves_as_the_other(lab):
    with pytest.raises(Refused, match="not valid"):
        invitations.invited_to(invitations.merge_offer(lab))
    with pytest.raises(Refused, match="not valid"):
        invitations.offered_by(invitations.invitation(lab))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        signing.dumps("lab", salt="another purpose"),
        signing.dumps("lab", salt=invitations.JOIN),  # without a key
    ],
    ids=["empty", "nonsense", "of another purpose", "without a key"],
)
def test_a_text_we_did_not_sign_for_this_leads_nowhere(lab, text):
    with pytest.raises(Refused, match="not valid") as refusal:
        invitations.invited_to(text)
    assert refusal.value.code == "no_invitation"


def test_an_invitation_ends_after_a_week(lab, monkeypatch):
    text = invitations.invitation(lab)
    monkeypatch.setattr(invitations, "LASTS_S", -1)
    with pytest.raises(Refused, match="over a week old"):
        invitations.invited_to(text)


def test_withdrawing_ends_all_links_that_are_about_and_no_later_ones(lab, ada):
    old = invitations.invitation(lab), invitations.merge_offer(lab)
    invitations.withdraw(lab, by=ada)
    for read, text in zip((invitations.invited_to, invitations.offered_by), old, strict=True):
        with pytest.raises(Refused) as refusal:
            read(text)
        assert refusal.value.code == "withdrawn_invitation"
    assert invitations.invited_to(invitations.invitation(lab)) == lab
    assert AuditEvent.objects.get(after="links withdrawn").actor == ada


def test_nobody_can_be_let_into_a_team_of_one_or_into_a_team_that_is_gone(lab):
    own = person("Bob").own_team
    for text in (invitations.invitation(own), invitations.invitation(lab)):
        Team.objects.filter(pk=lab.pk).delete()
        with pytest.raises(Refused):
            invitations.invited_to(text)


def test_a_team_that_went_into_another_invites_nobody(lab, ada):
    text = invitations.invitation(lab)
    Team.objects.filter(pk=lab.pk).update(merged_into=create_team(ada, name="New"))
    with pytest.raises(Refused, match="not valid"):
        invitations.invited_to(text)
