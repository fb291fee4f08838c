"""The students of a visit as lists: by name, and with alerts and suggestions.

Both are computed once and shared between visits that may see the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from records.canonical.schema import Category
from records.decisions.impressions import log_impressions
from records.loading.load_history import old_records_end, stale_attendance_since
from records.snapshots.snapshot import NoSnapshot
from serving.students.caseload import Caseload, caseload, impression_of
from serving.students.roster import RosterEntry, read_roster
from serving.wording import words

if TYPE_CHECKING:
    from serving.site.visit import Visit


class StudentLists:
    """What one visit may see of its students, in lists."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    @cached_property
    def roster(self) -> dict[str, RosterEntry]:
        """Every student in scope by student ID, in the order of their names."""
        visit = self._visit
        roster: dict[str, RosterEntry] = visit.site.result_cache.get(
            ("roster", *self._key), lambda: read_roster(visit.records())
        )
        return roster

    def roster_entry(self, student: str) -> RosterEntry:
        """One student as their own page names them, with what emergencies open."""
        visit = self._visit
        in_emergency = any(emergency.student_id == student for emergency in visit.emergencies)
        if student in self.roster and not in_emergency:
            return self.roster[student]
        return read_roster(visit.full_record(student))[student]

    @cached_property
    def caseload(self) -> Caseload:
        """Alerts and suggestions of every student in scope."""
        visit = self._visit
        muted = [Category.ATTENDANCE] if self.stale_attendance_since else []
        end, rules = self.old_records_end, visit.alert_rules
        doubted = sorted(visit.doubts.silenced)
        result: Caseload = visit.site.result_cache.get(
            (
                "caseload",
                *self._key,
                *visit.ranking.key,
                rules.version,
                *muted,
                str(end),
                str(doubted),
            ),
            lambda: caseload(
                visit.records(),
                visit.as_of,
                visit.ranking,
                rules,
                muted_categories=muted,
                records_end=end,
                doubted=doubted,
            ),
        )
        return result

    def doubt_notes(self, students: Iterable[str]) -> list[str]:
        """Why there are no alerts of a category at the schools of these students, a sentence a
        school and category: about its records only, whichever of its students are asked about.
        """
        doubted = self.caseload.doubted
        found = {
            (self.roster[student].school, category)
            for student in students
            for category in doubted.get(student, ())
        }
        return [words.doubted_records(school, category) for school, category in sorted(found)]

    def record_impressions(self, students: Iterable[str]) -> None:
        """Log the suggestions of these students as they are about to be shown, so that they can be
        evaluated later.
        """
        visit, advice = self._visit, self.caseload.advice
        with_suggestions = [
            student
            for student in students
            if student in advice and (advice[student].suggestions or advice[student].challenger)
        ]
        impressions = [
            impression_of(
                visit.scope,
                visit.snapshot.id,
                visit.as_of,
                visit.ranking,
                student,
                advice[student],
            )
            for student in with_suggestions
        ]
        log_impressions(visit.database, impressions, visit.now)

    @cached_property
    def stale_attendance_since(self) -> datetime | None:
        """When attendance was last loaded, if too long ago for absence alerts; otherwise None."""
        return stale_attendance_since(self._visit.site.config.home, self._visit.now)

    @cached_property
    def old_records_end(self) -> date | None:
        """The day of the newest record, if it is of a school year that is over; otherwise None."""
        try:
            return old_records_end(self._visit.snapshot, self._visit.today)
        except NoSnapshot:
            return None

    @property
    def _key(self) -> tuple[str, str, str, str]:
        """Equal for two visits only where both may see the same."""
        visit = self._visit
        snapshot = visit.snapshot
        return (
            snapshot.id,
            snapshot.supports.sha256,
            visit.scope.fingerprint(),
            str(visit.as_of),
        )
