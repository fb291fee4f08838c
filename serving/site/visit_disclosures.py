"""What a visit writes into the disclosure log before it shows a student, and on what terms."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from records.canonical.schema import Category
from records.disclosure_log.disclosures import record_disclosures
from records.staff.viewer import EMERGENCY_BASIS, Grant, Scope
from serving.wording import words

if TYPE_CHECKING:
    from serving.site.visit import Visit


class VisitDisclosures:
    """Logs what one visit is about to show. Where that fails, nothing may be shown."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    def record(self, students: Sequence[str], categories: Collection[Category]) -> None:
        """Log that these students are about to be shown, as agreements allow.

        Raises:
            DisclosureLogUnavailable: the log could not be written.
            TooManyStudents: more than one person may see at once, or in a day.
        """
        self._record(self._visit.scope, students, categories)

    def record_full_record(self, student: str, categories: Collection[Category]) -> None:
        """Log that one student's own record is about to be shown: a row for what agreements allow,
        and one for what each emergency adds.

        Raises:
            DisclosureLogUnavailable: the log could not be written.
            TooManyStudents: more than one person may see at once, or in a day.
        """
        for scope in self._visit.full_scope.grounds(student):
            self._record(scope, [student], categories)

    def record_log_view(self, students: Sequence[str]) -> None:
        """Log that somebody is about to read who viewed these students, with their names at most.

        Raises:
            DisclosureLogUnavailable: the log could not be written.
            TooManyStudents: more than one person may see at once, or in a day.
        """
        visit = self._visit
        in_scope = visit.scope.students.issuperset(students)
        scope = visit.scope if in_scope else visit.disclosure_log_scope
        self._record(scope, students, [Category.DIRECTORY])

    def terms(self, students: Iterable[str]) -> str:
        """The sentence that stands with every record shown to this person (34 CFR 99.33)."""
        grants = self._visit.scope.grants
        return self._terms([grant for student in students for grant in grants[student]])

    def full_record_terms(self, student: str) -> str:
        """The sentence that stands with one student's own record, emergencies included
        (34 CFR 99.33).
        """
        scopes = self._visit.full_scope.grounds(student)
        return self._terms([grant for scope in scopes for grant in scope.grants[student]])

    def _record(
        self, scope: Scope, students: Sequence[str], categories: Collection[Category]
    ) -> None:
        visit = self._visit
        route = visit.request.scope["route"].path
        record_disclosures(
            visit.database, scope, students, categories, route, visit.now, visit.site.config.limits
        )

    def _terms(self, grants: Sequence[Grant]) -> str:
        now = self._visit.now
        viewer = f"{self._visit.viewer.name}, {self._visit.organization.name}"
        agreements = sorted({grant.agreement_id for grant in grants if grant.agreement_sha256})
        bases = [f"under agreement {' and '.join(agreements)}"] if agreements else []
        if any(grant.legal_basis == EMERGENCY_BASIS for grant in grants):
            bases.append("for a health or safety emergency (34 CFR 99.36)")
        if not bases:
            return words.own_records_shown_to(viewer, now)
        return (
            f"Shared with {viewer} {' and '.join(bases)} on {words.date_time(now)}. "
            "Do not pass it on (34 CFR 99.33)."
        )
