"""Random districts with everything that decides who sees what, and changes out of a viewer's scope.

A district is drawn from a seed: students with records of every kind, organizations on every legal
basis, agreements in force, ended and revoked, consents, opt-outs, legal holds, emergencies, and
staff of each role. `redraw_out_of_scope` draws again whatever is out of one viewer's scope in the
records, `redraw_others_access_rules` does so in the operational database; both list their changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from records.canonical.quarantine import Value
from records.canonical.schema import (
    CONSENT_CATEGORIES,
    RACE_ETHNICITIES,
    SEXES,
    TABLES,
    Category,
)
from records.database.engine import Database
from records.database.tables import (
    BackupRow,
    ConsentRow,
    DecisionRow,
    EmergencyRow,
    LegalDemandRow,
    LegalHoldRow,
    NoticeRow,
    OptOutRow,
    ParticipantCandidateRow,
    ParticipantRow,
    StaffRow,
)
from records.permissions.agreements import revoke_agreement
from records.staff.viewer import Role, Scope, Viewer
from tests.own_supports import OWN_HOUSING, OWN_LIST
from tests.records.conftest import add_agreement, add_organization
from tests.serving.district import school_days

Row = dict[str, Value]
Rows = dict[str, list[Row]]
NOW = datetime(2026, 4, 17, 10, 30)
TODAY = NOW.date()
ROLES = (Role.CASEWORKER, Role.COORDINATOR, Role.PARTNER_ADMIN)
ORGANIZATIONS = ("tutors", "pantry", "mentors", "shelter", "college")
PROGRAMS = {
    "p1": "tutors",
    "p2": "pantry",
    "p3": "mentors",
    "p4": "shelter",
    "p5": "tutors",
    "p6": "college",
}
SUPPORTS = OWN_LIST.keys
"""The kinds of a district with a list of its own, of which one of its own tells of housing."""

DAYS = school_days()
SCHOOLS = ("k1", "k2", "k3")
WORDS = ("Alpha", "Beta", "Gamma", "Delta", "Epsilon", "Zeta", "Eta", "Theta")
CATEGORY_OF = {
    "school_enrollments": Category.DIRECTORY,
    "attendance_events": Category.ATTENDANCE,
    "course_grades": Category.GRADES,
    "gradebook_entries": Category.GRADES,
    "assessments": Category.ASSESSMENTS,
    "behavior_incidents": Category.BEHAVIOR,
}
"""Tables in which every row belongs to one category."""


@dataclass
class Changes:
    """A changed district.

    Attributes:
        rows: its records.
        made: each change, as (student, description).
    """

    rows: Rows
    made: list[tuple[str, str]] = field(default_factory=list)


def draw_rows(rng: np.random.Generator, students: int) -> Rows:
    """Random records of this number of students."""
    rows: Rows = defaultdict(list)
    rows["schools"] = [{"school_id": school, "name": f"{school} School"} for school in SCHOOLS]
    rows["calendar"] = [
        {"school_id": school, "date": day, "school_year": 2026}
        for school in SCHOOLS
        for day in DAYS
    ]
    rows["programs"] = [
        {
            "program_id": program,
            "organization_id": organization,
            "name": f"Program {program}",
            "support": str(rng.choice(SUPPORTS)),
            "capacity": int(rng.integers(1, 40)),
        }
        for program, organization in PROGRAMS.items()
    ]
    rows["programs"][3]["support"] = "housing_help"
    rows["programs"][5]["support"] = "motel_vouchers"
    for number in range(students):
        for name, student_rows in draw_student(rng, f"s{number:04d}").items():
            rows[name] += student_rows
    return rows


def draw_student(rng: np.random.Generator, student: str) -> Rows:
    """Random records of one student, by table."""
    rows: Rows = {
        "students": [{"student_id": student, **draw_directory(rng)}],
        "characteristics": [{"student_id": student, **draw_facts(rng)}],
    }
    for name in CATEGORY_OF:
        rows[name] = draw_table(rng, name, student)
    programs = [program for program in PROGRAMS if rng.random() < 0.35]
    rows["service_enrollments"] = [draw_enrollment(rng, student, program) for program in programs]
    rows["service_sessions"] = [
        row for program in programs for row in draw_sessions(rng, student, program)
    ]
    return rows


def draw_directory(rng: np.random.Generator) -> Row:
    return {
        "first_name": str(rng.choice(WORDS)),
        "last_name": str(rng.choice(WORDS)),
        "birth_date": date(2010, 1, 1) + timedelta(days=int(rng.integers(0, 3000))),
        "grade_level": int(rng.integers(-1, 13)),
        "school_id": str(rng.choice(SCHOOLS)),
    }


def draw_facts(rng: np.random.Generator) -> Row:
    flags = ("english_learner", "special_education", "unstable_housing", "meal_eligible")
    return {
        "sex": str(rng.choice(SEXES)),
        "race_ethnicity": str(rng.choice(RACE_ETHNICITIES)),
        **{name: bool(rng.random() < 0.4) for name in flags},
    }


def draw_table(rng: np.random.Generator, name: str, student: str) -> list[Row]:
    """One student's rows of a table that belongs to one category."""
    draw = {
        "school_enrollments": _school_enrollments,
        "attendance_events": _attendance,
        "course_grades": _course_grades,
        "gradebook_entries": _gradebook,
        "assessments": _assessments,
        "behavior_incidents": _incidents,
    }
    return [{"student_id": student, **row} for row in draw[name](rng)]


