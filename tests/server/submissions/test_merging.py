"""Two teams become one, and nobody has more for it."""

import re
from datetime import timedelta

import pytest
from django.utils.timezone import now

from server.accounts import invitations
from server.accounts.models import AuditEvent, Team
from server.accounts.teams import MOST_TEAMS, create_team
from server.errors import Refused
from server.submissions.merging import merge, together
from server.submissions.models import Grant, Item, Submission, Upload
from server.submissions.quota import quota, refuse_submission
from tests.server import entries
from tests.server.making import api, person
from tests.server.reading import signed_in, text_of

pytestmark = pytest.mark.django_db
AT = now()
HOUR = timedelta(hours=1)


@pytest.fixture
def phase():
    """Open since a day and an hour ago, so two days have begun."""
    phase = entries.phase(entries.challenge(), per_day=2)
    phase.opens = AT - 25 * HOUR
    phase.save()
    return phase


@pytest.fixture
def guild(bob):
    return create_team(bob, name="Guild")


def entered(phase, team, *hours_ago: float, status: str = "scored", **fields):
    return [
        entries.submission(phase, team, status=status, created=AT - hours * HOUR, **fields)
        for hours in hours_ago
    ]


def merged(team, into, *, by, at=AT) -> Team:
    return merge(team, offer=invitations.merge_offer(into), by=by, at=at)


def refusal(*args, **fields) -> tuple[str, str]:
    before = list(Submission.objects.values_list("pk", "team"))
    with pytest.raises(Refused) as refused:
        merged(*args, **fields)
    assert list(Submission.objects.values_list("pk", "team")) == before
    assert not AuditEvent.objects.filter(after__startswith="merged").exists()
    return refused.value.code, refused.value.sentence


def test_members_entries_uploads_and_grants_move_and_the_audit_says_so(phase, lab, guild, ada, bob):
    (mine,) = entered(phase, guild, 3)
    entries.evaluation(mine, status="scored", done=3)
    Item.objects.update(team=guild)
    Grant.objects.create(team=guild, phase=phase, what="total", extra=1, reason="r")
    assert merged(guild, lab, by=bob) == lab
    guild.refresh_from_db()
    assert guild.merged_into == lab
    for rows in (Submission, Upload, Grant, Item):
        assert set(rows.objects.values_list("team", flat=True)) == {lab.pk}
    roles = set(lab.memberships.values_list("user__name", "role"))
    assert roles == {("Ada", "owner"), ("Bob", "member")}
    assert not guild.memberships.exists()
    event = AuditEvent.objects.get(kind="team", key="guild", after="merged into lab")
    assert (event.actor, event.note) == (bob, "1 submissions, 1 uploads, 1 grants")
    assert AuditEvent.objects.filter(key="lab", after="took in guild").count() == 1


def test_used_quota_comes_along(phase, lab, guild, bob):
    entered(phase, lab, 5)
    entered(phase, guild, 3, 2)
    merged(guild, lab, by=bob)
    found = quota(lab, phase, at=AT)
    assert (found.per_day.used, found.per_day.left, found.code) == (3, 0, "over_quota")
    assert found.per_day.resets == AT + 21 * HOUR


def test_together_they_may_not_have_used_more_than_one_team_could(phase, lab, guild, bob):
    entered(phase, lab, 20, 19)
    entered(phase, guild, 18, 17, 1)
    code, sentence = refusal(guild, lab, by=bob)
    assert code == "too_many_together"
    assert "used 5 submissions" in sentence
    assert "could have used 4" in sentence
    assert merged(guild, lab, by=bob, at=AT + 24 * HOUR)  # a third day has begun


def test_the_limit_in_all_holds_for_both_and_grants_add_to_it(phase, lab, guild, bob):
    phase.per_day, phase.total = 0, 3
    phase.save()
    entered(phase, lab, 20, 19)
    entered(phase, guild, 18, 17)
    entered(phase, guild, 16, status="rejected", quota_used=False)
    assert refusal(guild, lab, by=bob)[0] == "too_many_together"
    Grant.objects.create(team=lab, phase=phase, what="total", extra=1, reason="r")
    merged(guild, lab, by=bob)


