import hashlib
import json
from datetime import timedelta

import pytest
from django.conf import settings
from django.utils.timezone import now

from server.accounts.models import Membership
from server.accounts.teams import create_team
from server.challenges.models import Phase
from server.submissions.models import Submission, Upload
from tests.server.making import api, entered, send, stored

PROBLEM = "application/problem+json"


@pytest.fixture
def ada(people, phase):
    return api(people.ada)


def begin(client, **fields):
    wish = {"challenge": "made-up", "phase": "test", "filename": "x.zip", "size": 5} | fields
    return client.post("/api/uploads/", wish, format="json")


def refusal(answer) -> tuple[int, str]:
    """Status and code of a refusal that is told as it should be."""
    problem = answer.json()
    assert answer["Content-Type"] == PROBLEM
    assert problem["status"] == answer.status_code
    assert problem["detail"].endswith(".")
    return answer.status_code, problem["code"]


def test_the_whole_story_over_the_api(ada, work, packed):
    data = packed.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    begun = begin(ada, size=len(data), sha256=digest)
    assert begun.status_code == 201
    assert (begun.data["offset"], begun.data["part_size"]) == (0, settings.UPLOAD_PART_BYTES)
    url = f"/api/uploads/{begun.data['id']}/"
    half = len(data) // 2
    assert send(ada, url, data[:half])["Upload-Offset"] == str(half)
    asked = ada.head(url)
    assert (asked["Upload-Offset"], asked["Upload-Length"]) == (str(half), str(len(data)))
    assert send(ada, url, data[half:], offset=half).status_code == 204
    finished = ada.post(f"{url}finish/").json()
    assert (finished["status"], finished["sha256"]) == ("verifying", digest)
    wish = {"upload": begun.data["id"], "method": "U-Net", "description": "Deep."}
    made = ada.post("/api/submissions/", wish, format="json")
    assert made.status_code == 201
    assert (made.data["status"], made.data["total"], made.data["labels"]) == ("received", 0, [])
    work()
    shown = ada.get(f"/api/submissions/{made.data['id']}/").json()
    assert (shown["status"], shown["done"], shown["total"]) == ("scored", 6, 6)
    assert (shown["challenge"], shown["phase"], shown["team"]) == ("made-up", "test", "ada")
    assert (shown["method"], shown["blame"], shown["quota_used"]) == ("U-Net", "", True)
    assert shown["report"]["accepted"] is True
    assert shown["url"] == f"http://testserver/submissions/{made.data['id']}/"
    result = ada.get(f"/api/submissions/{made.data['id']}/result/")
    assert result["Content-Type"] == "application/json"
    assert result.content.decode() == Submission.objects.get().evaluation.result
    stored_result = json.loads(result.content)
    assert shown["overall"] == stored_result["overall"]
    assert {row["label"]: row["score"] for row in shown["labels"]} == {
        label: row["score"] for label, row in stored_result["labels"].items()
    }


def test_a_team_is_named_or_is_ones_own(ada, people):
    team = create_team(people.ada, name="Deep Cells")
    assert begin(ada, team="deep-cells").status_code == 201
    assert Upload.objects.get().team == team
    begin(ada)
    assert Upload.objects.filter(team=people.ada.own_team).count() == 1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"challenge": "other"}, (404, "unknown_phase")),
        ({"phase": "other"}, (404, "unknown_phase")),
        ({"team": "bob"}, (404, "unknown_team")),
        ({"size": 0}, (400, "invalid")),
        ({"size": 10**12}, (413, "too_large")),
        ({"sha256": "abc"}, (400, "invalid")),
        ({"filename": ""}, (400, "invalid")),
    ],
)
def test_an_upload_that_cannot_be_is_refused_before_its_first_byte(ada, fields, expected):
    assert refusal(begin(ada, **fields)) == expected
    assert not Upload.objects.exists()


