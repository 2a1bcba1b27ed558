import pytest
from django.urls import get_resolver
from drf_spectacular.generators import SchemaGenerator
from rest_framework.exceptions import ValidationError

from server.api import PROBLEM, problem_response
from server.errors import Refused
from tests.server.making import api

pytestmark = pytest.mark.django_db


def test_the_schema_describes_every_route_below_api():
    paths = set(SchemaGenerator().get_schema(request=None, public=True)["paths"])
    routes = [
        pattern.pattern for pattern in get_resolver().url_patterns if str(pattern.pattern) == "api/"
    ]
    assert len(routes) == 1
    assert {
        "/api/me/", "/api/teams/", "/api/tokens/", "/api/challenges/", "/api/challenges/{slug}/",
        "/api/uploads/", "/api/uploads/{key}/", "/api/uploads/{key}/finish/", "/api/submissions/",
        "/api/submissions/{key}/", "/api/submissions/{key}/result/",
        "/api/submissions/{key}/cancel/",
        "/api/challenges/{challenge}/phases/{phase}/manifest.csv",
        "/api/challenges/{challenge}/phases/{phase}/labels.toml",
    } <= paths  # fmt: skip


def test_the_schema_is_made_without_a_warning(capsys):
    answer = api().get("/api/schema/")
    assert answer.status_code == 200
    assert capsys.readouterr().err == ""


def test_the_documentation_needs_nothing_from_elsewhere():
    answer = api().get("/api/docs/")
    text = answer.content.decode()
    assert answer.status_code == 200
    assert "https://" not in text
    assert "/static/drf_spectacular_sidecar/" in text
    policy = answer["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "style-src 'self' 'unsafe-inline'" in policy


def test_answers_of_the_api_carry_the_strict_policy():
    policy = api().get("/api/challenges/")["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy


def test_a_refusal_becomes_problem_details():
    answer = problem_response(Refused("some_rule", "No. Do this instead."), {})
    assert (answer.status_code, answer.content_type) == (409, PROBLEM)
    assert answer.data == {
        "type": "about:blank", "title": "Conflict", "status": 409, "code": "some_rule",
        "detail": "No. Do this instead.",
    }  # fmt: skip


def test_mistakes_are_told_with_their_fields_however_deep():
    error = ValidationError({"size": ["Too small."], "more": [{"name": ["Missing."]}]})
    answer = problem_response(error, {})
    assert answer.data["detail"] == (
        "The request has mistakes: size: Too small; name: Missing. Mend them."
    )


def test_a_mistake_of_ours_is_not_swallowed():
    assert problem_response(ZeroDivisionError(), {}) is None


def test_a_method_that_is_not_there_is_told_so():
    answer = api().delete("/api/challenges/")
    assert answer.json()["code"] in ("method_not_allowed", "not_authenticated")
