"""A destroyed record is in no store, snapshot, mirror, log or quarantined row, and stays away."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import time
import uuid
from datetime import date, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from records.access.explanation import explain_access
from records.access.publication import publish_snapshot
from records.access.scope import scope_for
from records.canonical.quarantine import Value
from records.canonical.schema import Category
from records.connectors.http.mirror import open_mirror
from records.database.engine import Database, open_database
from records.database.tables import (
    ConsentRow,
    DecisionRow,
    ImpressionRow,
    LegalHoldRow,
    OptOutRow,
    OrmTable,
    ParticipantCandidateRow,
    ParticipantRow,
    ReferralRow,
    ReferralStepRow,
    StaffRow,
    WebSessionRow,
)
from records.destruction.backups import (
    Backup,
    BackupError,
    add_backup,
    backups,
    mark_backup_destroyed,
)
from records.destruction.certificates import certificates, overdue_destructions
from records.destruction.destruction import (
    DestructionError,
    destroy_agreement_data,
    destroy_student,
    destroyed_student_filter,
    finish_destructions,
)
from records.disclosure_log.disclosures import record_disclosures
from records.disclosure_log.history import disclosures
from records.disclosure_log.verification import verify_log
from records.permissions.agreements import revoke_agreement
from records.permissions.destructions_in_progress import unfinished_destructions
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import active_staff_member
from records.staff.viewer import DISTRICT, Role, Viewer
from tests.random_districts import draw_emergency
from tests.records.conftest import (
    SECRET,
    TODAY,
    add_agreement,
    add_consent,
    add_organization,
    snapshot_of,
)
from tests.records.loading.test_kills import FORK, forking, run
from tests.records.row_secured_database import row_secured_database

NOW = datetime(2026, 4, 17, 12)
ADMIN_LOGIN = f"{Role.DISTRICT_ADMIN}@{DISTRICT}.example"
CHILD = "CHILD7741"
CANARIES = (CHILD, "Quillfeather", "Ottoline")
"""Identifier, last and first name of the child who is destroyed, written where they could be
overlooked."""


def rows() -> dict[str, list[dict[str, Value]]]:
    children = [CHILD, "s2", "s3"]
    return {
        "schools": [{"school_id": "k1", "name": "Harbor"}],
        "students": [
            {
                "student_id": CHILD,
                "first_name": "Ottoline",
                "last_name": "Quillfeather",
                "school_id": "k1",
            },
            {"student_id": "s2", "first_name": "Bo", "last_name": "Berg", "school_id": "k1"},
            {"student_id": "s3", "first_name": "Cy", "last_name": "Cole", "school_id": "k1"},
        ],
        "attendance_events": [
            {"student_id": child, "school_id": "k1", "date": TODAY, "status": "tardy"}
            for child in (*children, CHILD)
        ],
        "course_grades": [
            {
                "student_id": CHILD,
                "course": "Art",
                "school_year": 2026,
                "period": 1,
                "date": TODAY,
                "grade": grade,
            }
            for grade in (80.0, 81.0)
        ],
        "programs": [
            {
                "program_id": "p1",
                "organization_id": "tutors",
                "name": "Tutoring",
                "support": "tutoring",
            }
        ],
        "service_enrollments": [
            {
                "student_id": child,
                "program_id": "p1",
                "organization_id": "tutors",
                "start_date": date(2025, 9, 1),
            }
            for child in children
        ],
    }


def _refer(session: Session, student: str) -> None:
    referral = ReferralRow(
        student_id=student,
        program_id="p1",
        organization_id="tutors",
        role="caseworker",
        sender_id=DISTRICT,
        state="sent",
        since=NOW,
        consent_id=None,
    )
    session.add(referral)
    session.flush()
    session.add(
        ReferralStepRow(
            referral_id=referral.id,
            student_id=student,
            at=NOW,
            user_id="u",
            state="sent",
            reason="",
        )
    )


def fill(home: Path, database: Database) -> tuple[Viewer, Viewer]:
    """Fill a home so that every store holds the child.

    Returns:
        The district's administrator and the partner's caseworker.
    """
    add_organization(database, DISTRICT, Role.DISTRICT_ADMIN)
    caseworker = add_organization(database, "tutors", Role.CASEWORKER)[0]
    admin = Viewer(
        f"district-{Role.DISTRICT_ADMIN}",
        "admin@district.example",
        "Grace",
        Role.DISTRICT_ADMIN,
        DISTRICT,
    )
    add_agreement(database)
    snapshot_of(
        rows()
        | {
            "assessments": [
                {"student_id": CHILD, "assessment": "Reading", "date": TODAY, "score": 1.0}
            ]
        },
        home,
    )
    snapshot = snapshot_of(rows(), home)
    (home / "features").mkdir()
    (home / "features" / "old.parquet").write_bytes(CHILD.encode())
    with open_mirror(home / "sources" / "sis") as mirror:
        for resource, body in (
            ("students", {"studentUniqueId": CHILD, "lastSurname": "Quillfeather"}),
            ("absences", {"studentReference": {"studentUniqueId": CHILD}}),
        ):
            mirror.begin(resource, 0, sweeps=True)
            mirror.take_page(resource, [("1", body), ("2", {"studentUniqueId": "s2"})], 1)
            mirror.finish(resource, 1)
    add_consent(database, CHILD, Category.HOUSING)
    add_consent(database, "s2", Category.HOUSING)
    with database.session() as session:
        session.add(OptOutRow(student_id=CHILD, since=TODAY, ended=TODAY))
        for student in (CHILD, "s2"):
            _refer(session, student)
        session.add(
            DecisionRow(
                at=NOW,
                user_id="u",
                organization_id="tutors",
                student_id=CHILD,
                support="food",
                action="dismissed",
                reason="Ottoline eats elsewhere",
                model_sha256="0" * 64,
                rank=1,
                shown=json.dumps({"name": "Quillfeather"}),
            )
        )
        session.add(
            ImpressionRow(
                key="1" * 64,
                shown_at=NOW,
                student_id=CHILD,
                organization_id="tutors",
                as_of=TODAY,
                snapshot_id="s",
                model_sha256="0" * 64,
                listed="[]",
                drawn=False,
                challenger_sha256="",
                challenger="[]",
            )
        )
        session.add(draw_emergency(CHILD, caseworker))
        session.add(
            ParticipantRow(
                organization_id="tutors",
                participant_id="x1",
                first_name="Ottoline",
                school="",
                last_name="Quillfeather",
                birth_date=None,
                grade_level=None,
                status="linked",
                student_id=CHILD,
                decided_by="",
                decided_at=None,
            )
        )
        session.add(
            ParticipantCandidateRow(
                organization_id="tutors", participant_id="x1", student_id=CHILD, probability=0.9
            )
        )
    scope = scope_for(caseworker, database, snapshot, NOW, SECRET)
    record_disclosures(database, scope, [CHILD, "s2"], [Category.DIRECTORY], "/caseload", NOW)
    return admin, caseworker


def places_that_hold(home: Path, database: Database, words: tuple[str, ...]) -> list[str]:
    """Files of a home and tables of its database that hold a word, as bytes or as values."""
    places = []
    for file in sorted(home.rglob("*")):
        if file.is_file():
            text = file.read_bytes().decode("latin-1")
            # A writer may have been killed before the last bytes.
            is_complete = len(text) > 8 and text[:4] == text[-4:] == "PAR1"
            if file.suffix == ".parquet" and is_complete:
                text += str(pq.read_table(file).to_pylist())
            places += [f"{word} in {file.relative_to(home)}" for word in words if word in text]
    with database.engine.connect() as connection:
        for table in OrmTable.metadata.sorted_tables:
            text = str(connection.execute(select(table)).all())
            places += [f"{word} in {table.name}" for word in words if word in text]
    return places


@pytest.fixture
def home(tmp_path: Path, database: Database) -> Path:
    """On SQLite the database's file is in the home, so that its bytes are searched too."""
    return tmp_path


