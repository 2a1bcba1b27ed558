import pytest
from django.test import Client
from django.utils.timezone import now

from server.notices import outbox
from server.notices.models import Receipt
from server.scoring import version as installed
from server.submissions.models import Evaluation, Item, Submission
from tests.server import entries
from tests.server.making import entered, person
from tests.server.reading import signed_in, text_of

pytestmark = pytest.mark.django_db


def published(visibility="full", **fields):
    return entries.phase(entries.challenge(), visibility=visibility, **fields)


def page(row):
    return f"/submissions/{row.pk}/"


def test_an_empty_list_says_what_to_do(ada):
    assert "You have submitted nothing yet" in text_of(signed_in(ada).get("/submissions/"))


def test_the_list_holds_ones_own_and_an_organiser_sees_all(ada):
    phase, bob = published(), person("Bob")
    entries.scored(phase, ada.own_team, 0.512, method="Of Ada")
    entries.scored(phase, bob.own_team, 0.623, method="Of Bob")
    text = text_of(signed_in(ada).get("/submissions/"))
    assert "Of Ada" in text
    assert "0.512" in text
    assert "Of Bob" not in text
    text = text_of(signed_in(person("Organiser", is_staff=True)).get("/submissions/"))
    assert "All submissions" in text
    assert "Of Ada" in text
    assert "Of Bob" in text


def test_members_see_submissions_of_their_team_and_others_do_not(ada):
    bob = person("Bob")
    row = entries.scored(published(), entries.team("Lab", ada, bob), 0.5)
    for user in (ada, bob):
        text_of(signed_in(user).get(page(row)))
    assert signed_in(person("Eve")).get(page(row)).status_code == 404


def test_a_long_list_comes_in_pages(ada):
    phase = published()
    for _ in range(51):
        entries.submission(phase, ada.own_team, status="failed")
    client = signed_in(ada)
    assert "Page 1 of 2" in text_of(client.get("/submissions/"))
    assert len(client.get("/submissions/?page=2").context["rows"]) == 1
    assert "Page 2 of 2" in text_of(client.get("/submissions/?page=999"))


def test_the_list_takes_as_many_queries_for_one_as_for_ten(ada, django_assert_max_num_queries):
    phase, client = published(), signed_in(ada)
    for _ in range(10):
        entries.scored(phase, ada.own_team, 0.5)
    with django_assert_max_num_queries(8):
        client.get("/submissions/")


def test_a_rival_and_a_visitor_find_no_page_no_live_part_and_nothing_to_cancel(ada):
    row = entries.submission(published(), ada.own_team)
    rival = signed_in(person("Bob"))
    assert rival.get(page(row)).status_code == 404
    assert rival.get(f"{page(row)}live/").status_code == 404
    assert rival.post(f"{page(row)}cancel/").status_code == 404
    for url in (page(row), f"{page(row)}live/"):
        assert Client().get(url)["Location"].startswith("/accounts/login/")
    row.refresh_from_db()
    assert row.status == "scoring"


def test_a_scored_submission_shows_scores_parts_rules_and_the_result_to_its_team(ada):
    row = entries.scored(published(), ada.own_team, 0.512, mito=0.4, membrane=0.625)
    text = text_of(signed_in(ada).get(page(row)))
    for word in ("0.512", "0.400", "0.625", "0.200", "crista-1", "truth version 1", "entry-"):
        assert word in text
    assert f"/api/submissions/{row.pk}/result/" in text
    assert row.upload.sha256 in text
    assert "Every target" not in text
    assert "htmx.min.js" not in text  # nothing lives here any more
    assert signed_in(ada).get(f"/api/submissions/{row.pk}/result/").content


@pytest.mark.parametrize("visibility", ["ranks", "own"])
def test_a_hidden_phase_shows_three_digits_and_no_result_to_its_team(ada, visibility):
    row = entries.scored(published(visibility), ada.own_team, 0.512345, mito=0.412345)
    text = text_of(signed_in(ada).get(page(row)))
    assert "0.512" in text
    assert "0.412" in text
    assert "0.5123" not in text
    assert "/result/" not in text
    assert "three" in text or "3 decimals" in text


