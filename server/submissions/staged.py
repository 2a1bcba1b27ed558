"""Rows that move through states, and never two processes with the same one."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import models, transaction
from django.utils.timezone import now

from server.accounts import audit
from server.accounts.models import User
from server.errors import IllegalTransition

Steps = dict[str, frozenset[str]]


class Staged(models.Model):
    """A row that moves through states, each step one guarded UPDATE with its audit row."""

    STEPS: ClassVar[Steps] = {}

    status = models.CharField(max_length=10, editable=False)
    changed = models.DateTimeField(default=now, editable=False)

    class Meta:
        abstract = True

    def advance(self, to: str, *, by: User | None = None, note: str = "", **fields: Any) -> bool:
        """Move to a new status in one UPDATE.  False: another process already moved this row.

        by: the person who asked for it, for the audit; nobody means the system.
        Raises IllegalTransition for a step that `STEPS` does not know.
        """
        before = self.status
        if to not in self.STEPS.get(before, ()):
            raise IllegalTransition(f"{self._meta.model_name} {self.pk}: {before} → {to}")
        fields |= {"status": to, "changed": now()}
        with transaction.atomic():
            rows = type(self)._default_manager.filter(pk=self.pk, status=before)
            won = bool(rows.update(**fields))
            if won:
                kind = str(self._meta.model_name)
                audit.record(kind, str(self.pk), before=before, after=to, by=by, note=note)
        self.refresh_from_db()
        return won