def test_a_destroyed_student_is_nowhere_and_the_log_still_holds(
    home: Path, database: Database
):  # R32
    admin, _ = fill(home, database)
    before = places_that_hold(home, database, CANARIES)
    assert len(before) >= 12, before
    certificate = destroy_student(database, home, CHILD, admin, NOW, SECRET)
    assert places_that_hold(home, database, CANARIES) == []
    assert verify_log(database).ok
    assert [disclosure.student_id for disclosure in disclosures(database)] == ["s2", None]
    assert Snapshot.current(home).table("students")["student_id"].to_pyarrow().to_pylist() == [
        "s2",
        "s3",
    ]
    assert Snapshot.current(home).quarantined().num_rows == 1, (
        "the quarantined row is still counted"
    )
    assert not any(name in certificate.text for name in CANARIES)


def test_the_certificate_says_what_was_removed_from_where_by_whom(
    home: Path, database: Database
):  # R32
    admin, _ = fill(home, database)
    add_backup(
        database, Backup("monday", "vault", NOW - timedelta(days=2), TODAY + timedelta(days=28))
    )
    add_backup(
        database, Backup("long ago", "vault", NOW - timedelta(days=90), TODAY - timedelta(days=60))
    )
    add_backup(
        database, Backup("shredded", "vault", NOW - timedelta(days=3), TODAY + timedelta(days=28))
    )
    mark_backup_destroyed(database, "shredded", NOW)
    certificate = destroy_student(database, home, CHILD, admin, NOW, SECRET)
    facts = json.loads(certificate.text)
    removed = {entry["store"]: entry["items"] for entry in facts["removed"]}
    assert removed == {
        "snapshot": 4,
        "waiting rows": 0,
        "quarantine": 1,
        "older snapshots": 1,
        "mirror of sis": 2,
        "features": 1,
        "referral_steps": 1,
        "referrals": 1,
        "consents": 1,
        "opt_outs": 1,
        "decisions": 1,
        "shown_lists": 1,
        "emergencies": 1,
        "legal_holds": 0,
        "participant_candidates": 1,
        "participants": 1,
        "student_aliases": 0,
        "moved_student_rows": 0,
        "legal_demands": 0,
        "disclosures": 1,
    }
    assert [backup["name"] for backup in facts["copies_that_still_hold_it"]] == ["monday"]
    assert (facts["officer"], facts["login"]) == ("Grace", "admin@district.example")
    assert facts["at"] == "2026-04-17T12:00:00"
    assert certificate.sha256 == hashlib.sha256(certificate.text.encode()).hexdigest()
    assert certificates(database) == [certificate]
    assert [backup.name for backup in backups(database)] == ["monday", "shredded", "long ago"]


