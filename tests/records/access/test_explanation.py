"""An explanation agrees with the scope, and names the condition that decides and its source."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from records.access.explanation import CategoryAccess, UnknownStudent, explain_access
from records.access.scope import scope_for
from records.canonical.schema import Category
from records.database.engine import Database
from records.database.tables import ConsentRow, EmergencyRow, LegalHoldRow, OptOutRow, StaffRow
from records.permissions.agreements import latest_agreements, revoke_agreement
from records.snapshots.snapshot import Snapshot
from records.staff.viewer import DISTRICT, Role, Viewer
from tests.records import six_student_district
from tests.records.conftest import (
    SECRET,
    TODAY,
    add_agreement,
    add_consent,
    add_organization,
    agreement_text,
    at_noon,
    snapshot_of,
)
from tests.records.random_access_rules import draw_access_rules, draw_moment, draw_rows

PROBES = {"sqlite": 6_000, "postgresql": 4_000}
STUDENTS = 40
GRANTED = ["directory", "attendance", "housing"]


def test_explanations_and_scope_agree_on_thousands_of_random_probes(
    database: Database, tmp_path: Path
):  # R15
    rng = np.random.default_rng(23)
    snapshot = snapshot_of(draw_rows(rng, STUDENTS), tmp_path / "home")
    viewers = draw_access_rules(rng, database, STUDENTS)
    probes = opened = 0
    reasons: set[str] = set()
    while probes < PROBES[database.engine.dialect.name]:
        viewer, now = viewers[int(rng.integers(len(viewers)))], draw_moment(rng)
        scope = scope_for(viewer, database, snapshot, now, SECRET)
        for number in rng.choice(STUDENTS, 6, replace=False):
            student = f"s{number:03d}"
            explanation = explain_access(viewer, student, database, snapshot, now)
            assert explanation.visible == scope.categories(student), (viewer.user_id, student, now)
            assert [answer.category for answer in explanation.answers] == list(Category)
            assert all(answer.reason.holds == answer.visible for answer in explanation.answers)
            probes += len(explanation.answers)
            opened += len(explanation.visible)
            reasons |= {answer.reason.asked for answer in explanation.answers}
    assert opened > 100 and len(reasons) >= 8, sorted(reasons)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot_of(six_student_district.rows(), tmp_path_factory.mktemp("home"))


@pytest.fixture
def caseworker(database: Database) -> Viewer:
    viewer, *_ = add_organization(
        database, "tutors", Role.CASEWORKER, Role.COORDINATOR, Role.DATA_SCIENTIST
    )
    add_agreement(database, categories=GRANTED, consent_required=["housing"])
    return viewer


def line(key: str) -> str:
    """The line on which the agreement of these tests has a key."""
    numbered = enumerate(agreement_text().splitlines(), start=1)
    return (
        f"Line {next(number for number, text in numbered if text.startswith(f'{key} ='))} of a1,"
        " version 1"
    )


def answer(
    viewer: Viewer,
    database: Database,
    snapshot: Snapshot,
    category: Category,
    student: str = "s1",
    day: date = TODAY,
) -> CategoryAccess:
    return explain_access(viewer, student, database, snapshot, at_noon(day)).answers[
        list(Category).index(category)
    ]


def test_what_is_visible_names_the_agreements_line_and_the_digest_of_its_text(
    database, caseworker, snapshot
):  # R15
    access = answer(caseworker, database, snapshot, Category.ATTENDANCE)
    (stored,) = latest_agreements(database, "tutors")
    assert access.visible and access.way.sha256 == stored.agreement.sha256
    assert access.way.name == "agreement a1, version 1"
    assert access.reason.written == line("categories")
    assert [condition.holds for condition in access.way.conditions] == [True] * len(
        access.way.conditions
    )
    answers = {condition.asked: condition.answer for condition in access.way.conditions}
    assert (
        answers["Is the student enrolled in one of its programs today?"]
        == "Yes: in p1 since 5 January 2026"
    )
    assert answers["Is it still in force?"] == "Yes: its last day is 31 July 2026"


def opt_out(database: Database) -> None:
    with database.session() as session:
        session.add(OptOutRow(student_id="s1", since=date(2026, 3, 2), ended=None))


def hold(database: Database) -> None:
    with database.session() as session:
        session.add(
            LegalHoldRow(
                student_id="s1",
                since=datetime(2026, 3, 2, 9, 5),
                lifted_at=None,
                placed_by="d",
                reason="A court case",
            )
        )


def close_account(database: Database) -> None:
    with database.session() as session:
        session.get_one(StaffRow, "tutors-caseworker").active = False


def end_agreement(database: Database) -> None:
    revoke_agreement(database, "a1", datetime(2026, 4, 1, 8))


def nothing(database: Database) -> None:
    pass


CLOSED: list[tuple[Callable[[Database], None], str, date, str, str]] = [
    (close_account, "s1", TODAY, "No: the account is closed", "The accounts"),
    (
        end_agreement,
        "s1",
        TODAY,
        "No: it was revoked on 1 April 2026",
        "The district's revocation of a1",
    ),
    (nothing, "s1", date(2025, 7, 31), "No: its first day is 1 August 2025", line("start")),
    (nothing, "s1", date(2026, 8, 1), "No: its last day is 31 July 2026", line("end")),
    (nothing, "s3", TODAY, "No: in p1 until 1 December 2025", line("programs")),
    (nothing, "s4", TODAY, "No: in none of them", line("programs")),
    (nothing, "s1", date(2026, 1, 4), "No: in p1 from 5 January 2026", line("programs")),
    (opt_out, "s1", TODAY, "Yes: since 2 March 2026", "Opt-out 1"),
    (hold, "s1", TODAY, "Yes: since 2 March 2026, 09:05", "Legal hold 1"),
]


@pytest.mark.parametrize(("change", "student", "day", "expected", "written"), CLOSED)
def test_the_first_thing_that_stands_in_the_way_is_the_reason(
    database, caseworker, snapshot, change, student, day, expected, written
):  # R15
    change(database)
    for category in (Category.DIRECTORY, Category.ATTENDANCE, Category.HOUSING):
        access = answer(caseworker, database, snapshot, category, student, day)
        assert not access.visible
        assert (access.reason.answer, access.reason.written, access.reason.holds) == (
            expected,
            written,
            False,
        )


def test_what_the_agreement_or_the_role_does_not_open_says_so(database, caseworker, snapshot):
    access = answer(caseworker, database, snapshot, Category.GRADES)
    assert (access.reason.asked, access.reason.answer) == (
        "Does the agreement cover this part of the record?",
        "No",
    )
    assert access.reason.written == line("categories")
    coordinator = Viewer("tutors-coordinator", "", "", Role.COORDINATOR, "tutors")
    access = answer(coordinator, database, snapshot, Category.ATTENDANCE)
    assert (access.reason.asked, access.reason.answer) == (
        "May the role see it?",
        "No: coordinator",
    )
    scientist = Viewer("tutors-data_scientist", "", "", Role.DATA_SCIENTIST, "tutors")
    access = answer(scientist, database, snapshot, Category.DIRECTORY)
    assert access.reason.asked == "Does the role allow access to individual students?"


@pytest.mark.parametrize("basis", ["audit_evaluation", "studies"])
def test_an_evaluation_names_its_ground_as_the_reason(database, snapshot, basis):  # R13
    (viewer,) = add_organization(database, "tutors", Role.CASEWORKER)
    add_agreement(database, legal_basis=basis, supports=[])
    access = answer(viewer, database, snapshot, Category.DIRECTORY)
    assert access.reason.asked == "Does its legal basis allow access to individual students?"
    assert access.reason.written == line("legal_basis") and "99.31(a)" in access.reason.answer


def test_a_consent_is_named_with_who_signed_it_when_and_until_when(
    database, caseworker, snapshot
):  # R10
    missing = answer(caseworker, database, snapshot, Category.HOUSING)
    assert missing.reason.asked == "Has the family consented to it (42 U.S.C. 11432(g)(3)(G))?"
    assert (missing.reason.answer, missing.reason.written) == (
        "No: no consent covers it",
        line("consent_required"),
    )
    add_consent(database, "s1", Category.HOUSING)
    signed = answer(caseworker, database, snapshot, Category.HOUSING)
    assert (
        signed.visible
        and signed.reason.asked == "Does the agreement cover this part of the record?"
    )
    assert (
        signed.way.conditions[-1].answer
        == "Yes: A parent on 1 September 2025, until 31 August 2026"
    )
    assert signed.way.conditions[-1].written == "Consent 1"
    assert signed.reason.written == f"{line('categories')}; Consent 1"
    with database.session() as session:
        session.get_one(ConsentRow, 1).revoked_on = TODAY
    revoked = answer(caseworker, database, snapshot, Category.HOUSING)
    assert revoked.reason.answer == "No: it was revoked on 17 April 2026"
    assert answer(
        caseworker, database, snapshot, Category.HOUSING, day=TODAY - timedelta(days=1)
    ).visible


@pytest.mark.parametrize(
    ("signed", "ends", "expected"),
    [
        (date(2026, 5, 1), date(2026, 8, 31), "No: it was not signed until 1 May 2026"),
        (date(2025, 9, 1), date(2026, 4, 16), "No: it ended on 16 April 2026"),
    ],
)
def test_a_consent_that_does_not_count_today_says_why(
    database, caseworker, snapshot, signed, ends, expected
):
    add_consent(database, "s1", Category.HOUSING)
    with database.session() as session:
        row = session.get_one(ConsentRow, 1)
        row.signed_on, row.expires_on = signed, ends
    assert answer(caseworker, database, snapshot, Category.HOUSING).reason.answer == expected


def test_the_better_of_two_agreements_answers(database, caseworker, snapshot):
    add_agreement(database, agreement_id="a0", categories=["grades"], programs=["p9"])
    add_agreement(database, agreement_id="a2", categories=["grades"])
    access = answer(caseworker, database, snapshot, Category.GRADES)
    assert access.visible and access.way.name == "agreement a2, version 1" and len(access.ways) == 3
    other = answer(caseworker, database, snapshot, Category.ASSESSMENTS)
    assert other.way.name == "agreement a1, version 1" and other.reason.asked.startswith(
        "Does the agreement cover"
    )


def test_an_emergency_opens_what_it_names_past_an_opt_out_until_it_ends(
    database, caseworker, snapshot
):
    opt_out(database)
    opened = datetime(2026, 4, 17, 11)  # answers are for noon
    with database.session() as session:
        session.add(
            EmergencyRow(
                opened_at=opened,
                ends_at=opened + timedelta(hours=2),
                ended_at=None,
                opened_by="d",
                user_id="tutors-caseworker",
                organization_id="tutors",
                student_id="s1",
                categories=frozenset({Category.SCHEDULE, Category.HOUSING}),
                threat="",
                reason="",
            )
        )
    access = answer(caseworker, database, snapshot, Category.SCHEDULE)
    assert access.visible and (access.way.name, access.reason.written) == (
        "emergency 1",
        "Emergency 1",
    )
    assert not answer(caseworker, database, snapshot, Category.HOUSING).visible
    (over,) = [
        access
        for access in explain_access(
            caseworker, "s1", database, snapshot, opened + timedelta(hours=2)
        ).answers
        if access.category is Category.SCHEDULE
    ]
    assert not over.visible and over.reason.answer == "Yes: since 2 March 2026"


def test_the_district_sees_its_own_records_and_a_stranger_nothing(database, caseworker, snapshot):
    (officer,) = add_organization(database, DISTRICT, Role.DISTRICT_ADMIN)
    assert explain_access(officer, "s6", database, snapshot, at_noon(TODAY)).visible == set(
        Category
    )
    stranger = Viewer("nobody", "", "", Role.CASEWORKER, "tutors")
    access = answer(stranger, database, snapshot, Category.DIRECTORY)
    assert (access.visible, access.reason.answer) == (False, "No: there is no such account")
    moved = Viewer("tutors-coordinator", "", "", Role.CASEWORKER, "tutors")
    assert answer(moved, database, snapshot, Category.DIRECTORY).reason.answer.startswith(
        "No: the account now has a different role"
    )


def test_an_organization_without_an_agreement_is_named_as_such(database, snapshot):
    (viewer,) = add_organization(database, "tutors", Role.CASEWORKER)
    assert (
        answer(viewer, database, snapshot, Category.DIRECTORY).reason.answer
        == "No: none was ever added"
    )


def test_an_unknown_student_is_refused(database, caseworker, snapshot):
    with pytest.raises(UnknownStudent, match="no student in the records has this ID"):
        explain_access(caseworker, "s99", database, snapshot, at_noon(TODAY))
