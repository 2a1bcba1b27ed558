"""The participant's side of an upload: what it remembers, what it tries again, what it gives up."""

import hashlib
import json
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from evaluator import uploading
from evaluator.answers import sentence, sound, wait
from evaluator.client import Client
from evaluator.errors import ServerError, ServerRefusal

DATA = os.urandom(3 * 2**20 + 11)


class Site:
    """A small server that keeps parts as tus does, and says no in the ways it is told to."""

    def __init__(self) -> None:
        self.kept = bytearray()
        self.says: list[tuple[int, dict[str, str], str]] = []  # status, headers, sentence
        self.asked: list[tuple[str, str]] = []
        self.begun: dict[str, object] = {}
        self.direct = False
        self.parts: list[int] = []
        self.put: dict[int, bytes] = {}
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                site.answer(self)

            def __getattr__(self, name: str):
                if name.startswith("do_"):
                    return self.answer
                raise AttributeError(name)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        self.asked.append((request.command, request.path))
        if self.says and request.command in ("PATCH", "PUT"):
            status, headers, detail = self.says.pop(0)
            self.reply(request, status, {"detail": detail}, headers)
        elif request.path.endswith("/uploads/"):
            self.begun = json.loads(body)
            self.reply(request, 201, self.row())
        elif request.command == "PATCH":
            at = int(request.headers["Upload-Offset"])
            if at != len(self.kept):
                self.reply(request, 409, {"detail": "wrong offset"})
                return
            self.kept += body
            self.reply(request, 204, None, {"Upload-Offset": str(len(self.kept))})
        elif request.command == "PUT":
            number = int(request.path.rpartition("/")[2])
            assert "Authorization" not in request.headers
            self.put[number] = body
            self.parts.remove(number)
            self.reply(request, 200, None)
        elif request.path.endswith("/parts/"):
            self.reply(request, 200, [self.part(number) for number in self.parts])
        else:
            self.reply(request, 200, self.row(), {"Upload-Offset": str(len(self.kept))})

    def row(self) -> dict[str, object]:
        whole = len(self.kept) == len(DATA)
        return {
            "id": "key", "offset": len(self.kept), "size": len(DATA), "part_size": 2**20,
            "direct": self.direct, "status": "verifying" if whole else "open",
        }  # fmt: skip

    def part(self, number: int) -> dict[str, object]:
        start = number * 2**20
        length = min(2**20, len(DATA) - start)
        return {"number": number + 1, "offset": start, "length": length,
                "url": f"{self.url}/bucket/{number}"}  # fmt: skip

    def reply(self, request, status, body, headers=None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        request.send_response(status)
        for name, value in (headers or {}).items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(data)


@pytest.fixture
def site(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(uploading, "LONGEST_PAUSE_S", 0.02)
    made = Site()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "large.zip"
    file.write_bytes(DATA)
    return file


def send(site: Site, path) -> list[int]:
    sent: list[int] = []
    with Client(site.url, "token") as client:
        key = uploading.upload(client, path, about={"challenge": "c"}, sent=sent.append)
    assert key == "key"
    return sent


def patches(site: Site) -> int:
    return sum(method == "PATCH" for method, _ in site.asked)


def test_the_file_is_begun_with_its_digest_and_sent_in_parts(site, path):
    sent = send(site, path)
    assert bytes(site.kept) == DATA
    assert site.begun == {
        "challenge": "c", "filename": "large.zip", "size": len(DATA),
        "sha256": hashlib.sha256(DATA).hexdigest(),
    }  # fmt: skip
    assert patches(site) == 4
    assert sent == sorted(sent)
    assert (sent[0], sent[-1]) == (0, len(DATA))
    assert site.asked[-1] == ("POST", "/api/uploads/key/finish/")


def test_what_the_server_has_is_not_sent_again(site, path):
    site.kept += DATA[:-10]
    assert send(site, path)[0] == len(DATA) - 10
    assert patches(site) == 1
    assert bytes(site.kept) == DATA


def test_a_complete_upload_is_not_touched(site, path):
    site.kept += DATA
    send(site, path)
    assert site.asked == [("POST", "/api/uploads/")]


@pytest.mark.parametrize("status", [500, 502, 503, 409, 423, 429, 460])
def test_what_passes_by_itself_is_tried_again(site, path, status):
    site.says = [(status, {"Retry-After": "0"}, "not now")] * 3
    send(site, path)
    assert bytes(site.kept) == DATA


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 413])
def test_a_refusal_ends_it_with_the_servers_sentence(site, path, status):
    site.says = [(status, {}, "No, because.")]
    with pytest.raises(ServerRefusal, match="No, because"):
        send(site, path)
    assert patches(site) == 1


