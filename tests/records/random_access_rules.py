"""Random districts with random access rules, drawn near the dates on which they change.

Everything that a decision depends on is drawn: roles, closed accounts, agreements on each legal
basis with versions, ends and revocations, programs, enrollments, consents, opt-outs, legal holds
and emergencies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select, text

from records.access.publication import newest_publication, publish_snapshot
from records.access.scope import scope_for
from records.canonical.schema import CONSENT_CATEGORIES, Category
from records.database.engine import Database
from records.database.tables import (
    ConsentRow,
    EmergencyRow,
    LegalHoldRow,
    OptOutRow,
    OrganizationRow,
    ReferralRow,
    ReferralStepRow,
    StaffRow,
    UnfinishedDestructionRow,
)
from records.permissions.agreements import (
    Reinstatement,
    parse_agreement,
    revoke_agreement,
    save_agreement,
)
from records.referrals.referrals import ANSWER_WITHIN, NAMED_ROLES
from records.referrals.states import State
from records.snapshots.snapshot import Snapshot
from records.staff.viewer import DISTRICT, Role, Viewer
from records.system.clock import to_utc
from tests.records.conftest import AGREEMENT, Rows, agreement_text, snapshot_of

NOON = datetime(2026, 4, 17, 12)
ORGANIZATIONS = ("tutors", "pantry", "shelter")
PROGRAMS = {
    "p1": "tutors",
    "p2": "tutors",
    "p;3": "pantry",
    "p 4": "pantry",
    "p'5": "shelter",
    'p"6': "shelter",
}
SUPPORT = {
    "p1": "tutoring",
    "p2": "housing_help",
    "p;3": "homework_club",
    "p 4": None,
    "p'5": "motel_vouchers",
}
"""The kind of each program: of one nobody has said it, two are the district's own
(`tests.own_supports`), and one program is on no list."""

CATEGORIES = tuple(Category)
BASES = ("school_official", "consent", "audit_evaluation", "studies")


def draw_rows(rng: np.random.Generator, students: int) -> Rows:
    """A district of so many students, with rows in every student table, and unusual texts."""
    names = [f"s{number:03d}" for number in range(students)]
    return {
        "schools": [{"school_id": "k1", "name": "Harbor"}],
        "programs": [
            {
                "program_id": program,
                "organization_id": runs,
                "name": program,
                "support": SUPPORT[program],
            }
            for program, runs in PROGRAMS.items()
            if program in SUPPORT
        ],
        "students": [
            {
                "student_id": student,
                "first_name": str(rng.choice(_TEXTS)),
                "last_name": _text(rng),
                "birth_date": _day(rng, 4000),
                "grade_level": int(rng.integers(-1, 13)),
                "school_id": "k1",
            }
            for student in names
        ],
        "characteristics": [
            {
                "student_id": student,
                "sex": _or_none(rng, "female"),
                "race_ethnicity": _or_none(rng, "asian"),
                **{fact: _or_none(rng, bool(rng.random() < 0.5)) for fact in _FACTS},
            }
            for student in names
        ],
        "school_enrollments": [
            {
                "student_id": student,
                "school_id": "k1",
                "school_year": 2026,
                "grade_level": 4,
                "entry_date": date(2025, 9, 1),
            }
            for student in names
        ],
        "attendance_events": [
            {"student_id": student, "school_id": "k1", "date": _day(rng, 90), "status": "tardy"}
            for student in names
        ],
        "course_grades": [
            {
                "student_id": student,
                "course": str(rng.choice(_TEXTS)),
                "school_year": 2026,
                "period": 1,
                "date": _day(rng, 90),
                "grade": float(rng.normal(80, 9)),
            }
            for student in names
        ],
        "gradebook_entries": [
            {
                "student_id": student,
                "entry_id": "e1",
                "course": _text(rng),
                "title": _text(rng),
                "due_date": None,
                "grade": _or_none(rng, 1 / 3),
            }
            for student in names
        ],
        "assessments": [
            {
                "student_id": student,
                "assessment": str(rng.choice(_TEXTS)),
                "date": _day(rng, 90),
                "score": 1e-300 * float(rng.random()),
                "measure": _text(rng),
            }
            for student in names
        ],
        "behavior_incidents": [
            {
                "student_id": student,
                "incident_id": "i1",
                "date": _day(rng, 90),
                "behavior": _text(rng),
                "action": "",
                "days_removed": _or_none(rng, 0.5),
            }
            for student in names
        ],
        "service_enrollments": [row for student in names for row in _enrollments(rng, student)],
        "service_sessions": [
            {
                "student_id": student,
                "session_id": f"{student}-{program}",
                "program_id": program,
                "organization_id": runs,
                "date": _day(rng, 30),
                "attended": bool(rng.random() < 0.5),
                "minutes": _or_none(rng, 45.0),
            }
            for student in names
            for program, runs in PROGRAMS.items()
            if rng.random() < 0.4
        ],
    }


def draw_access_rules(rng: np.random.Generator, database: Database, students: int) -> list[Viewer]:
    """Organizations, staff and all that opens or closes a record; returns everybody who may ask."""
    viewers = []
    with database.session() as session:
        session.add_all(
            OrganizationRow(organization_id=name, name=name, kind="partner")
            for name in (*ORGANIZATIONS, DISTRICT)
        )
        session.flush()
        for organization in (*ORGANIZATIONS, DISTRICT):
            for role in Role:
                viewer = Viewer(f"{organization}-{role}", "", "", role, organization)
                session.add(
                    StaffRow(
                        user_id=viewer.user_id,
                        login=viewer.user_id,
                        name="Somebody",
                        role=role,
                        organization_id=organization,
                        password_hash="x",
                        active=bool(rng.random() < 0.9),
                    )
                )
                viewers.append(viewer)
    for organization in ORGANIZATIONS:
        for number in range(int(rng.integers(2, 5))):
            _draw_agreement(rng, database, organization, f"{organization}-{number}")
    with database.session() as session:
        for number in range(students):
            session.add_all(_closings_and_openings(rng, f"s{number:03d}", viewers))
    with database.session() as session:
        consents = list(session.scalars(select(ConsentRow)))
        for number in range(students):
            if rng.random() < 0.6:
                referral = _referral(rng, f"s{number:03d}", consents)
                session.add(referral)
                session.flush()
                session.add(_last_step(referral))
    return viewers


def draw_moment(rng: np.random.Generator) -> datetime:
    """A moment near the dates drawn: often at midnight or just before, or near an emergency."""
    if rng.random() < 0.5:
        return NOON + _half_hours(rng, -10, 18)
    return datetime.combine(_near(rng), datetime.min.time()) - timedelta(
        seconds=int(rng.integers(0, 2))
    )


@dataclass
class Comparison:
    """Counts of decisions that both policies made, that opened something, and that differ."""

    decisions: int = 0
    opened: int = 0
    disagreed: list[tuple[str, datetime, str, str]] = field(default_factory=list)

    def ask(
        self, database: Database, snapshot: Snapshot, viewer: Viewer, now: datetime, students: int
    ) -> None:
        """Compare every student and category of a published snapshot, for one person and moment."""
        scope = scope_for(viewer, database, snapshot, now, b"")
        by_scope = {
            (student, str(category))
            for student in scope.students
            for category in scope.categories(student)
        }
        by_policy = in_scope(database, snapshot, viewer.user_id, now)
        self.decisions += students * len(CATEGORIES)
        self.opened += len(by_scope) if viewer.role is not Role.DISTRICT_ADMIN else 0
        self.disagreed += [(viewer.user_id, now, *pair) for pair in sorted(by_scope ^ by_policy)]


def compare_policies(
    rng: np.random.Generator,
    database: Database,
    home: Path,
    students: int,
    moments: int,
    comparison: Comparison,
) -> None:
    """Draw a district into an empty database and home, and compare at random moments."""
    snapshot = snapshot_of(draw_rows(rng, students), home)
    publish_snapshot(database, snapshot)
    viewers = [
        *draw_access_rules(rng, database, students),
        Viewer("stranger", "", "", Role.CASEWORKER, ORGANIZATIONS[0]),
    ]
    for _ in range(moments):
        now = draw_moment(rng)
        for viewer in viewers:
            comparison.ask(database, snapshot, viewer, now, students)


def in_scope(
    database: Database, snapshot: Snapshot, user_id: str, now: datetime
) -> set[tuple[str, str]]:
    """What the SQL policy lets this person see: pairs of student and category."""
    with database.engine.connect() as connection:
        settings = {
            "user_id": user_id,
            "now": str(now),
            "instant": str(to_utc(now)),
            "publication": str(newest_publication(connection, snapshot)),
        }
        connection.execute(text("SET LOCAL ROLE handrail_reader"))
        for name, value in settings.items():
            connection.execute(
                text("SELECT set_config(:name, :value, true)"),
                {"name": f"handrail.{name}", "value": value},
            )
        pairs = connection.execute(
            text("SELECT student_id, category FROM district_records.in_scope()")
        )
        return {(student, category) for student, category in pairs}


_TEXTS = (
    "Ana",
    "O'Brien",
    'Said "Al"',
    "a,b",
    "line\nbreak",
    "\\.",
    "\\N",
    "Nguyễn",
    "",
    " ",
    "NULL",
    "tab\there",
)
_FACTS = ("english_learner", "special_education", "unstable_housing", "meal_eligible")


def _draw_agreement(
    rng: np.random.Generator, database: Database, organization: str, agreement_id: str
) -> None:
    revoked = False
    for version in range(1, int(rng.integers(2, 4))):
        basis = str(rng.choice(BASES, p=(0.55, 0.3, 0.1, 0.05)))
        granted = sorted({str(rng.choice(CATEGORIES)) for _ in range(int(rng.integers(4, 20)))})
        own = [program for program, runs in PROGRAMS.items() if runs == organization]
        start, end = sorted((_near(rng) - _days(rng), _near(rng) + _days(rng)))
        text = agreement_text(
            agreement_id=agreement_id,
            organization_id=organization,
            legal_basis=basis,
            categories=granted,
            consent_required=sorted(set(granted) & CONSENT_CATEGORIES),
            supports=[],
            programs=list(rng.choice(own, int(rng.integers(1, len(own) + 1)), replace=False)),
        )
        changes = {
            "version = 1": f"version = {version}",
            "2025-08-01": str(start),
            "2026-07-31": str(end),
        }
        for old, new in changes.items():
            assert old in AGREEMENT
            text = text.replace(old, new)
        taken_back = Reinstatement(NOON, "somebody", "A mistake") if revoked else None
        save_agreement(database, parse_agreement(text, agreement_id), taken_back)
        revoked = bool(rng.random() < 0.2)
        if revoked:
            revoke_agreement(database, agreement_id, NOON)


def _closings_and_openings(
    rng: np.random.Generator, student: str, viewers: list[Viewer]
) -> list[Any]:
    rows: list[Any] = [_consent(rng, student) for _ in range(int(rng.integers(0, 4)))]
    if rng.random() < 0.1:
        rows.append(
            OptOutRow(student_id=student, since=_near(rng), ended=_or_none(rng, _near(rng)))
        )
    if rng.random() < 0.06:
        rows.append(
            LegalHoldRow(
                student_id=student,
                since=NOON,
                lifted_at=_or_none(rng, NOON),
                placed_by="somebody",
                reason="A court case",
            )
        )
    if rng.random() < 0.05:
        rows.append(
            UnfinishedDestructionRow(
                subject=student,
                student_id=student,
                begun_at=NOON,
                by="somebody",
                officer="Somebody",
                login="",
                found=[],
            )
        )
    if rng.random() < 0.4:
        opened = NOON + _half_hours(rng, -10, 10)
        viewer = viewers[int(rng.integers(0, len(viewers)))]
        rows.append(
            EmergencyRow(
                opened_at=opened,
                ends_at=opened + timedelta(hours=4),
                opened_by="somebody",
                user_id=viewer.user_id,
                ended_at=opened if rng.random() < 0.3 else None,
                organization_id=viewer.organization_id,
                student_id=student if rng.random() < 0.9 else "nobody",
                categories=_named(rng),
                threat="",
                reason="",
            )
        )
    return rows


def _consent(rng: np.random.Generator, student: str) -> ConsentRow:
    return ConsentRow(
        student_id=student,
        organization_id=str(rng.choice(ORGANIZATIONS)),
        categories=_named(rng),
        purpose="Help",
        signer="A parent",
        signed_on=_near(rng) - _days(rng),
        expires_on=_near(rng) + _days(rng),
        revoked_on=_near(rng) if rng.random() < 0.2 else None,
    )


def _referral(rng: np.random.Generator, student: str, consents: list[ConsentRow]) -> ReferralRow:
    """A referral in any state, often near the end of the time to answer it."""
    program = str(rng.choice(list(PROGRAMS)))
    of_family = [
        consent.id
        for consent in consents
        if (consent.student_id, consent.organization_id) == (student, PROGRAMS[program])
    ]
    return ReferralRow(
        student_id=student if rng.random() < 0.95 else "nobody",
        program_id=program,
        organization_id=PROGRAMS[program],
        role=str(rng.choice(NAMED_ROLES)),
        sender_id=DISTRICT,
        state=str(rng.choice([State.SENT, *State])),
        since=datetime.combine(_near(rng) - ANSWER_WITHIN, NOON.time()),
        consent_id=of_family[0] if of_family and rng.random() < 0.6 else None,
    )


def _last_step(referral: ReferralRow) -> ReferralStepRow:
    return ReferralStepRow(
        referral_id=referral.id,
        student_id=referral.student_id,
        at=referral.since,
        user_id="somebody",
        state=referral.state,
        reason="",
    )


def _enrollments(rng: np.random.Generator, student: str) -> list[Mapping[str, Any]]:
    return [
        {
            "student_id": student,
            "program_id": program,
            "organization_id": runs,
            "start_date": _near(rng) - _days(rng),
            "end_date": _or_none(rng, _near(rng)),
            "exit_reason": None,
        }
        for program, runs in PROGRAMS.items()
        if rng.random() < 0.7
    ]


def _named(rng: np.random.Generator) -> frozenset[Category]:
    return frozenset(Category(rng.choice(CATEGORIES)) for _ in range(int(rng.integers(1, 9))))


def _near(rng: np.random.Generator) -> date:
    return NOON.date() + timedelta(days=int(rng.integers(-5, 6)))


def _half_hours(rng: np.random.Generator, first: int, last: int) -> timedelta:
    return timedelta(minutes=30 * int(rng.integers(first, last)))


def _days(rng: np.random.Generator) -> timedelta:
    return timedelta(days=int(rng.integers(0, 15)))


def _day(rng: np.random.Generator, within: int) -> date:
    return NOON.date() - timedelta(days=int(rng.integers(0, within)))


def _text(rng: np.random.Generator) -> str | None:
    return _or_none(rng, str(rng.choice(_TEXTS)))


def _or_none(rng: np.random.Generator, value: Any) -> Any:
    return value if rng.random() < 0.6 else None
