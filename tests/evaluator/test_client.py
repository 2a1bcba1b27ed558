"""The participant's commands against a live site; connections that break on the way."""

import contextlib
import json
import os
import socket
import threading

import httpx
import pytest
from django.core.cache import cache
from typer.testing import CliRunner

from evaluator.cli import app
from evaluator.client import Client, Credentials
from evaluator.errors import EvaluatorError, ServerError, SubmissionError
from server.challenges.bundle import read_bundle
from server.challenges.loading import load
from server.challenges.models import Phase
from server.submissions.models import Submission, Upload
from tests.server.making import PASSWORD, entered, make_bundle, person
from tests.synthetic import write_submission


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("bundle"), slug="live")


@pytest.fixture(scope="module")
def packed(bundle):
    path = bundle.parent / "packed.zip"
    write_submission(path, bundle)
    return path


@pytest.fixture
def ada(transactional_db, bundle):
    cache.clear()  # throttles count anew
    load(read_bundle(bundle), in_place=True)
    return person("Ada")


@pytest.fixture
def client(live_server, ada):
    with Client(live_server.url) as visitor:
        token = visitor.login(email=ada.email, password=PASSWORD, name="test").token
    with Client(live_server.url, token) as client:
        yield client


@pytest.fixture
def run(live_server, ada, tmp_path, monkeypatch):
    """Run a command from an empty folder with credentials of its own; what it printed."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, arguments)
        if isinstance(result.exception, EvaluatorError):  # `main` prints it and exits with 2
            assert code == 2, result.exception
            return str(result.exception)
        assert result.exit_code == code, result.output
        return result.output

    return run


@pytest.fixture
def logged_in(run, live_server, ada):
    run("login", live_server.url, "--email", ada.email, "--password", PASSWORD)
    return run


class FlakyLink:
    """A TCP link to the site that breaks once, after so many bytes from the client."""

    def __init__(self, target: tuple[str, int], *, breaks_after: int) -> None:
        self.target, self.left = target, breaks_after
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.broke = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(self.target)
            threading.Thread(target=self._pump, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        try:
            while block := source.recv(4096):
                sink.sendall(block)
                if counted and not self.broke:
                    self.left -= len(block)
                    if self.left < 0:
                        self.broke = True
                        break
        except OSError:
            pass
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def about() -> dict[str, str]:
    return {"challenge": "live", "phase": "test"}


def test_a_file_arrives_whole_and_verified(client, packed, ada):
    sent: list[int] = []
    key = client.upload(packed, about=about(), sent=sent.append)
    upload = Upload.objects.get(pk=key)
    assert upload.status == "finished"
    assert upload.path.read_bytes() == packed.read_bytes()
    assert sent[-1] == packed.stat().st_size


def test_a_connection_that_breaks_is_taken_up_again_where_the_server_stands(
    client, live_server, ada, tmp_path
):
    big = tmp_path / "big.zip"
    big.write_bytes(os.urandom(400_000))
    where = httpx.URL(live_server.url)
    link = FlakyLink((where.host, where.port), breaks_after=150_000)
    token = client._http.headers["Authorization"].removeprefix("Bearer ")
    with Client(link.url, token) as flaky:
        key = flaky.upload(big, about=about(), sent=lambda _: None)
    link.listener.close()
    assert link.broke
    assert Upload.objects.get(pk=key).path.read_bytes() == big.read_bytes()


def test_an_upload_that_cannot_be_finished_leaves_nothing_behind(client, packed, monkeypatch):
    call = Client.call

    def refuse_to_finish(self, method, path, **arguments):
        if path.endswith("finish/"):
            raise ServerError("no")
        return call(self, method, path, **arguments)

    monkeypatch.setattr(Client, "call", refuse_to_finish)
    with pytest.raises(ServerError, match="no"):
        client.upload(packed, about=about(), sent=lambda _: None)
    upload = Upload.objects.get()
    assert upload.status == "expired"
    assert not upload.path.exists()


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


def test_login_keeps_a_token_that_only_the_user_can_read(run, live_server, ada):
    said = run("login", live_server.url, "--email", ada.email, "--password", PASSWORD)
    assert "Logged in" in said
    file = Credentials.file()
    assert file.stat().st_mode & 0o077 == 0
    assert json.loads(file.read_text())["server"] == live_server.url
    assert PASSWORD not in file.read_text()


def test_a_wrong_password_is_a_sentence_and_keeps_nothing(run, live_server, ada):
    said = run("login", live_server.url, "--email", ada.email, "--password", "wrong", code=2)
    assert "password" in said.lower()
    assert not Credentials.file().exists()


def test_without_a_login_the_next_step_is_named(run):
    assert "evaluator login" in run("status", code=2)


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
    with pytest.raises(ServerError, match="evaluator login"):
        Credentials.load()


def test_submit_checks_uploads_and_prints_where_to_look(logged_in, packed, live_server):
    said = logged_in("submit", str(packed), "--challenge", "live", "--method", "First")
    row = Submission.objects.get()
    assert row.method == "First"
    assert f"Submission {row.pk} is received" in said
    assert f"/submissions/{row.pk}/" in said


def test_what_would_be_rejected_is_not_uploaded(logged_in, tmp_path):
    text = tmp_path / "results.zip"
    text.write_text("not a zip")
    said = logged_in("submit", str(text), "--challenge", "live", "--method", "M", code=2)
    assert "nothing was uploaded" in said
    assert not Upload.objects.exists()


def test_a_second_submission_beside_one_under_way_is_refused_with_the_servers_sentence(
    logged_in, packed
):
    logged_in("submit", str(packed), "--challenge", "live", "--method", "One")
    said = logged_in("submit", str(packed), "--challenge", "live", "--method", "Two", code=2)
    assert "under way" in said or "running" in said or "being" in said
    assert Submission.objects.count() == 1


def test_status_lists_submissions_and_shows_one(logged_in, packed):
    assert "Nothing here yet" in logged_in("status")
    logged_in("submit", str(packed), "--challenge", "live", "--method", "Shown")
    assert "Shown" in logged_in("status")
    number = str(Submission.objects.get().pk)
    assert "(Shown, ada): received" in logged_in("status", number)


def test_watching_a_submission_that_was_not_scored_ends_with_an_error(logged_in, packed):
    logged_in("submit", str(packed), "--challenge", "live", "--method", "Stopped")
    row = Submission.objects.get()
    row.advance(Submission.Status.CANCELLED)
    said = logged_in("status", str(row.pk), "--watch", code=2)
    assert said == str(SubmissionError(f"Submission {row.pk} was not scored."))


def test_an_empty_board_says_so(logged_in):
    assert "Nothing here yet" in logged_in("board", "live")


def test_a_server_that_is_no_crista_is_a_sentence(ada, live_server):
    with Client(f"{live_server.url}/static") as client, pytest.raises(ServerError, match="404"):
        client.call("GET", "me/")
    with Client("not an address") as client, pytest.raises(ServerError, match="cannot be reached"):
        client.call("GET", "me/")