def test_who_has_used_nothing_can_always_join_forces(phase, lab, guild, ada):
    entered(phase, lab, *range(10))  # as after a limit that was lowered
    assert merged(guild, lab, by=guild.members.get()) == lab


@pytest.mark.parametrize("status", ["received", "scoring"])
def test_what_is_under_way_ends_first(phase, lab, guild, bob, status):
    for team in (lab, guild):
        (row,) = entered(phase, team, 1, status=status)
        assert refusal(guild, lab, by=bob)[0] == "under_way"
        Submission.objects.filter(pk=row.pk).update(status="scored")
    (row,) = entered(phase, lab, 1)
    Upload.objects.filter(pk=row.upload_id).update(status="open")
    assert "is uploading" in refusal(guild, lab, by=bob)[1]


def test_after_the_date_of_any_phase_with_entries_it_is_too_late(phase, lab, guild, bob):
    entered(phase, lab, 1)
    phase.merge_until = AT
    phase.save()
    assert refusal(guild, lab, by=bob)[0] == "too_late"
    merged(guild, lab, by=bob, at=AT - HOUR)


def test_without_a_date_the_end_of_the_phase_is_the_date(phase, lab, guild, bob):
    entered(phase, guild, 1)
    assert refusal(guild, lab, by=bob, at=phase.closes)[0] == "too_late"


def test_only_an_owner_merges_and_only_into_a_team_that_offered(phase, lab, guild, ada, bob):
    guild.memberships.create(user=ada)
    assert refusal(guild, lab, by=ada)[0] == "not_an_owner"
    with pytest.raises(Refused, match="not valid"):
        merge(guild, offer=invitations.invitation(lab), by=bob, at=AT)
    offer = invitations.merge_offer(lab)
    invitations.withdraw(lab, by=ada)
    with pytest.raises(Refused, match="withdrawn"):
        merge(guild, offer=offer, by=bob, at=AT)
    assert Team.objects.filter(merged_into=None).count() == 4


def test_some_pairs_make_no_sense(lab, guild, ada, bob):
    assert refusal(lab, lab, by=ada)[0] == "same_team"
    with pytest.raises(Refused, match="not valid"):
        merged(guild, ada.own_team, by=bob)  # nobody is let into a team of one
    Team.objects.filter(pk=guild.pk).update(baseline=True)
    assert refusal(guild, lab, by=bob)[0] == "baseline"


def test_two_teams_cannot_go_into_each_other(lab, guild, ada, bob):
    offers = invitations.merge_offer(lab), invitations.merge_offer(guild)
    merge(guild, offer=offers[0], by=bob, at=AT)
    with pytest.raises(Refused, match="not valid"):
        merge(lab, offer=offers[1], by=ada, at=AT)


def test_a_chain_leads_to_its_end(lab, guild, ada, bob):
    union = create_team(person("Eve"), name="Union")
    merged(guild, lab, by=bob)
    merged(lab, union, by=ada)
    assert set(Team.objects.filter(merged_into=union)) == {lab, guild}
    assert union.memberships.count() == 3
    assert signed_in(bob).get("/teams/guild/")["Location"] == "/teams/union/"


def test_of_two_chosen_entries_the_receivers_stays_chosen(phase, lab, guild, bob):
    (theirs,), (mine,) = entered(phase, lab, 2, chosen=True), entered(phase, guild, 1, chosen=True)
    merged(guild, lab, by=bob)
    assert list(Submission.objects.filter(chosen=True)) == [theirs]
    assert mine in Submission.objects.filter(team=lab)