def test_a_later_load_or_fetch_leaves_the_student_out(home: Path, database: Database):  # R32
    admin, _ = fill(home, database)
    assert destroyed_student_filter(database, SECRET) is None
    destroy_student(database, home, CHILD, admin, NOW, SECRET)
    is_destroyed = destroyed_student_filter(database, SECRET)
    assert is_destroyed is not None
    assert [is_destroyed(student) for student in (CHILD, "s2")] == [True, False]
    snapshot_of(rows(), home, leave_out=is_destroyed)
    (report,) = Snapshot.current(home).manifest["sources"]
    assert all(
        file["read"] == file["kept"] + file["quarantined"] + file["duplicates"] + file["ignored"]
        for file in report["files"]
    )
    ignored = {file["file"]: file["ignored_kinds"] for file in report["files"] if file["ignored"]}
    assert ignored["students.rows"] == {"records of a student that were destroyed": 1}
    with open_mirror(home / "sources" / "sis") as mirror:
        mirror.begin("absences", 0, sweeps=True)
        mirror.take_page(
            "absences",
            [("1", {"studentReference": {"studentUniqueId": CHILD}}), ("2", {"x": 1})],
            1,
        )
        mirror.finish("absences", 1)
        assert (mirror.count("absences"), [record.id for record in mirror.records("absences")]) == (
            2,
            ["2"],
        )
        mirror.begin("absences", 0, sweeps=False)
        mirror.take_page("absences", [], 1, deleted=["1"])
        assert mirror.count("absences") == 1
    assert places_that_hold(home, database, CANARIES) == []


def test_a_legal_hold_stops_destruction(home: Path, database: Database):  # R29
    admin, _ = fill(home, database)
    with database.session() as session:
        session.add(
            LegalHoldRow(
                student_id=CHILD, since=NOW, lifted_at=None, placed_by="u", reason="A case"
            )
        )
    before = places_that_hold(home, database, CANARIES)
    with pytest.raises(DestructionError, match="legal hold"):
        destroy_student(database, home, CHILD, admin, NOW, SECRET)
    assert places_that_hold(home, database, CANARIES) == before


def test_nobody_is_certified_who_was_never_there(home: Path, database: Database):
    admin, _ = fill(home, database)
    torn = home / "snapshots" / ".staging" / "students.parquet"
    torn.parent.mkdir()
    torn.write_bytes(b"PAR1")  # of a load that was killed
    with pytest.raises(DestructionError, match="no store holds"):
        destroy_student(database, home, "s99", admin, NOW, SECRET)
    assert certificates(database) == []
    assert (home / "features" / "old.parquet").exists()
    assert len(list((home / "snapshots").glob("*/manifest.json"))) == 2, "nothing was changed"


