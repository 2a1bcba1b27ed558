import pytest
from django.utils.timezone import now

from server.accounts.models import AuditEvent
from server.errors import Refused
from server.leaderboard.standings import board
from server.notices.models import Notice
from server.submissions import selection
from server.submissions.models import Submission
from tests.server import entries
from tests.server.making import api, person
from tests.server.reading import signed_in, text_of

pytestmark = pytest.mark.django_db


def on_board(phase, viewer) -> list[tuple[str, int]]:
    return [(row.team, row.submission) for row in board(phase, viewer=viewer).rows]


@pytest.fixture
def phase():
    return entries.phase(entries.challenge(), selection="chosen")


def test_the_last_stands_until_the_team_chooses_and_again_when_it_takes_that_back(phase, ada):
    best, middle, last = (entries.scored(phase, ada.own_team, s) for s in (0.9, 0.5, 0.2))
    assert on_board(phase, ada) == [("Ada", last.pk)]
    selection.choose(best, by=ada, at=now())
    assert on_board(phase, ada) == [("Ada", best.pk)]
    selection.choose(middle, by=ada, at=now())
    assert on_board(phase, ada) == [("Ada", middle.pk)]
    assert Submission.objects.filter(chosen=True).count() == 1
    selection.unchoose(middle, by=ada, at=now())
    assert on_board(phase, ada) == [("Ada", last.pk)]
    said = AuditEvent.objects.filter(kind="choice").order_by("pk")
    assert [(event.key, event.after) for event in said] == [
        (str(best.pk), "chosen"), (str(best.pk), "not chosen"), (str(middle.pk), "chosen"),
        (str(middle.pk), "not chosen"),
    ]  # fmt: skip


def test_choosing_twice_is_written_down_once(phase, ada):
    entry = entries.scored(phase, ada.own_team, 0.9)
    for _ in range(2):
        selection.choose(entry, by=ada, at=now())
    assert AuditEvent.objects.filter(kind="choice").count() == 1


@pytest.mark.parametrize(
    ("fields", "state", "sentence"),
    [
        ({"selection": "best"}, "scored", "the best of a team's entries is on the board"),
        ({"opens": -3, "closes": -1}, "scored", "has closed: the choice stands"),
        ({}, "rejected", "This submission is rejected. Choose one that is scored"),
    ],
)
def test_a_choice_is_refused_with_the_reason(ada, fields, state, sentence):
    phase = entries.phase(entries.challenge(), **({"selection": "chosen"} | fields))
    entry = entries.submission(phase, ada.own_team, status=state)
    for act in (selection.choose, selection.unchoose):
        with pytest.raises(Refused, match=sentence):
            act(entry, by=ada, at=now())
    assert not selection.may_choose(entry, at=now())


def test_the_last_scored_submission_stands_where_the_last_counts_however_bad_it_is(ada):
    phase = entries.phase(entries.challenge(), selection="last")
    entries.scored(phase, ada.own_team, 0.9)
    last = entries.scored(phase, ada.own_team, 0.1)
    entries.submission(phase, ada.own_team, status="rejected")
    assert on_board(phase, ada) == [("Ada", last.pk)]
    (row,) = board(phase, viewer=ada, label="mito").rows
    assert row.submission == last.pk  # of every label the same


def test_what_is_disqualified_leaves_the_board_and_keeps_its_score(ada, staff):
    phase = entries.phase(entries.challenge())
    second = entries.scored(phase, ada.own_team, 0.4)
    best = entries.scored(phase, ada.own_team, 0.9)
    selection.disqualify(best, by=staff, reason="It was trained on the test crops.")
    assert on_board(phase, ada) == [("Ada", second.pk)]
    best.refresh_from_db()
    assert (best.status, best.evaluation.overall) == ("scored", 0.9)
    notice = Notice.objects.get(kind="disqualified")
    assert "trained on the test crops" in notice.text
    assert notice.team == ada.own_team
    event = AuditEvent.objects.get(kind="ruling")
    assert (event.actor, event.after, event.note) == (
        staff, "disqualified", "It was trained on the test crops."
    )  # fmt: skip
    with pytest.raises(Refused, match="disqualified already"):
        selection.disqualify(best, by=staff, reason="again")
    selection.reinstate(best, by=staff)
    assert on_board(phase, ada) == [("Ada", best.pk)]
    with pytest.raises(Refused, match="is not disqualified"):
        selection.reinstate(best, by=staff)


def test_there_is_no_ruling_without_a_reason(ada, staff):
    entry = entries.scored(entries.phase(entries.challenge()), ada.own_team, 0.4)
    with pytest.raises(Refused, match="Give the reason"):
        selection.disqualify(entry, by=staff, reason="  ")


def test_over_the_api_a_team_chooses_and_organisers_with_the_scope_rule(phase, ada, staff):
    entry = entries.scored(phase, ada.own_team, 0.4)
    url = f"/api/submissions/{entry.pk}/"
    assert api(ada).post(f"{url}choose/").json()["chosen"] is True
    assert api(ada).delete(f"{url}choose/").json()["chosen"] is False
    assert api(staff).post(f"{url}choose/").status_code == 404
    assert api(ada).post(f"{url}disqualify/", {"reason": "x"}).status_code == 403
    browser = signed_in(staff)
    assert browser.post(f"{url}disqualify/", {}, "application/json").status_code == 400
    answer = browser.post(f"{url}disqualify/", {"reason": "Copied."}, "application/json")
    assert answer.json()["disqualified"] == "Copied."
    assert api(ada).get(url).json()["disqualified"] == "Copied."
    assert api(ada).post(f"{url}choose/").json()["code"] == "cannot_stand"
    assert browser.delete(f"{url}disqualify/").json()["disqualified"] == ""


def test_the_page_has_a_button_for_the_team_alone_and_shows_a_ruling(phase, ada, staff):
    entry = entries.scored(phase, ada.own_team, 0.4)
    button = f"/submissions/{entry.pk}/choose/"
    assert button in text_of(signed_in(ada).get(entry.get_absolute_url()))
    signed_in(ada).post(button)
    entry.refresh_from_db()
    assert entry.chosen
    signed_in(ada).post(button, {"chosen": "no"})
    entry.refresh_from_db()
    assert not entry.chosen
    for stranger in (person("Bob"), staff):
        assert signed_in(stranger).post(button).status_code == 404
    selection.disqualify(entry, by=staff, reason="Copied.")
    text = text_of(signed_in(ada).get(entry.get_absolute_url()))
    assert "Copied." in text
    assert button not in text


def test_organisers_rule_in_the_admin_with_a_reason(ada, staff):
    entry = entries.scored(entries.phase(entries.challenge()), ada.own_team, 0.4)
    browser, url = signed_in(staff), "/admin/submissions/submission/"
    form = {"action": "disqualify", "_selected_action": [entry.pk]}
    text = browser.post(url, form, follow=True).content.decode()
    assert "Give the reason" in text
    text = browser.post(url, form | {"reason": "Copied."}, follow=True).content.decode()
    assert f"{entry}: off the board." in text
    entry.refresh_from_db()
    assert entry.disqualified == "Copied."
    text = browser.post(url, form | {"action": "reinstate"}, follow=True).content.decode()
    assert f"{entry}: on the board again." in text
    entry.refresh_from_db()
    assert entry.disqualified == ""
