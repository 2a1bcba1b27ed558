import pytest

from tests.server.making import api


def test_everybody_may_read_a_challenge_and_its_phases(challenge):
    (listed,) = api().get("/api/challenges/").json()["results"]
    shown = api().get("/api/challenges/made-up/").json()
    assert listed == shown
    assert (shown["slug"], shown["title"], shown["protocol"]) == ("made-up", "Made up", "crista-1")
    (phase,) = shown["phases"]
    assert (phase["slug"], phase["open"], phase["visibility"]) == ("test", True, "full")
    assert phase["labels"] == [
        {"name": "membrane", "kind": "semantic"},
        {"name": "mito", "kind": "instance"},
        {"name": "nucleus", "kind": "instance"},
    ]


def test_a_closed_phase_says_so(phase):
    phase.closes = phase.opens.replace(day=2)
    phase.save()
    (shown,) = api().get("/api/challenges/made-up/").json()["phases"]
    assert shown["open"] is False


def test_the_manifest_comes_as_it_was_loaded(challenge, bundle_folder):
    base = "/api/challenges/made-up/phases/test"
    table = api().get(f"{base}/manifest.csv")
    assert table["Content-Type"] == "text/csv; charset=utf-8"
    assert table.content == (bundle_folder / "manifest.csv").read_bytes()
    labels = api().get(f"{base}/labels.toml")
    assert labels.content == (bundle_folder / "labels.toml").read_bytes()


def test_nothing_anybody_may_read_says_where_the_truth_is(challenge):
    truth = challenge.truths.get()
    for url in ("/api/challenges/", "/api/challenges/made-up/"):
        text = api().get(url).content.decode()
        assert truth.path not in text
        assert truth.digest not in text


@pytest.mark.parametrize(
    "url", ["other/", "other/phases/test/manifest.csv", "made-up/phases/other/labels.toml"]
)
def test_what_does_not_exist_is_a_404_problem(challenge, url):
    answer = api().get(f"/api/challenges/{url}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_challenges_cannot_be_changed_over_the_api(challenge, people):
    for method in ("post", "put", "patch", "delete"):
        answer = getattr(api(people.staff), method)("/api/challenges/made-up/")
        assert answer.status_code == 405