def test_an_agreement_in_force_is_not_destroyed(home: Path, database: Database):
    admin, _ = fill(home, database)
    with pytest.raises(DestructionError, match="in force until 2026-07-31"):
        destroy_agreement_data(database, home, "a1", admin, NOW)
    with pytest.raises(DestructionError, match="no agreement 'a7'"):
        destroy_agreement_data(database, home, "a7", admin, NOW)


def test_what_an_ended_agreement_produced_is_destroyed_and_its_accounts_are_closed(
    home: Path, database: Database
):  # R32
    admin, caseworker = fill(home, database)
    revoke_agreement(database, "a1", NOW)
    certificate = destroy_agreement_data(database, home, "a1", admin, NOW)
    removed = {entry["store"]: entry["items"] for entry in json.loads(certificate.text)["removed"]}
    assert removed["consents"] == 2
    assert removed["decisions"] == removed["participants"] == removed["staff"] == 1
    with database.session() as session:
        for row in (
            ConsentRow,
            DecisionRow,
            ParticipantRow,
            ParticipantCandidateRow,
            WebSessionRow,
        ):
            assert session.scalars(select(row)).all() == []
        staff = session.get(StaffRow, caseworker.user_id)
        assert staff is not None and not staff.active
    assert Snapshot.current(home).table("students").count().to_pandas() == 3, (
        "the district's own records stay"
    )


def test_an_agreement_past_its_day_is_overdue_until_it_is_destroyed(
    home: Path, database: Database
):  # R32
    admin, _ = fill(home, database)
    late = datetime(2026, 10, 1, 9)
    assert overdue_destructions(database, date(2026, 9, 30)) == []
    assert [
        (overdue.agreement_id, overdue.organization_id)
        for overdue in overdue_destructions(database, late.date())
    ] == [("a1", "tutors")]
    destroy_agreement_data(database, home, "a1", admin, late)
    assert overdue_destructions(database, late.date()) == []


def test_a_backup_is_named_once(database: Database):
    add_backup(database, Backup("monday", "vault", NOW, TODAY))
    with pytest.raises(BackupError, match="'monday' is on the list"):
        add_backup(database, Backup("monday", "attic", NOW, TODAY))
    with pytest.raises(BackupError, match="no backup named 'friday'"):
        mark_backup_destroyed(database, "friday", NOW)


FIRST_STEP, LATER_STEP = (
    "records.destruction.destruction.rewrite_without_student",
    "records.connectors.http.mirror.Mirror.forget",
)


def cut_off(
    database: Database,
    home: Path,
    admin: Viewer,
    monkeypatch: pytest.MonkeyPatch,
    step: str = LATER_STEP,
) -> None:
    """Begin to destroy the child's record and be stopped at a step: snapshot or mirrors."""
    with monkeypatch.context() as patched:
        patched.setattr(step, stop)
        with pytest.raises(KeyboardInterrupt):
            destroy_student(database, home, CHILD, admin, NOW, SECRET)


def stop(*_: object, **__: object) -> int:
    raise KeyboardInterrupt


def test_from_its_beginning_on_nobody_sees_the_child_and_a_load_leaves_them_out(  # R32
    home: Path, database: Database, monkeypatch: pytest.MonkeyPatch
):
    admin, caseworker = fill(home, database)
    before = Snapshot.current(home)
    cut_off(database, home, admin, monkeypatch, FIRST_STEP)
    assert [
        (unfinished.number, unfinished.begun_at, unfinished.officer, unfinished.held)
        for unfinished in unfinished_destructions(database)
    ] == [(1, NOW, "Grace", False)]
    assert certificates(database) == []
    for viewer in (admin, caseworker):
        assert scope_for(viewer, database, before, NOW, SECRET).students == {"s2", "s3"}, (
            "though the old records serve"
        )
    reason = explain_access(caseworker, CHILD, database, before, NOW).answers[0].reason
    assert (reason.asked, reason.written) == (
        "Is the record being destroyed?",
        "Unfinished destruction 1",
    )
    is_destroyed = destroyed_student_filter(database, SECRET)
    assert is_destroyed is not None and is_destroyed(CHILD)


