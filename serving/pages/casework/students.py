"""A partner's caseload and the district's list of students: one list, with the columns in scope."""

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
from records.permissions.agreements import PER_STUDENT_BASES, LegalBasis, agreements_in_force
from serving.pages.pager import Pager
from serving.services.shown_categories import SUGGESTION_CATEGORIES
from serving.site.dependencies import DistrictAdminVisit, PartnerVisit
from serving.site.visit import Visit
from serving.students.caseload import Suggestion
from serving.students.roster import RosterEntry

router = APIRouter()
SCHOOL_YEAR_START = (8, 1)
"""Month and day from which sessions count to this school year."""

Search = Annotated[str, Query(max_length=80)]
PageNumber = Annotated[int, Query(ge=1, le=10_000)]
Sort = Literal["alerts", "name", "grade", "school"]
SORTS: dict[Sort, str] = {
    "alerts": "Most urgent first",
    "name": "Name",
    "grade": "Grade level",
    "school": "School",
}


@dataclass(frozen=True)
class ListColumns:
    """Which columns the list has for a viewer: those the scope allows for at least one student.

    Attributes:
        alert_categories: what alerts may rest on.
    """

    alerts: bool
    suggestions: bool
    sessions: bool
    alert_categories: frozenset[Category]

    @property
    def categories(self) -> frozenset[Category]:
        """What a list with these columns shows of a student."""
        shown = {Category.DIRECTORY}
        shown |= self.alert_categories if self.alerts else set()
        shown |= SUGGESTION_CATEGORIES if self.suggestions else set()
        shown |= {Category.SERVICES} if self.sessions else set()
        return frozenset(shown)

    @property
    def sorts(self) -> dict[Sort, str]:
        """The orders to choose from, with their labels."""
        return {key: label for key, label in SORTS.items() if key != "alerts" or self.alerts}


@dataclass(frozen=True)
class StudentItem:
    """One student on the list; `is_doubted` where records of the school are being checked, so that
    alerts may be missing.
    """

    handle: str
    student: RosterEntry
    alerts: tuple[Alert, ...]
    suggestion: Suggestion | None
    sessions: int
    last_session: date | None
    is_doubted: bool = False


@dataclass(frozen=True)
class ListQuery:
    """What the filters ask for: a name, students with alerts only, and the order."""

    q: str
    alerts: bool
    sort: Sort


@router.get("/caseload")
def caseload_page(
    visit: PartnerVisit,
    q: Search = "",
    alerts: bool = False,
    sort: Sort | None = None,
    page: PageNumber = 1,
) -> Response:
    return _list_page(visit, "Your caseload", q, alerts, sort, page)


@router.get("/students")
def students_page(
    visit: DistrictAdminVisit,
    q: Search = "",
    alerts: bool = False,
    sort: Sort | None = None,
    page: PageNumber = 1,
) -> Response:
    return _list_page(visit, "Students", q, alerts, sort, page)


def columns_for(visit: Visit) -> ListColumns:
    """The columns of this viewer's list. Sessions stand in for alerts where there are none."""
    visible, rest_on = visit.visible_categories, visit.alert_rules.categories
    alerts = bool(visible & rest_on)
    suggestions = any(grant.supports for grants in visit.scope.grants.values() for grant in grants)
    sessions = Category.SERVICES in visible and not alerts
    return ListColumns(alerts, suggestions, sessions, rest_on)


def select_students(visit: Visit, columns: ListColumns, query: ListQuery) -> list[str]:
    """The students that the filters let through, in the order asked for."""
    students = list(visit.lists.roster)
    if columns.alerts and (query.sort == "alerts" or query.alerts):
        caseload = visit.lists.caseload
        students = [
            student for student in caseload.order if not query.alerts or student in caseload.alerts
        ]
    if query.sort != "alerts":
        students = _sorted(visit, students, query.sort)
    words = query.q.casefold().split()
    return [
        student
        for student in students
        if all(word in visit.lists.roster[student].name.casefold() for word in words)
    ]


def student_items(visit: Visit, columns: ListColumns, students: Sequence[str]) -> list[StudentItem]:
    """What the list says of these students."""
    sessions = session_counts(visit.records(students), visit.as_of) if columns.sessions else {}
    return [
        _student_item(visit, columns, student, sessions.get(student, (0, None)))
        for student in students
    ]


