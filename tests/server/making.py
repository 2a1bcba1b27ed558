"""What tests of the server are made of: people, clients, uploads, bundles."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.utils.timezone import now
from rest_framework.test import APIClient

from server.accounts.models import Scope, Team, Token, User
from server.challenges.models import Phase
from server.submissions import intake, uploads, verification
from server.submissions.models import Submission, Upload
from tests.synthetic import write_challenge

PASSWORD = "correct horse battery"
TOML = """\
slug = "{slug}"
title = "Made up"
summary = "Two crops, three labels."
protocol = "crista-1"

[[phase]]
slug = "test"
title = "Test phase"
opens = 2026-01-01T00:00:00Z
closes = 2099-01-01T00:00:00Z
per_day = 3
max_bytes = 50_000_000
"""


def make_bundle(folder: Path, *, slug: str = "made-up", seed: int = 0) -> Path:
    write_challenge(folder, crops=2, size=32, seed=seed)
    (folder / "challenge.toml").write_text(TOML.format(slug=slug), "utf-8")
    (folder / "overview.md").write_text("# Welcome\n", "utf-8")
    return folder


def person(name: str, **fields: object) -> User:
    return User.objects.create_user(f"{name.lower()}@example.org", PASSWORD, name=name, **fields)


def api(
    user: User | None = None, *, scopes: tuple[str, ...] = (Scope.READ, Scope.SUBMIT)
) -> APIClient:
    """A client that sends a person's token with these scopes, or nobody's."""
    client = APIClient()
    if user is not None:
        text = Token.issue(user, name="test", scopes=scopes, now=now())[1]
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
    return client


def organising(user: User) -> APIClient:
    """A client whose token may organise, if its person may."""
    return api(user, scopes=(Scope.READ, Scope.ORGANISE))


def send(client: APIClient, url: str, data: bytes, *, offset: int = 0):
    """One part of an upload."""
    kind = "application/offset+octet-stream"
    headers = {"Upload-Offset": str(offset)}
    return client.generic("PATCH", url, data, content_type=kind, headers=headers)


def stored(phase: Phase, team: Team, data: bytes, *, user: User | None = None) -> Upload:
    """A finished upload of these bytes."""
    upload = Upload.objects.create(
        team=team, user=user, phase=phase, filename="x.zip", size=len(data),
        status=Upload.Status.OPEN, expires=now() + timedelta(days=7),
    )  # fmt: skip
    upload.path.parent.mkdir(parents=True, exist_ok=True)
    upload.path.write_bytes(data)
    verification.verify(str(uploads.finish(upload).pk))
    upload.refresh_from_db()
    return upload


def entered(phase: Phase, user: User, data: bytes, *, at: datetime | None = None) -> Submission:
    """A submission of these bytes by a person's own team, its check queued."""
    upload = stored(phase, user.own_team, data, user=user)
    return intake.submit(upload=upload, user=user, method="Method", at=at or now())


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
