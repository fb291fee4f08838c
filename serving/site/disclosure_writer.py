"""What a visit writes into the disclosure log before it shows a student, and the stamp."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from records.canonical.schema import Category
from records.disclosure_log.disclosures import (
    record_disclosures,
)
from records.people.viewer import EMERGENCY_BASIS, Grant, Scope
from serving.wording import words

if TYPE_CHECKING:
    from serving.site.visit import Visit


class DisclosureWriter:
    """Writes down what one visit is about to show. Where that fails, nothing may be shown."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    def record(self, students: Sequence[str], categories: Collection[Category]) -> None:
        """These students are about to be shown, as agreements open them.

        Raises:
            DisclosureLogUnavailable: the log could not be written.
            TooManyStudents: more than one person may see at once, or in a day.
        """
        self._record(self._visit.scope, students, categories)

    def record_whole(self, student: str, categories: Collection[Category]) -> None:
        """One student's own record is about to be shown: what agreements open, and what each
        emergency adds, a row each.

        Raises:
            DisclosureLogUnavailable: the log could not be written.
            TooManyStudents: more than one person may see at once, or in a day.
        """
        for ground in self._visit.whole_scope.grounds(student):
            self._record(ground, [student], categories)

    def record_log_view(self, students: Sequence[str]) -> None:
        """Who saw these students is about to be shown, with their names at most.

        Raises:
            DisclosureLogUnavailable: the log could not be written.
            TooManyStudents: more than one person may see at once, or in a day.
        """
        in_scope = self._visit.scope.students.issuperset(students)
        scope = self._visit.scope if in_scope else self._visit.log_scope
        self._record(scope, students, [Category.DIRECTORY])

    def stamp(self, students: Iterable[str]) -> str:
        """What must stand by every record that is shown (34 CFR 99.33)."""
        grants = self._visit.scope.grants
        return self._stamp([grant for student in students for grant in grants[student]])

    def stamp_whole(self, student: str) -> str:
        """What must stand by one student's own record, emergencies included (34 CFR 99.33)."""
        grounds = self._visit.whole_scope.grounds(student)
        return self._stamp([grant for ground in grounds for grant in ground.grants[student]])

    def _record(
        self, scope: Scope, students: Sequence[str], categories: Collection[Category]
    ) -> None:
        visit = self._visit
        route = visit.request.scope["route"].path
        record_disclosures(
            visit.database, scope, students, categories, route, visit.now, visit.site.config.limits
        )

    def _stamp(self, grants: Sequence[Grant]) -> str:
        who = f"{self._visit.viewer.name}, {self._visit.organization.name}"
        agreements = sorted({grant.agreement_id for grant in grants if grant.agreement_sha256})
        under = [f"under agreement {' and '.join(agreements)}"] if agreements else []
        if any(grant.legal_basis == EMERGENCY_BASIS for grant in grants):
            under.append("for a health or safety emergency (34 CFR 99.36)")
        if not under:
            return words.own_records_shown_to(who, self._visit.now)
        return (
            f"Shared with {who} {' and '.join(under)} on {words.date_time(self._visit.now)}. "
            "Do not pass it on (34 CFR 99.33)."
        )
