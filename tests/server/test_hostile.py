"""Requests nobody should send: each gets an answer with a sentence, none breaks the site."""

import itertools
import json

import pytest

from server.submissions.models import Submission, Upload
from tests.server.making import api, entered, send, stored

VALUES = [
    None, True, 0, -1, 2**31, 2**63, 10**30, 1.5, 1e308, "", " ", "\0", "a\0b", "../../etc/passwd",
    "x" * 100_000, "‮gnp", "' OR 1=1 --", "<script>alert(1)</script>", "{{7*7}}", "\ud800",
    [], [1], {}, {"a": 1}, "00000000-0000-0000-0000-000000000000",
]  # fmt: skip
BODIES = {
    "/api/uploads/": {"challenge": "made-up", "phase": "test", "team": "", "filename": "x.zip",
                      "size": 5, "sha256": ""},
    "/api/submissions/": {"upload": "00000000-0000-0000-0000-000000000000", "method": "M",
                          "description": ""},
    "/api/teams/": {"name": "Name"},
    "/api/tokens/": {"email": "a@example.org", "password": "p", "name": "n"},
}  # fmt: skip


def post(client, url: str, body: object):
    text = json.dumps(body)  # lone surrogates and all
    return client.generic("POST", url, text, content_type="application/json")


@pytest.fixture
def ada(people, phase):
    return api(people.ada)


@pytest.mark.parametrize("url", BODIES)
def test_no_value_of_any_field_breaks_the_site(ada, settings, url):
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"DEFAULT_THROTTLE_CLASSES": []}
    for field, value in itertools.product(BODIES[url], VALUES):
        answer = post(ada, url, BODIES[url] | {field: value})
        assert answer.status_code < 500, (field, value)
        if answer.status_code >= 400:
            assert answer["Content-Type"] == "application/problem+json"
            assert answer.json()["detail"].endswith("."), (field, value)
    Upload.objects.all().delete()


@pytest.mark.parametrize("url", BODIES)
@pytest.mark.parametrize("body", [None, [], "text", 5, [[[[]]]]])
def test_a_body_that_is_no_object_is_a_400(ada, url, body):
    assert post(ada, url, body).status_code == 400


@pytest.mark.parametrize("text", [b"\xff\xfe", b"{" * 100_000, b'{"size": NaN}', b""])
def test_a_body_that_is_no_json_is_a_400(ada, text):
    answer = ada.generic("POST", "/api/uploads/", text, content_type="application/json")
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "url",
    [
        "/api/submissions/99999999999999999999999/",
        "/api/submissions/0/",
        "/api/submissions/-1/",
        "/api/submissions/1e3/",
        "/api/uploads/not-an-id/",
        "/api/uploads/%00/",
        "/api/challenges/%2e%2e/",
        "/api/challenges/made-up/phases/%00/manifest.csv",
    ],
)
def test_an_address_that_leads_nowhere_is_a_404(ada, url):
    answer = ada.get(url)
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")


@pytest.mark.parametrize("query", ["page=0", "page=abc", "page=99", "page_size=-1", "page=%00"])
def test_a_page_that_is_not_there_is_a_404_or_the_first(ada, query):
    assert ada.get(f"/api/submissions/?{query}").status_code in (200, 404)


@pytest.mark.parametrize("query", ["challenge=%00", "challenge=a b", "phase=%F0%9F%92%A9"])
def test_a_filter_that_is_no_name_is_a_400(ada, query):
    answer = ada.get(f"/api/submissions/?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


def test_a_filter_for_what_does_not_exist_finds_nothing(ada):
    answer = ada.get(f"/api/submissions/?challenge={'x' * 5000}")
    assert (answer.status_code, answer.json()["count"]) == (200, 0)


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer \xe9", "Bearer a b", "bearer x"])
def test_a_strange_token_is_a_wrong_token(header, db):
    client = api()
    client.credentials(HTTP_AUTHORIZATION=header)
    assert client.get("/api/me/").json()["code"] == "wrong_token"


def test_another_kind_of_authorization_is_no_authorization(db):
    client = api()
    client.credentials(HTTP_AUTHORIZATION="Basic YTpi")
    assert client.get("/api/me/").json()["code"] == "not_authenticated"


def test_names_are_kept_as_text_and_never_run(ada, people, phase, queue_up):
    name = "<script>alert(1)</script>"
    upload = stored(phase, people.ada.own_team, b"abc")
    made = post(ada, "/api/submissions/", {"upload": str(upload.id), "method": name})
    assert made.json()["method"] == name
    page = api(people.ada)
    page.force_login(people.ada)
    assert name not in page.get(f"/submissions/{made.json()['id']}/").content.decode()


def test_a_file_name_leads_to_no_other_place(ada, people):
    begun = post(ada, "/api/uploads/", BODIES["/api/uploads/"] | {"filename": "../../x.zip"})
    assert begun.status_code == 201
    upload = Upload.objects.get()
    send(ada, f"/api/uploads/{upload.id}/", b"abcde")
    assert upload.path.name == f"{upload.id}.zip"
    assert upload.path.read_bytes() == b"abcde"


def test_one_teams_many_requests_leave_one_submission(ada, people, phase, queue_up):
    upload = stored(phase, people.ada.own_team, b"abc")
    body = {"upload": str(upload.id), "method": "M"}
    codes = [post(ada, "/api/submissions/", body).status_code for _ in range(5)]
    assert codes == [201, 409, 409, 409, 409]
    assert Submission.objects.count() == 1


def test_what_the_participant_sent_is_never_run_by_the_check(phase, people, work, tmp_path):
    """A pickle where an archive should be."""
    mark = tmp_path / "ran"
    pickled = b"cos\nsystem\n(S'touch " + str(mark).encode() + b"'\ntR."
    entered(phase, people.ada, pickled)
    work()
    assert Submission.objects.get().status == "rejected"
    assert not mark.exists()
