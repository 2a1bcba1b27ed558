import ast
import json
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from django.urls import get_resolver, resolve
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiYamlRenderer
from rest_framework.exceptions import ValidationError

from server.api import PROBLEM, problem_response
from server.errors import Refused
from tests.server.making import api

pytestmark = pytest.mark.django_db


def described() -> dict:
    return SchemaGenerator().get_schema(request=None, public=True)


def operations() -> list[tuple[str, str, dict]]:
    """Path, method and description of each operation."""
    paths = described()["paths"]
    return [(path, method, each) for path in paths for method, each in paths[path].items()]


def routes(patterns, before: str = "/api/") -> list[str]:
    """`/api/submissions/{}/` for every route below /api/."""
    found = []
    for entry in patterns:
        path = before + re.sub(r"<[^>]+>", "{}", str(entry.pattern))
        found += routes(entry.url_patterns, path) if hasattr(entry, "url_patterns") else [path]
    return found


def test_the_schema_describes_every_route_below_api():
    (ours,) = [each for each in get_resolver().url_patterns if str(each.pattern) == "api/"]
    paths = {re.sub(r"{[^}]+}", "{}", path) for path in described()["paths"]}
    assert paths == set(routes(ours.url_patterns)) - {"/api/schema/", "/api/docs/"}


@pytest.mark.skipif(connection.vendor != "sqlite", reason="ranges of numbers differ by database")
def test_the_schema_in_the_docs_is_the_present_one():
    kept = (Path(settings.BASE_DIR) / "docs" / "openapi.yaml").read_bytes()
    present = OpenApiYamlRenderer().render(described(), renderer_context={})
    assert kept.splitlines() == present.splitlines(), "run: make openapi"


def test_every_operation_says_how_it_refuses():
    problem = {"$ref": "#/components/responses/Problem"}
    for path, method, operation in operations():
        assert operation["responses"]["default"] == problem, (path, method)
        assert "429" in operation["responses"], (path, method)
        refusals = {status for status in operation["responses"] if status >= "400"}
        assert {"404"} <= refusals or "{" not in path
    schema = described()["components"]
    assert schema["responses"]["Problem429"]["content"][PROBLEM]["schema"] == {
        "$ref": "#/components/schemas/Problem"
    }
    assert "RateLimit-Remaining" in schema["responses"]["Problem"]["headers"]


def test_every_post_may_carry_a_key():
    for path, method, operation in operations():
        names = [each["name"] for each in operation.get("parameters", [])]
        assert ("Idempotency-Key" in names) == (method == "post"), path


def test_what_is_open_to_all_is_described_so():
    found = {path: each.get("security", [{}]) for path, method, each in operations()
             if method == "get"}  # fmt: skip
    assert {} in found["/api/challenges/"]
    assert {} not in found["/api/me/"]


def test_lists_come_in_pages():
    """An array at the top of an answer could only grow; parts come a hundred at once."""
    for path, method, operation in operations():
        if path == "/api/uploads/{key}/parts/":
            continue
        for status, answer in operation["responses"].items():
            for kind, content in answer.get("content", {}).items():
                assert content["schema"].get("type") != "array", (path, method, status, kind)


def test_no_secret_is_kept_for_a_repeat():
    """A view whose answer shows a token or a secret says so, and its answer is not kept."""
    shown = re.compile(r"token|secret")
    parts = described()["components"]["schemas"]
    for path, method, operation in operations():
        if method != "post":
            continue
        texts = [json.dumps(answer) for answer in operation["responses"].values()]
        named = {name for text in texts for name in re.findall(r"schemas/(\w+)", text)}
        fields = {field for name in named for field in parts[name].get("properties", {})}
        if any(shown.fullmatch(field) for field in fields):
            view = resolve(re.sub(r"{[^}]+}", "1", path)).func.cls
            assert view.secret_answer, f"{view.__name__} needs secret_answer = True"


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


def test_every_code_of_a_refusal_is_in_the_docs():
    docs = (Path(settings.BASE_DIR) / "docs" / "api.md").read_text("utf-8")
    calls = [
        call
        for path in (Path(settings.BASE_DIR) / "server").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.args
    ]
    codes = {
        call.args[0].value
        for call in calls
        if call.func.id == "Refused" and isinstance(call.args[0], ast.Constant)
    }
    assert len(codes) > 40
    assert {code for code in codes if f"`{code}`" not in docs} == set()
