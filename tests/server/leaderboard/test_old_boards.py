"""Boards that were replaced, for each viewer; reports; who may prepare another."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils.timezone import now

from server.accounts.models import User
from server.challenges.editions import propose
from server.challenges.models import Edition, Phase
from server.submissions import rescoring
from server.submissions.models import Evaluation
from tests.server import entries
from tests.server.making import person
from tests.server.reading import signed_in

pytestmark = pytest.mark.django_db
API = "/api/challenges/demo/phases/test/editions/"
OLD, NEW = {"Ada": 0.8, "Bob": 0.6, "Ref": 0.7}, {"Ada": 0.3, "Bob": 0.7, "Ref": 0.75}


@pytest.fixture
def phase() -> Phase:
    """Ada before Bob in edition 1; Bob before Ada in 2, published; a baseline between them."""
    phase = entries.phase(entries.challenge())
    edition = propose(phase, truth=entries.truth_version(phase.challenge, number=2),
                      protocol=phase.protocol)  # fmt: skip
    for name, score in OLD.items():
        team = entries.team(f"T{name}", person(name), baseline=name == "Ref")
        entries.evaluation(entries.scored(phase, team, score), status="scored", overall=NEW[name])
        Evaluation.objects.filter(overall=NEW[name], submission__team=team).update(
            truth=edition.truth, edition=edition, background=True
        )
    Edition.objects.filter(pk=edition.pk).update(state="scoring")
    edition.refresh_from_db()
    rescoring.publish(edition)
    person("Organiser", is_staff=True)
    return Phase.objects.get(pk=phase.pk)


def client(name: str) -> Client:
    return signed_in(User.objects.get(name=name)) if name else Client()


def scores(name: str, number: int) -> list[tuple[str, float | None]]:
    rows = client(name).get(f"{API}{number}/board/").json()["rows"]
    return [(row["team"][1:], row["score"]) for row in rows]


@pytest.mark.parametrize(
    ("visibility", "viewer", "shown"),
    [
        ("full", "", ["Ada", "Ref", "Bob"]), ("full", "Bob", ["Ada", "Ref", "Bob"]),
        ("ranks", "", []), ("ranks", "Ada", ["Ada"]), ("ranks", "Bob", ["Bob"]),
        ("own", "", []), ("own", "Ada", ["Ada"]), ("own", "Ref", ["Ref"]),
        ("staff", "", []), ("staff", "Ada", []), ("staff", "Organiser", ["Ada", "Ref", "Bob"]),
        ("ranks", "Organiser", ["Ada", "Ref", "Bob"]), ("own", "Organiser", ["Ada", "Ref", "Bob"]),
    ],
)  # fmt: skip
def test_an_old_board_shows_each_viewer_the_scores_the_new_one_does(
    phase, visibility, viewer, shown
):
    Phase.objects.update(visibility=visibility)
    for number, board in ((1, OLD), (2, NEW)):
        found = {team: score for team, score in scores(viewer, number) if score is not None}
        assert found == {name: board[name] for name in shown}


def test_under_an_embargo_no_edition_shows_a_row_or_a_score_in_its_report(phase):
    Phase.objects.update(embargo=now() + timedelta(days=1))
    for viewer in ("", "Ada", "Bob"):
        for number in (1, 2):
            assert scores(viewer, number) == []
            report = client(viewer).get(f"{API}{number}/").json()["report"]
            assert report is None or (report["rows"], report["targets"]) == ([], [])
    assert len(scores("Organiser", 1)) == 3


def test_the_report_says_who_moved_and_a_baseline_never_does(phase):
    rows = client("Organiser").get(f"{API}2/").json()["report"]["rows"]
    moved = {row["name"][1:]: (row["rank"], row["moved"]) for row in rows}
    assert moved == {
        "Ada": ([1, 2], True), "Bob": ([2, 1], True), "Ref": ([None, None], False),
    }  # fmt: skip


@pytest.mark.parametrize("viewer", ["", "Ada", "Bob"])
def test_no_participant_reads_the_number_of_anothers_submission_in_a_report(phase, viewer):
    rows = client(viewer).get(f"{API}2/").json()["report"]["rows"]
    for row in rows:
        assert (row["submission"] == [None, None]) is (row["name"] != f"T{viewer}")


@pytest.mark.parametrize("viewer", ["", "Ada"])
@pytest.mark.parametrize("act", ["plan/", "rescore/", "publish/", "discard/", ""])
def test_participants_prepare_nothing(phase, viewer, act):
    before = list(Edition.objects.values())
    url = f"{API}1/{act}" if act else API
    ask = client(viewer).get if act == "plan/" else client(viewer).post
    assert ask(url).status_code in (401, 403)
    assert list(Edition.objects.values()) == before


@pytest.mark.parametrize(
    "wish",
    [{"truth": 0}, {"truth": -1}, {"truth": 2**31}, {"truth": "two"}, {"truth": None},
     {"truth": [1]}, {"protocol": None}, {"protocol": ""}, {"protocol": "x" * 41},
     {"note": "x" * 1001}, {"note": None}, {"note": "a\x00b"}],
)  # fmt: skip
def test_a_proposal_that_makes_no_sense_changes_nothing(phase, wish):
    answer = client("Organiser").post(API, wish, "application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert Edition.objects.count() == 2


@pytest.mark.parametrize("number", [0, 3, 10**6, 10**30])
@pytest.mark.parametrize("path", ["", "board/", "board.csv", "plan/"])
def test_an_edition_that_does_not_exist_is_not_found(phase, number, path):
    assert client("Organiser").get(f"{API}{number}/{path}").status_code == 404


def test_what_was_replaced_is_neither_published_nor_discarded_nor_scored_again(phase):
    browser = client("Organiser")
    for act in ("publish/", "discard/", "rescore/"):
        answer = browser.post(f"{API}1/{act}")
        assert (answer.status_code, "replaced" in answer.json()["detail"]) == (409, True)
    assert scores("", 1) == [("Ada", 0.8), ("Ref", 0.7), ("Bob", 0.6)]


@pytest.mark.parametrize(
    ("query", "status", "numbers"),
    [("", 200, [2, 1]), ("page_size=1", 200, [2]), ("page_size=1&page=2", 200, [1]),
     ("page=2", 404, None), ("page=x", 404, None), ("page_size=0", 200, [2, 1])],
)  # fmt: skip
def test_editions_come_in_pages_newest_first(phase, query, status, numbers):
    answer = Client().get(f"{API}?{query}")
    assert answer.status_code == status
    if numbers is not None:
        assert [row["number"] for row in answer.json()["results"]] == numbers


def test_an_organiser_without_rights_in_the_admin_publishes_nothing_there(phase):
    draft = propose(phase, truth=phase.truth, protocol=phase.protocol)
    browser = client("Organiser")
    for act in ("rescore", "publish", "discard"):
        wish = {"action": act, "_selected_action": [draft.pk]}
        assert browser.post("/admin/challenges/edition/", wish).status_code == 403
    draft.refresh_from_db()
    assert draft.state == "draft"