def test_an_expired_phase_is_told_with_its_date(ada, phase):
    phase.closes = phase.opens + timedelta(days=1)
    phase.save()
    answer = begin(ada)
    assert refusal(answer) == (409, "phase_closed")
    assert "closed on 2 January 2026 at 00:00 UTC" in answer.json()["detail"]


def test_an_upload_may_be_resumed_listed_and_discarded(ada):
    key = begin(ada).data["id"]
    send(ada, f"/api/uploads/{key}/", b"abc")
    (listed,) = ada.get("/api/uploads/").json()["results"]
    assert (listed["id"], listed["offset"], listed["status"]) == (key, 3, "open")
    assert ada.delete(f"/api/uploads/{key}/").status_code == 204
    assert ada.get("/api/uploads/").json()["results"] == []
    assert not Upload.objects.get().path.exists()


def test_the_wrong_offset_is_a_conflict(ada):
    url = f"/api/uploads/{begin(ada).data['id']}/"
    assert refusal(send(ada, url, b"ab", offset=1)) == (409, "wrong_offset")


def test_a_part_needs_its_offset_and_its_type(ada):
    url = f"/api/uploads/{begin(ada).data['id']}/"
    kind = "application/offset+octet-stream"
    assert refusal(ada.generic("PATCH", url, b"ab", content_type=kind)) == (400, "missing_header")
    for wrong in ("", "-1", "1.5", "one", "9" * 5000):
        answer = ada.generic(
            "PATCH", url, b"ab", content_type=kind, headers={"Upload-Offset": wrong}
        )
        assert refusal(answer) == (400, "missing_header")
    answer = ada.generic(
        "PATCH", url, b"ab", content_type="text/plain", headers={"Upload-Offset": "0"}
    )
    assert refusal(answer) == (415, "wrong_content_type")
    assert Upload.objects.get().offset == 0


def test_a_wrong_digest_is_told_and_the_bytes_are_gone(ada, work):
    url = f"/api/uploads/{begin(ada, sha256='0' * 64).data['id']}/"
    send(ada, url, b"abcde")
    work()
    shown = ada.get(url).json()
    assert (shown["status"], shown["offset"]) == ("expired", 0)
    assert "the file was changed while it was sent, or on its way" in shown["trouble"]
    assert refusal(ada.post(f"{url}finish/")) == (410, "upload_expired")
    assert not Upload.objects.get().path.exists()


def test_a_full_disk_is_a_507(ada, settings):
    settings.UPLOAD_RESERVE_BYTES = 2**60
    assert refusal(begin(ada)) == (507, "disk_full")


def test_a_submission_needs_a_method(ada, people, phase):
    upload = stored(phase, people.ada.own_team, b"abc")
    answer = ada.post("/api/submissions/", {"upload": str(upload.id)}, format="json")
    assert refusal(answer) == (400, "invalid")
    assert "method" in answer.json()["detail"]


def test_a_submission_for_another_teams_upload_is_not_found(ada, people, phase):
    upload = stored(phase, people.bob.own_team, b"abc")
    wish = {"upload": str(upload.id), "method": "mine now"}
    assert refusal(ada.post("/api/submissions/", wish, format="json")) == (404, "not_found")
    assert not Submission.objects.exists()


def test_submissions_are_listed_newest_first_and_by_challenge(ada, people, phase, queue_up):
    first = entered(phase, people.ada, b"abc")
    Submission.objects.update(status="scored")
    second = entered(phase, people.ada, b"abc")
    rows = ada.get("/api/submissions/", {"challenge": "made-up"}).json()["results"]
    assert [row["id"] for row in rows] == [second.pk, first.pk]
    assert ada.get("/api/submissions/", {"challenge": "other"}).json()["results"] == []
    assert ada.get("/api/submissions/", {"phase": "other"}).json()["count"] == 0


