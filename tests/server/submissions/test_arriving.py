"""Bodies under a real gunicorn, byte by byte: early, late, broken off, two in a row."""

import hashlib
import os
import re
import socket
import subprocess
import sys

import pytest
from django.http import UnreadablePostError
from django.test import RequestFactory

from server.submissions import arriving
from tests.installation import ROOT

SILENCE_S = 1.0
SITE = f"""
import hashlib
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "server.settings"
from django.core.handlers.wsgi import WSGIRequest
from django.http import UnreadablePostError
from server.submissions import arriving

def application(environ, start):
    sha, how, request = hashlib.sha256(), "", WSGIRequest(environ)
    if environ["PATH_INFO"] == "/begun":
        request.read(1)
    most = int(environ.get("HTTP_MOST", 10**9))
    try:
        with arriving.body(request, silence_s={SILENCE_S}) as stream:
            how = type(stream).__name__
            while most and (block := stream.read(min(most, 2**20))):
                sha.update(block)
                most -= len(block)
    except UnreadablePostError:
        how = "broken"
    said = (how + " " + sha.hexdigest()).encode()
    start("200 OK", [("Content-Length", str(len(said)))])
    return [said]
"""


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """Of a gunicorn that says how it read a body, and the digest of what it read."""
    folder = tmp_path_factory.mktemp("gunicorn")
    (folder / "site_of_bodies.py").write_text(SITE)
    with socket.create_server(("127.0.0.1", 0)) as door:
        gunicorn = (
            *(sys.executable, "-m", "gunicorn", "site_of_bodies", "--threads", "2"),
            *(
                "--bind",
                f"fd://{door.fileno()}",
                "--worker-class",
                "gthread",
                "--no-control-socket",
            ),
        )
        environment = {"CRISTA_HOME": str(folder), "PYTHONPATH": f"{folder}:{ROOT}"}
        process = subprocess.Popen(
            gunicorn, env={**os.environ, **environment}, pass_fds=(door.fileno(),), cwd=folder
        )
        yield door.getsockname()[1]
        process.terminate()
        process.wait(30)


@pytest.fixture
def link(port):
    with socket.create_connection(("127.0.0.1", port), timeout=60) as link:
        yield link


def request(body: bytes, *headers: str, path: str = "/") -> bytes:
    lines = (f"PATCH {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", "")
    return "\r\n".join(lines).encode() + body


def answer(link: socket.socket) -> str:
    """What one request is answered; "" if the connection ends before."""
    found = b""
    while not (parts := re.match(rb"HTTP/1.1 200.*?Content-Length: (\d+).*?\r\n\r\n(.*)", found,
                                 re.DOTALL)) or len(parts[2]) < int(parts[1]):  # fmt: skip
        if not (block := link.recv(1)):
            return ""
        found += block
    return parts[2].decode()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("size", [1, 5000, 9000, 2**20, 5 * 2**20 + 3])
def test_every_byte_arrives_from_the_socket_itself(link, size):
    data = os.urandom(size)
    link.sendall(request(data))
    assert answer(link) == f"Direct {sha(data)}"


def test_no_body_is_read_at_once(link):
    link.sendall(request(b""))
    assert answer(link).endswith(sha(b""))


def test_requests_that_follow_at_once_begin_where_the_body_ends(link):
    bodies = [os.urandom(size) for size in (3, 7000, 3 * 2**20, 10, 100_000)]
    link.sendall(b"".join(map(request, bodies[:2])))
    assert [answer(link) for _ in bodies[:2]] == [f"Direct {sha(body)}" for body in bodies[:2]]
    for body in bodies[2:]:
        link.sendall(request(body))
        assert answer(link) == f"Direct {sha(body)}"


def test_what_nobody_read_is_no_part_of_the_next_request(link):
    data = os.urandom(30_000)
    link.sendall(request(data, "Most: 17") + request(b"next"))
    assert answer(link) == f"Direct {sha(data[:17])}"
    assert answer(link) == f"Direct {sha(b'next')}"


def test_a_sender_that_waits_to_be_asked_is_asked(link):
    head, data = request(b"x" * 9000).split(b"\r\n\r\n")
    link.sendall(head + b"\r\nExpect: 100-continue\r\n\r\n")
    assert link.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    link.sendall(data)
    assert answer(link) == f"Direct {sha(data)}"


def test_a_sender_that_falls_silent_is_left(link):
    link.sendall(request(bytes(9000))[:-1])
    assert answer(link).startswith("broken")
    assert answer(link) == ""  # where the next request would begin is not known


def test_what_came_before_the_connection_broke_off_was_read(link):
    data = os.urandom(9000)
    link.sendall(request(data)[:-1])
    link.shutdown(socket.SHUT_WR)
    assert answer(link) == f"Direct {sha(data[:-1])}"
    assert answer(link) == ""


def test_a_body_in_chunks_is_read_as_gunicorn_offers_it(link):
    head = b"PATCH / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    link.sendall(head + b"3\r\nabc\r\n0\r\n\r\n")
    assert answer(link).startswith("WSGIRequest")


def test_a_body_that_somebody_began_to_read_is_read_on_in_the_same_way(link):
    link.sendall(request(b"abcdef", path="/begun") + request(b"next"))
    assert answer(link) in {f"{how} {sha(b'bcdef')}" for how in ("Direct", "WSGIRequest")}
    assert answer(link) == f"Direct {sha(b'next')}"


def test_without_gunicorn_the_request_is_its_own_stream():
    made = RequestFactory().patch("/", b"abc", content_type="application/offset+octet-stream")
    with arriving.body(made, silence_s=SILENCE_S) as stream:
        assert stream is made
        assert stream.read(10) == b"abc"


def test_a_connection_that_breaks_is_told_in_djangos_words():
    near, far = socket.socketpair()
    with near, far:
        whole = arriving.Body(arriving.LengthReader(arriving.SocketUnreader(near), 10))
        near.settimeout(0.05)
        with pytest.raises(UnreadablePostError):
            arriving.Direct(whole).read(10)
        assert whole.failed
