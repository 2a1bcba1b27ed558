"""Every route of the site and its API, walked by a visitor, a rival, the owner and an organiser.

The routes come from the URL resolver.  One that this walk cannot fill with arguments fails, so that
nothing is added without being walked.  Secrets are numbers and words found nowhere else.
"""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from types import SimpleNamespace

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.timezone import now

from server.accounts.models import Token
from server.challenges.editions import propose
from server.challenges.models import Edition, Phase, TruthVersion
from server.submissions.models import Evaluation, Item, ItemScore, Submission, Upload
from tests.server import entries
from tests.server.making import person

pytestmark = pytest.mark.django_db
PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>|\(\?P<(\w+)>(?:[^()]|\([^)]*\))*\)")
OVERALL, MITO, MEMBRANE, DRAFT = 0.734517, 0.621938, 0.883761, 0.417253
SCORES = re.compile(r"0\.73|73\.4|0\.62|62\.1|0\.88|88\.3")
LABELS = re.compile(r"0\.62|62\.1|0\.88|88\.3")
EXACT = re.compile(r"0\.7345|0\.6219|0\.8837")  # more digits than a hidden phase shows
UNPUBLISHED = re.compile(r"0\.41|41\.7")
TRUTH = ("secret-truth-folder", "feed" * 16, "beef" * 16)
FILES = ("ada@example.org", "adas-secret-file", "cafe" * 16, "Unpublished trick", "badplace")
NEVER = ("accounts/logout/", "admin/logout/")  # they would end the walk
SAME_FOR_ALL = ("/api/schema/", "/api/docs/", "/problems/missing_array/", "/problems/")
CHANGING = ("post", "patch", "delete")


@pytest.fixture
def scene() -> SimpleNamespace:
    """A scored entry of Ada's, a draft edition with a score of hers, and all that is secret."""
    phase = entries.phase(entries.challenge())
    ada, bob = person("Ada"), person("Bob")
    TruthVersion.objects.update(
        path="/secret-truth-folder", digests={"crop1/mito": TRUTH[1]}, digest=TRUTH[2]
    )
    entries.scored(phase, bob.own_team, 0.5)
    mine = entries.scored(phase, ada.own_team, OVERALL, mito=MITO, membrane=MEMBRANE)
    problem = {"code": "x", "severity": "ignored", "message": "badplace", "remedy": "mend it"}
    Submission.objects.filter(pk=mine.pk).update(
        description="Unpublished trick", created=entries.BEGAN,
        report={"accepted": True, "problems": [problem], "targets": {}},
    )  # fmt: skip
    Upload.objects.filter(pk=mine.upload_id).update(
        filename="adas-secret-file.zip", sha256="cafe" * 16
    )
    old = Evaluation.objects.get(submission=mine)
    result = {"overall": OVERALL, "labels": old.labels, "truth": TRUTH[2]}
    Evaluation.objects.filter(pk=old.pk).update(result=json.dumps(result))
    edition = _draft(phase, mine)
    token = Token.issue(ada, name="laptop", now=now())[0]
    staff = person("Organiser", is_staff=True, is_superuser=True)
    return SimpleNamespace(
        phase=phase, ada=ada, bob=bob, staff=staff, mine=mine, edition=edition, token=token
    )


def _draft(phase: Phase, mine: Submission) -> Edition:
    truth = entries.truth_version(phase.challenge, number=2)
    edition = propose(phase, truth=truth, protocol=phase.protocol)
    entries.evaluation(mine, status="scored", done=3, overall=DRAFT, labels={
        "mito": {"kind": "instance", "score": DRAFT}}, result=json.dumps({"overall": DRAFT}),
    )  # fmt: skip
    Evaluation.objects.filter(submission=mine, overall=DRAFT).update(
        truth=truth, edition=edition, background=True
    )
    row = {"team": "ada", "name": "Ada", "baseline": False, "rank": [1, 2], "moved": True,
           "score": [OVERALL, DRAFT], "submission": [mine.pk, mine.pk], "method": "M",
           "targets": ["crop1/mito"]}  # fmt: skip
    side = {"edition": 1, "truth": 1, "protocol": "crista-1", "evaluators": []}
    diff = {"before": side, "after": side, "causes": [], "targets": [], "rows": [row]}
    Edition.objects.filter(pk=edition.pk).update(state="ready", diff=diff)
    return edition


