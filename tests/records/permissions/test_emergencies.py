"""Emergencies: what may be opened, for whom and how long, always with a notice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from records.access.publication import has_row_security, publish_snapshot
from records.access.row_security import RowSecuredSnapshot
from records.access.scope import scope_for
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import CONSENT_CATEGORIES, Category
from records.database.engine import Database
from records.database.tables import OptOutRow, StaffRow
from records.disclosure_log.disclosures import record_disclosures
from records.disclosure_log.history import disclosures, emergency_disclosure_count
from records.permissions.agreements import parse_agreement, save_agreement
from records.permissions.emergencies import (
    MAX_HOURS,
    REQUESTABLE_CATEGORIES,
    Emergency,
    EmergencyError,
    eligible_partner_staff,
    emergencies,
    end_emergency,
    open_emergency,
)
from records.permissions.legal_holds import place_hold
from records.snapshots.snapshot import Snapshot
from records.staff.notices import count_unseen, notices
from records.staff.viewer import DISTRICT, EMERGENCY_BASIS, NotInScope, Role, Scope, Viewer
from tests.records import six_student_district
from tests.records.conftest import (
    SECRET,
    TODAY,
    add_agreement,
    add_organization,
    agreement_text,
    at_noon,
    snapshot_of,
)

NOW = at_noon(TODAY)
THREAT = "A classmate says that First1 means to hurt themselves tonight"
REASON = "The school they went to today is where to look for them first"
NEVER = sorted(set(Category) - REQUESTABLE_CATEGORIES)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot_of(six_student_district.rows(), tmp_path_factory.mktemp("home"))


@pytest.fixture
def people(database: Database) -> dict[str, Viewer]:
    """The tutors' agreement opens parts of s1 and s2 to them; the college's opens nobody."""
    caseworker, coordinator = add_organization(
        database, "tutors", Role.CASEWORKER, Role.COORDINATOR
    )
    (evaluator,) = add_organization(database, "college", Role.CASEWORKER)
    admin, scientist = add_organization(
        database, DISTRICT, Role.DISTRICT_ADMIN, Role.DATA_SCIENTIST
    )
    add_agreement(database)
    add_agreement(
        database,
        agreement_id="a9",
        organization_id="college",
        legal_basis="audit_evaluation",
        supports=[],
    )
    return {
        "caseworker": caseworker,
        "coordinator": coordinator,
        "evaluator": evaluator,
        "admin": admin,
        "scientist": scientist,
    }


def scope_of(database: Database, snapshot: Snapshot, viewer: Viewer, now: datetime = NOW) -> Scope:
    return scope_for(viewer, database, snapshot, now, SECRET)


def opened(database: Database, scope: Scope, student: str = "s1", **changes: Any) -> Emergency:
    arguments: dict[str, Any] = {
        "categories": [Category.GRADES],
        "threat": THREAT,
        "reason": REASON,
        "hours": 2,
        "now": NOW,
    }
    return open_emergency(database, scope, student, **(arguments | changes))


def test_a_caseworker_sees_what_was_asked_until_the_minute_it_ends(
    database, people, snapshot
):  # R30
    before = scope_of(database, snapshot, people["caseworker"])
    emergency = opened(database, before)
    assert emergency.ends_at == NOW + timedelta(hours=2)
    assert (emergency.user_id, emergency.organization_id) == (before.viewer.user_id, "tutors")
    seen = {}
    for seconds in (-1, 0, 7199, 7200):
        scope = scope_of(database, snapshot, people["caseworker"], NOW + timedelta(seconds=seconds))
        seen[seconds] = Category.GRADES in scope.categories("s1")
        assert Category.GRADES not in scope.categories("s2"), "only this student"
        assert emergency.is_open(NOW + timedelta(seconds=seconds)) == seen[seconds]
    assert seen == {-1: False, 0: True, 7199: True, 7200: False}
    colleague = scope_of(database, snapshot, people["coordinator"])
    assert Category.GRADES not in colleague.categories("s1"), "only this person"
    marks = ScopedRecords(snapshot, scope_of(database, snapshot, people["caseworker"])).frame(
        "course_grades"
    )
    assert list(marks["student_id"]) == ["s1"]


@pytest.mark.parametrize("category", NEVER)
def test_what_consent_guards_incidents_and_group_facts_are_never_opened(
    database, people, snapshot, category
):  # R30
    assert set(NEVER) >= CONSENT_CATEGORIES
    scope = scope_of(database, snapshot, people["caseworker"])
    with pytest.raises(
        EmergencyError, match=f"Emergency access does not include: {category.replace('_', ' ')}"
    ):
        opened(database, scope, categories=[Category.GRADES, category])
    assert emergencies(database) == notices(database) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"threat": "x" * 19}, "what is happening in at least 20 characters"),
        ({"threat": " " * 40}, "what is happening in at least 20 characters"),
        ({"reason": "because"}, "at least 20 characters why these parts"),
        ({"hours": 0}, "at most 4 hours"),
        ({"hours": MAX_HOURS + 0.01}, "at most 4 hours"),
        ({"hours": -1}, "at most 4 hours"),
        ({"hours": float("nan")}, "at most 4 hours"),
        ({"categories": []}, "which parts"),
        ({"categories": [Category.ATTENDANCE]}, "already, without an emergency"),
        ({"user_id": "tutors-coordinator"}, "Only a caseworker, for themselves"),
    ],
)
def test_an_opening_that_lacks_something_opens_nothing(
    database, people, snapshot, change, problem
):  # R30
    with pytest.raises(EmergencyError, match=problem):
        opened(database, scope_of(database, snapshot, people["caseworker"]), **change)
    assert emergencies(database) == notices(database) == []


def test_a_caseworker_opens_nobody_whom_no_agreement_shows_them(
    database, people, snapshot
):  # R3, R30
    scope = scope_of(database, snapshot, people["caseworker"])
    for student in ("s3", "s4", "nobody"):
        with pytest.raises(NotInScope, match=r"^not found$"):
            opened(database, scope, student)
    district = scope_of(database, snapshot, people["admin"])
    opened(database, district, "s4", user_id=people["caseworker"].user_id)
    scope = scope_of(database, snapshot, people["caseworker"])
    assert "s4" in scope.students
    with pytest.raises(NotInScope):
        opened(database, scope, "s4", categories=[Category.ATTENDANCE])


def test_other_roles_open_nothing_for_themselves(database, people, snapshot):
    with pytest.raises(EmergencyError, match="Only a caseworker"):
        opened(database, scope_of(database, snapshot, people["coordinator"]))
    with pytest.raises(NotInScope):
        opened(database, scope_of(database, snapshot, people["scientist"]))


def test_the_district_opens_any_student_to_somebody_active_at_a_partner(
    database, people, snapshot
):  # R30
    district = scope_of(database, snapshot, people["admin"])
    assert {person.user_id for person in eligible_partner_staff(database, TODAY)} == {
        "tutors-caseworker",
        "tutors-coordinator",
    }
    opened(
        database,
        district,
        "s6",
        user_id=people["coordinator"].user_id,
        categories=[Category.DIRECTORY],
    )
    scope = scope_of(database, snapshot, people["coordinator"])
    assert scope.categories("s6") == {Category.DIRECTORY}
    for user_id in (None, people["admin"].user_id, people["scientist"].user_id, "nobody"):
        with pytest.raises(EmergencyError, match="somebody active at a partner"):
            opened(database, district, "s6", user_id=user_id)


def test_evaluation_opens_nobodys_record_in_an_emergency_either(database, people, snapshot):  # R13
    with pytest.raises(EmergencyError, match="whose agreement opens students' records"):
        opened(
            database,
            scope_of(database, snapshot, people["admin"]),
            user_id=people["evaluator"].user_id,
        )
    assert scope_of(database, snapshot, people["evaluator"]).students == set()


def test_an_administrator_who_was_disabled_since_opens_nothing(database, people, snapshot):  # R12
    district = scope_of(database, snapshot, people["admin"])
    with database.session() as session:
        session.get_one(StaffRow, people["admin"].user_id).active = False
    with pytest.raises(EmergencyError):
        opened(database, district, user_id=people["caseworker"].user_id)


def test_the_notice_is_written_with_the_opening_or_nothing_opens(database, people, snapshot):  # R30
    scope = scope_of(database, snapshot, people["caseworker"])
    opened(database, scope)
    (notice,) = notices(database, unseen=True)
    assert notice.text == (
        "Somebody of tutors opened parts of a student's record for an emergency, until 14:00 on "
        "17 April."
    )
    assert notice.path == "/emergencies" and count_unseen(database) == 1
    for word in ("First1", "Last1", "s1", "hurt"):
        assert word not in notice.text
    with database.engine.begin() as connection:
        connection.execute(text("ALTER TABLE notices RENAME TO gone"))
    with pytest.raises(DatabaseError):
        opened(database, scope, categories=[Category.ASSESSMENTS])
    assert len(emergencies(database)) == 1
    assert Category.ASSESSMENTS not in scope_of(
        database, snapshot, people["caseworker"]
    ).categories("s1")


def test_the_district_or_whoever_opened_it_ends_it_at_once(database, people, snapshot):  # R30
    scope = scope_of(database, snapshot, people["caseworker"])
    first, second = (
        opened(database, scope),
        opened(database, scope, categories=[Category.ASSESSMENTS]),
    )
    later = NOW + timedelta(minutes=5)
    with pytest.raises(EmergencyError, match="no emergency of yours"):
        end_emergency(database, people["coordinator"], first.number, later)
    with pytest.raises(EmergencyError, match="no emergency of yours"):
        end_emergency(database, people["admin"], 999, later)
    assert end_emergency(database, people["caseworker"], first.number, later).until == later
    assert end_emergency(database, people["admin"], second.number, later).ended_at == later
    scope = scope_of(database, snapshot, people["caseworker"], later)
    assert scope.categories("s1") == {Category.DIRECTORY, Category.ATTENDANCE, Category.SERVICES}
    for emergency in (first, second):
        with pytest.raises(EmergencyError, match="is over"):
            end_emergency(database, people["admin"], emergency.number, later)


def test_it_comes_before_an_opt_out_and_before_a_hold(database, people, snapshot):
    opened(database, scope_of(database, snapshot, people["caseworker"]))
    with database.session() as session:
        session.add(OptOutRow(student_id="s1", since=TODAY, ended=None))
    place_hold(database, scope_of(database, snapshot, people["admin"]), "s1", "A lawsuit", NOW)
    assert scope_of(database, snapshot, people["caseworker"]).categories("s1") == {Category.GRADES}


def test_each_look_stands_on_its_own_ground(database, people, snapshot):  # R30, 99.32(a)(5)
    """An emergency opens only what is not open already; each category is logged once."""
    scope = scope_of(database, snapshot, people["caseworker"])
    first = opened(database, scope, categories=[Category.GRADES, Category.ATTENDANCE])
    second = opened(database, scope, categories=[Category.GRADES, Category.ASSESSMENTS])
    scope = scope_of(database, snapshot, people["caseworker"])
    for ground in scope.grounds("s1"):
        record_disclosures(database, ground, ["s1"], list(Category), "/students/{handle}", NOW)
    assert [
        (row.agreement_id, row.categories, row.legal_basis, row.law_requires)
        for row in disclosures(database)[::-1]
    ] == [
        ("a1", {"attendance", "directory", "services"}, "school_official", False),
        (f"emergency-{first.number}", {"grades"}, EMERGENCY_BASIS, True),
        (f"emergency-{second.number}", {"assessments"}, EMERGENCY_BASIS, True),
    ]
    assert [emergency_disclosure_count(database, emergency) for emergency in (first, second)] == [
        1,
        1,
    ]
    assert scope.without_emergencies.categories("s1") == {
        Category.DIRECTORY,
        Category.ATTENDANCE,
        Category.SERVICES,
    }


def test_the_report_finds_them_by_student_and_by_person(database, people, snapshot, tmp_path: Path):
    district = scope_of(database, snapshot, people["admin"])
    opened(database, district, "s4", user_id=people["caseworker"].user_id)
    newest = opened(database, scope_of(database, snapshot, people["caseworker"]))
    assert [emergency.student_id for emergency in emergencies(database)] == ["s1", "s4"]
    assert emergencies(database, student_id="s1") == [newest]
    assert len(emergencies(database, user_id=people["caseworker"].user_id)) == 2
    assert emergencies(database, user_id=people["coordinator"].user_id) == []
    assert (newest.threat, newest.reason, newest.opened_by) == (
        THREAT,
        REASON,
        people["caseworker"].user_id,
    )


PACIFIC = ZoneInfo("America/Los_Angeles")
CLOCK_CHANGES = [
    datetime(2026, month, day, hour, minute, tzinfo=PACIFIC)
    for month, day in ((3, 7), (10, 31))
    for hour, minute in ((21, 45), (22, 15), (22, 45), (23, 30))
]
CLOCK_CHANGES += [
    datetime(2026, 3, 8, 1, 50, tzinfo=PACIFIC),
    datetime(2026, 11, 1, 1, 10, tzinfo=PACIFIC),
    datetime(2026, 11, 1, 1, 50, tzinfo=PACIFIC),
    datetime(2026, 11, 1, 1, 10, tzinfo=PACIFIC, fold=1),
]
"""Openings on the night on which clocks go forward, and on the one on which an hour comes twice."""


@pytest.fixture
def in_california(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's clock is that of a district in California."""
    monkeypatch.setenv("TZ", PACIFIC.key)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("opening", CLOCK_CHANGES, ids=str)
