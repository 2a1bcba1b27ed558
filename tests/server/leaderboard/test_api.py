import csv
import io

import pytest
from django.test import Client

from tests.server import entries
from tests.server.making import api, person

pytestmark = pytest.mark.django_db
BOARD = "/api/challenges/demo/phases/test/board/"
TABLE = "/api/challenges/demo/phases/test/board.csv"


@pytest.fixture
def phase():
    phase = entries.phase(entries.challenge())
    entries.scored(
        phase,
        person("Ada").own_team,
        0.75,
        mito=0.6,
        membrane=0.9,
        method="UNet",
        created=entries.BEGAN,
    )
    return phase


def table(answer):
    return list(csv.DictReader(io.StringIO(answer.content.decode())))


def test_the_board_as_json_has_the_fields_of_a_row(phase):
    (row,) = Client().get(BOARD).json()["rows"]
    submitted = row.pop("submitted")
    assert submitted == "2030-01-01T12:00:00Z"
    assert row == {
        "rank": 1, "team": "Ada", "method": "UNet", "score": 0.75, "instance": 0.6,
        "semantic": 0.9, "baseline": False,
    }  # fmt: skip


def test_the_board_as_csv_has_the_same_rows(phase):
    answer = Client().get(TABLE)
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == 'attachment; filename="board-demo-test.csv"'
    (row,) = table(answer)
    assert [row[name] for name in ("rank", "team", "score")] == ["1", "Ada", "0.75"]
    assert row["baseline"] == "False"


def test_the_board_of_a_label_has_its_score(phase):
    assert Client().get(f"{BOARD}?label=mito").json()["rows"][0]["score"] == 0.6
    assert table(Client().get(f"{TABLE}?label=membrane"))[0]["score"] == "0.9"


@pytest.mark.parametrize("url", [BOARD, TABLE])
def test_an_unknown_label_is_refused_with_those_that_exist(phase, url):
    answer = Client().get(f"{url}?label=golgi")
    assert answer.status_code == 404
    assert answer.json()["code"] == "unknown_label"
    assert "membrane, mito" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["challenges/no/phases/test", "challenges/demo/phases/no"])
def test_a_board_that_does_not_exist_is_not_found(phase, path):
    assert Client().get(f"/api/{path}/board/").status_code == 404
    assert Client().get(f"/api/{path}/board.csv").status_code == 404


def test_hidden_numbers_are_in_neither_form_for_outsider_and_rival():
    phase = entries.phase(entries.challenge(), visibility="ranks")
    ada, bob = person("Ada"), person("Bob")
    entries.scored(phase, ada.own_team, 0.123456, mito=0.234567, membrane=0.345678)
    for client in (api(), api(bob)):
        for url in (BOARD, TABLE, f"{BOARD}?label=mito", f"{TABLE}?label=mito"):
            text = client.get(url).content.decode()
            assert "Ada" in text
            for hidden in ("0.12", "0.23", "0.34"):
                assert hidden not in text
    assert api(ada).get(BOARD).json()["rows"][0]["score"] == 0.123
    assert table(api(ada).get(TABLE))[0]["score"] == "0.123"
    organiser = person("Organiser", is_staff=True)
    assert api(organiser).get(BOARD).json()["rows"][0]["score"] == 0.123456


@pytest.mark.parametrize("visibility", ["own", "staff"])
def test_hidden_entries_are_in_neither_form(visibility):
    phase = entries.phase(entries.challenge(), visibility=visibility)
    entries.scored(phase, person("Ada").own_team, 0.5)
    for client in (api(), api(person("Bob"))):
        assert client.get(BOARD).json() == {"rows": []}
        assert table(client.get(TABLE)) == []


def test_a_name_that_a_spreadsheet_would_compute_is_text_in_the_csv():
    phase = entries.phase(entries.challenge())
    team = entries.team("=1+1", person("Ada"))
    entries.scored(phase, team, 0.5, method="@SUM(A1)")
    (row,) = table(Client().get(TABLE))
    assert (row["team"], row["method"]) == ("'=1+1", "'@SUM(A1)")


def test_an_empty_board_is_a_list_without_rows():
    entries.phase(entries.challenge())
    assert Client().get(BOARD).json() == {"rows": []}
    assert Client().get(TABLE).content.decode().count("\n") == 1