def draw_enrollment(rng: np.random.Generator, student: str, program: str) -> Row:
    ended = rng.random() < 0.25
    return {
        "student_id": student,
        "program_id": program,
        "organization_id": PROGRAMS[program],
        "start_date": TODAY - timedelta(days=int(rng.integers(5, 200))),
        "end_date": TODAY - timedelta(days=int(rng.integers(0, 5))) if ended else None,
    }


def draw_sessions(rng: np.random.Generator, student: str, program: str) -> list[Row]:
    days = _some(rng, DAYS[-60:], 6)
    return [
        {
            "student_id": student,
            "session_id": f"{student}-{program}-{day}",
            "program_id": program,
            "date": day,
            "organization_id": PROGRAMS[program],
            "attended": bool(rng.random() < 0.7),
            "minutes": float(rng.integers(20, 90)),
        }
        for day in days
    ]


def draw_emergency(
    student: str,
    viewer: Viewer,
    opened: datetime = NOW,
    categories: Sequence[Category] = (Category.DIRECTORY,),
) -> EmergencyRow:
    return EmergencyRow(
        opened_at=opened,
        ends_at=opened + timedelta(hours=4),
        ended_at=None,
        opened_by="district",
        user_id=viewer.user_id,
        organization_id=viewer.organization_id,
        student_id=student,
        categories=frozenset(categories),
        threat="A threat to this child",
        reason="To reach the family",
    )


def draw_access_rules(
    rng: np.random.Generator, database: Database, students: list[str]
) -> list[Viewer]:
    """Draw organizations, staff and all that opens or closes a record.

    Returns:
        The partners' staff.
    """
    viewers = []
    for number, organization in enumerate(ORGANIZATIONS):
        viewers += add_organization(database, organization, *ROLES)
        for version in range(int(rng.integers(1, 3))):
            _draw_agreement(rng, database, organization, f"a{number}-{version}")
    with database.session() as session:
        for student in students:
            for organization in _some(rng, ORGANIZATIONS, 2):
                session.add(_consent(rng, student, organization))
            if rng.random() < 0.05:
                session.add(
                    OptOutRow(
                        student_id=student,
                        since=TODAY - timedelta(days=3),
                        ended=TODAY if rng.random() < 0.3 else None,
                    )
                )
            if rng.random() < 0.03:
                session.add(_hold(student, lifted=rng.random() < 0.3))
            if rng.random() < 0.04:
                session.add(_emergency(rng, student, viewers[int(rng.integers(0, len(viewers)))]))
    return viewers


