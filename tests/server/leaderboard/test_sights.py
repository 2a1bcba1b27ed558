"""Who sees which number where: visibility, embargo, detail and digits, on board, table and page."""

import csv
import io
from datetime import timedelta

import pytest
from django.test import Client
from django.utils.timezone import now

from server.accounts.models import User
from server.challenges.models import Phase
from server.submissions import selection
from tests.server import entries
from tests.server.making import api, person
from tests.server.reading import signed_in, text_of

pytestmark = pytest.mark.django_db
API = "/api/challenges/demo/phases/test/"
SCORE, MITO, MEMBRANE = 0.123456, 0.234567, 0.345678
# What a viewer gets of Ada's row: its rank, score, mito on its own board, mito as a part; "-": no
# row.  Viewers: a visitor, a rival, Ada herself, an organiser.
ALL = (1, SCORE, MITO, MITO)
FULL = (ALL, ALL, ALL, ALL)
UNSEEN = ("-", "-", "-", ALL)
RANKED = (1, None, None, None)
TABLE = [
    ("full", "overall", 1, False, FULL),
    ("full", "target", 0, False, FULL),
    ("full", "label", 3, True, UNSEEN),
    ("ranks", "overall", 2, False, ((1, None, "-", None), (1, None, "-", None),
                                    (1, 0.12, "-", None), ALL)),
    ("ranks", "label", 2, False, (RANKED, RANKED, (1, 0.12, 0.23, 0.23), ALL)),
    ("ranks", "target", 0, False, (RANKED, RANKED, (1, 0.0, 0.0, 0.0), ALL)),
    ("ranks", "label", 15, False, (RANKED, RANKED, ALL, ALL)),
    ("ranks", "target", 3, True, UNSEEN),
    ("own", "overall", 3, False, ("-", "-", (None, 0.123, "-", None), ALL)),
    ("own", "label", 3, False, ("-", "-", (None, 0.123, 0.235, 0.235), ALL)),
    ("own", "target", 1, False, ("-", "-", (None, 0.1, 0.2, 0.2), ALL)),
    ("own", "label", 3, True, UNSEEN),
    ("staff", "overall", 3, False, UNSEEN),
    ("staff", "target", 15, False, UNSEEN),
    ("staff", "target", 15, True, UNSEEN),
]  # fmt: skip


def make(visibility: str = "full", *, embargoed: bool = False, **fields) -> Phase:
    """A phase with Ada's entry; Bob, who has none, is a rival."""
    until = now() + timedelta(days=1) if embargoed else None
    phase = entries.phase(entries.challenge(), visibility=visibility, embargo=until, **fields)
    ada = person("Ada")
    person("Bob")
    person("Organiser", is_staff=True)
    entries.scored(phase, ada.own_team, SCORE, mito=MITO, membrane=MEMBRANE, method="Sauce")
    return phase


def clients() -> list[Client]:
    names = ("Bob", "Ada", "Organiser")
    return [Client(), *(signed_in(User.objects.get(name=name)) for name in names)]


def seen(client: Client):
    """Rank, score, score on the label's board, score as a part; "-" where there is no row."""
    rows = client.get(f"{API}board/").json()["rows"]
    label = client.get(f"{API}board/?label=mito").json()["rows"]
    if not rows:
        assert not label
        return "-"
    return (rows[0]["rank"], rows[0]["score"], label[0]["score"] if label else "-",
            rows[0]["instance"])  # fmt: skip


def cells(client: Client, label: str = "") -> list[dict[str, str]]:
    text = client.get(f"{API}board.csv", {"label": label} if label else {}).content.decode()
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.parametrize(("visibility", "detail", "digits", "embargoed", "expected"), TABLE)
def test_each_viewer_sees_of_a_row_what_the_table_says(
    visibility, detail, digits, embargoed, expected
):
    make(visibility, embargoed=embargoed, detail=detail, digits=digits)
    assert tuple(seen(client) for client in clients()) == expected


@pytest.mark.parametrize(("visibility", "detail", "digits", "embargoed", "expected"), TABLE[::2])
def test_the_table_for_other_programs_has_the_same_numbers_and_no_more(
    visibility, detail, digits, embargoed, expected
):
    make(visibility, embargoed=embargoed, detail=detail, digits=digits)
    for client, want in zip(clients(), expected, strict=True):
        if want == "-":
            assert cells(client) == cells(client, "mito") == []
            continue
        rank, score, on_board, part = want
        shown = ["" if value is None else str(value) for value in (rank, score, part)]
        (row,) = cells(client)
        assert [row["rank"], row["score"], row["instance"]] == shown
        of_label = [row["score"] for row in cells(client, "mito")]
        assert of_label == ([] if on_board == "-" else ["" if on_board is None else str(on_board)])


@pytest.mark.parametrize(("visibility", "detail", "digits", "embargoed", "expected"), TABLE[::4])
def test_the_page_of_an_edition_hides_what_the_board_hides(
    visibility, detail, digits, embargoed, expected
):
    make(visibility, embargoed=embargoed, detail=detail, digits=digits)
    for client, want in zip(clients(), expected, strict=True):
        text = text_of(client.get("/challenges/demo/test/editions/1/"))
        assert ("Sauce" in text) is (want != "-")
        assert ("0.123" in text) is (want != "-" and want[1] in (SCORE, 0.123))


def test_the_embargo_ends_for_everybody_at_its_moment():
    phase = make(embargoed=True)
    assert [seen(client) for client in clients()] == list(UNSEEN)
    Phase.objects.filter(pk=phase.pk).update(embargo=now())
    assert [seen(client) for client in clients()] == list(FULL)