def test_a_staff_phase_shows_progress_and_no_number_to_its_team(ada):
    row = entries.scored(published("staff"), ada.own_team, 0.512345, mito=0.412345, membrane=0.7)
    client = signed_in(ada)
    for url in (page(row), "/submissions/", f"{page(row)}live/"):
        text = client.get(url).content.decode()
        assert not any(number in text for number in ("0.51", "0.41", "0.70", "41.23", "0.20"))
    assert "publish scores later" in text_of(client.get(page(row)))
    organiser = signed_in(person("Organiser", is_staff=True))
    assert "0.512" in text_of(organiser.get(page(row)))


def test_a_live_submission_polls_and_one_that_ended_does_not(ada):
    phase, client = published(), signed_in(ada)
    live = entries.submission(phase, ada.own_team)
    entries.evaluation(live, done=1)
    text = text_of(client.get(page(live)))
    assert 'hx-trigger="every 2s"' in text
    assert "1 of 3 targets scored, 0 of 2 labels complete" in text
    assert 'value="4096" max="200704"' in text  # the bar shows voxels
    assert "1 with a first value" in text
    assert f"{page(live)}cancel/" in text
    ended = entries.scored(phase, ada.own_team, 0.5)
    part = client.get(f"{page(ended)}live/").content.decode()
    assert "hx-trigger" not in part
    assert "<html" not in part


def test_a_live_submission_says_how_many_come_before_it_and_when_it_ends(ada):
    phase, client, bob = published(), signed_in(ada), person("Bob")
    theirs = entries.evaluation(entries.submission(phase, bob.own_team))
    mine = entries.submission(phase, ada.own_team)
    scoring = entries.evaluation(mine, done=1)
    theirs.items.update(team=bob.own_team)
    scoring.items.update(team=ada.own_team)
    Evaluation.objects.update(evaluator=installed())
    text = text_of(client.get(page(mine)))
    assert "1 target of other teams comes before your next one" in text
    assert "shows once something was scored" in text
    theirs.items.all().delete()
    scoring.items.filter(status="scored").update(seconds=1.0)
    text = text_of(client.get(page(mine)))
    assert "is the next to be scored" in text
    assert "Done in about 50 seconds" in text  # 196,608 voxels at 4,096 in a second


def test_quota_is_shown_to_members_while_the_phase_is_open_and_to_nobody_else(ada):
    row = entries.scored(published(per_day=5), ada.own_team, 0.5, created=now())
    text = text_of(signed_in(ada).get(page(row)))
    assert "What your team may still submit" in text
    assert "4 of 5 left" in text
    organiser = signed_in(person("Organiser", is_staff=True))
    assert "What your team may still submit" not in text_of(organiser.get(page(row)))
    closed = entries.phase(row.phase.challenge, "old", opens=-9, closes=-1)
    late = entries.scored(closed, ada.own_team, 0.5)
    assert "What your team may still submit" not in text_of(signed_in(ada).get(page(late)))


def test_opening_the_page_shows_its_notices_and_counts_them_as_read(ada):
    row = entries.scored(published(), ada.own_team, 0.5)
    about = {"subject": "It was scored", "text": "Look at `it`.", "facts": {}}
    outbox.tell("scored", team=ada.own_team, path=row.get_absolute_url(), **about)
    outbox.tell("scored", team=ada.own_team, path="/submissions/0/", **about)
    client = signed_in(ada)
    client.get(f"{page(row)}live/")
    assert Receipt.objects.unread().count() == 2  # a poll reads nothing
    text = text_of(client.get(page(row)))
    assert text.count("It was scored") == 1
    assert Receipt.objects.unread().count() == 1


def test_a_team_chooses_on_the_page_where_the_phase_lets_it(ada):
    row = entries.scored(published(selection="chosen"), ada.own_team, 0.5)
    client = signed_in(ada)
    assert "Put this submission on the board" in text_of(client.get(page(row)))
    client.post(f"{page(row)}choose/")
    assert "Your team chose this submission" in text_of(client.get(page(row)))
    other = entries.scored(entries.phase(row.phase.challenge, "b"), ada.own_team, 0.5)
    assert "Put this submission on the board" not in text_of(client.get(page(other)))