def redraw_out_of_scope(rows: Rows, scope: Scope, rng: np.random.Generator) -> Changes:
    """The district with everything that `scope` does not show drawn again.

    Participation in the viewer's own programs stays, because the scope follows from it.
    """
    own = scope.viewer.organization_id
    removed = {
        student
        for student in _students(rows) - scope.students
        if not any(
            row["student_id"] == student and row["organization_id"] == own
            for row in rows["service_enrollments"]
        )
        and rng.random() < 0.1
    }
    changes = Changes({name: [] for name in rows})
    for name in ("schools", "calendar", "programs"):
        changes.rows[name] = rows[name]
    by_student: dict[str, Rows] = defaultdict(lambda: defaultdict(list))
    for name, table_rows in rows.items():
        if TABLES[name].is_student:
            for row in table_rows:
                by_student[str(row["student_id"])][name].append(row)
    for student in sorted(by_student):
        if student in removed:
            changes.made += [(student, "gone")]
            continue
        _redraw_student(rng, changes, student, by_student[student], scope)
    for number in range(int(rng.integers(1, 5))):
        _add_student(changes, draw_student(rng, f"n{number:04d}"), own)
    return changes


def redraw_others_access_rules(
    rng: np.random.Generator, database: Database, scope: Scope, students: list[str]
) -> list[tuple[str, str]]:
    """Change what the operational database holds about others and decides nothing for this viewer.

    Returns:
        Each change, as (student, description).
    """
    others = [name for name in ORGANIZATIONS if name != scope.viewer.organization_id]
    changes = []
    with database.session() as session:
        for student in students:
            other = str(rng.choice(others))
            session.add(_consent(rng, student, other))
            session.add(
                DecisionRow(
                    at=NOW,
                    user_id="somebody",
                    organization_id=other,
                    student_id=student,
                    support="food",
                    action="dismissed",
                    reason="Another reason",
                    model_sha256="0" * 64,
                    rank=1,
                    shown="{}",
                )
            )
            session.add(
                _emergency(rng, student, Viewer("somebody", "", "", Role.CASEWORKER, other))
            )
            session.add(_demand(student))
            session.add(
                ParticipantRow(
                    organization_id=other,
                    participant_id=f"x-{student}",
                    first_name="A",
                    last_name="B",
                    birth_date=None,
                    grade_level=None,
                    school="",
                    status="unsure",
                    student_id=None,
                    decided_by="",
                    decided_at=None,
                )
            )
            session.add(
                ParticipantCandidateRow(
                    organization_id=other,
                    participant_id=f"x-{student}",
                    student_id=student,
                    probability=0.5,
                )
            )
            changes += [
                (student, description)
                for description in (
                    "consent to another",
                    "decision of another",
                    "emergency of another",
                    "legal demand",
                    "participant of another",
                )
            ]
            if student not in scope.students:
                session.add(OptOutRow(student_id=student, since=TODAY, ended=None))
                session.add(_hold(student, lifted=False))
                changes += [(student, "opt-out"), (student, "legal hold")]
        session.add(
            NoticeRow(at=NOW, kind="emergency", text="Something", path="/emergencies", seen_at=None)
        )
        session.add(
            BackupRow(
                name="b", place="elsewhere", taken_at=NOW, expires_on=TODAY, destroyed_at=None
            )
        )
        for organization in others:
            session.add(
                StaffRow(
                    user_id=f"new-{organization}",
                    login=f"new@{organization}.example",
                    name="New",
                    role=Role.CASEWORKER,
                    organization_id=organization,
                    password_hash="x",
                    active=True,
                )
            )
    return changes