def test_the_list_takes_the_same_number_of_queries_for_one_and_for_many(
    ada, people, phase, queue_up, django_assert_max_num_queries
):
    for _ in range(3):
        entered(phase, people.ada, b"abc")
        Submission.objects.update(status="scored")
    with django_assert_max_num_queries(10):
        assert ada.get("/api/submissions/").json()["count"] == 3


def test_a_rejected_one_shows_its_report_and_its_next_step(ada, people, phase, work):
    key = entered(phase, people.ada, b"no zip").pk
    work()
    shown = ada.get(f"/api/submissions/{key}/").json()
    assert (shown["status"], shown["blame"], shown["quota_used"]) == (
        "rejected", "participant", False,
    )  # fmt: skip
    (problem,) = shown["report"]["problems"]
    assert problem["code"] == "not_a_zip"
    assert problem["message"] in shown["message"]
    assert "no quota was used" in shown["next_step"]
    assert refusal(ada.get(f"/api/submissions/{key}/result/")) == (404, "not_found")


def test_a_submission_may_be_cancelled_once(ada, people, phase, queue_up):
    key = entered(phase, people.ada, b"abc").pk
    assert ada.post(f"/api/submissions/{key}/cancel/").json()["status"] == "cancelled"
    assert refusal(ada.post(f"/api/submissions/{key}/cancel/")) == (409, "ended")


@pytest.mark.parametrize(
    ("visibility", "overall", "result"),
    [("full", "exact", 200), ("ranks", "rounded", 404), ("own", "rounded", 404),
     ("staff", None, 404)],
)  # fmt: skip
def test_a_team_sees_of_its_own_scores_what_the_phase_allows(
    ada, people, phase, work, packed, visibility, overall, result
):
    key = entered(phase, people.ada, packed.read_bytes()).pk
    work()
    phase.visibility = visibility
    phase.save()
    exact = Submission.objects.get().evaluation.overall
    shown = ada.get(f"/api/submissions/{key}/").json()
    assert shown["overall"] == {"exact": exact, "rounded": round(exact, 3), None: None}[overall]
    scores = [row["score"] for row in shown["labels"]]
    assert all((score is None) == (overall is None) for score in scores)
    if overall == "rounded":
        assert scores == [round(score, 3) for score in scores]
    assert ada.get(f"/api/submissions/{key}/result/").status_code == result
    staff = api(people.staff)
    assert staff.get(f"/api/submissions/{key}/").json()["overall"] == exact
    assert staff.get(f"/api/submissions/{key}/result/").status_code == 200


ROUTES = [
    ("get", "/api/uploads/{upload}/"),
    ("head", "/api/uploads/{upload}/"),
    ("patch", "/api/uploads/{upload}/"),
    ("post", "/api/uploads/{upload}/finish/"),
    ("delete", "/api/uploads/{upload}/"),
    ("get", "/api/submissions/{submission}/"),
    ("get", "/api/submissions/{submission}/result/"),
    ("post", "/api/submissions/{submission}/cancel/"),
]


@pytest.mark.parametrize(("method", "route"), ROUTES)
def test_a_rival_finds_nothing_and_an_outsider_must_log_in(
    method, route, people, phase, work, packed
):
    submission = entered(phase, people.ada, packed.read_bytes())
    work()
    before = Submission.objects.values().get(), Upload.objects.values().get()
    url = route.format(upload=submission.upload_id, submission=submission.pk)

    def ask(client, address):
        if method == "patch":
            return send(client, address, b"x")
        return getattr(client, method)(address)

    assert ask(api(), url).status_code == 401
    rival = ask(api(people.bob), url)
    missing = ask(api(people.bob), route.format(upload="0" * 8 + "-0000" * 3 + "-" + "0" * 12,
                                                submission=10**6))  # fmt: skip
    assert rival.status_code == missing.status_code == 404
    assert rival.content == missing.content  # nothing tells the two apart
    assert (Submission.objects.values().get(), Upload.objects.values().get()) == before
    assert submission.upload.path.exists()


