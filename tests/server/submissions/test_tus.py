"""The tus protocol as its specification has it, header by header."""

import base64
import hashlib
import socket
import zlib
from datetime import timedelta

import pytest
from django.utils.http import parse_http_date
from django.utils.timezone import now

from server.submissions import tus
from server.submissions.models import Upload
from tests.server.making import api, send

DATA = bytes(range(256)) * 20
PART = "application/offset+octet-stream"
SPEAKING = {"Tus-Resumable": "1.0.0"}


@pytest.fixture
def ada(people, phase):
    return api(people.ada)


def coded(**values: str) -> str:
    pairs = ((name, base64.b64encode(value.encode()).decode()) for name, value in values.items())
    return ",".join(f"{name} {value}" for name, value in pairs)


def create(client, *, size: int = len(DATA), body: bytes = b"", kind: str = "", **headers: str):
    about = coded(challenge="made-up", phase="test", filename="x y.zip")
    wish = {**SPEAKING, "Upload-Length": str(size), "Upload-Metadata": about, **headers}
    return client.generic("POST", "/api/uploads/", body, content_type=kind, headers=wish)


def test_options_say_what_the_server_can_to_anybody(phase):
    answer = api().options("/api/uploads/")
    assert answer.status_code == 204
    assert answer["Tus-Version"] == answer["Tus-Resumable"] == "1.0.0"
    known = set(answer["Tus-Extension"].split(","))
    assert known >= {"creation", "checksum", "expiration", "termination"}
    assert "sha1" in answer["Tus-Checksum-Algorithm"].split(",")
    assert answer["Tus-Max-Size"] == "50000000"


def test_creation_gives_an_address_that_takes_the_bytes(ada):
    made = create(ada)
    assert (made.status_code, made["Upload-Offset"]) == (201, "0")
    key = Upload.objects.get().pk
    assert made["Location"] == f"http://testserver/api/uploads/{key}/"
    sent = send(ada, f"/api/uploads/{key}/", DATA)
    assert (sent.status_code, sent["Upload-Offset"]) == (204, str(len(DATA)))
    assert sent["Tus-Resumable"] == "1.0.0"
    assert Upload.objects.get().path.read_bytes() == DATA


def test_creation_may_bring_the_first_bytes(ada):
    made = create(ada, body=DATA[:100], kind=PART)
    assert (made.status_code, made["Upload-Offset"]) == (201, "100")
    assert Upload.objects.get().offset == 100


def test_head_tells_offset_length_metadata_and_is_not_cached(ada):
    url = create(ada, body=DATA[:100], kind=PART)["Location"]
    asked = ada.head(url)
    assert (asked["Upload-Offset"], asked["Upload-Length"]) == ("100", str(len(DATA)))
    assert asked["Cache-Control"] == "no-store"
    assert tus.metadata(asked["Upload-Metadata"]) == {
        "challenge": "made-up", "phase": "test", "team": "ada", "filename": "x y.zip",
    }  # fmt: skip
    week = (now() + timedelta(days=7)).timestamp()
    assert abs(parse_http_date(asked["Upload-Expires"]) - week) < 60