def _redraw_student(
    rng: np.random.Generator, changes: Changes, student: str, before: Rows, scope: Scope
) -> None:
    """Draw again what the scope does not show of one student, from the rows `before`."""
    visible = scope.categories(student)
    for name in ("students", "characteristics"):
        drawn = draw_directory(rng) if name == "students" else draw_facts(rng)
        hidden = {
            column.name
            for column in TABLES[name].columns
            if column.category not in visible and column.name in drawn
        }
        row = before[name][0] | {column: drawn[column] for column in hidden}
        changes.rows[name].append(row)
        changes.made += [
            (student, f"{name}.{column}")
            for column in sorted(hidden)
            if row[column] != before[name][0][column]
        ]
    for name, category in CATEGORY_OF.items():
        after = before[name] if category in visible else draw_table(rng, name, student)
        _replace_rows(changes, name, student, before[name], after)
    own = scope.viewer.organization_id
    support = {row["program_id"]: row["support"] for row in changes.rows["programs"]}
    for name in ("service_enrollments", "service_sessions"):
        unchanged = [row for row in before[name] if _is_fixed(name, row, own, visible, support)]
        redrawn_programs = [
            program
            for program, organization in PROGRAMS.items()
            if rng.random() < 0.3
            and not _is_fixed(
                name,
                {"organization_id": organization, "program_id": program},
                own,
                visible,
                support,
            )
        ]
        if name == "service_enrollments":
            redrawn = [draw_enrollment(rng, student, program) for program in redrawn_programs]
        else:
            redrawn = [
                row for program in redrawn_programs for row in draw_sessions(rng, student, program)
            ]
        _replace_rows(changes, name, student, before[name], unchanged + redrawn)


def _is_fixed(name: str, row: Row, own: str, visible: frozenset[Category], support: Row) -> bool:
    """Whether a row of services is in the scope, or is what the scope follows from."""
    if row["organization_id"] == own:
        return name == "service_enrollments" or Category.SERVICES in visible
    needed = {Category.SERVICES_OTHER} | (
        {Category.HOUSING} if support[row["program_id"]] in OWN_HOUSING else set()
    )
    return needed <= visible


def _replace_rows(
    changes: Changes, name: str, student: str, before: list[Row], after: list[Row]
) -> None:
    changes.rows[name] += after
    old, new = ({tuple(sorted(row.items(), key=str)) for row in rows} for rows in (before, after))
    changes.made += [(student, f"{name} {row}") for row in sorted(old ^ new, key=str)]


def _add_student(changes: Changes, drawn: Rows, own: str) -> None:
    """Add a student who is in no program of the viewer's own organization."""
    for name, rows in drawn.items():
        rows = [row for row in rows if row.get("organization_id") != own]
        changes.rows[name] += rows
        changes.made += [(str(row["student_id"]), f"new {name}") for row in rows]


def _students(rows: Rows) -> set[str]:
    return {str(row["student_id"]) for row in rows["students"]}


def _some(rng: np.random.Generator, items: Sequence[Any], most: int) -> list[Any]:
    """Up to `most` of the items, in their order."""
    draws = rng.integers(0, len(items), int(rng.integers(0, most + 1)))
    return [items[index] for index in sorted(set(draws.tolist()))]


def _school_enrollments(rng: np.random.Generator) -> list[Row]:
    return [
        {
            "school_id": str(rng.choice(SCHOOLS)),
            "school_year": 2026,
            "grade_level": int(rng.integers(-1, 13)),
            "entry_date": DAYS[int(rng.integers(0, 40))],
            "exit_date": None,
        }
    ]


def _attendance(rng: np.random.Generator) -> list[Row]:
    streak = DAYS[len(DAYS) - int(rng.integers(0, 7)) :]
    days = sorted({*_some(rng, DAYS, 40), *streak})
    return [
        {
            "school_id": str(rng.choice(SCHOOLS)),
            "date": day,
            "status": str(rng.choice(["absent_excused", "absent_unexcused", "tardy", "partial"])),
        }
        for day in days
    ]


def _course_grades(rng: np.random.Generator) -> list[Row]:
    return [
        {
            "course": course,
            "school_year": 2026,
            "period": period,
            "grade": float(rng.integers(40, 100)),
            "date": date(2025, 10, 1) + timedelta(days=80 * (period - 1)),
        }
        for course in _some(rng, WORDS, 4)
        for period in (1, 2, 3)
    ]


