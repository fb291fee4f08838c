"""A partner's caseload and the district's list of students: one list, with the columns that may be
seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Literal

import pandas as pd
from fastapi import APIRouter, Query
from starlette.responses import Response

from features.alerts import Alert
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import Category
from records.people.viewer import Role
from records.permissions.agreements import PER_STUDENT_BASES, LegalBasis, agreements_in_force
from serving.services.shown_categories import ALERT_CATEGORIES, SUGGESTION_CATEGORIES
from serving.site.dependencies import DistrictAdminVisit, require_role
from serving.site.visit import Visit
from serving.students.caseload import Suggestion
from serving.students.roster import RosterEntry

router = APIRouter()
PAGE_SIZE = 50
PartnerVisit = Annotated[Visit, require_role(Role.CASEWORKER, Role.COORDINATOR, Role.PARTNER_ADMIN)]
Sort = Literal["alerts", "name", "grade", "school"]
SORTS: dict[Sort, str] = {
    "alerts": "Most urgent first",
    "name": "Name",
    "grade": "Grade",
    "school": "School",
}


@dataclass(frozen=True)
class ListColumns:
    """Which columns exist for a viewer: those that the scope allows for at least one student."""

    alerts: bool
    suggestions: bool
    sessions: bool

    @property
    def categories(self) -> frozenset[Category]:
        """What a list with these columns shows of a student."""
        shown = {Category.DIRECTORY}
        shown |= ALERT_CATEGORIES if self.alerts else set()
        shown |= SUGGESTION_CATEGORIES if self.suggestions else set()
        shown |= {Category.SERVICES} if self.sessions else set()
        return frozenset(shown)

    @property
    def sorts(self) -> dict[Sort, str]:
        return {key: label for key, label in SORTS.items() if key != "alerts" or self.alerts}


@dataclass(frozen=True)
class StudentItem:
    """One student on the list."""

    handle: str
    student: RosterEntry
    alerts: tuple[Alert, ...]
    suggestion: Suggestion | None
    sessions: int
    last_session: date | None


@dataclass(frozen=True)
class ListQuery:
    """What the filters ask for."""

    q: str
    alerts: bool
    sort: Sort
    page: int


@router.get("/caseload")
def caseload_page(
    visit: PartnerVisit,
    q: Annotated[str, Query(max_length=80)] = "",
    alerts: bool = False,
    sort: Sort | None = None,
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> Response:
    return _list_page(visit, q, alerts, sort, page, "Your caseload")


@router.get("/students")
def students_page(
    visit: DistrictAdminVisit,
    q: Annotated[str, Query(max_length=80)] = "",
    alerts: bool = False,
    sort: Sort | None = None,
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
) -> Response:
    return _list_page(visit, q, alerts, sort, page, "Students")


def columns_for(visit: Visit) -> ListColumns:
    alerts = bool(visit.visible & ALERT_CATEGORIES)
    suggestions = any(grant.supports for grants in visit.scope.grants.values() for grant in grants)
    return ListColumns(
        alerts, suggestions, sessions=Category.SERVICES in visit.visible and not alerts
    )


def select_students(visit: Visit, columns: ListColumns, asked: ListQuery) -> list[str]:
    """The students that the filters let through, in the order asked for."""
    order = list(visit.lists.roster)
    if columns.alerts and (asked.sort == "alerts" or asked.alerts):
        order = [
            student
            for student in visit.lists.caseload.order
            if not asked.alerts or student in visit.lists.caseload.alerts
        ]
    if asked.sort in ("name", "grade", "school"):
        order = _sorted(visit, order, asked.sort)
    wanted = asked.q.casefold().split()
    return [
        student
        for student in order
        if all(word in visit.lists.roster[student].name.casefold() for word in wanted)
    ]


def student_items(visit: Visit, columns: ListColumns, students: Sequence[str]) -> list[StudentItem]:
    """What the list says of these students."""
    sessions = session_counts(visit.records(students), visit.as_of) if columns.sessions else {}
    return [
        _line(visit, columns, student, sessions.get(student, (0, None))) for student in students
    ]


def session_counts(records: ScopedRecords, as_of: date) -> dict[str, tuple[int, date | None]]:
    """How many sessions each student attended this school year and when last, of those that may be
    seen.
    """
    frame = records.frame("service_sessions")
    days = pd.to_datetime(frame["date"])
    started = pd.Timestamp(as_of.year if as_of.month >= 8 else as_of.year - 1, 8, 1)
    frame = frame[
        frame["attended"].astype(bool) & (days >= started) & (days <= pd.Timestamp(as_of))
    ]
    found = frame.groupby("student_id")["date"].agg(["size", "max"])
    return {
        str(student): (int(size), pd.Timestamp(last).date())
        for student, size, last in found.itertuples()
    }


def _list_page(
    visit: Visit, q: str, alerts: bool, sort: Sort | None, page: int, title: str
) -> Response:
    columns = columns_for(visit)
    asked = ListQuery(q.strip(), alerts and columns.alerts, _sort(columns, sort), page)
    found = select_students(visit, columns, asked)
    shown = found[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
    lines = student_items(visit, columns, shown)
    visit.disclosures.record(shown, columns.categories)
    if columns.suggestions:
        visit.lists.record_impressions(shown)
    return visit.page(
        "students.html",
        title=title,
        columns=columns,
        asked=asked,
        lines=lines,
        found=len(found),
        total=len(visit.lists.roster),
        pages=max(1, -(-len(found) // PAGE_SIZE)),
        first=(page - 1) * PAGE_SIZE + 1,
        urgent=_urgent(visit) if columns.alerts else 0,
        stamp=visit.disclosures.stamp(shown) if shown else "",
        nobody=_why_nobody(visit) if not visit.lists.roster else "",
        why_no_model=visit.model[1] if columns.suggestions else "",
        urgent_records=emergency_records(visit),
    )


def emergency_records(visit: Visit) -> list[tuple[str, datetime]]:
    """Handles of students who are on no list of this viewer and open to them for an emergency, each
    with its end.
    """
    ends: dict[str, datetime] = {}
    for one in visit.emergencies:
        if one.student_id in visit.whole_scope.students - visit.scope.students:
            ends[one.student_id] = max(one.ends_at, ends.get(one.student_id, one.ends_at))
    return [(visit.whole_scope.handle(student), end) for student, end in ends.items()]


def _sort(columns: ListColumns, asked: Sort | None) -> Sort:
    return asked if asked in columns.sorts else ("alerts" if columns.alerts else "name")


def _sorted(visit: Visit, order: list[str], sort: Sort) -> list[str]:
    chosen = set(order)
    by_name = [student for student in visit.lists.roster if student in chosen]
    if sort == "grade":
        return sorted(
            by_name, key=lambda student: _or_last(visit.lists.roster[student].grade_level)
        )
    if sort == "school":
        return sorted(by_name, key=lambda student: visit.lists.roster[student].school)
    return by_name


def _or_last(level: int | None) -> int:
    return 99 if level is None else level


def _line(
    visit: Visit, columns: ListColumns, student: str, sessions: tuple[int, date | None]
) -> StudentItem:
    alerts = visit.lists.caseload.alerts.get(student, ()) if columns.alerts else ()
    advice = visit.lists.caseload.advice.get(student) if columns.suggestions else None
    first = advice.suggestions[0] if advice and advice.suggestions else None
    return StudentItem(
        visit.scope.handle(student), visit.lists.roster[student], alerts, first, *sessions
    )


def _urgent(visit: Visit) -> int:
    return sum(found[0].severity == 3 for found in visit.lists.caseload.alerts.values())


def _why_nobody(visit: Visit) -> str:
    """A plain sentence on why a list is empty, from the viewer's own agreements alone."""
    in_force = agreements_in_force(visit.database, visit.viewer.organization_id, visit.today)
    if not in_force:
        return (
            "Your organisation has no agreement in force today, so no student's record is open to"
            " you."
        )
    if all(agreement.legal_basis is LegalBasis.STUDIES for agreement in in_force):
        return (
            "Your agreement is for a study. It opens results about groups of students and no single"
            " student's record."
        )
    if not any(agreement.legal_basis in PER_STUDENT_BASES for agreement in in_force):
        return (
            "Your agreement is for evaluation. It opens figures about groups of students and no"
            " single student's record."
        )
    return "No student is taking part in your programs today."