def test_a_destruction_that_was_cut_off_waits_for_a_hold_and_is_finished_once(  # R29, R32
    home: Path, database: Database, monkeypatch: pytest.MonkeyPatch
):
    admin, _ = fill(home, database)
    cut_off(database, home, admin, monkeypatch)
    with database.session() as session:
        session.add(
            LegalHoldRow(
                student_id=CHILD, since=NOW, lifted_at=None, placed_by="u", reason="A case"
            )
        )
    assert finish_destructions(database, home, NOW) == []
    assert unfinished_destructions(database)[0].held
    with pytest.raises(DestructionError, match="legal hold"):
        destroy_student(database, home, CHILD, admin, NOW, SECRET)
    with database.session() as session:
        session.scalars(select(LegalHoldRow)).one().lifted_at = NOW
    later = NOW + timedelta(hours=2)
    (certificate,) = finish_destructions(database, home, later)
    assert finish_destructions(database, home, later) == unfinished_destructions(database) == []
    assert certificates(database) == [certificate]
    facts = json.loads(certificate.text)
    assert (facts["begun_at"], facts["at"], facts["officer"]) == (
        "2026-04-17T12:00:00",
        "2026-04-17T14:00:00",
        "Grace",
    )
    removed = {entry["store"]: entry["items"] for entry in facts["removed"]}
    assert (removed["snapshot"], removed["mirror of sis"], removed["decisions"]) == (4, 2, 1), (
        "as counted before"
    )
    assert places_that_hold(home, database, CANARIES) == []
    with pytest.raises(
        DestructionError, match="certificate 1 of 2026-04-17 says that it was destroyed"
    ):
        destroy_student(database, home, CHILD, admin, later, SECRET)


KILLS = 24
DESTROYING = FORK.format(
    imports="from tests.records.destruction.test_destruction import destroy_child",
    work="destroy_child(Path(home))",
)


def destroy_child(home: Path) -> None:
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    destroy_student(database, home, CHILD, active_staff_member(database, ADMIN_LOGIN), NOW, SECRET)


def test_killed_at_any_moment_a_destruction_is_not_begun_or_seen_and_finished(
    tmp_path: Path,
):  # R32, R36
    original, home, rng = tmp_path / "original", tmp_path / "home", random.Random(32)
    database = open_database(f"sqlite:///{original / 'handrail.db'}")
    fill(original, database)
    database.engine.dispose()
    killed = seen_unfinished = 0
    with forking(DESTROYING) as parent:
        # The first run also pays for its imports; the second is the one to time.
        for _ in range(2):
            copy_home(original, home)
            begun = time.monotonic()
            assert not run(parent, home, home)
            longest = time.monotonic() - begun
        while killed < KILLS or not seen_unfinished:
            copy_home(original, home)
            was_killed = run(parent, home, home, rng.uniform(0, longest))
            database = open_database(f"sqlite:///{home / 'handrail.db'}")
            unfinished, certified = unfinished_destructions(database), certificates(database)
            assert len(unfinished) + len(certified) <= 1
            holds = places_that_hold(home, database, CANARIES)
            assert bool(holds) or unfinished or certified, "it is nowhere only if that is on record"
            assert not (certified and holds), "a certificate is never early"
            if not unfinished and not certified:
                assert scope_for(
                    active_staff_member(database, ADMIN_LOGIN),
                    database,
                    Snapshot.current(home),
                    NOW,
                    SECRET,
                ).students >= {CHILD}
                destroy_child(home)
            finish_destructions(database, home, NOW)
            assert places_that_hold(home, database, CANARIES) == []
            assert len(certificates(database)) == 1 and unfinished_destructions(database) == []
            assert verify_log(database).ok
            database.engine.dispose()
            killed += was_killed
            seen_unfinished += bool(unfinished)


def copy_home(original: Path, home: Path) -> None:
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(original, home)


def test_the_sites_own_login_destroys_nothing(postgres_server: str, tmp_path: Path):
    secured = row_secured_database(postgres_server, f"ended{uuid.uuid4().hex[:12]}")
    admin, _ = fill(tmp_path, secured.owner)
    publish_snapshot(secured.owner, Snapshot.current(tmp_path))
    with pytest.raises(DestructionError, match="the owner's login"):
        destroy_student(secured.site, tmp_path, CHILD, admin, NOW, SECRET)
    assert unfinished_destructions(secured.owner) == []
    destroy_student(secured.owner, tmp_path, CHILD, admin, NOW, SECRET)
    assert places_that_hold(tmp_path, secured.owner, CANARIES) == []