def test_four_hours_are_four_hours_on_the_nights_on_which_clocks_change(  # R30
    database, snapshot, in_california, opening
):
    (caseworker,) = add_organization(database, "tutors", Role.CASEWORKER)
    begun = opening.astimezone(UTC)

    def shown_by_the_clock(minutes: int) -> datetime:
        return (begun + timedelta(minutes=minutes)).astimezone(PACIFIC).replace(tzinfo=None)

    add_agreement(database, categories=["directory"])
    text = agreement_text(categories=["directory"]).replace("version = 1", "version = 2")
    text = text.replace("2026-07-31", "2026-12-31").replace("2026-09-30", "2026-12-31")
    save_agreement(database, parse_agreement(text, "a1"))
    now = shown_by_the_clock(0)
    emergency = opened(
        database, scope_of(database, snapshot, caseworker, now), hours=MAX_HOURS, now=now
    )
    publish_snapshot(database, snapshot)
    for minutes in (0, 20, 40, 60, 80, 100, 130, 160, 190, 220, 239, 240, 260, 290, 320, 380):
        moment = shown_by_the_clock(minutes)
        may_see = Category.GRADES in scope_of(database, snapshot, caseworker, moment).categories(
            "s1"
        )
        assert may_see == emergency.is_open(moment) == (minutes < 60 * MAX_HOURS), (
            opening,
            minutes,
        )
        if has_row_security(database):
            rows = RowSecuredSnapshot(snapshot, database, caseworker.user_id, moment, ["s1"]).rows(
                "course_grades"
            )
            assert bool(rows.num_rows) == may_see, (opening, minutes)
    assert emergency.ends_at == shown_by_the_clock(60 * MAX_HOURS)