def _gradebook(rng: np.random.Generator) -> list[Row]:
    return [
        {
            "entry_id": f"e{number}",
            "course": str(rng.choice(WORDS)),
            "title": str(rng.choice(WORDS)),
            "due_date": DAYS[-1 - number],
            "grade": float(rng.integers(0, 100)),
        }
        for number in range(int(rng.integers(0, 5)))
    ]


def _assessments(rng: np.random.Generator) -> list[Row]:
    return [
        {
            "assessment": str(rng.choice(WORDS)),
            "date": day,
            "score": float(rng.integers(100, 300)),
            "measure": "scale score",
        }
        for day in _some(rng, DAYS, 4)
    ]


def _incidents(rng: np.random.Generator) -> list[Row]:
    return [
        {
            "incident_id": f"i{number}",
            "date": DAYS[-int(rng.integers(1, 90))],
            "behavior": "Disruption",
            "action": str(rng.choice(WORDS)),
            "days_removed": float(rng.integers(0, 4)),
        }
        for number in range(int(rng.integers(0, 4)))
    ]


def _draw_agreement(
    rng: np.random.Generator, database: Database, organization: str, agreement_id: str
) -> None:
    basis = str(
        rng.choice(
            ["school_official", "consent", "audit_evaluation", "studies"], p=[0.6, 0.25, 0.1, 0.05]
        )
    )
    granted = [category for category in Category if rng.random() < 0.5] or [Category.DIRECTORY]
    opens_records = basis in ("school_official", "consent")
    own_programs = [program for program, runner in PROGRAMS.items() if runner == organization]
    add_agreement(
        database,
        agreement_id=agreement_id,
        organization_id=organization,
        legal_basis=basis,
        categories=[str(category) for category in granted],
        consent_required=[str(category) for category in granted if category in CONSENT_CATEGORIES],
        programs=own_programs if opens_records else [],
        supports=_some(rng, SUPPORTS, 6) if opens_records else [],
        kinds=OWN_LIST,
    )
    if rng.random() < 0.1:
        revoke_agreement(database, agreement_id, NOW - timedelta(days=1))


def _consent(rng: np.random.Generator, student: str, organization: str) -> ConsentRow:
    named = [category for category in Category if rng.random() < 0.5] or [Category.HOUSING]
    return ConsentRow(
        student_id=student,
        organization_id=organization,
        categories=frozenset(named),
        purpose="Help",
        signer="A parent",
        signed_on=TODAY - timedelta(days=int(rng.integers(0, 90))),
        expires_on=TODAY + timedelta(days=int(rng.integers(-5, 90))),
        revoked_on=TODAY - timedelta(days=1) if rng.random() < 0.15 else None,
    )


def _hold(student: str, *, lifted: bool) -> LegalHoldRow:
    return LegalHoldRow(
        student_id=student,
        since=NOW - timedelta(days=2),
        placed_by="somebody",
        reason="A court case",
        lifted_at=NOW - timedelta(days=1) if lifted else None,
    )


def _emergency(rng: np.random.Generator, student: str, viewer: Viewer) -> EmergencyRow:
    named = [category for category in Category if rng.random() < 0.5] or [Category.DIRECTORY]
    row = draw_emergency(student, viewer, NOW - timedelta(hours=int(rng.integers(0, 6))), named)
    row.ended_at = NOW if rng.random() < 0.2 else None
    return row


def _demand(student: str) -> LegalDemandRow:
    return LegalDemandRow(
        received_on=TODAY,
        recorded_at=NOW,
        recorded_by="somebody",
        student_id=student,
        kind="administrative_warrant",
        issuer="An agency",
        of_court=False,
        signed_by_judge=False,
        parent_notified_on=None,
        notice_exception="",
        categories=frozenset({Category.DIRECTORY}),
        status="refused",
    )
