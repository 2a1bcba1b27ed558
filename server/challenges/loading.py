"""Put a bundle into the database: all or nothing, and nothing twice."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import transaction

from server import scoring
from server.accounts import audit
from server.accounts.models import User
from server.challenges.bundle import Bundle, PhasePlan
from server.challenges.editions import adopt
from server.challenges.models import Challenge, Phase, ProtocolVersion, TruthVersion


def load(
    bundle: Bundle, *, in_place: bool = False, reread: bool = False, by: User | None = None
) -> Challenge:
    """Create or update a challenge; a truth with new content becomes a new version.

    The truth is copied to where only workers look, unless in_place: then it must never change.
    Its arrays are read only if a file's name, size or time differs from the newest version's, or
    the manifest does; `reread` reads them anyway.
    """
    known = Challenge.objects.filter(slug=bundle.slug).first()
    newest = known.truths.first() if known else None
    print_ = fingerprint(bundle.rules)
    if newest and newest.fingerprint == print_ and not reread:
        return _store(bundle, newest, by=by)
    digests = scoring.truth_digests(bundle.rules)
    version = TruthVersion(
        manifest_csv=bundle.rules.manifest_csv, labels_toml=bundle.rules.labels_toml,
        manifest_digest=scoring.manifest_digest(bundle.rules), labels=scoring.labels(bundle.rules),
        digest=scoring.digest_of(digests), digests=digests, fingerprint=print_, note=bundle.note,
        path=str(bundle.rules.truth),
    )  # fmt: skip
    if newest and _same_content(newest, version):
        newest.fingerprint = print_  # files were touched or packed anew, and say the same
        newest.save(update_fields=["fingerprint"])
        return _store(bundle, newest, by=by)
    if in_place:
        return _store(bundle, version, by=by)
    with ExitStack() as undo:
        copy = _copy_truth(bundle)
        undo.callback(shutil.rmtree, copy)
        version.path = str(copy)
        challenge = _store(bundle, version, by=by)
        undo.pop_all()  # stored: the copy stays
    return challenge


def fingerprint(rules: scoring.Rules) -> str:
    """SHA-256 of the manifest and of the names, sizes and times of the truth's files."""
    sha = hashlib.sha256(scoring.manifest_digest(rules).encode())
    for path in sorted(rules.truth.rglob("*")):
        if path.is_file():
            stat = path.stat()
            name = path.relative_to(rules.truth)
            sha.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return sha.hexdigest()


def _same_content(one: TruthVersion, other: TruthVersion) -> bool:
    return (one.digest, one.manifest_digest) == (other.digest, other.manifest_digest)


def _copy_truth(bundle: Bundle) -> Path:
    """The truth's own copy: written beside and renamed, so that half a truth has no name."""
    folder = Path(settings.TRUTH_DIR)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    final = folder / f"{bundle.slug}-{uuid4().hex[:8]}"
    draft = final.with_suffix(".part")
    try:
        shutil.copytree(bundle.rules.truth, draft)
        return draft.rename(final)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@transaction.atomic
def _store(bundle: Bundle, truth: TruthVersion, *, by: User | None) -> Challenge:
    values = {
        "title": bundle.title, "summary": bundle.summary, "overview": bundle.overview,
        "rules": bundle.rules_text, "protocol": bundle.rules.protocol,
    }  # fmt: skip
    challenge, _ = Challenge.objects.update_or_create(slug=bundle.slug, defaults=values)
    if truth._state.adding:
        newest = challenge.truths.first()
        truth.challenge, truth.number = challenge, newest.number + 1 if newest else 1
        truth.save()
        audit.record(
            "truth", f"{challenge.slug}/{truth.number}", by=by, after=truth.digest,
            before=newest.digest if newest else "", note=truth.note,
        )  # fmt: skip
    for position, plan in enumerate(bundle.phases):
        _store_phase(challenge, truth, plan, position=position, by=by)
    return challenge


def _store_phase(
    challenge: Challenge, truth: TruthVersion, plan: PhasePlan, *, position: int, by: User | None
) -> None:
    """Store dates and limits; truth and protocol at once only where nothing was scored yet."""
    protocol = ProtocolVersion.present(challenge.protocol)
    values = asdict(plan) | {"position": position}
    del values["slug"]
    old = challenge.phases.filter(slug=plan.slug).first()
    if old is None or any(getattr(old, key) != value for key, value in values.items()):
        first = values | {"truth": truth, "protocol": protocol}
        phase, _ = challenge.phases.update_or_create(
            slug=plan.slug, defaults=values, create_defaults=first
        )
        audit.record(
            "phase", f"{challenge.slug}/{phase.slug}", before=_terms(old) if old else "",
            after=_terms(phase), by=by, note=_changes(old, values),
        )  # fmt: skip
    if old is not None:
        adopt(old, truth=truth, protocol=protocol, by=by)


def _terms(phase: Phase) -> str:
    """The limits of a phase in one line."""
    span = f"{phase.opens:%Y-%m-%d %H:%M}–{phase.closes:%Y-%m-%d %H:%M}"
    return f"{span} {phase.visibility} {phase.per_day}/day x{phase.concurrent}"


def _changes(old: Phase | None, values: dict[str, Any]) -> str:
    """What is new, field by field; empty for a new phase."""
    changed = ((key, getattr(old, key, None), value) for key, value in values.items() if old)
    return "; ".join(f"{key}: {was} → {value}" for key, was, value in changed if was != value)
