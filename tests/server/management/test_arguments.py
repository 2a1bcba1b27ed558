"""Command lines that make no sense end at once, with a sentence and without a trace."""

from argparse import ArgumentTypeError

import pytest
from django.core.management import CommandError, call_command

from server import arguments


@pytest.mark.parametrize(
    "line",
    [
        ("worker", "--queues"),
        ("worker", "--queues", "score", "bake"),
        ("worker", "--queues", "SCORE"),
        ("worker", "score"),
        ("cron", "--every", "0"),
        ("cron", "--every", "-60"),
        ("cron", "--every", "1.5"),
        ("cron", "--every", "often"),
        ("cron", "60"),
        ("reconcile", "--every", "0"),
        ("reconcile", "--every=-1"),
        ("reconcile", "--every", "nan"),
        ("reconcile", "--every", "inf"),
        ("reconcile", "now"),
        ("up", "--port", "0"),
        ("up", "--port", "65536"),
        ("up", "--port", "http"),
        ("up", "--workers", "0"),
        ("up", "--workers=-2"),
        ("up", "--workers", "many"),
        ("up", "--reconcile-every", "0"),
        ("up", "--reconcile-every", "86401"),
        ("up", "--queue", "elsewhere"),
    ],
)
def test_a_line_that_makes_no_sense_starts_nothing(line, settings, tmp_path):
    settings.STATE_DIR = tmp_path
    with pytest.raises(CommandError):
        call_command(*line)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (arguments.seconds, "0.1", 0.1),
        (arguments.seconds, "86400", 86400.0),
        (arguments.whole_seconds, "1", 1),
        (arguments.whole_seconds, "60.0", 60),
        (arguments.port, "1", 1),
        (arguments.port, "65535", 65535),
        (arguments.workers, "32", 32),
    ],
)
def test_a_number_that_makes_sense_is_taken(kind, text, value):
    assert kind(text) == value
    assert type(kind(text)) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "sentence"),
    [
        (arguments.seconds, "soon", "'soon' is no time: give seconds, above 0 and at most 86400"),
        (arguments.seconds, "", "'' is no time"),
        (arguments.whole_seconds, "0.5", "'0.5' is no whole number of seconds"),
        (arguments.port, "-1", "'-1' is no whole number from 1 to 65535"),
        (arguments.port, "٨٠٠٠", "is no whole number from 1 to 65535"),
        (arguments.port, "80 ", "is no whole number from 1 to 65535"),
        (arguments.workers, "1e3", "'1e3' is no whole number from 1 to 1000"),
    ],
)
def test_the_sentence_names_what_came_and_what_is_taken(kind, text, sentence):
    with pytest.raises(ArgumentTypeError) as refused:
        kind(text)
    assert sentence in str(refused.value)


@pytest.mark.parametrize("command", ["worker", "cron"])
@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "http://queue", "redis://127.0.0.1:x/0"])
def test_without_its_queue_a_command_says_so_and_ends(command, url, monkeypatch):
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(CommandError, match="queue server is away"):
        call_command(command)


@pytest.mark.django_db(transaction=True)
def test_reconcile_without_a_queue_does_what_it_can_and_says_what_it_did(monkeypatch, capsys):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    call_command("reconcile")
    assert capsys.readouterr().out.strip()
