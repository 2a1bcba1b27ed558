"""The participant's commands against a live site: what they print, and what they end with."""

import contextlib
import json
import threading
import time

import pytest
from django.db import connection
from django.utils.timezone import now
from typer.testing import CliRunner

from evaluator import pending, watching
from evaluator.cli import app
from evaluator.client import Client, Credentials
from evaluator.digest import file_digest
from evaluator.errors import EvaluatorError, NotScored
from server.accounts.models import Token
from server.submissions.models import Evaluation, Item, Submission, Upload
from tests.evaluator.live.links import Door
from tests.server import entries
from tests.server.making import PASSWORD

Status = Submission.Status


@pytest.fixture
def run(live_server, ada, tmp_path, monkeypatch):
    """Run a command from an empty folder with credentials of its own; what it printed."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, arguments)
        if isinstance(result.exception, EvaluatorError):  # `main` prints it and ends with its code
            assert result.exception.exit_code == code, result.exception
            return result.output + str(result.exception)
        assert result.exit_code == code, result.output
        return result.stdout if code == 0 else result.output

    return run


@pytest.fixture
def logged_in(run, live_server, ada, monkeypatch):
    token = Token.issue(ada, name="test", now=now())[1]
    monkeypatch.setenv("CRISTA_SERVER", live_server.url)
    monkeypatch.setenv("CRISTA_TOKEN", token)
    return run


def submit(run, packed, method="First", *more, code=0):
    wish = ("--challenge", "live", "--method", method)
    return run("submit", str(packed), *wish, *more, code=code)


@contextlib.contextmanager
def meanwhile(work):
    """Something that happens beside a command."""

    def task():
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=task)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def test_login_keeps_a_token_that_only_the_user_can_read(run, live_server, ada):
    said = run("login", live_server.url, "--email", ada.email, "--password", PASSWORD)
    assert "Logged in" in said
    file = Credentials.file()
    assert file.stat().st_mode & 0o077 == 0
    assert json.loads(file.read_text())["server"] == live_server.url
    assert PASSWORD not in file.read_text()


def test_login_as_json_does_not_print_the_token(run, live_server, ada):
    arguments = ("--email", ada.email, "--password", PASSWORD, "--json")
    told = json.loads(run("login", live_server.url, *arguments))
    assert told == {"server": live_server.url, "file": str(Credentials.file())}


def test_a_wrong_password_is_a_sentence_and_keeps_nothing(run, live_server, ada):
    said = run("login", live_server.url, "--email", ada.email, "--password", "wrong", code=1)
    assert "password" in said.lower()
    assert not Credentials.file().exists()


def test_without_a_login_the_next_step_is_named(run):
    assert "evaluator login" in run("status", code=2)


def test_a_server_that_is_away_is_not_the_users_mistake(run, monkeypatch):
    monkeypatch.setenv("CRISTA_SERVER", "http://127.0.0.1:9")
    monkeypatch.setenv("CRISTA_TOKEN", "x")
    assert "cannot be reached" in run("status", code=3)


def test_exit_codes_are_told(run):
    said = " ".join(run("--help").split())
    assert "3 a server cannot be reached" in said
    assert "130 stopped by Ctrl-C" in said


def test_submit_checks_uploads_and_prints_where_to_look(logged_in, packed, live_server):
    said = submit(logged_in, packed)
    row = Submission.objects.get()
    assert row.method == "First"
    assert f"Submission {row.pk} is received" in said
    assert f"/submissions/{row.pk}/" in said


def test_submit_as_json_prints_the_servers_answer_alone(logged_in, packed):
    told = json.loads(submit(logged_in, packed, "J", "--json"))
    assert (told["id"], told["status"]) == (Submission.objects.get().pk, "received")


def test_what_would_be_rejected_is_not_uploaded(logged_in, tmp_path):
    text = tmp_path / "results.zip"
    text.write_text("not a zip")
    assert "nothing was uploaded" in submit(logged_in, text, code=1)
    assert not Upload.objects.exists()


def test_a_second_submission_beside_one_under_way_is_refused_with_the_servers_sentence(
    logged_in, packed
):
    submit(logged_in, packed, "One")
    said = submit(logged_in, packed, "Two", code=1)
    assert "under way" in said or "running" in said or "being" in said
    assert Submission.objects.count() == 1


def test_a_command_killed_before_it_saw_the_answer_submits_once(logged_in, packed, live_server):
    credentials = Credentials.load()
    about = {"challenge": "live", "phase": "test"}
    with Client(credentials.server, credentials.token) as client:
        upload = client.upload(packed, about=about, sent=lambda _: None)
        name = pending.key(client.server, *about.values(), file_digest(packed), "First", "")
        pending.note(name, upload)
        client.submit(upload, method="First", description="")  # and here it was killed
    row = Submission.objects.get()
    assert f"Submission {row.pk} is" in submit(logged_in, packed)
    assert Submission.objects.count() == Upload.objects.count() == 1
    assert pending.noted(name) == ""


def test_a_command_killed_before_it_submitted_submits_the_same_upload(logged_in, packed):
    credentials = Credentials.load()
    about = {"challenge": "live", "phase": "test"}
    with Client(credentials.server, credentials.token) as client:
        upload = client.upload(packed, about=about, sent=lambda _: None)
    submit(logged_in, packed)
    assert str(Submission.objects.get().upload_id) == upload


def test_the_same_command_on_purpose_is_another_submission(logged_in, packed):
    for _ in range(2):
        submit(logged_in, packed)
        Submission.objects.update(status="scored")
    assert Submission.objects.count() == 2


def test_what_was_noted_in_vain_is_forgotten(logged_in, packed, live_server):
    about = {"challenge": "live", "phase": "test"}
    name = pending.key(live_server.url, *about.values(), file_digest(packed), "First", "")
    pending.note(name, "00000000-0000-4000-8000-000000000000")
    submit(logged_in, packed)
    assert Submission.objects.count() == 1
    assert pending.noted(name) == ""


def test_status_lists_submissions_and_shows_one(logged_in, packed, phase, ada):
    assert "Nothing here yet" in logged_in("status")
    assert json.loads(logged_in("status", "--json")) == []
    row = entries.submission(phase, ada.own_team, method="Shown", status="received")
    assert "Shown" in logged_in("status")
    assert [each["id"] for each in json.loads(logged_in("status", "--json"))] == [row.pk]
    said = logged_in("status", str(row.pk))
    assert "(Shown, ada): received" in said
    assert "Wait: the check begins in a moment." in said
    assert json.loads(logged_in("status", str(row.pk), "--json"))["method"] == "Shown"
    assert "nothing here that you may see" in logged_in("status", "99999", code=1)


def test_watching_what_was_not_scored_ends_with_its_cause(logged_in, phase, ada):
    rejected = entries.submission(phase, ada.own_team, status="rejected")
    said = logged_in("status", str(rejected.pk), "--watch", code=1)
    assert str(NotScored(f"Submission {rejected.pk} was not scored.")) in said
    failed = entries.submission(phase, ada.own_team, status="failed", blame="system")
    said = logged_in("status", str(failed.pk), "--watch", code=3)
    assert "failed, and not by your fault" in said


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(watching, "SHORTEST_S", 0.05)
    monkeypatch.setattr(watching, "LONGEST_S", 0.1)


@pytest.fixture
def scoring(phase, ada):
    """A submission of three targets that are scored one after the other by `advance`."""
    demo = entries.phase(entries.challenge())
    row = entries.submission(demo, ada.own_team, status="scoring")
    entries.evaluation(row)
    return row


def advance(row: Submission) -> None:
    scored = entries.scored(row.phase, row.team, 0.5)
    values = Evaluation.objects.get(submission=scored).items.values_list("target", "score")
    for target, score in values.order_by("target"):
        time.sleep(0.4)
        items = Item.objects.filter(evaluation__submission=row, target=target)
        items.update(status="scored", score=score, changed=now())
    Evaluation.objects.filter(submission=row).update(
        status="scored", overall=0.5, labels=Evaluation.objects.get(submission=scored).labels
    )
    Submission.objects.filter(pk=row.pk).update(status="scored", changed=now())


def test_watching_prints_a_line_per_change_and_the_result(logged_in, scoring, quick):
    with meanwhile(lambda: advance(scoring)):
        result = CliRunner().invoke(app, ["status", str(scoring.pk), "--watch"])
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stderr.splitlines() if "targets" in line]
    assert lines[0] == f"Submission {scoring.pk}: scoring, 0/3 targets"
    assert lines[-1] == f"Submission {scoring.pk}: scored, 3/3 targets"
    assert len(lines) == len(set(lines)) >= 4
    assert "membrane: a first value" in result.stderr
    assert "Overall 0.5000" in result.stdout


def test_watching_as_json_prints_the_answers_alone(logged_in, scoring, quick):
    with meanwhile(lambda: advance(scoring)):
        said = logged_in("status", str(scoring.pk), "--watch", "--json")
    answers = [json.loads(line) for line in said.splitlines()]
    assert [answers[0]["done"], answers[-1]["done"]] == [0, 3]
    assert answers[-1]["status"] == "scored"
    assert len(answers) < 8, "what has not changed is not printed again"


def test_a_server_that_goes_away_while_watched_is_waited_for(
    logged_in, scoring, quick, live_server, monkeypatch
):
    door = Door(live_server.url)
    monkeypatch.setenv("CRISTA_SERVER", door.url)

    def away_for_a_second():
        assert door.passed.wait(60)
        time.sleep(0.5)  # what was being answered is answered
        door.open = False
        Submission.objects.filter(pk=scoring.pk).update(status="scored", changed=now())
        time.sleep(1)
        door.open = True

    with meanwhile(away_for_a_second):
        result = CliRunner().invoke(app, ["status", str(scoring.pk), "--watch"])
    door.listener.close()
    assert result.exit_code == 0, result.output
    assert "cannot be reached" in result.stderr
    assert result.stderr.count("Trying again") == 1
    assert f"Submission {scoring.pk}: scored" in result.stderr


def test_patience_ends(logged_in, scoring, quick, live_server, monkeypatch):
    monkeypatch.setattr(watching, "PATIENCE_S", 0.3)
    door = Door(live_server.url)
    monkeypatch.setenv("CRISTA_SERVER", door.url)

    def shut():
        time.sleep(0.5)
        door.open = False

    with meanwhile(shut):
        said = logged_in("status", str(scoring.pk), "--watch", code=3)
    door.listener.close()
    assert "cannot be reached" in said


def test_quota_is_told_with_what_is_left(logged_in, packed, phase, ada):
    entries.submission(phase, ada.own_team, status="scored", created=now())
    said = logged_in("quota", "live")
    assert "scored in 24 hours" in said
    assert " UTC " in said  # when the next one comes back
    assert "You can submit now." in said
    told = json.loads(logged_in("quota", "live", "--json"))
    assert (told["per_day"]["used"], told["per_day"]["left"]) == (1, 2)
    entries.submission(phase, ada.own_team, status="checking", created=now())
    assert "You can submit now." not in logged_in("quota", "live")


def test_a_board_says_when_it_is_empty_and_shows_its_rows(logged_in, phase, ada):
    assert "Nothing here yet" in logged_in("board", "live")
    entries.scored(phase, ada.own_team, 0.4321)
    assert "0.4321" in logged_in("board", "live")
    assert json.loads(logged_in("board", "live", "--json"))["rows"][0]["score"] == 0.4321
    assert "scores no label" in logged_in("board", "live", "--label", "nose", code=1)


def test_a_result_is_written_byte_for_byte(logged_in, phase, ada, tmp_path):
    row = entries.scored(phase, ada.own_team, 0.5)
    text = row.evaluation.result
    assert logged_in("result", str(row.pk)) == text
    said = logged_in("result", str(row.pk), "--out", "r.json")
    assert "evaluator show r.json" in said
    assert (tmp_path / "r.json").read_text() == text
    told = json.loads(logged_in("result", str(row.pk), "--out", "r.json", "--json"))
    assert told == {"submission": row.pk, "file": "r.json", "bytes": len(text)}
    waiting = entries.submission(phase, ada.own_team, status="queued")
    logged_in("result", str(waiting.pk), code=1)


def test_a_submission_is_cancelled_once(logged_in, phase, ada):
    row = entries.submission(phase, ada.own_team, status="received")
    assert "cancelled" in logged_in("cancel", str(row.pk))
    assert Submission.objects.get(pk=row.pk).status == Status.CANCELLED
    assert "cancelled already" in logged_in("cancel", str(row.pk), code=1)