def test_a_disqualified_submission_tells_its_team_the_reason(ada):
    row = entries.scored(published(), ada.own_team, 0.5)
    Submission.objects.filter(pk=row.pk).update(disqualified="Trained on <the> test set.")
    text = text_of(signed_in(ada).get(page(row)))
    assert "took this submission off the board" in text
    assert "Trained on &lt;the&gt; test set." in text


def test_a_poll_is_answered_304_until_something_changes(ada):
    row = entries.submission(published(), ada.own_team)
    scoring = entries.evaluation(row, done=1)
    client = signed_in(ada)
    first = client.get(f"{page(row)}live/")
    tag = first["ETag"]
    assert first.context["etag"] == tag
    again = client.get(f"{page(row)}live/", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")
    item = Item.objects.filter(evaluation=scoring, status="queued").first()
    done = Item.objects.filter(evaluation=scoring, status="scored").first()
    score = done.score | {"crop": item.crop, "label": item.label}
    Item.objects.filter(pk=item.pk).update(status="scored", score=score)
    changed = client.get(f"{page(row)}live/", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert "2 of 3 targets scored" in changed.content.decode()


def test_a_polled_part_tells_screen_readers_and_a_first_page_does_not(ada):
    row = entries.submission(published(), ada.own_team)
    entries.evaluation(row, done=1)
    client = signed_in(ada)
    polled = client.get(f"{page(row)}live/", headers={"HX-Request": "true"}).content.decode()
    assert 'hx-swap-oob="innerHTML">Scoring, 0 of 2 labels complete' in polled
    assert "hx-swap-oob" not in text_of(client.get(page(row)))


def rejected(team, *problems):
    """A rejected entry whose report holds these problems."""
    row = entries.submission(published(), team, status="rejected")
    report = {"accepted": False, "problems": list(problems), "targets": {}}
    fields = {"report": report, "blame": "participant", "quota_used": False, "message": "M no."}
    Submission.objects.filter(pk=row.pk).update(**fields)
    return row


def problem(severity="unscored", code="wrong_shape", **fields):
    usual = {
        "code": code, "severity": severity, "message": f"M {severity} <b>.", "remedy": "Do it.",
        "crop": "crop1", "label": "mito", "expected": "(1, 2, 3)", "got": "(3, 2, 1)",
    }  # fmt: skip
    return usual | fields


def test_every_problem_of_the_report_is_shown_with_its_remedy_and_what_follows(ada):
    row = rejected(ada.own_team, *(problem(s, "a") for s in ("reject", "unscored", "ignored")))
    text = text_of(signed_in(ada).get(page(row)))
    for word in ("rejects", "counts as worst", "costs nothing", "M reject &lt;b&gt;.", "Do it."):
        assert word in text
    assert "must be mended" in text
    assert "Quota used: no." in text
    assert "Submit again" in text
    assert "/problems/a/" not in text  # a code of another version has no page here


def test_problems_of_a_kind_stand_together_with_both_sides_and_the_page_that_says_more(ada):
    many = [problem(label=f"label{n}", remedy="Write it anew.") for n in range(60)]
    row = rejected(ada.own_team, problem("reject", "not_a_zip", label=None), *many)
    client = signed_in(ada)
    text = text_of(client.get(page(row)))
    assert text.count("Write it anew.") == 1
    assert "60 places" in text
    assert "crop1/label49" in text
    assert "crop1/label50" not in text  # the API has all
    assert text.count("(1, 2, 3)") == 50
    assert text.index("not_a_zip") < text.index("wrong_shape")
    assert client.get("/problems/wrong_shape/").status_code == 200
    assert '"/problems/wrong_shape/"' in text


def test_a_report_of_an_older_version_is_shown_by_its_messages(ada):
    old = [problem(message=f"M{n}.") for n in range(2)]
    for row in old:
        del row["expected"], row["got"]
    text = text_of(signed_in(ada).get(page(rejected(ada.own_team, *old))))
    assert "M0." in text
    assert "M1." in text


def test_a_failure_of_the_organisers_asks_the_team_to_wait(ada):
    row = entries.submission(published(), ada.own_team, status="failed")
    Submission.objects.filter(pk=row.pk).update(blame="organiser", message="It is set aside.")
    text = text_of(signed_in(ada).get(page(row)))
    assert "The organisers must act" in text
    assert "Wait: the organisers were told" in text
    assert "Nothing is wrong with your file and" not in text


def test_a_failure_of_ours_names_its_incident_and_blames_nobody_else(ada):
    row = entries.submission(published(), ada.own_team, status="failed")
    Submission.objects.filter(pk=row.pk).update(
        blame="system", incident="8f3a11c2", message="Something broke (incident 8f3a11c2).",
        quota_used=False,
    )  # fmt: skip
    text = text_of(signed_in(ada).get(page(row)))
    assert "The fault is ours" in text
    assert "8f3a11c2" in text
    assert "/problems/incident/" in text


def test_cancelling_from_the_page_stops_it_and_twice_is_refused_with_a_sentence(ada):
    row = entries.submission(published(), ada.own_team)
    entries.evaluation(row, done=1)
    client = signed_in(ada)
    assert client.get(f"{page(row)}cancel/").status_code == 405
    assert "is cancelled" in text_of(client.post(f"{page(row)}cancel/", follow=True))
    row.refresh_from_db()
    assert row.status == "cancelled"
    assert "cancelled already" in text_of(client.post(f"{page(row)}cancel/", follow=True))


def test_a_form_from_another_site_cannot_cancel(ada):
    row = entries.submission(published(), ada.own_team)
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    answer = client.post(f"{page(row)}cancel/")
    assert answer.status_code == 403
    assert "send the form again" in answer.content.decode()


def test_the_upload_page_offers_open_phases_and_ones_own_teams(ada):
    challenge = entries.challenge()
    entries.phase(challenge, "open", per_day=4)
    entries.phase(challenge, "past", opens=-9, closes=-1)
    entries.team("Lab", ada)
    entries.team("Rivals", person("Bob"))
    text = text_of(signed_in(ada).get("/challenges/demo/submit/"))
    assert '<option value="open">' in text
    assert '<option value="past">' not in text
    assert '<option value="lab">' in text
    assert "Rivals" not in text
    assert "4 of 4 left" in text
    assert "<noscript>" in text
    assert 'data-uploads="/api/uploads/"' in text


def test_the_upload_page_chooses_the_phase_of_the_board_one_came_from(ada):
    challenge = entries.challenge()
    entries.phase(challenge, "one")
    entries.phase(challenge, "two")
    text = text_of(signed_in(ada).get("/challenges/demo/submit/?phase=two"))
    assert '<option value="two" selected>' in text


def test_the_upload_page_says_beforehand_what_would_be_refused(ada):
    phase = published()
    entries.submission(phase, ada.own_team, status="scoring")
    text = text_of(signed_in(ada).get("/challenges/demo/submit/"))
    assert "under way" in text
    assert "not now" in text


def test_without_an_open_phase_there_is_no_form(ada):
    published(opens=-9, closes=-1)
    text = text_of(signed_in(ada).get("/challenges/demo/submit/"))
    assert "No phase of this challenge is open now" in text
    assert "data-upload" not in text


def test_the_upload_page_asks_a_visitor_to_log_in():
    published()
    assert Client().get("/challenges/demo/submit/")["Location"].startswith("/accounts/login/")


def test_a_real_submission_shows_the_same_score_on_its_page_and_on_the_board(phase, work, packed):
    """The whole way through real parts: bytes, queue, worker, score, page, board."""
    ada = person("Ada")
    row = entered(phase, ada, packed.read_bytes())
    client = signed_in(ada)
    assert "Wait: the check begins" in text_of(client.get(page(row)))
    work()
    text = text_of(client.get(page(row)))
    assert "Look at the scores" in text
    assert "Nothing to complain about" in text
    row.refresh_from_db()
    shown = f"{row.evaluation.overall:.3f}"
    assert shown in text
    assert shown in text_of(Client().get("/challenges/made-up/test/leaderboard/"))