def routes(patterns=None, before: str = "") -> Iterator[str]:
    for entry in patterns or get_resolver().url_patterns:
        path = before + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from routes(entry.url_patterns, path)
        elif isinstance(entry, URLPattern):
            yield path


def addresses(scene: SimpleNamespace) -> list[str]:
    """Every route with every sample for its parameters.  Fails for one that has none."""
    by_name = {
        "challenge": ["demo"], "phase": ["test"], "number": ["1", "2"],
        "code": ["missing_array"], "object_id": [str(scene.mine.pk)], "content_type_id": ["1"],
        "id": [str(scene.ada.pk)], "app_label": ["submissions"], "url": ["nowhere/"],
        "uidb36": ["1"], "text": ["nonsense"],
    }  # fmt: skip
    by_noun = {
        "challenges": ["demo"], "teams": [scene.ada.own_team.slug],
        "uploads": [str(scene.mine.upload_id)], "submissions": [str(scene.mine.pk)],
        "tokens": [str(scene.token.pk)], "members": [str(scene.ada.pk)],
        "confirm-email": ["nonsense"], "reset": ["nonsense"], "grants": ["1"], "notices": ["1"],
        "webhooks": ["1"],
    }  # fmt: skip
    found = []
    for route in routes():
        samples = []
        for match in PARAMETER.finditer(route):
            name = match[1] or match[2]
            nouns = re.findall(r"[a-z-]+(?=/)", route[: match.start()])
            sample = by_name.get(name) or next(
                (by_noun[noun] for noun in reversed(nouns) if noun in by_noun), None
            )
            assert sample, f"no sample for {name} of {route}: add one to this test"
            samples.append(sample)
        for values in product(*samples):
            given = iter(values)
            path = PARAMETER.sub(lambda match, given=given: next(given), route)
            found.append("/" + path.replace("^", "").replace("$", ""))
    return [path for path in found if not path.endswith(NEVER)]


def browser(user) -> Client:
    client = Client(raise_request_exception=True)
    if user is not None:
        client.force_login(user)
    return client


def ask(client: Client, path: str, method: str = "get", **more) -> str:
    """What somebody is answered, with the headers; no throttle stands in the way."""
    cache.clear()
    answer = getattr(client, method)(path, **more)
    assert answer.status_code < 500, (method, path, answer.status_code)
    assert answer.status_code != 429, path
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return f"{dict(answer.headers)} {body.decode('utf-8', 'replace')}"


def answers(scene: SimpleNamespace, user, *, admin: bool = False) -> Iterator[tuple[str, str]]:
    client = browser(user)
    for path in addresses(scene):
        if path.startswith("/admin/") != admin or (path in SAME_FOR_ALL and user is not None):
            continue
        yield path, ask(client, path)
        if "board" in path:
            yield path, ask(client, f"{path}?label=mito")


def found(texts, *patterns) -> list[tuple[str, str]]:
    return [
        (path, str(pattern)) for path, text in texts for pattern in patterns
        if (pattern in text if isinstance(pattern, str) else pattern.search(text))
    ]  # fmt: skip


SITUATIONS = [
    # visibility, embargoed, what the owner must not see
    ("full", False, ()),
    ("full", True, (SCORES,)),
    ("ranks", False, (EXACT,)),
    ("own", False, (EXACT,)),
    ("own", True, (SCORES,)),
    ("staff", False, (SCORES,)),
]


def situate(scene: SimpleNamespace, visibility: str, *, embargoed: bool, **fields) -> None:
    embargo = now() + timedelta(days=1) if embargoed else now() - timedelta(days=1)
    Phase.objects.update(visibility=visibility, embargo=embargo, **fields)


