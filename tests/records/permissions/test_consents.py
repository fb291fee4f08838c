"""Consents and opt-outs: who may record them, when they are in force, what is refused."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from records.access.scope import scope_for
from records.canonical.schema import Category
from records.database.engine import Database
from records.database.tables import StaffRow
from records.permissions.consents import (
    CONSENT_COLUMNS,
    ConsentError,
    SignedConsent,
    add_consent,
    add_consents,
    consents,
    revoke_consent,
)
from records.permissions.opt_outs import add_opt_out, end_opt_out, opt_outs
from records.snapshots.snapshot import Snapshot
from records.staff.district_admins import NotADistrictAdmin
from records.staff.viewer import DISTRICT, Role, Scope, Viewer
from tests.records import six_student_district
from tests.records.conftest import (
    SECRET,
    TODAY,
    add_agreement,
    add_organization,
    at_noon,
    snapshot_of,
)

NOW = datetime(2026, 4, 17, 9, 30)
SIGNED = SignedConsent(
    "s1",
    "tutors",
    frozenset({Category.HOUSING, Category.GRADES}),
    "Tutoring",
    "A parent",
    date(2026, 4, 1),
    date(2026, 8, 31),
)
GOOD = "s1,tutors,housing;grades,Tutoring,A parent,2026-04-01,2026-08-31"


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot_of(six_student_district.rows(), tmp_path_factory.mktemp("home"))


@pytest.fixture
def caseworker(database: Database) -> Viewer:
    (viewer,) = add_organization(database, "tutors", Role.CASEWORKER)
    add_agreement(database, categories=["directory", "housing"], consent_required=["housing"])
    return viewer


@pytest.fixture
def officer(database: Database, caseworker: Viewer, snapshot: Snapshot) -> Scope:
    """The scope of a district administrator."""
    (viewer,) = add_organization(database, DISTRICT, Role.DISTRICT_ADMIN)
    return scope_for(viewer, database, snapshot, NOW, SECRET)


def seen(
    viewer: Viewer, database: Database, snapshot: Snapshot, day: date = TODAY
) -> frozenset[Category]:
    return scope_for(viewer, database, snapshot, at_noon(day), SECRET).categories("s1")


def test_a_consent_opens_its_part_until_it_is_revoked(
    database, caseworker, officer, snapshot
):  # R9, R10, R12
    assert seen(caseworker, database, snapshot) == {Category.DIRECTORY}
    consent = add_consent(database, officer, SIGNED, NOW)
    assert consent.signed == SIGNED and (consent.recorded_by, consent.recorded_at) == (
        "district-district_admin",
        NOW,
    )
    assert seen(caseworker, database, snapshot) == {Category.DIRECTORY, Category.HOUSING}
    revoked = revoke_consent(
        database, officer.viewer, consent.number, by="The same parent", on=TODAY, now=NOW
    )
    assert (revoked.revoked_on, revoked.revoked_by) == (TODAY, "The same parent")
    assert (revoked.revocation_recorded_by, revoked.revocation_recorded_at) == (
        "district-district_admin",
        NOW,
    )
    assert seen(caseworker, database, snapshot) == {Category.DIRECTORY}
    assert consents(database, "s1") == [revoked] and consents(database, "s2") == []


def test_a_consent_counts_from_its_signature_to_its_last_day_and_not_from_the_day_it_is_revoked(
    database, caseworker, officer, snapshot
):
    consent = add_consent(database, officer, SIGNED, NOW)
    last = revoke_consent(
        database, officer.viewer, consent.number, by="A parent", on=date(2026, 6, 1), now=NOW
    )
    for day, counts in (
        (date(2026, 3, 31), False),
        (date(2026, 4, 1), True),
        (date(2026, 5, 31), True),
        (date(2026, 6, 1), False),
        (date(2026, 8, 31), False),
    ):
        assert (
            last.counts(day)
            == counts
            == (Category.HOUSING in seen(caseworker, database, snapshot, day))
        ), day
    assert consent.counts(date(2026, 8, 31)) and not consent.counts(date(2026, 9, 1))


def test_an_opt_out_closes_everything_until_it_ends(database, caseworker, officer, snapshot):  # R12
    opt_out = add_opt_out(database, officer, "s1", TODAY, NOW)
    assert seen(caseworker, database, snapshot) == frozenset()
    assert seen(caseworker, database, snapshot, TODAY - timedelta(days=1)) == {Category.DIRECTORY}
    with pytest.raises(ConsentError, match="already been opted out since 2026-04-17"):
        add_opt_out(database, officer, "s1", TODAY, NOW)
    ended = end_opt_out(database, officer.viewer, "s1", TODAY, NOW)
    assert (ended.number, ended.ended, ended.end_recorded_at) == (opt_out.number, TODAY, NOW)
    assert seen(caseworker, database, snapshot) == {Category.DIRECTORY}
    assert opt_outs(database, "s1") == [ended]
    with pytest.raises(ConsentError, match="No opt-out is in effect"):
        end_opt_out(database, officer.viewer, "s1", TODAY, NOW)
    again = add_opt_out(database, officer, "s1", TODAY, NOW)
    assert [opt_out.number for opt_out in opt_outs(database)] == [again.number, opt_out.number]
    with pytest.raises(ConsentError, match="begins on 2026-04-17; it cannot end on 2026-04-16"):
        end_opt_out(database, officer.viewer, "s1", TODAY - timedelta(days=1), NOW)


def test_a_file_is_written_down_once_however_often_it_is_read(database, officer, tmp_path):
    file = csv_of(tmp_path, GOOD, GOOD.replace("s1", "s2"))
    assert add_consents(database, officer, file, NOW) == 2
    assert add_consents(database, officer, file, NOW) == 0
    assert {consent.signed.student_id for consent in consents(database)} == {"s1", "s2"}
    assert consents(database, "s1")[0].signed == SIGNED


def test_a_consent_that_was_revoked_does_not_come_back_with_its_file(
    database, caseworker, officer, snapshot, tmp_path
):
    file = csv_of(tmp_path, GOOD)
    add_consents(database, officer, file, NOW)
    revoke_consent(
        database, officer.viewer, consents(database)[0].number, by="A parent", on=TODAY, now=NOW
    )
    assert add_consents(database, officer, file, NOW) == 0
    assert seen(caseworker, database, snapshot) == {Category.DIRECTORY}


@pytest.mark.parametrize(
    ("good", "bad", "problem"),
    [
        ("housing", "shoe_size", "categories names 'shoe_size'; it may name directory"),
        ("housing;grades", " ; ", "categories is empty"),
        ("s1", "s99", "student_id is 's99'; there is no such student"),
        (
            "tutors",
            "nobody",
            "organization_id is 'nobody'; it must be a registered partner organization",
        ),
        (
            "tutors",
            "district",
            "organization_id is 'district'; it must be a registered partner organization",
        ),
        ("Tutoring", " ", "purpose is empty"),
        ("A parent", "", "signer is empty"),
        ("A parent", "x" * 201, "signer is too long"),
        ("2026-04-01", "1 April", "signed_on is '1 April'; it must be a day such as 2026-04-17"),
        ("2026-04-01", "2026-04-18", "signed_on is 2026-04-18, after today"),
        (
            "2026-08-31",
            "2026-03-31",
            "expires_on is 2026-03-31, before the signature on 2026-04-01",
        ),
        ("2026-08-31", "never", "expires_on is 'never'"),
    ],
)
def test_one_wrong_line_is_named_and_nothing_of_its_file_is_kept(
    database, officer, tmp_path, good, bad, problem
):
    assert good in GOOD
    with pytest.raises(ConsentError, match=rf"^consents\.csv, line 3: {problem}"):
        add_consents(database, officer, csv_of(tmp_path, GOOD, GOOD.replace(good, bad)), NOW)
    assert consents(database) == []


def test_a_file_without_a_column_or_with_a_short_line_is_refused(database, officer, tmp_path):
    with pytest.raises(ConsentError, match="line 2: too few or too many fields"):
        add_consents(database, officer, csv_of(tmp_path, "s1,tutors"), NOW)
    (tmp_path / "other.csv").write_text("student_id,signer\ns1,A parent\n")
    with pytest.raises(
        ConsentError, match=r"other\.csv, line 1: there is no column 'organization_id'"
    ):
        add_consents(database, officer, tmp_path / "other.csv", NOW)


def test_a_revocation_that_cannot_be_right_is_refused(database, officer):
    consent = add_consent(database, officer, SIGNED, NOW)
    for changes, problem in (
        ({"number": 9}, "There is no consent 9"),
        ({"on": date(2026, 3, 31)}, "signed on 2026-04-01; it cannot be revoked on 2026-03-31"),
        ({"by": " "}, "revoked_by is empty"),
    ):
        arguments = {"number": consent.number, "by": "A parent", "on": TODAY, "now": NOW} | changes
        with pytest.raises(ConsentError, match=problem):
            revoke_consent(database, officer.viewer, **arguments)
    assert consents(database) == [consent]
    revoke_consent(database, officer.viewer, consent.number, by="A parent", on=TODAY, now=NOW)
    with pytest.raises(ConsentError, match="was revoked before, on 2026-04-17"):
        revoke_consent(database, officer.viewer, consent.number, by="A parent", on=TODAY, now=NOW)


def test_only_an_active_district_administrator_writes_anything_down(
    database, caseworker, officer, snapshot, tmp_path
):
    consent = add_consent(database, officer, SIGNED, NOW)
    theirs = scope_for(caseworker, database, snapshot, NOW, SECRET)
    with database.session() as session:
        session.get_one(StaffRow, officer.viewer.user_id).active = False
    for scope in (theirs, officer):
        for act in (
            lambda scope: add_consent(database, scope, SIGNED, NOW),
            lambda scope: add_consents(database, scope, csv_of(tmp_path, GOOD), NOW),
            lambda scope: revoke_consent(
                database, scope.viewer, consent.number, by="A parent", on=TODAY, now=NOW
            ),
            lambda scope: add_opt_out(database, scope, "s1", TODAY, NOW),
            lambda scope: end_opt_out(database, scope.viewer, "s1", TODAY, NOW),
        ):
            with pytest.raises(NotADistrictAdmin):
                act(scope)
    assert consents(database) == [consent] and opt_outs(database) == []


def csv_of(folder: Path, *lines: str) -> Path:
    file = folder / "consents.csv"
    file.write_text("\n".join((",".join(CONSENT_COLUMNS), *lines)) + "\n")
    return file
