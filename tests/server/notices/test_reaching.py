"""Webhooks whose names change, whose answers never end, and whose signatures are forged."""

import re
import socket
import time

import pytest
from django.conf import settings as shipped

from server.notices import posting
from server.notices.posting import Undelivered, post

SECRET, BODY = "whsec_right", b'{"a":1}'


@pytest.fixture
def names(monkeypatch):
    """What `localhost` leads to at each question after the other, and the questions."""
    answers, asked = [], []
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *arguments, **options):
        if host != "localhost":
            return real(host, port, *arguments, **options)
        asked.append(host)
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return answers, asked


def test_a_name_that_leads_elsewhere_the_second_time_is_asked_only_once(receiver, names):
    answers, asked = names
    answers += [["127.0.0.1"], ["169.254.169.254"]]
    assert post(receiver.url, BODY, {}) == "answered 200"
    assert (len(receiver.came), len(asked)) == (1, 1)


@pytest.mark.parametrize(
    "found",
    [
        ["10.0.0.1"], ["127.0.0.1", "10.0.0.1"], ["169.254.169.254", "127.0.0.1"],
        ["127.0.0.1", "::ffff:10.0.0.1"], ["fe80::1%eth0"], ["127.0.0.1", "fc00::1"],
    ],
)  # fmt: skip
def test_one_private_address_among_several_is_enough_to_stay_away(receiver, names, found):
    names[0].append(found)
    with pytest.raises(Undelivered, match="localhost leads into a private network"):
        post(receiver.url, BODY, {})
    assert receiver.came == []


@pytest.mark.parametrize("error", [socket.gaierror(-2, "Name unknown"), UnicodeError("label")])
def test_a_name_without_an_address_is_a_try_that_failed(receiver, names, error):
    names[0].append(error)
    with pytest.raises(Undelivered, match="localhost has no address"):
        post(receiver.url, BODY, {})


def test_what_is_refused_tells_no_address_of_this_network(receiver, names):
    names[0].append(["10.20.30.40"])
    with pytest.raises(Undelivered) as refused:
        post(receiver.url, BODY, {})
    assert "10.20.30.40" not in str(refused.value)


@pytest.mark.parametrize(
    "hosts", [[], ["other.org"], ["*.localhost"], ["127.0.0.1"], ["local*t.x"]]
)
def test_a_host_is_looked_up_only_if_it_is_listed(receiver, names, settings, hosts):
    settings.WEBHOOK_HOSTS = hosts
    with pytest.raises(Undelivered, match="localhost is not listed"):
        post(receiver.url, BODY, {})
    assert names[1] == []


@pytest.mark.parametrize("status", [199, 204, 206, 299])
def test_any_success_is_one_and_nothing_else(receiver, status):
    receiver.status = status
    if status < 200:  # an interim answer that no other one follows
        with pytest.raises(Undelivered):
            post(receiver.url, BODY, {})
    else:
        assert post(receiver.url, BODY, {}) == f"answered {status}"


def serve(answer: bytes, *, hold_s: float = 0.0):
    """How the receiver answers instead: these bytes, then nothing for a while."""

    def do_post(handler) -> None:
        handler.rfile.read(int(handler.headers["Content-Length"]))
        handler.wfile.write(answer)
        time.sleep(hold_s)
        handler.close_connection = True

    return do_post


@pytest.fixture
def answering(receiver, monkeypatch):
    """Make the receiver answer with these bytes."""
    return lambda answer, **options: monkeypatch.setattr(
        receiver.RequestHandlerClass, "do_POST", serve(answer, **options)
    )


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"SSH-2.0\r\n", b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n", b"x" * 100_000, b"HTTP/1.1 200 " + b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200,
    ],
)  # fmt: skip
def test_an_answer_that_is_none_or_too_long_is_a_try_that_failed(receiver, answering, answer):
    answering(answer)
    with pytest.raises(Undelivered, match="no answer"):
        post(receiver.url, BODY, {})


def test_a_body_without_end_is_never_read(receiver, answering, settings):
    settings.WEBHOOK_TIMEOUT_S = 2
    answering(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 1000, hold_s=0.2)
    assert post(receiver.url, BODY, {}) == "answered 200"


def test_a_receiver_that_takes_and_says_nothing_is_left(receiver, answering, settings):
    settings.WEBHOOK_TIMEOUT_S = 0.3
    answering(b"", hold_s=1.5)
    began = time.monotonic()
    with pytest.raises(Undelivered, match="no answer"):
        post(receiver.url, BODY, {})
    assert time.monotonic() - began < 1.2


def test_a_port_that_takes_connections_and_speaks_no_tls_is_left(receiver, settings):
    settings.WEBHOOK_TIMEOUT_S = 0.3
    refused = pytest.raises(Undelivered, match="no answer")
    with socket.create_server(("127.0.0.1", 0)) as silent, refused:
        post(f"https://localhost:{silent.getsockname()[1]}/", BODY, {})
    assert receiver.came == []


@pytest.fixture(scope="module")
def is_ours():
    """The receiver's side, as the documentation shows it."""
    text = (shipped.BASE_DIR / "docs" / "notices.md").read_text("utf-8")
    shown: dict = {}
    exec(re.search(r"```python\n(.+?)```", text, re.DOTALL)[1], shown)
    return shown["is_ours"]


def header(at: int, *, secret: str = SECRET, body: bytes = BODY) -> str:
    return f"t={at},v1={posting.signature(secret, at, body)}"


@pytest.mark.parametrize("ago", [0, 60, 250, -60])
def test_a_signature_of_now_is_right(is_ours, ago):
    assert is_ours(SECRET, header(int(time.time()) - ago), BODY)


@pytest.mark.parametrize("ago", [400, 86_400, 10**9])
def test_an_old_signature_is_refused_though_it_is_right(is_ours, ago):
    assert not is_ours(SECRET, header(int(time.time()) - ago), BODY)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_righT", "whsec_right "])
def test_a_signature_by_another_secret_is_refused(is_ours, secret):
    assert not is_ours(SECRET, header(int(time.time()), secret=secret), BODY)


@pytest.mark.parametrize("body", [b"", b'{"a":2}', b'{"a":1}\n', b' {"a":1}'])
def test_a_signature_of_another_body_is_refused(is_ours, body):
    assert not is_ours(SECRET, header(int(time.time())), body)


def test_a_moment_that_was_changed_makes_the_signature_wrong(is_ours):
    at = int(time.time())
    forged = header(at - 1000).replace(f"t={at - 1000}", f"t={at}")
    assert not is_ours(SECRET, forged, BODY)


def test_moment_and_body_cannot_be_pushed_into_each_other():
    assert posting.signature(SECRET, 1, b"2.x") != posting.signature(SECRET, 12, b".x")
    assert posting.signature(SECRET, 1, b"") != posting.signature(SECRET, 1, b".")