def test_a_member_of_the_team_may_do_all_that_the_sender_may(people, phase, queue_up):
    team = create_team(people.ada, name="Deep Cells")
    Membership.objects.create(team=team, user=people.bob)
    bob = api(people.bob)
    key = begin(api(people.ada), team="deep-cells").data["id"]
    assert send(bob, f"/api/uploads/{key}/", b"abcde").status_code == 204
    assert bob.post(f"/api/uploads/{key}/finish/").status_code == 200
    made = bob.post("/api/submissions/", {"upload": key, "method": "Ours"}, format="json")
    assert (made.status_code, made.data["team"]) == (201, "deep-cells")


@pytest.mark.parametrize("url", ["/api/uploads/", "/api/submissions/", "/api/me/"])
def test_lists_of_a_rival_hold_nothing_of_ours(url, people, phase, queue_up):
    entered(phase, people.ada, b"abc")
    stored(phase, people.ada.own_team, b"abc")
    text = api(people.bob).get(url).content.decode()
    assert "x.zip" not in text
    assert "Method" not in text
    assert "ada" not in text
    assert api().get(url).status_code == 401


def test_an_expired_upload_is_gone_for_the_api_too(ada):
    key = begin(ada).data["id"]
    Upload.objects.update(status="expired", expires=now())
    assert refusal(send(ada, f"/api/uploads/{key}/", b"a")) == (410, "upload_expired")


def test_what_has_not_changed_is_not_sent_again(ada, people, phase, work, packed):
    submission = entered(phase, people.ada, packed.read_bytes())
    url = f"/api/submissions/{submission.pk}/"
    first = ada.get(url)
    mark = {"If-None-Match": first["ETag"]}
    again = ada.get(url, headers=mark)
    assert (again.status_code, again.content) == (304, b"")
    assert again["ETag"] == first["ETag"]
    assert "RateLimit-Remaining" in again
    work()
    scored = ada.get(url, headers=mark)
    assert (scored.status_code, scored.data["status"]) == (200, "scored")
    assert ada.get(url, headers={"If-None-Match": scored["ETag"]}).status_code == 304


def test_the_mark_is_the_viewers_own(ada, people, phase, work, packed):
    submission = entered(phase, people.ada, packed.read_bytes())
    work()
    url = f"/api/submissions/{submission.pk}/"
    hers = ada.get(url)["ETag"]
    Phase.objects.update(visibility="staff")
    hidden = ada.get(url, headers={"If-None-Match": hers})
    assert (hidden.status_code, hidden.data["overall"]) == (200, None)
    hers, staff = hidden["ETag"], api(people.staff)
    assert staff.get(url, headers={"If-None-Match": hers}).data["overall"] is not None
    Submission.objects.update(disqualified="Trained on the truth.")
    shown = ada.get(url, headers={"If-None-Match": hers})
    assert (shown.status_code, shown.data["disqualified"]) == (200, "Trained on the truth.")
    assert api(people.bob).get(url, headers={"If-None-Match": hers}).status_code == 404


def test_unchanged_answers_read_no_scores(
    ada, people, phase, work, packed, django_assert_max_num_queries
):
    submission = entered(phase, people.ada, packed.read_bytes())
    work()
    url = f"/api/submissions/{submission.pk}/"
    mark = {"If-None-Match": ada.get(url)["ETag"]}
    with django_assert_max_num_queries(8) as asked:
        assert ada.get(url, headers=mark).status_code == 304
    assert not [q for q in asked.captured_queries if '"submissions_item"."score"' in q["sql"]]


def test_what_waits_is_told_its_place_and_nothing_is_promised(ada, people, phase, work, packed):
    submission = entered(phase, people.ada, packed.read_bytes())
    before = ada.get(f"/api/submissions/{submission.pk}/").json()
    assert (before["queue_position"], before["eta_seconds"]) == (None, None)
    work()
    after = ada.get(f"/api/submissions/{submission.pk}/").json()
    assert (after["queue_position"], after["eta_seconds"]) == (None, None)
