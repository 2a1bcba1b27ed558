import csv
import io

import pytest
from django.test import Client

from server.accounts.models import User
from server.challenges.editions import adopt, propose
from server.challenges.models import Edition, Phase, ProtocolVersion
from server.errors import IllegalTransition
from server.submissions import rescoring
from server.submissions.models import Evaluation
from tests.server import entries
from tests.server.making import api, person
from tests.server.reading import signed_in, text_of

pytestmark = pytest.mark.django_db
API = "/api/challenges/demo/phases/test/editions/"
PAGE = "/challenges/demo/test/editions/"


@pytest.fixture
def phase():
    """Ada before Bob in the first edition, behind him in the second, which is ready."""
    phase = entries.phase(entries.challenge())
    for name, was, now in (("Ada", 0.8, 0.3), ("Bob", 0.6, 0.7)):
        entry = entries.scored(phase, person(name).own_team, was)
        entries.evaluation(entry, status="scored", done=3, overall=now)
    edition = propose(phase, truth=entries.truth_version(phase.challenge, number=2),
                      protocol=phase.protocol, note="mended crop 1")  # fmt: skip
    again = Evaluation.objects.filter(overall__in=(0.3, 0.7))
    again.update(truth=edition.truth, edition=edition, background=True)
    Edition.objects.filter(pk=edition.pk).update(state="scoring")
    edition.refresh_from_db()
    rescoring.settle(edition)
    return phase


def rows(answer) -> list[tuple[str, float]]:
    return [(row["team"], row["score"]) for row in answer.json()["rows"]]


def test_a_new_phase_has_its_first_edition_published():
    phase = entries.phase(entries.challenge())
    edition = phase.editions.get()
    assert (edition.number, edition.state, edition.truth) == (1, "published", phase.truth)
    phase.title = "Other"
    phase.save()
    assert phase.editions.count() == 1


def test_what_is_in_preparation_is_for_organisers_alone(phase, staff):
    for client in (Client(), signed_in(person("Eve"))):
        assert [row["number"] for row in client.get(API).json()["results"]] == [1]
        for url in (f"{API}2/", f"{API}2/board/", f"{API}2/board.csv", f"{PAGE}2/"):
            assert client.get(url).status_code == 404
    browser = signed_in(staff)
    assert [row["state"] for row in browser.get(API).json()["results"]] == ["ready", "published"]
    assert rows(browser.get(f"{API}2/board/")) == [("Bob", 0.7), ("Ada", 0.3)]
    text = text_of(browser.get(f"{PAGE}2/"))
    assert "Organisers alone see it" in text
    assert "0.800 → 0.300" in text
    assert rows(Client().get(f"{API}1/board/")) == [("Ada", 0.8), ("Bob", 0.6)]


def test_over_the_api_organisers_see_plan_and_report_and_publish(phase, staff):
    browser = signed_in(staff)
    plan = browser.get(f"{API}2/plan/").json()
    assert (plan["submissions"], plan["items"]) == (2, 6)
    shown = browser.get(f"{API}2/").json()
    assert shown["progress"]["complete"]
    moves = [(row["name"], row["rank"]) for row in shown["report"]["rows"]]
    assert moves == [("Bob", [2, 1]), ("Ada", [1, 2])]
    assert all(row["moved"] for row in shown["report"]["rows"])
    assert browser.post(f"{API}2/publish/").json()["state"] == "published"
    assert browser.post(f"{API}2/publish/").json()["code"] == "not_ready"
    assert browser.post(f"{API}2/discard/").json()["code"] == "not_in_preparation"
    assert Phase.objects.get(pk=phase.pk).truth.number == 2


def test_the_old_board_stays_at_its_address_after_publication(phase):
    rescoring.publish(phase.editions.get(number=2))
    assert rows(Client().get("/api/challenges/demo/phases/test/board/"))[0] == ("Bob", 0.7)
    assert rows(Client().get(f"{API}1/board/")) == [("Ada", 0.8), ("Bob", 0.6)]
    table = csv.DictReader(io.StringIO(Client().get(f"{API}1/board.csv").content.decode()))
    assert [row["team"] for row in table] == ["Ada", "Bob"]
    text = text_of(Client().get(f"{PAGE}1/"))
    assert "keeps showing the board as it was" in text
    assert "board.csv" in text
    text = text_of(Client().get(f"{PAGE}2/"))
    assert "What this edition changed" in text
    assert "mended crop 1" in text
    late = entries.scored(Phase.objects.get(pk=phase.pk), person("Late").own_team, 0.9)
    assert late.team.name not in str(rows(Client().get(f"{API}1/board/")))


