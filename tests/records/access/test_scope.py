"""Who may see whom and what: each rule with somebody it admits and somebody it does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from features.build import build_features
from records.access.scope import pipeline_scope, scope_for
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import TABLES, Category
from records.database.engine import Database
from records.database.tables import ConsentRow, OptOutRow, StaffRow
from records.permissions.agreements import revoke_agreement
from records.snapshots.snapshot import Snapshot
from records.staff.viewer import DISTRICT, NotInScope, Role, Scope, Viewer
from tests.own_supports import write_own_list
from tests.records import six_student_district
from tests.records.conftest import (
    SECRET,
    TODAY,
    add_agreement,
    add_consent,
    add_organization,
    at_noon,
    snapshot_of,
)
from training.ranking.suggestions import eligible_supports


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot_of(six_student_district.rows(), tmp_path_factory.mktemp("home"))


@pytest.fixture
def caseworker(database: Database) -> Viewer:
    (viewer, *_) = add_organization(
        database,
        "tutors",
        Role.CASEWORKER,
        Role.COORDINATOR,
        Role.DATA_SCIENTIST,
        Role.DISTRICT_ADMIN,
    )
    return viewer


def seen(viewer: Viewer, database: Database, snapshot: Snapshot, today: date = TODAY) -> Scope:
    return scope_for(viewer, database, snapshot, at_noon(today), SECRET)


def test_a_caseworker_sees_students_active_in_the_agreements_programs(
    database, caseworker, snapshot
):
    add_agreement(database)
    scope = seen(caseworker, database, snapshot)
    assert scope.students == {"s1", "s2"}
    assert scope.categories("s1") == {Category.DIRECTORY, Category.ATTENDANCE, Category.SERVICES}
    assert scope.supports("s1") == ("tutoring",)


def test_without_an_agreement_nobody_is_seen(database, caseworker, snapshot):
    assert seen(caseworker, database, snapshot).students == set()


def test_an_agreement_opens_on_its_first_day_and_closes_after_its_last(
    database, caseworker, snapshot
):  # R11
    add_agreement(database)
    open_on = {
        day: bool(seen(caseworker, database, snapshot, day).students)
        for day in (date(2026, 7, 31), date(2026, 8, 1))
    }
    assert open_on == {date(2026, 7, 31): True, date(2026, 8, 1): False}


def test_revocation_opt_out_and_a_disabled_account_count_at_the_next_request(
    database, caseworker, snapshot
):  # R12
    add_agreement(database)
    with database.session() as session:
        session.add(OptOutRow(student_id="s1", since=TODAY, ended=None))
    assert seen(caseworker, database, snapshot).students == {"s2"}
    with database.session() as session:
        session.get_one(StaffRow, caseworker.user_id).active = False
    assert seen(caseworker, database, snapshot).students == set()
    with database.session() as session:
        session.get_one(StaffRow, caseworker.user_id).active = True
    revoke_agreement(database, "a1", datetime(2026, 4, 17, 9))
    assert seen(caseworker, database, snapshot).students == set()


@pytest.mark.parametrize("basis", ["audit_evaluation", "studies"])
def test_evaluation_and_studies_open_no_student(database, caseworker, snapshot, basis):  # R13
    add_agreement(database, legal_basis=basis, supports=[])
    assert seen(caseworker, database, snapshot).students == set()


def test_housing_and_meals_need_agreement_and_that_students_consent(
    database, caseworker, snapshot
):  # R9, R10
    add_agreement(
        database,
        categories=["directory", "housing", "meal_eligibility"],
        consent_required=["housing", "meal_eligibility"],
    )
    add_consent(database, "s2", Category.MEAL_ELIGIBILITY, Category.BEHAVIOR)
    scope = seen(caseworker, database, snapshot)
    assert scope.categories("s1") == {Category.DIRECTORY}
    assert scope.categories("s2") == {Category.DIRECTORY, Category.MEAL_ELIGIBILITY}
    facts = ScopedRecords(snapshot, scope).frame("characteristics")
    assert list(facts["student_id"]) == ["s2"]
    assert bool(facts["meal_eligible"][0]) is True
    assert facts[["unstable_housing", "sex"]].isna().all(axis=None)


def test_a_consent_agreement_shows_only_what_each_family_signed(database, caseworker, snapshot):
    add_agreement(database, legal_basis="consent")
    add_consent(database, "s1", Category.DIRECTORY, Category.GRADES)
    scope = seen(caseworker, database, snapshot)
    assert {s: scope.categories(s) for s in scope.students} == {"s1": {Category.DIRECTORY}}


def test_a_coordinator_sees_names_and_own_sessions_whatever_is_granted(
    database, caseworker, snapshot
):
    add_agreement(database)
    coordinator = Viewer("tutors-coordinator", "", "", Role.COORDINATOR, "tutors")
    records = ScopedRecords(snapshot, seen(coordinator, database, snapshot))
    assert list(records.frame("students")["student_id"]) == ["s1", "s2"]
    assert list(records.frame("service_sessions")["session_id"]) == ["x1"]
    shown = {
        name for name, table in TABLES.items() if table.is_student and len(records.frame(name))
    }
    assert shown == {"students", "service_enrollments", "service_sessions"}
    assert records.scope.supports("s1") == ()


def test_no_partner_can_hold_the_districts_role(database, caseworker, snapshot):
    pretender = Viewer("tutors-district_admin", "", "", Role.DISTRICT_ADMIN, "tutors")
    assert seen(pretender, database, snapshot).students == set()


def test_a_data_scientist_sees_no_student(database, caseworker, snapshot):
    scientist = Viewer("tutors-data_scientist", "", "", Role.DATA_SCIENTIST, "tutors")
    assert seen(scientist, database, snapshot).students == set()


def test_only_the_audit_reads_sensitive_facts(snapshot):
    for purpose, visible in (("features", 0), ("training", 0), ("audit", 6)):
        records = ScopedRecords(snapshot, pipeline_scope(snapshot, purpose, TODAY))
        assert len(records.frame("characteristics")) == visible
        assert len(records.frame("students")) == 6


def test_a_handle_is_opaque_differs_by_organization_and_opens_nobody_else(
    database, caseworker, snapshot
):  # R3, R19
    add_agreement(database)
    (other,) = add_organization(database, "pantry", Role.CASEWORKER)
    add_agreement(database, agreement_id="a2", organization_id="pantry", programs=["p2"])
    ours, theirs = seen(caseworker, database, snapshot), seen(other, database, snapshot)
    assert ours.student_for_handle(ours.handle("s1")) == "s1"
    assert ours.handle("s1") != theirs.handle("s1")
    errors = []
    for handle in (theirs.handle("s4"), theirs.handle("s1"), "0" * 20, "'; drop table students"):
        with pytest.raises(NotInScope) as error:
            ours.student_for_handle(handle)
        errors.append(str(error.value))
    assert set(errors) == {"not found"}


def test_asking_for_a_student_out_of_scope_finds_nothing(
    database, caseworker, snapshot, tmp_path: Path
):
    add_agreement(database)
    records = ScopedRecords(snapshot, seen(caseworker, database, snapshot), ["s4", "s1", "nobody"])
    assert records.students == ("s1",)
    assert set(records.frame("attendance_events")["student_id"]) == {"s1"}


def sheltered() -> six_student_district.Rows:
    """s1 and s2 are also in programs of a shelter, of unknown kind, and of a kind on no list."""
    rows = six_student_district.rows()
    rows["programs"] += [
        {"program_id": "p3", "organization_id": "shelter", "support": "housing_help"},
        {"program_id": "p4", "organization_id": "pantry", "support": None},
    ]
    for student in ("s1", "s2"):
        for program, organization in (("p3", "shelter"), ("p4", "pantry"), ("p5", "unknown")):
            rows["service_enrollments"].append(
                {
                    "student_id": student,
                    "program_id": program,
                    "organization_id": organization,
                    "start_date": date(2026, 1, 5),
                }
            )
            rows["service_sessions"].append(
                {
                    "student_id": student,
                    "session_id": f"{student}-{program}",
                    "program_id": program,
                    "organization_id": organization,
                    "date": date(2026, 4, 2),
                    "attended": True,
                    "minutes": 30.0,
                }
            )
    return rows


def test_another_organizations_shelter_is_seen_only_with_housing_and_its_consent(
    database, caseworker, tmp_path
):  # R10
    snapshot = snapshot_of(sheltered(), tmp_path / "home")
    add_agreement(
        database,
        categories=["directory", "services", "services_other", "housing"],
        consent_required=["housing"],
    )
    add_consent(database, "s2", Category.HOUSING)

    def programs(name: str) -> dict[str, set[str]]:
        frame = ScopedRecords(snapshot, seen(caseworker, database, snapshot)).frame(name)
        return {student: set(rows["program_id"]) for student, rows in frame.groupby("student_id")}

    everything = {"p1", "p3", "p4", "p5"}
    assert programs("service_enrollments") == {"s1": {"p1", "p2"}, "s2": everything}
    assert programs("service_sessions") == {"s1": {"p1", "p2"}, "s2": everything - {"p1"}}
    with database.session() as session:
        session.scalars(select(ConsentRow)).one().revoked_on = TODAY
    assert programs("service_enrollments") == {"s1": {"p1", "p2"}, "s2": {"p1"}}


def test_the_districts_list_says_at_once_which_services_tell_of_housing(  # R10
    database, caseworker, tmp_path
):
    home = tmp_path / "home"
    rows = six_student_district.rows()
    kinds = {"p6": "motel_vouchers", "p7": "homework_club", "p8": "food", "p9": "ice_rink"}
    rows["programs"] += [
        {"program_id": program, "organization_id": "shelter", "support": kind}
        for program, kind in kinds.items()
    ]
    rows["service_enrollments"] += [
        {
            "student_id": "s1",
            "program_id": program,
            "organization_id": "shelter",
            "start_date": date(2026, 1, 5),
        }
        for program in kinds
    ]
    snapshot_of(rows, home)
    add_agreement(database, categories=["directory", "services", "services_other"])

    def of_the_shelter() -> set[str]:
        snapshot = Snapshot.current(home)
        frame = ScopedRecords(snapshot, seen(caseworker, database, snapshot)).frame(
            "service_enrollments"
        )
        return set(frame.loc[frame["organization_id"] == "shelter", "program_id"])

    assert of_the_shelter() == {"p8"}, "kinds on no list may tell of housing"
    write_own_list(home)
    assert of_the_shelter() == {"p7", "p8"}
    write_own_list(home, "food")
    assert of_the_shelter() == {"p7"}, "nor is one harmless that was taken out of the list"
    text = (home / "supports.toml").read_text()
    (home / "supports.toml").write_text(text.replace("housing = false", "housing = true"))
    assert of_the_shelter() == set()


def test_a_shelter_sees_its_own_programs_without_housing(database, tmp_path):
    (worker,) = add_organization(database, "shelter", Role.CASEWORKER)
    add_agreement(
        database, agreement_id="a3", organization_id="shelter", programs=["p3"], supports=[]
    )
    snapshot = snapshot_of(sheltered(), tmp_path / "home")
    records = ScopedRecords(snapshot, seen(worker, database, snapshot))
    assert sorted(records.frame("service_sessions")["session_id"]) == ["s1-p3", "s2-p3"]


@pytest.mark.parametrize("consented", [False, True])
def test_features_and_what_may_be_suggested_do_not_tell_of_a_shelter(  # R5, R7
    database, caseworker, tmp_path, consented
):
    add_agreement(
        database,
        categories=["directory", "services", "services_other", "housing"],
        consent_required=["housing"],
        supports=["housing_help"],
    )
    if consented:
        add_consent(database, "s1", Category.HOUSING)
    results = []
    for rows in (six_student_district.rows(), sheltered()):
        rows["programs"] += [
            {"program_id": "p9", "organization_id": "tutors", "support": "housing_help"}
        ]
        snapshot = snapshot_of(rows, tmp_path / str(len(rows["programs"])))
        records = ScopedRecords(snapshot, seen(caseworker, database, snapshot), ["s1"])
        results.append(
            (build_features(records, TODAY), eligible_supports(records, TODAY, ["housing_help"]))
        )
    (plain, open_to_all), (unhoused, open_to_them) = results
    assert plain.equals(unhoused) != consented
    assert open_to_all.equals(open_to_them) != consented


def test_the_district_a_release_and_the_pipelines(database, caseworker, tmp_path):
    (officer,) = add_organization(database, DISTRICT, Role.DISTRICT_ADMIN)
    snapshot = snapshot_of(sheltered(), tmp_path / "home")
    district = seen(officer, database, snapshot)
    released = replace(
        district.grants["s1"][0],
        categories=frozenset({Category.DIRECTORY, Category.SERVICES_OTHER}),
    )
    rows = {
        name: len(ScopedRecords(snapshot, scope, ["s1"]).frame("service_enrollments"))
        for name, scope in (
            ("district", district),
            ("training", pipeline_scope(snapshot, "training", TODAY)),
            ("released without housing", district.restricted_to("s1", released)),
        )
    }
    assert rows == {"district": 5, "training": 5, "released without housing": 2}