def test_another_version_is_refused_with_ours(ada):
    for answer in (
        create(ada, **{"Tus-Resumable": "0.2.2"}),
        ada.head("/api/uploads/", headers={"Tus-Resumable": "2.0.0"}),
    ):
        assert answer.status_code == 412
        assert answer["Tus-Version"] == answer["Tus-Resumable"] == "1.0.0"
    assert not Upload.objects.exists()


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Upload-Length": "many"}, 400, "missing_header"),
        ({"Upload-Length": "60000000"}, 413, "too_large"),
        ({"Upload-Length": "0"}, 400, "invalid"),
        ({"Upload-Defer-Length": "1"}, 400, "size_first"),
        ({"Upload-Metadata": "challenge ???"}, 400, "bad_metadata"),
        ({"Upload-Metadata": "challenge /w=="}, 400, "bad_metadata"),
        ({"Upload-Metadata": ""}, 400, "invalid"),
        ({"Upload-Metadata": coded(challenge="made-up", phase="none")}, 404, "unknown_phase"),
    ],
)
def test_a_creation_that_cannot_be_is_refused_before_its_first_byte(ada, headers, status, code):
    answer = create(ada, **headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer["Tus-Resumable"] == "1.0.0"
    assert not Upload.objects.exists()


def sums(data: bytes) -> dict[str, bytes]:
    found = {name: hashlib.new(name, data).digest() for name in ("sha1", "sha256", "md5")}
    return found | {"crc32": zlib.crc32(data).to_bytes(4, "big")}


def patch(client, url: str, data: bytes, *, offset: int, checksum: str):
    headers = {"Upload-Offset": str(offset), "Upload-Checksum": checksum}
    return client.generic("PATCH", url, data, content_type=PART, headers=headers)


@pytest.mark.parametrize("name", sorted(tus.ALGORITHMS))
def test_a_part_is_kept_only_if_its_checksum_is_right(ada, name):
    url = create(ada, body=DATA[:10], kind=PART)["Location"]
    right = base64.b64encode(sums(DATA[10:30])[name]).decode()
    answer = patch(ada, url, DATA[11:31], offset=10, checksum=f"{name} {right}")
    assert (answer.status_code, answer.json()["code"]) == (460, "wrong_checksum")
    assert Upload.objects.get().path.read_bytes() == DATA[:10]
    answer = patch(ada, url, DATA[10:30], offset=10, checksum=f"{name} {right}")
    assert (answer.status_code, answer["Upload-Offset"]) == (204, "30")
    assert Upload.objects.get().path.read_bytes() == DATA[:30]


@pytest.mark.parametrize("checksum", ["sha1 ???", "sha3 YWJj", "sha1"])
def test_a_checksum_that_cannot_be_read_is_refused(ada, checksum):
    url = create(ada)["Location"]
    answer = patch(ada, url, DATA, offset=0, checksum=checksum)
    assert answer.status_code in (400, 460)
    assert Upload.objects.get().offset == 0


def test_termination_removes_the_bytes_and_the_address_is_gone(ada):
    url = create(ada, body=DATA[:10], kind=PART)["Location"]
    assert ada.delete(url, headers=SPEAKING).status_code == 204
    assert ada.head(url).status_code == 410
    assert not Upload.objects.get().path.exists()


def test_a_post_may_mean_another_method(ada):
    url = create(ada)["Location"]
    headers = {"Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    sent = ada.generic("POST", url, DATA, content_type=PART, headers=headers)
    assert (sent.status_code, sent["Upload-Offset"]) == (204, str(len(DATA)))
    for wrong in ("GET", "PUT", ""):
        headers = {"X-HTTP-Method-Override": wrong}
        assert ada.generic("POST", url, headers=headers).status_code == 405
    ended = ada.generic("POST", url, headers={"X-HTTP-Method-Override": "DELETE"})
    assert ended.status_code == 204


def test_nobody_else_can_write_read_or_end_an_upload(ada, people):
    url = create(ada, body=DATA[:10], kind=PART)["Location"]
    bob = api(people.bob)
    answers = [send(bob, url, DATA, offset=10), bob.get(url), bob.head(url), bob.delete(url)]
    assert [answer.status_code for answer in answers] == [404] * 4
    assert create(api()).status_code == 401
    assert Upload.objects.get().offset == 10


def test_an_upload_all_of_whose_bytes_nobody_noticed_is_noticed_by_who_asks(ada):
    """The server died between the last byte and the row."""
    url = create(ada)["Location"]
    upload = Upload.objects.get()
    upload.path.write_bytes(DATA)
    assert ada.head(url)["Upload-Offset"] == str(len(DATA))
    assert Upload.objects.get().status == "verifying"


def test_the_same_file_begun_again_in_json_is_where_it_was(ada):
    digest = hashlib.sha256(DATA).hexdigest()
    wish = {"challenge": "made-up", "phase": "test", "filename": "x", "size": len(DATA),
            "sha256": digest}  # fmt: skip
    first = ada.post("/api/uploads/", wish, format="json")
    send(ada, f"/api/uploads/{first.data['id']}/", DATA[:700])
    again = ada.post("/api/uploads/", wish, format="json")
    assert (first.status_code, again.status_code) == (201, 200)
    assert (again.data["id"], again.data["offset"]) == (first.data["id"], 700)
    assert again.data["direct"] is False
    refused = ada.get(f"/api/uploads/{first.data['id']}/parts/")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_direct")


def test_a_sender_that_falls_silent_loses_its_turn_and_keeps_what_it_sent(people, phase, settings):
    """Read from a socket as the web server does; the sender's machine lost power."""
    settings.UPLOAD_SILENCE_S = 0.2
    ada = api(people.ada)
    url = create(ada)["Location"]
    near, far = socket.socketpair()
    with near, far, near.makefile("rb", buffering=0) as stream:
        far.sendall(DATA[:100])
        headers = {"Upload-Offset": "0", "Content-Length": str(len(DATA))}
        link = {"wsgi.input": stream, "gunicorn.socket": near}
        answer = ada.generic("PATCH", url, b"-", content_type=PART, headers=headers, **link)
        assert near.gettimeout() is None
    assert (answer.status_code, answer.json()["code"]) == (400, "cut_short")
    assert ada.head(url)["Upload-Offset"] == "100"
    assert send(ada, url, DATA[100:], offset=100).status_code == 204