@pytest.mark.parametrize(
    ("visibility", "expected"),
    [
        ("full", [("Bob", [2, 1], [0.6, 0.7]), ("Ada", [1, 2], [0.8, 0.3])]),
        ("ranks", [("Bob", [2, 1], [None, None]), ("Ada", [1, 2], [0.8, 0.3])]),
        ("own", [("Ada", [None, None], [0.8, 0.3])]),
        ("staff", []),
    ],
)
def test_a_report_shows_each_viewer_what_its_phase_does(phase, visibility, expected):
    rescoring.publish(phase.editions.get(number=2))
    Phase.objects.filter(pk=phase.pk).update(visibility=visibility)
    ada = User.objects.get(name="Ada")
    shown = api(ada).get(f"{API}2/").json()
    found = [(row["name"], row["rank"], row["score"]) for row in shown["report"]["rows"]]
    assert found == expected
    assert shown["progress"] is None
    assert all(
        row["submission"] == [None, None] for row in shown["report"]["rows"] if row["name"] == "Bob"
    )


def test_an_unknown_label_of_an_edition_is_not_found(phase):
    assert Client().get(f"{API}1/board/?label=golgi").json()["code"] == "unknown_label"
    assert Client().get(f"{PAGE}1/?label=golgi").status_code == 404


def test_organisers_propose_over_the_api_and_are_told_what_there_is(phase, staff):
    browser = signed_in(staff)
    kind = "application/json"
    answer = browser.post(API, {"protocol": "cellmap-2026.1", "note": "as the others"}, kind)
    assert answer.status_code == 201
    assert (answer.json()["number"], answer.json()["state"]) == (3, "draft")
    assert phase.editions.get(number=2).state == "discarded"
    again = browser.post(API, {"protocol": "cellmap-2026.1"}, kind)
    assert again.json()["number"] == 3
    unknown = browser.post(API, {"truth": 9}, kind).json()
    assert (unknown["code"], "There are 1, 2" in unknown["detail"]) == ("unknown_truth", True)
    assert browser.post(API, {"protocol": "x"}, kind).json()["code"] == "unknown_protocol"
    assert browser.post(f"{API}3/discard/").json()["state"] == "discarded"


def test_in_the_admin_an_edition_is_planned_published_and_not_twice(phase, staff):
    browser, url = signed_in(staff), "/admin/challenges/edition/"
    edition = phase.editions.get(number=2)
    assert "0 of 0 items recomputed" not in browser.get(url).content.decode()

    def act(name: str) -> str:
        form = {"action": name, "_selected_action": [edition.pk]}
        return browser.post(url, form, follow=True).content.decode()

    assert "items of 2 submissions to compute" in act("show_plan")
    assert "is under way" in act("rescore")
    assert "is published" in act("publish")
    assert "cannot be published yet" in act("publish")
    assert "only one that is not yet published" in act("discard")


def test_a_phase_without_scores_takes_a_new_truth_at_once(staff):
    phase = entries.phase(entries.challenge())
    truth = entries.truth_version(phase.challenge, number=2)
    assert adopt(phase, truth=truth, protocol=phase.protocol, by=staff)
    assert Phase.objects.get(pk=phase.pk).truth == truth
    assert [row.state for row in phase.editions.order_by("number")] == ["replaced", "published"]
    assert adopt(phase, truth=truth, protocol=phase.protocol, by=staff)
    assert phase.editions.count() == 2


def test_a_step_that_makes_no_sense_is_a_mistake_of_ours(phase):
    edition = phase.editions.get(number=1)
    with pytest.raises(IllegalTransition, match="published → discarded"):
        rescoring.move(edition, "discarded")


def test_an_edition_of_the_same_rules_shows_its_own_scores_only_when_published(staff):
    """As after another evaluator was installed: truth and protocol are what they were."""
    phase = entries.phase(entries.challenge())
    entry = entries.scored(phase, person("Ada").own_team, 0.5)
    edition = propose(phase, truth=phase.truth, protocol=ProtocolVersion.present("crista-1"))
    entries.evaluation(entry, status="scored", done=3, overall=0.6)
    Evaluation.objects.filter(overall=0.6).update(edition=edition, background=True)
    Edition.objects.filter(pk=edition.pk).update(state="scoring")
    edition.refresh_from_db()
    rescoring.settle(edition)
    present = "/api/challenges/demo/phases/test/board/"
    assert rows(Client().get(present)) == [("Ada", 0.5)]
    rescoring.publish(edition)
    assert rows(Client().get(present)) == [("Ada", 0.6)]
    assert rows(Client().get(f"{API}1/board/")) == [("Ada", 0.5)]