def session_counts(records: ScopedRecords, as_of: date) -> dict[str, tuple[int, date | None]]:
    """How many of the sessions in scope each student attended this school year, and when last."""
    sessions = records.frame("service_sessions")
    days = pd.to_datetime(sessions["date"])
    started = as_of.year if (as_of.month, as_of.day) >= SCHOOL_YEAR_START else as_of.year - 1
    this_year = (days >= pd.Timestamp(started, *SCHOOL_YEAR_START)) & (days <= pd.Timestamp(as_of))
    attended = sessions[sessions["attended"].astype(bool) & this_year]
    counts = attended.groupby("student_id")["date"].agg(["size", "max"])
    return {
        str(student): (int(size), pd.Timestamp(last).date())
        for student, size, last in counts.itertuples()
    }


def emergency_records(visit: Visit) -> list[tuple[str, datetime]]:
    """Records that are open to this viewer only for an emergency: the handle of each and when the
    access ends.
    """
    only_in_emergency = visit.full_scope.students - visit.scope.students
    ends: dict[str, datetime] = {}
    for emergency in visit.emergencies:
        student = emergency.student_id
        if student in only_in_emergency:
            ends[student] = max(emergency.ends_at, ends.get(student, emergency.ends_at))
    return [(visit.full_scope.handle(student), end) for student, end in ends.items()]


def _list_page(
    visit: Visit, title: str, q: str, alerts: bool, sort: Sort | None, page: int
) -> Response:
    columns = columns_for(visit)
    query = ListQuery(q.strip(), alerts and columns.alerts, _sort_or_default(columns, sort))
    matching = select_students(visit, columns, query)
    pager = Pager(page, len(matching))
    shown = pager.slice(matching)
    items = student_items(visit, columns, shown)
    visit.disclosures.record(shown, columns.categories)
    if columns.suggestions:
        visit.lists.record_impressions(shown)
    return visit.page(
        "students.html",
        title=title,
        columns=columns,
        query=query,
        items=items,
        pager=pager,
        total=len(visit.lists.roster),
        urgent=_urgent_count(visit) if columns.alerts else 0,
        terms=visit.disclosures.terms(shown) if shown else "",
        empty_list_reason=_empty_list_reason(visit) if not visit.lists.roster else "",
        no_model_reason=visit.ranking.no_model_reason if columns.suggestions else "",
        emergency_records=emergency_records(visit),
        doubt_notes=visit.lists.doubt_notes(visit.lists.roster) if columns.alerts else [],
    )


def _sort_or_default(columns: ListColumns, sort: Sort | None) -> Sort:
    if sort in columns.sorts:
        return sort
    return "alerts" if columns.alerts else "name"


def _sorted(visit: Visit, students: Sequence[str], sort: Sort) -> list[str]:
    """By name, or by grade level or school and then by name."""
    roster, selected = visit.lists.roster, set(students)
    by_name = [student for student in roster if student in selected]
    if sort == "grade":
        return sorted(by_name, key=lambda student: _unknown_last(roster[student].grade_level))
    if sort == "school":
        return sorted(by_name, key=lambda student: roster[student].school)
    return by_name


def _unknown_last(grade_level: int | None) -> int:
    return 99 if grade_level is None else grade_level


def _student_item(
    visit: Visit, columns: ListColumns, student: str, sessions: tuple[int, date | None]
) -> StudentItem:
    alerts = visit.lists.caseload.alerts.get(student, ()) if columns.alerts else ()
    advice = visit.lists.caseload.advice.get(student) if columns.suggestions else None
    number, last_session = sessions
    return StudentItem(
        handle=visit.scope.handle(student),
        student=visit.lists.roster[student],
        alerts=alerts,
        suggestion=advice.suggestions[0] if advice and advice.suggestions else None,
        sessions=number,
        last_session=last_session,
        is_doubted=columns.alerts and student in visit.lists.caseload.doubted,
    )


def _urgent_count(visit: Visit) -> int:
    """Students with an alert that says to act now."""
    return sum(alerts[0].severity == 3 for alerts in visit.lists.caseload.alerts.values())


def _empty_list_reason(visit: Visit) -> str:
    """A plain sentence on why a list is empty, from the viewer's own agreements alone."""
    in_force = agreements_in_force(visit.database, visit.viewer.organization_id, visit.today)
    if not in_force:
        return (
            "Your organization has no agreement in force today, so you cannot see any student"
            " records."
        )
    if all(agreement.legal_basis is LegalBasis.STUDIES for agreement in in_force):
        return (
            "Your agreement is for a study. It gives access to results about groups of students,"
            " not to any single student's record."
        )
    if not any(agreement.legal_basis in PER_STUDENT_BASES for agreement in in_force):
        return (
            "Your agreement is for evaluation. It gives access to figures about groups of students,"
            " not to any single student's record."
        )
    return "No students are enrolled in your programs today."