def test_a_member_sees_what_the_sender_sees_and_only_while_a_member():
    phase = make("own")
    bob, lab = User.objects.get(name="Bob"), entries.team("Lab", person("Eve"))
    entries.scored(phase, lab, 0.9)
    client = signed_in(bob)
    assert seen(client) == "-"
    row = lab.memberships.create(user=bob)
    assert seen(client)[:2] == (None, 0.9)
    row.delete()
    assert seen(client) == "-"


def test_a_token_that_may_only_submit_reads_no_board():
    make()
    client = api(User.objects.get(name="Ada"))
    assert client.get(f"{API}board/").status_code == 200
    User.objects.get(name="Ada").tokens.update(scopes=["submit"])
    for path in ("board/", "board.csv", "editions/", "editions/1/", "editions/1/board/"):
        answer = client.get(API + path)
        assert (answer.status_code, "Sauce" in answer.content.decode()) == (403, False)


@pytest.mark.parametrize("words", ["", "\x00", "mito\x00", "MITO", "mito'--", "score", "../mito"])
def test_only_a_label_as_it_is_written_has_a_board(words):
    make()
    for path in ("board/", "board.csv", "editions/1/board/", "editions/1/board.csv"):
        answer = Client().get(API + path, {"label": words})
        assert answer.status_code == (404 if words else 200)
        assert words or "Sauce" in answer.content.decode()


# Selection: (score, disqualified, chosen) of Ada's entries, first to last -> the one that stands.
ENTRIES = {
    "one": [(0.5, "", False)],
    "worse last": [(0.5, "", False), (0.4, "", False)],
    "best ruled out": [(0.9, "cheated", False), (0.4, "", False), (0.3, "", False)],
    "last ruled out": [(0.4, "", False), (0.3, "", False), (0.9, "cheated", False)],
    "chosen": [(0.4, "", True), (0.9, "", False)],
    "chosen ruled out": [(0.9, "", False), (0.8, "cheated", True), (0.4, "", False)],
    "all ruled out": [(0.9, "cheated", False), (0.8, "cheated", True)],
}
STANDS = {
    ("best", "one"): 0, ("best", "worse last"): 0, ("best", "best ruled out"): 1,
    ("best", "last ruled out"): 0, ("best", "chosen"): 1, ("best", "chosen ruled out"): 0,
    ("best", "all ruled out"): None,
    ("last", "one"): 0, ("last", "worse last"): 1, ("last", "best ruled out"): 2,
    ("last", "last ruled out"): 1, ("last", "chosen"): 1, ("last", "chosen ruled out"): 2,
    ("last", "all ruled out"): None,
    ("chosen", "one"): 0, ("chosen", "worse last"): 1, ("chosen", "best ruled out"): 2,
    ("chosen", "last ruled out"): 1, ("chosen", "chosen"): 0, ("chosen", "chosen ruled out"): 2,
    ("chosen", "all ruled out"): None,
}  # fmt: skip


@pytest.mark.parametrize(("way", "story"), sorted(STANDS))
def test_one_entry_of_a_team_stands_and_never_one_that_was_ruled_out(way, story):
    phase, ada = entries.phase(entries.challenge(), selection=way), person("Ada").own_team
    for place, (score, ruling, chosen) in enumerate(ENTRIES[story]):
        entries.scored(
            phase, ada, score, mito=score, method=f"M{place}", disqualified=ruling, chosen=chosen
        )
    stands = STANDS[way, story]
    for label in ({}, {"label": "mito"}):
        rows = Client().get(f"{API}board/", label).json()["rows"]
        assert [row["method"] for row in rows] == ([] if stands is None else [f"M{stands}"])


@pytest.mark.parametrize("way", ["best", "last", "chosen"])
def test_ties_baselines_and_missing_labels_together(way):
    phase = entries.phase(entries.challenge(), selection=way)
    for name, score, mito in (("Ada", 0.8, 0.1), ("Bob", 0.7, 0.6), ("Eve", 0.7, 0.6000000001)):
        entries.scored(phase, person(name).own_team, score, mito=mito)
    baseline = entries.team("Reference", person("Zoe"), baseline=True)
    entries.scored(phase, baseline, 0.75, mito=0.9)
    without = entries.scored(phase, person("Kim").own_team, 0.6)
    without.evaluations.update(labels={"membrane": {"kind": "semantic", "score": 0.5}})

    def ranks(**query) -> list[tuple[str, int | None]]:
        rows = Client().get(f"{API}board/", query).json()["rows"]
        return [(row["team"], row["rank"]) for row in rows]

    assert ranks() == [("Ada", 1), ("Reference", None), ("Bob", 2), ("Eve", 2), ("Kim", 4)]
    # The order of a tie may follow digits that the rank ignores; a team without it is not there.
    assert ranks(label="mito") == [("Reference", None), ("Eve", 1), ("Bob", 1), ("Ada", 3)]


def test_a_ruling_leaves_every_board_at_once_and_comes_back():
    phase = make()
    staff, entry = User.objects.get(name="Organiser"), phase.submissions.get()
    selection.disqualify(entry, by=staff, reason="two accounts")
    addresses = ("board/", "board/?label=mito", "board.csv", "editions/1/board/")
    for client in clients():
        for path in addresses:
            assert "Sauce" not in client.get(API + path).content.decode()
    selection.reinstate(entry, by=staff)
    for path in addresses:
        assert "Sauce" in Client().get(API + path).content.decode()
