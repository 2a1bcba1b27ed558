from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils.timezone import now

FIRST = [
    ("accounts", "0001_initial"),
    ("challenges", "0001_initial"),
    ("submissions", "0001_initial"),
]


@pytest.mark.django_db
def test_models_and_migrations_say_the_same():
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


def newest() -> list[tuple[str, str]]:
    """Of all apps: going back takes those along that build on these."""
    return MigrationExecutor(connection).loader.graph.leaf_nodes()


def migrated(targets):
    executor = MigrationExecutor(connection)
    executor.migrate(targets)
    return MigrationExecutor(connection).loader.project_state(targets).apps


@pytest.fixture
def first_release(transactional_db):
    """The apps as they were first released; afterwards the present ones."""
    last = newest()
    yield migrated(FIRST)
    migrated(last)


def a_scored_submission(apps):
    """Rows of the first release: a phase, and a submission with its evaluation and one target."""
    made = {name: apps.get_model(app, name) for app, name in (
        ("accounts", "Team"), ("challenges", "Challenge"), ("challenges", "TruthVersion"),
        ("challenges", "Phase"), ("submissions", "Upload"), ("submissions", "Submission"),
        ("submissions", "Evaluation"), ("submissions", "ItemScore"),
    )}  # fmt: skip
    at = now()
    team = made["Team"].objects.create(name="Old", slug="old")
    challenge = made["Challenge"].objects.create(slug="old", title="Old", protocol="crista-1")
    truth = made["TruthVersion"].objects.create(
        challenge=challenge, number=1, labels=[], digests={}, path="/nowhere"
    )
    phase = made["Phase"].objects.create(
        challenge=challenge, truth=truth, slug="test", title="Test", opens=at,
        closes=at + timedelta(days=1),
    )  # fmt: skip
    upload = made["Upload"].objects.create(
        team=team, phase=phase, filename="x.zip", size=1, expires=at, status="finished"
    )
    submission = made["Submission"].objects.create(
        upload=upload, phase=phase, team=team, method="M", status="scored"
    )
    evaluation = made["Evaluation"].objects.create(
        submission=submission, truth=truth, protocol="crista-1", evaluator="0.1.0",
        status="scored", overall=0.5,
    )  # fmt: skip
    made["ItemScore"].objects.create(
        evaluation=evaluation, target="crop1/mito", crop="crop1", label="mito", voxels=8,
        status="scored", score={"crop": "crop1"},
    )  # fmt: skip


def test_what_the_first_release_stored_is_still_there(first_release):
    a_scored_submission(first_release)
    apps = migrated(newest())
    evaluation = apps.get_model("submissions", "Evaluation").objects.get()
    assert (evaluation.protocol.name, evaluation.overall) == ("crista-1", 0.5)
    assert evaluation.items.get().target == "crop1/mito"
    phase = apps.get_model("challenges", "Phase").objects.get()
    assert phase.protocol == evaluation.protocol
    edition = phase.editions.get()
    assert (edition.number, edition.state) == (1, "published")
    assert (edition.truth_id, edition.protocol) == (phase.truth_id, evaluation.protocol)
