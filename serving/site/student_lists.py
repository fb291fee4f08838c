"""The students of a visit: by name, with alerts and suggestions, cached by all they depend on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from records.canonical.schema import Category
from records.decisions.impressions import log_impressions
from records.loading.load_history import stale_attendance_since
from serving.students.caseload import (
    Caseload,
    caseload,
    impression_of,
)
from serving.students.roster import RosterEntry, read_roster

if TYPE_CHECKING:
    from serving.site.visit import Visit


class StudentLists:
    """What one visit may see of its students, in lists."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    @cached_property
    def roster(self) -> dict[str, RosterEntry]:
        """Every student in scope, by name."""
        found: dict[str, RosterEntry] = self._visit.site.kept.get(
            ("roster", *self._key), lambda: read_roster(self._visit.records())
        )
        return found

    def entry(self, student: str) -> RosterEntry:
        """One student as their own page names them, with what emergencies open."""
        if student in self.roster and not any(
            one.student_id == student for one in self._visit.emergencies
        ):
            return self.roster[student]
        return read_roster(self._visit.whole_record(student))[student]

    @cached_property
    def caseload(self) -> Caseload:
        """Alerts and suggestions of every student in scope."""
        quiet = [Category.ATTENDANCE] if self.attendance_is_old else []
        key = ("caseload", *self._key, *self._visit.ranking.key, *quiet)
        found: Caseload = self._visit.site.kept.get(
            key,
            lambda: caseload(
                self._visit.records(), self._visit.as_of, self._visit.ranking, quiet=quiet
            ),
        )
        return found

    def record_impressions(self, students: Iterable[str]) -> None:
        """Keep the suggestions of these students as they are about to be shown, for later
        evaluation.
        """
        advice = self.caseload.advice
        log_impressions(
            self._visit.database,
            [
                impression_of(
                    self._visit.scope,
                    self._visit.snapshot.id,
                    self._visit.as_of,
                    self._visit.ranking,
                    student,
                    advice[student],
                )
                for student in students
                if student in advice and (advice[student].suggestions or advice[student].challenger)
            ],
            self._visit.now,
        )

    @cached_property
    def attendance_is_old(self) -> datetime | None:
        """When attendance was last loaded, if that is too long ago to raise an alert about
        absences.
        """
        return stale_attendance_since(self._visit.site.config.home, self._visit.now)

    @property
    def _key(self) -> tuple[str, str, str]:
        """Equal for two visits only where both may see the same."""
        visit = self._visit
        return visit.snapshot.id, visit.scope.fingerprint(), str(visit.as_of)
