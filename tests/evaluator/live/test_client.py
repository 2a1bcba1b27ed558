"""A server from outside, live: files that arrive, connections that break, requests sent twice."""

import os

import pytest

from evaluator.client import Client, Credentials
from evaluator.errors import NotLoggedIn, ServerError
from server.challenges.models import Phase
from server.submissions.models import Submission, Upload
from tests.evaluator.live.links import FlakyLink, LostAnswer
from tests.server.making import PASSWORD, entered


@pytest.fixture
def client(live_server, ada):
    with Client(live_server.url) as visitor:
        token = visitor.login(email=ada.email, password=PASSWORD, name="test").token
    with Client(live_server.url, token) as client:
        yield client


def about() -> dict[str, str]:
    return {"challenge": "live", "phase": "test"}


def test_a_file_arrives_whole(client, packed, ada):
    sent: list[int] = []
    key = client.upload(packed, about=about(), sent=sent.append)
    upload = Upload.objects.get(pk=key)
    assert upload.status == "verifying"
    assert upload.path.read_bytes() == packed.read_bytes()
    assert sent[-1] == packed.stat().st_size


def test_a_connection_that_breaks_is_taken_up_again_where_the_server_stands(
    client, live_server, ada, tmp_path
):
    big = tmp_path / "big.zip"
    big.write_bytes(os.urandom(400_000))
    link = FlakyLink(live_server.url, breaks_after=150_000)
    token = client.http.headers["Authorization"].removeprefix("Bearer ")
    with Client(link.url, token) as flaky:
        key = flaky.upload(big, about=about(), sent=lambda _: None)
    link.listener.close()
    assert link.broke
    assert Upload.objects.get(pk=key).path.read_bytes() == big.read_bytes()


def test_a_submission_whose_answer_is_lost_on_the_way_is_made_once(
    client, live_server, ada, packed
):
    link = LostAnswer(live_server.url)
    upload = client.upload(packed, about=about(), sent=lambda _: None)
    token = client.http.headers["Authorization"].removeprefix("Bearer ")
    with Client(link.url, token) as unlucky:
        row = unlucky.submit(upload, method="M", description="")
    link.listener.close()
    assert link.broke
    assert row["id"] == Submission.objects.get().pk


def test_a_busy_server_is_asked_again_when_it_says(client, monkeypatch):
    rates = {"anon": "9/min", "user": "2/s", "tokens": "9/min"}
    monkeypatch.setattr("server.throttling.PersonRate.THROTTLE_RATES", rates)
    for _ in range(4):
        assert client.call("GET", "me/").json()["name"] == "Ada"


def test_what_has_not_changed_is_no_news(client, ada, packed):
    phase = Phase.objects.get(challenge__slug="live", slug="test")
    number = str(entered(phase, ada, packed.read_bytes()).pk)
    row, mark = client.news(number, "")
    assert row["status"] == "received"
    assert client.news(number, mark) == (None, mark)


def test_a_challenge_that_is_not_there_is_answered_with_those_that_are(client):
    with pytest.raises(ServerError, match=r"no challenge 'nowhere'\. It has: live"):
        client.phase("nowhere", "")


def test_the_only_open_phase_need_not_be_named_and_a_wrong_one_is_refused(client):
    assert client.phase("live", "") == "test"
    with pytest.raises(ServerError, match=r"these phases: test \(open\)"):
        client.phase("live", "final")


def test_the_manifest_is_the_one_that_is_scored(client, bundle):
    assert len(client.manifest("live", "test").targets) == 6


def test_lists_are_read_page_after_page(client, ada, packed, monkeypatch):
    monkeypatch.setattr("server.api.Pages.page_size", 2)
    phase = Phase.objects.get(challenge__slug="live", slug="test")
    for _ in range(3):
        entered(phase, ada, packed.read_bytes()).advance(Submission.Status.CANCELLED)
        Submission.objects.update(quota_used=False)
    assert len(client.submissions()) == 3


def test_the_environment_comes_before_the_file(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    Credentials("http://kept", "kept").save()
    monkeypatch.setenv("CRISTA_TOKEN", "given")
    assert Credentials.load() == Credentials("http://kept", "given")
    monkeypatch.setenv("CRISTA_SERVER", "http://given")
    assert Credentials.load() == Credentials("http://given", "given")


def test_a_damaged_credentials_file_asks_for_a_new_login(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    Credentials("http://kept", "kept").save()
    Credentials.file().write_text("[]")
    with pytest.raises(NotLoggedIn, match="evaluator login"):
        Credentials.load()


def test_a_server_that_is_no_crista_is_a_sentence(ada, live_server):
    with Client(f"{live_server.url}/static") as client, pytest.raises(ServerError, match="404"):
        client.call("GET", "me/")
    with Client("not an address") as client, pytest.raises(ServerError, match="cannot be reached"):
        client.call("GET", "me/")