def test_without_progress_it_gives_up_and_says_that_it_can_go_on(site, path):
    site.says = [(503, {}, "Not today.")] * 100
    with pytest.raises(ServerError, match=r"in 40 tries \(Not today\.\).*run the same command"):
        send(site, path)
    assert patches(site) == uploading.TRIES
    site.says = []
    send(site, path)
    assert bytes(site.kept) == DATA


def test_progress_gives_new_patience(site, path):
    site.says = [(503, {}, "x")] * (uploading.TRIES - 1)
    send(site, path)
    assert patches(site) == uploading.TRIES - 1 + 4


def test_parts_go_straight_into_the_storage_and_failed_ones_again(site, path):
    site.direct, site.parts = True, [0, 1, 2, 3]
    site.says = [(403, {}, "expired"), (500, {}, "broken")]
    send(site, path)
    assert b"".join(site.put[number] for number in range(4)) == DATA
    assert site.asked[-1] == ("POST", "/api/uploads/key/finish/")


def test_a_digest_is_computed_once_per_state_of_a_file(site, path):
    first = uploading.remembered_digest(path)
    memory = uploading._memory()
    known = json.loads(memory.read_text())
    assert list(known.values()) == [first]
    memory.write_text(json.dumps(dict.fromkeys(known, "from memory")))
    assert uploading.remembered_digest(path) == "from memory"
    path.write_bytes(b"other")
    assert uploading.remembered_digest(path) == hashlib.sha256(b"other").hexdigest()


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_damaged_memory_costs_only_time(site, path, text):
    uploading._memory().parent.mkdir(parents=True)
    uploading._memory().write_text(text)
    assert uploading.remembered_digest(path) == hashlib.sha256(DATA).hexdigest()


def test_the_memory_is_bounded(site, tmp_path):
    for number in range(uploading.REMEMBERED + 5):
        file = tmp_path / f"{number}"
        file.write_bytes(b"x")
        uploading.remembered_digest(file)
    assert len(json.loads(uploading._memory().read_text())) == uploading.REMEMBERED


def test_a_server_that_is_away_from_the_start_is_told(path, monkeypatch):
    monkeypatch.setattr(uploading, "CALLS", 1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with (
        Client(address, "token") as client,
        pytest.raises(ServerError, match="cannot be reached"),
    ):
        uploading.upload(client, path, about={}, sent=lambda _: None)


def test_answers_are_fine_refused_broken_or_to_be_asked_again():
    request = httpx.Request("GET", "http://x")
    fine = httpx.Response(204, request=request)
    assert sound(fine) is fine
    with pytest.raises(ServerRefusal, match="404 Not Found"):
        sound(httpx.Response(404, request=request, text="<html>"))
    with pytest.raises(ServerError, match="Broken"):
        sound(httpx.Response(500, request=request, json={"detail": "Broken."}))
    assert sentence(httpx.Response(400, request=request, json=[])).endswith("400 Bad Request.")
    assert wait(httpx.Response(429, request=request, headers={"Retry-After": "7"})) == 7.0
    assert wait(httpx.Response(429, request=request, headers={"Retry-After": "9000"})) == 60.0
    assert wait(httpx.Response(429, request=request)) == 1.0
