"""Random districts with everything that decides who sees what, and changes to all that one viewer
may not see.

A world is drawn from a seed: students with records of every kind, organisations on every legal
basis, agreements in force, ended and revoked, consents, opt-outs, legal holds, emergencies, staff
of each role. `redraw_out_of_scope` draws anew whatever is out of one viewer's scope, in the records
and in the operational store, and counts what it changed.
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
    SUPPORTS,
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
from records.people.viewer import Role, Scope, Viewer
from records.permissions.agreements import revoke_agreement
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
"""Tables in which a row belongs to one category as a whole."""


@dataclass
class Changes:
    """The same district for one viewer: what changed in it, as (student, what) one by one."""

    rows: Rows
    made: list[tuple[str, str]] = field(default_factory=list)


def draw_rows(rng: np.random.Generator, students: int) -> Rows:
    """Records of so many students, up to a random recent day."""
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
    for place in range(students):
        for name, found in draw_student(rng, f"s{place:04d}").items():
            rows[name] += found
    return rows


def draw_student(rng: np.random.Generator, student: str) -> Rows:
    """Everything on record of one student."""
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
        "course_grades": _marks,
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
    """Organisations, staff and everything that opens or closes a record; the partners' staff."""
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
    """The district with everything that `scope` does not show drawn anew.

    What the scope is made of stays: who takes part in the viewer's own programs.
    """
    own = scope.viewer.organization_id
    gone = {
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
    for name, found in rows.items():
        if TABLES[name].is_student:
            for row in found:
                by_student[str(row["student_id"])][name].append(row)
    for student in sorted(by_student):
        if student in gone:
            changes.made += [(student, "gone")]
            continue
        _scramble_student(rng, changes, student, by_student[student], scope)
    for place in range(int(rng.integers(1, 5))):
        _add(changes, draw_student(rng, f"n{place:04d}"), own)
    return changes


def redraw_others_access_rules(
    rng: np.random.Generator, database: Database, scope: Scope, students: list[str]
) -> list[tuple[str, str]]:
    """Change what the operational store holds of others, which decides nothing for this viewer;
    (student, what).
    """
    others = [name for name in ORGANIZATIONS if name != scope.viewer.organization_id]
    made = []
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
            made += [
                (student, what)
                for what in (
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
                made += [(student, "opt-out"), (student, "legal hold")]
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
    return made


def _scramble_student(
    rng: np.random.Generator, changes: Changes, student: str, found: Rows, scope: Scope
) -> None:
    seen = scope.categories(student)
    for name in ("students", "characteristics"):
        drawn = draw_directory(rng) if name == "students" else draw_facts(rng)
        hidden = {
            c.name for c in TABLES[name].columns if c.category not in seen and c.name in drawn
        }
        row = found[name][0] | {column: drawn[column] for column in hidden}
        changes.rows[name].append(row)
        changes.made += [
            (student, f"{name}.{column}")
            for column in sorted(hidden)
            if row[column] != found[name][0][column]
        ]
    for name, category in CATEGORY_OF.items():
        drawn = found[name] if category in seen else draw_table(rng, name, student)
        _redraw(changes, name, student, found[name], drawn)
    own = scope.viewer.organization_id
    support = {row["program_id"]: row["support"] for row in changes.rows["programs"]}
    for name in ("service_enrollments", "service_sessions"):
        kept = [row for row in found[name] if _stays(name, row, own, seen, support)]
        movable = [
            program
            for program, organization in PROGRAMS.items()
            if rng.random() < 0.3
            and not _stays(
                name, {"organization_id": organization, "program_id": program}, own, seen, support
            )
        ]
        drawn = (
            [draw_enrollment(rng, student, program) for program in movable]
            if name == "service_enrollments"
            else [row for program in movable for row in draw_sessions(rng, student, program)]
        )
        _redraw(changes, name, student, found[name], kept + drawn)


def _stays(name: str, row: Row, own: str, seen: frozenset[Category], support: Row) -> bool:
    if row["organization_id"] == own:
        return name == "service_enrollments" or Category.SERVICES in seen
    needed = {Category.SERVICES_OTHER} | (
        {Category.HOUSING} if support[row["program_id"]] == "housing_help" else set()
    )
    return needed <= seen


def _redraw(changes: Changes, name: str, student: str, before: list[Row], after: list[Row]) -> None:
    changes.rows[name] += after
    old, new = ({tuple(sorted(row.items(), key=str)) for row in rows} for rows in (before, after))
    changes.made += [(student, f"{name} {row}") for row in sorted(old ^ new, key=str)]


def _add(changes: Changes, drawn: Rows, own: str) -> None:
    """A student who was not there, in nobody's program that this viewer's organisation runs."""
    for name, rows in drawn.items():
        rows = [row for row in rows if row.get("organization_id") != own]
        changes.rows[name] += rows
        changes.made += [(str(row["student_id"]), f"new {name}") for row in rows]


def _students(rows: Rows) -> set[str]:
    return {str(row["student_id"]) for row in rows["students"]}


def _some(rng: np.random.Generator, of: Sequence[Any], most: int) -> list[Any]:
    return [
        of[place]
        for place in sorted(set(rng.integers(0, len(of), int(rng.integers(0, most + 1))).tolist()))
    ]


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


def _marks(rng: np.random.Generator) -> list[Row]:
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
            "entry_id": f"e{place}",
            "course": str(rng.choice(WORDS)),
            "title": str(rng.choice(WORDS)),
            "due_date": DAYS[-1 - place],
            "grade": float(rng.integers(0, 100)),
        }
        for place in range(int(rng.integers(0, 5)))
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
            "incident_id": f"i{place}",
            "date": DAYS[-int(rng.integers(1, 90))],
            "behavior": "Disruption",
            "action": str(rng.choice(WORDS)),
            "days_removed": float(rng.integers(0, 4)),
        }
        for place in range(int(rng.integers(0, 4)))
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
    opens = basis in ("school_official", "consent")
    add_agreement(
        database,
        agreement_id=agreement_id,
        organization_id=organization,
        legal_basis=basis,
        categories=[str(category) for category in granted],
        consent_required=[str(category) for category in granted if category in CONSENT_CATEGORIES],
        programs=[program for program, runs in PROGRAMS.items() if runs == organization]
        if opens
        else [],
        supports=_some(rng, SUPPORTS, 6) if opens else [],
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