def test_a_person_brings_their_entries_and_keeps_an_empty_team_of_one(phase, lab, bob):
    entered(phase, bob.own_team, 2)
    merged(bob.own_team, lab, by=bob)
    own = Team.objects.get(person=bob)
    assert own.members.get() == bob
    assert not own.submissions.exists()
    assert lab.memberships.get(user=bob).role == "member"
    with pytest.raises(Refused) as refused:  # or each merge would buy a fresh quota
        refuse_submission(own, phase, at=AT)
    assert refused.value.code == "team_merged"
    refuse_submission(own, entries.phase(phase.challenge, "other"), at=AT)
    text_of(signed_in(bob).get(f"/teams/{own.slug}/"))


def test_a_person_cannot_take_entries_elsewhere_while_the_first_team_competes(
    phase, lab, guild, bob, ada
):
    eve = person("Eve")
    entered(phase, eve.own_team, 2)
    merged(eve.own_team, lab, by=eve)
    eve.own_team.refresh_from_db()
    assert refusal_of_second(eve, guild) == "team_merged"
    phase.closes = AT - HOUR
    phase.save()
    assert merged(eve.own_team, guild, by=eve) == guild


def refusal_of_second(eve, into) -> str:
    with pytest.raises(Refused) as refused:
        merged(eve.own_team, into, by=eve)
    return refused.value.code


def test_a_person_in_many_teams_leaves_one_first(lab, bob):
    for number in range(MOST_TEAMS - 1):
        create_team(bob, name=f"Team {number}")
    assert refusal(bob.own_team, lab, by=bob)[0] == "too_many_teams"


def test_what_each_would_bring_is_counted_per_phase(phase, lab, guild):
    entered(phase, guild, 2, 1)
    entered(phase, lab, 3)
    other = entries.phase(phase.challenge, "other", per_day=0)
    entered(other, lab, 3)
    rows = {row.phase.slug: row for row in together(guild, lab, at=AT)}
    assert (rows["test"].team, rows["test"].into, rows["test"].most) == (2, 1, 4)
    assert (rows["other"].team, rows["other"].into, rows["other"].most) == (0, 1, None)


def test_the_page_shows_what_would_move_and_asks(phase, lab, guild, ada, bob):
    entered(phase, guild, 2)
    text = text_of(signed_in(ada).get("/teams/lab/"))
    link = re.search(r'value="http://testserver(/teams/merge/[^"]+)"', text).group(1)
    client = signed_in(bob)
    text = text_of(client.get(link))
    assert "Merge Guild into Lab" in text
    assert "1 submission that counts, beside 0 of Lab; one team could have used 4 by now" in text
    assert Team.objects.get(pk=guild.pk).merged_into is None  # looking changes nothing
    assert "No Team matches" not in text_of(client.post(link, {"team": "lab"}), status=404)
    assert "Guild is part of Lab now" in text_of(client.post(link, {"team": "guild"}, follow=True))
    assert "not valid" in text_of(client.get("/teams/merge/nonsense/", follow=True))


def test_the_page_says_why_not(phase, lab, guild, bob):
    entered(phase, guild, 2, status="scoring")
    url = f"/teams/merge/{invitations.merge_offer(lab)}/"
    text = text_of(signed_in(bob).get(url))
    assert "has not ended" in text
    assert "Merge Guild into Lab</button>" not in text
    answer = signed_in(bob).post(url, {"team": "guild"}, follow=True)
    assert "has not ended" in text_of(answer)


def test_the_same_over_the_api(lab, guild, ada, bob):
    wish = {"offer": invitations.merge_offer(lab)}
    url = "/api/teams/guild/merge/"
    assert api(ada).post(url, wish, format="json").status_code == 404
    assert api().post(url, wish, format="json").status_code == 401
    answer = api(bob).post(url, wish, format="json")
    assert (answer.status_code, answer.json()) == (200, {"slug": "lab", "name": "Lab"})
    assert api(bob).get("/api/teams/guild/").status_code == 404