@pytest.mark.parametrize(("visibility", "embargoed", "hidden"), SITUATIONS)
def test_nobody_is_told_what_is_not_for_them(scene, visibility, embargoed, hidden):
    situate(scene, visibility, embargoed=embargoed)
    public = visibility == "full" and not embargoed
    for user in (None, scene.bob):
        secret = (*TRUTH, *FILES, str(scene.mine.upload_id), UNPUBLISHED)
        texts = list(answers(scene, user))
        assert found(texts, *secret, *(() if public else (SCORES,))) == [], (user, visibility)
    texts = list(answers(scene, scene.ada))
    result = f"/api/submissions/{scene.mine.pk}/result/"  # names the truth by one digest of all
    assert found([row for row in texts if row[0] != result], *TRUTH) == []
    assert found(texts, *TRUTH[:2], UNPUBLISHED, *hidden) == []


def test_the_owner_sees_scores_once_the_embargo_has_ended(scene):
    situate(scene, "own", embargoed=True)
    page = f"/submissions/{scene.mine.pk}/"
    assert not SCORES.search(ask(browser(scene.ada), page))
    situate(scene, "own", embargoed=False)
    assert "0.735" in ask(browser(scene.ada), page)
    assert "0.622" in ask(browser(scene.ada), page)


def test_a_phase_of_overall_scores_shows_no_label_and_one_of_one_digit_no_second(scene):
    situate(scene, "ranks", embargoed=False, detail="overall")
    for user in (scene.bob, scene.ada):
        assert found(answers(scene, user), LABELS, EXACT) == []
    page = f"/submissions/{scene.mine.pk}/"
    assert "0.735" in ask(browser(scene.ada), page)
    board = "/api/challenges/demo/phases/test/board/?label=mito"
    assert '"rows":[]' in ask(browser(scene.ada), board)
    situate(scene, "ranks", embargoed=False, detail="label", digits=1)
    assert found(answers(scene, scene.ada), SCORES) == []
    assert "0.7" in ask(browser(scene.ada), page)


def test_organisers_get_an_answer_everywhere_and_see_what_is_prepared(scene):
    situate(scene, "staff", embargoed=True)
    texts = [*answers(scene, scene.staff), *answers(scene, scene.staff, admin=True)]
    pages = {path for path, _ in found(texts, UNPUBLISHED)}
    assert "/challenges/demo/test/editions/2/" in pages
    assert "/api/challenges/demo/phases/test/editions/2/" in pages
    named = {path for path, _ in found(texts, *TRUTH) if not path.startswith("/admin/")}
    assert named == {f"/api/submissions/{scene.mine.pk}/result/"}


def test_the_admin_is_closed_to_everybody_else(scene):
    for user in (None, scene.bob):
        admin = list(answers(scene, user, admin=True))
        assert len(admin) > 50
        assert found(admin, *TRUTH, *FILES, SCORES, UNPUBLISHED) == []


def test_whatever_a_rival_sends_changes_nothing_of_others_and_tells_nothing(scene):
    situate(scene, "ranks", embargoed=False)
    before = _rows(scene)
    clients = [browser(None), browser(scene.bob)]
    for client, path, method in product(clients, addresses(scene), CHANGING):
        if path.startswith(("/admin/", "/accounts/")):
            continue
        text = ask(client, path, method, data="{}", content_type="application/json")
        secret = (*TRUTH, *FILES, str(scene.mine.upload_id), UNPUBLISHED, SCORES)
        assert found([(path, text)], *secret) == [], (method, path)
    assert _rows(scene) == before


def _rows(scene: SimpleNamespace) -> list[object]:
    models = (Submission, Upload, Evaluation, Item, ItemScore, Phase, Edition, TruthVersion)
    rows: list[object] = [list(model.objects.order_by("pk").values()) for model in models]
    return [*rows, list(scene.ada.own_team.members.values_list("pk")), scene.ada.own_team.name]
