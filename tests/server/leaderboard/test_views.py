import pytest
from django.test import Client

from tests.server import entries
from tests.server.making import person
from tests.server.reading import signed_in, text_of

pytestmark = pytest.mark.django_db
PAGE = "/challenges/demo/test/leaderboard/"


def test_a_visitor_reads_rank_team_method_score_and_date():
    phase = entries.phase(entries.challenge())
    entries.scored(phase, person("Ada").own_team, 0.75, mito=0.6, membrane=0.9, method="UNet")
    text = text_of(Client().get(PAGE))
    for word in ("Ada", "UNet", "0.750", "0.600", "0.900", "1 Jan 2030", "board.csv"):
        assert word in text


def test_the_board_of_a_label_shows_the_labels_score_and_no_parts():
    phase = entries.phase(entries.challenge())
    entries.scored(phase, person("Ada").own_team, 0.75, mito=0.61, membrane=0.92)
    text = text_of(Client().get(f"{PAGE}?label=mito"))
    assert "0.610" in text
    assert "0.750" not in text
    assert "0.920" not in text
    assert "board.csv?label=mito" in text


def test_ties_share_a_rank_and_baselines_are_flagged_without_one():
    phase = entries.phase(entries.challenge())
    entries.scored(phase, person("Ada").own_team, 0.5)
    entries.scored(phase, person("Bob").own_team, 0.5)
    entries.scored(phase, entries.team("Reference", person("Eve"), baseline=True), 0.9)
    answer = Client().get(PAGE)
    assert [row.rank for row in answer.context["board"].rows] == [None, 1, 1]
    assert "baseline" in text_of(answer)
    assert "not ranked" in text_of(answer)


@pytest.mark.parametrize(
    ("dates", "advice"),
    [
        ({"opens": -1, "closes": 1}, "the first place is free"),
        ({"opens": 1, "closes": 2}, "opens on"),
        ({"opens": -2, "closes": -1}, "Nothing was scored in this phase"),
    ],
)
def test_an_empty_board_says_what_to_do(dates, advice):
    entries.phase(entries.challenge(), **dates)
    assert advice in text_of(Client().get(PAGE))


def test_an_unknown_label_phase_or_challenge_is_not_found():
    entries.phase(entries.challenge())
    addresses = [f"{PAGE}?label=golgi", PAGE.replace("test", "no"), PAGE.replace("demo", "no")]
    for url in addresses:
        assert Client().get(url).status_code == 404


def test_outsider_and_rival_never_see_numbers_of_a_ranks_phase_and_the_team_sees_its_own():
    phase = entries.phase(entries.challenge(), visibility="ranks")
    ada, bob = person("Ada"), person("Bob")
    entries.scored(phase, ada.own_team, 0.123456, mito=0.234567, membrane=0.345678)
    for client in (Client(), signed_in(bob)):
        for url in (PAGE, f"{PAGE}?label=mito"):
            text = text_of(client.get(url))
            assert "Ada" in text
            assert "not shown" in text
            assert not any(number in text for number in ("0.12", "0.23", "0.34", "12.35", "23.46"))
    assert "0.123" in text_of(signed_in(ada).get(PAGE))
    assert "0.123" in text_of(signed_in(person("Organiser", is_staff=True)).get(PAGE))


@pytest.mark.parametrize("visibility", ["own", "staff"])
def test_outsider_and_rival_see_no_row_of_a_hidden_phase(visibility):
    phase = entries.phase(entries.challenge(), visibility=visibility)
    entries.scored(phase, person("Ada").own_team, 0.987654, method="Secret sauce")
    for client in (Client(), signed_in(person("Bob"))):
        text = text_of(client.get(PAGE))
        assert "Secret sauce" not in text
        assert "0.98" not in text
    assert "Secret sauce" in text_of(signed_in(person("Organiser", is_staff=True)).get(PAGE))


def test_only_ones_own_rows_lead_to_submissions():
    phase = entries.phase(entries.challenge())
    ada, bob = person("Ada"), person("Bob")
    mine = entries.scored(phase, ada.own_team, 0.5)
    other = entries.scored(phase, bob.own_team, 0.6)
    text = text_of(signed_in(ada).get(PAGE))
    assert f"/submissions/{mine.pk}/" in text
    assert f"/submissions/{other.pk}/" not in text


def test_many_labels_are_a_list_to_choose_from():
    phase = entries.phase(entries.challenge())
    kinds = [{"name": f"label{n}", "kind": "semantic"} for n in range(13)]
    type(phase.truth).objects.filter(pk=phase.truth.pk).update(labels=kinds)
    text = text_of(Client().get(f"{PAGE}?label=label7"))
    assert '<option value="label7" selected>' in text


def test_a_name_with_markup_is_shown_as_text():
    phase = entries.phase(entries.challenge())
    team = entries.team("<b>Bold</b>", person("Ada"))
    entries.scored(phase, team, 0.5, method="<script>alert(1)</script>")
    text = text_of(Client().get(PAGE))
    assert "<b>Bold" not in text
    assert "<script>alert" not in text
