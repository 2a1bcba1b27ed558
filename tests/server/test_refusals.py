"""How the site says no: every kind of refusal as problem details, and nothing of ours in it."""

import json

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.test import Client, RequestFactory
from rest_framework import exceptions

from server import api_schema, scoring
from server.api import (
    PROBLEM,
    _mistakes,
    broken,
    not_found,
    problem,
    problem_page,
    problem_response,
)
from server.errors import Refused
from tests.server.making import api

FIELDS = {"type", "title", "status", "detail", "code"}


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Refused("rule", "No."), 409, "rule"),
        (Refused("rule", "No.", status=460), 460, "rule"),
        (Refused("rule", "No.", status=507), 507, "rule"),
        (Http404("/srv/secret"), 404, "not_found"),
        (PermissionDenied("/srv/secret"), 403, "permission_denied"),
        (exceptions.NotAuthenticated("x"), 401, "not_authenticated"),
        (exceptions.NotFound("/srv/secret"), 404, "not_found"),
        (exceptions.ParseError("at byte 7 of /srv/secret"), 400, "parse_error"),
        (exceptions.UnsupportedMediaType("text/x"), 415, "unsupported_media_type"),
        (exceptions.MethodNotAllowed("PUT"), 405, "method_not_allowed"),
        (exceptions.NotAcceptable(), 406, "not_acceptable"),
        (exceptions.Throttled(7.2), 429, "throttled"),
        (exceptions.ValidationError("Wrong."), 400, "invalid"),
    ],
)
def test_each_refusal_has_its_status_its_code_and_a_sentence(error, status, code):
    answer = problem_response(error, {})
    assert (answer.status_code, answer.content_type) == (status, PROBLEM)
    assert (answer.data["status"], answer.data["code"]) == (status, code)
    assert answer.data.keys() >= FIELDS
    assert answer.data["title"]
    assert answer.data["detail"].strip()
    assert "/srv/secret" not in str(answer.data)


@pytest.mark.parametrize("error", [ValueError("x"), OSError("x"), KeyError("x"), AssertionError()])
def test_mistakes_of_ours_are_left_to_be_seen(error):
    assert problem_response(error, {}) is None


@pytest.mark.parametrize(("wait", "told"), [(0, "1"), (0.2, "1"), (7.2, "8"), (60, "60")])
def test_who_is_throttled_never_hears_to_come_back_at_once(wait, told):
    assert problem_response(exceptions.Throttled(wait), {}).headers["Retry-After"] == told


def test_a_refusal_for_want_of_a_log_in_says_how_to_log_in():
    error = exceptions.NotAuthenticated()
    error.auth_header = "Bearer"
    answer = problem_response(error, {})
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "evaluator login" in answer.data["detail"]


@pytest.mark.parametrize(
    ("detail", "sentences"),
    [
        ("Wrong.", ["Wrong"]),
        (["One.", "Two."], ["One", "Two"]),
        ({"size": ["Too small."]}, ["size: Too small"]),
        ({"non_field_errors": ["Both."]}, ["Both"]),
        ({"a": {"b": ["Deep."]}, "c": "Flat"}, ["b: Deep", "c: Flat"]),
        ({"kinds": {"0": ["Unknown."]}}, ["0: Unknown"]),
        ({}, []),
    ],
)
def test_mistakes_in_any_shape_become_a_list(detail, sentences):
    assert _mistakes(detail) == sentences


def test_more_facts_stand_beside_the_usual_ones():
    body = problem(409, "rule", "No.", offset=7)
    assert body.keys() == FIELDS | {"offset"}
    assert (body["type"], body["title"]) == ("about:blank", "Conflict")


def test_a_refusal_outside_of_the_framework_reads_the_same():
    refusal = Refused("rule", "No. Do this.", status=422)
    page = problem_page(refusal)
    assert (page.status_code, page["Content-Type"]) == (422, PROBLEM)
    assert json.loads(page.content) == problem_response(refusal, {}).data


@pytest.mark.parametrize(("path", "kind"), [("/api/x/", PROBLEM), ("/apix/", "text/html"),
                                            ("/x/api/", "text/html")])  # fmt: skip
@pytest.mark.parametrize("status", [404, 500])
def test_programs_get_problem_details_and_people_get_pages(path, kind, status):
    request = RequestFactory().get(path)
    answer = not_found(request, Http404()) if status == 404 else broken(request)
    assert answer.status_code == status
    assert answer["Content-Type"].startswith(kind)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api/", "/api/none/", "/api/submissions/x/", "/api/.env"])
def test_an_address_that_is_none_is_a_problem_and_not_a_page(path):
    answer = api().get(path)
    assert (answer.status_code, answer["Content-Type"]) == (404, PROBLEM)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "body", [b"{", b"[1", b"\xff\xfe", b'{"name": NaN}', b"null", b"7", b'"x"']
)
def test_a_body_that_is_none_is_told_so(people, body):
    answer = api(people.ada).post("/api/teams/", body, content_type="application/json")
    assert (answer.status_code, answer["Content-Type"]) == (400, PROBLEM)
    assert answer.json()["code"] in ("parse_error", "invalid")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "multipart/form-data; boundary=x"]
)
def test_a_body_of_another_kind_is_told_so(people, kind):
    answer = api(people.ada).post("/api/teams/", b"name=x", content_type=kind)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
def test_pages_about_problems_can_only_be_read(method):
    code = next(iter(scoring.catalogue()))
    for path in ("/problems/", f"/problems/{code}/"):
        assert getattr(Client(), method)(path).status_code == 405


@pytest.mark.parametrize("entry", scoring.catalogue().values(), ids=scoring.catalogue())
def test_every_code_says_who_has_to_act_and_what_it_means(entry):
    assert entry["blame"] in ("participant", "organiser", "system")
    assert len(entry["means"]) > 10


@pytest.mark.parametrize(
    ("operation", "method", "statuses"),
    [
        ({}, "get", {"429", "default"}),
        ({"parameters": [{"in": "path"}]}, "get", {"404", "429", "default"}),
        ({"parameters": [{"in": "query"}]}, "get", {"400", "429", "default"}),
        ({"security": [{"token": []}]}, "get", {"401", "403", "429", "default"}),
        ({"security": [{"token": []}, {}]}, "get", {"429", "default"}),
        ({}, "delete", {"400", "401", "409", "413", "415", "429", "default"}),
        ({}, "post", {"400", "401", "409", "413", "415", "422", "429", "default"}),
    ],
)
def test_the_description_names_the_refusals_of_each_kind_of_operation(operation, method, statuses):
    assert set(api_schema._refusals(operation, method)) == statuses


def test_what_an_operation_says_itself_is_not_overruled():
    own = {"description": "Own."}
    operation = {"responses": {"200": {}, "429": own}}
    found = api_schema.complete({"paths": {"/x/": {"get": operation}}})
    answers = found["paths"]["/x/"]["get"]["responses"]
    assert answers["429"]["description"] == "Own."
    assert answers["default"] == {"$ref": "#/components/responses/Problem"}
    assert found["components"]["schemas"]["Problem"]["required"] == [
        "type", "title", "status", "detail", "code",
    ]  # fmt: skip
