"""The disclosure log is complete, names no student, and shows any tampering."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update
from sqlalchemy import text as sql

from records.access.scope import pipeline_scope, scope_for
from records.canonical.schema import Category
from records.database.engine import Database
from records.database.tables import DisclosureRow, LogStudentRow
from records.disclosure_log.checkpoints import export_checkpoint, read_checkpoints
from records.disclosure_log.disclosures import (
    DisclosureLogDamaged,
    DisclosureLogUnavailable,
    chain_hash,
    record_disclosures,
)
from records.disclosure_log.hash_chain import GENESIS
from records.disclosure_log.history import (
    Exposure,
    count_disclosures,
    disclosures,
    exposures,
    parties,
)
from records.disclosure_log.limits import DisclosureLimits, TooManyStudents
from records.disclosure_log.recordkeeping import (
    RECORDKEEPING_RULES,
    UnknownLegalBasis,
    law_requires,
)
from records.disclosure_log.student_references import unlink_student
from records.disclosure_log.verification import Verification, verify_log
from records.permissions.agreements import LegalBasis
from records.snapshots.snapshot import Snapshot
from records.staff.notices import notices
from records.staff.viewer import EMERGENCY_BASIS, NotInScope, Role, Scope
from tests.records import six_student_district
from tests.records.conftest import (
    SECRET,
    TODAY,
    add_agreement,
    add_organization,
    at_noon,
    snapshot_of,
)

NOW = datetime(2026, 4, 17, 10)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot_of(six_student_district.rows(), tmp_path_factory.mktemp("home"))


@pytest.fixture
def scope(database: Database, snapshot: Snapshot) -> Scope:
    (viewer,) = add_organization(database, "tutors", Role.CASEWORKER)
    add_agreement(database)
    return scope_for(viewer, database, snapshot, at_noon(TODAY), SECRET)


def fill(database: Database, scope: Scope, disclosures_each: int) -> None:
    for minute in range(disclosures_each):
        record_disclosures(
            database,
            scope,
            ["s1", "s2"],
            [Category.DIRECTORY],
            "/",
            NOW + timedelta(minutes=minute),
        )


def test_each_student_shown_is_one_row_with_only_the_categories_that_scope_allows(
    database, scope
):  # R23, R25
    record_disclosures(
        database, scope, ["s1", "s2"], [Category.DIRECTORY, Category.GRADES], "/students", NOW
    )
    newest, oldest = disclosures(database)
    assert (oldest.student_id, newest.student_id, newest.shown_together) == ("s1", "s2", 2)
    assert newest.categories == {"directory"}
    assert newest.legal_basis == "school_official"
    assert not newest.law_requires
    assert not any(name in str(newest) for name in ("First", "Last", "Somebody"))
    assert verify_log(database).rows == 2


def test_a_student_out_of_scope_cannot_be_logged_as_shown(database, scope):
    with pytest.raises(NotInScope):
        record_disclosures(database, scope, ["s1", "s4"], [Category.DIRECTORY], "/", NOW)
    assert verify_log(database).rows == 0


def test_a_log_that_cannot_be_written_refuses_and_says_so(database, scope):  # R23
    for table in ("log_students", "disclosures"):
        with database.engine.begin() as connection:
            connection.execute(sql(f"ALTER TABLE {table} RENAME TO gone"))
        with pytest.raises(DisclosureLogUnavailable):
            record_disclosures(database, scope, ["s1"], [Category.DIRECTORY], "/", NOW)
        with database.engine.begin() as connection:
            connection.execute(sql(f"ALTER TABLE gone RENAME TO {table}"))
    assert verify_log(database).rows == 0


def test_a_row_names_its_student_by_a_reference_that_tells_nothing(database, scope):  # R25
    fill(database, scope, 3)
    with database.session() as session:
        stored = [dict(row._mapping) for row in session.execute(select(DisclosureRow.__table__))]
        names = {row.student_id: row.student_ref for row in session.scalars(select(LogStudentRow))}
    assert {row["student_ref"] for row in stored} == set(names.values()) and set(names) == {
        "s1",
        "s2",
    }
    assert all("s1" not in row.values() and len(row["student_ref"]) == 64 for row in stored)
    assert count_disclosures(database, student_id="s1") == 3


def test_an_unlinked_student_is_gone_from_a_log_that_still_holds(database, scope):
    fill(database, scope, 3)
    with database.write_transaction() as session:
        assert unlink_student(session, "s1")
        assert not unlink_student(session, "s4"), "s4 was never shown to anybody"
    outcome = verify_log(database)
    assert (outcome.ok, outcome.rows, outcome.nameless) == (True, 6, 1)
    assert disclosures(database, student_id="s1") == [] and parties(database, "s1") == []
    assert [row.student_id for row in disclosures(database)] == ["s2", None] * 3
    record_disclosures(database, scope, ["s1"], [Category.DIRECTORY], "/", NOW)
    newest, *_, oldest = disclosures(database)
    assert newest.student_ref != oldest.student_ref, "what comes after is not tied to what was cut"


def test_each_legal_basis_has_a_recordkeeping_rule_and_an_unknown_basis_is_refused(
    database, scope
):  # R26: 34 CFR 99.32(d)
    assert not any(
        law_requires(basis) for basis in ("school_official", "consent", "own_records", "parent")
    )
    assert all(
        law_requires(basis)
        for basis in ("audit_evaluation", "studies", EMERGENCY_BASIS, "judicial_order")
    )
    assert {*LegalBasis, EMERGENCY_BASIS} <= set(RECORDKEEPING_RULES)
    hearsay = {
        student: (replace(grants[0], legal_basis="hearsay"),)
        for student, grants in scope.grants.items()
    }
    with pytest.raises(UnknownLegalBasis, match="'hearsay'"):
        record_disclosures(
            database, replace(scope, grants=hearsay), ["s1"], [Category.DIRECTORY], "/", NOW
        )
    assert verify_log(database).rows == 0


def test_each_row_says_whether_the_law_requires_it(database, scope):  # R26
    emergency = {
        student: (replace(grants[0], legal_basis=EMERGENCY_BASIS),)
        for student, grants in scope.grants.items()
    }
    record_disclosures(database, scope, ["s1"], [Category.DIRECTORY], "/", NOW)
    record_disclosures(
        database, replace(scope, grants=emergency), ["s1"], [Category.DIRECTORY], "/", NOW
    )
    assert [row.law_requires for row in disclosures(database)] == [True, False]
    with database.session() as session:
        session.execute(
            update(DisclosureRow).where(DisclosureRow.seq == 2).values(law_requires="no")
        )
    assert (
        verify_log(database).problem == "row 2 does not match: it or the previous row was altered"
    )


def test_disclosures_are_summed_by_party_and_purpose(database, scope, snapshot):  # R26
    fill(database, scope, 3)
    record_disclosures(database, scope, ["s1"], [Category.ATTENDANCE], "/", NOW + timedelta(days=1))
    district = pipeline_scope(snapshot, "audit", TODAY)
    record_disclosures(database, district, ["s1"], [Category.HOUSING], "/", NOW - timedelta(days=1))
    tutors, own = parties(database, "s1")
    assert (tutors.organization_id, tutors.purpose, tutors.looks) == (
        "tutors",
        "Tutoring after school",
        4,
    )
    assert tutors.categories == {"directory", "attendance"} and not tutors.law_requires
    assert (tutors.first, tutors.last) == ("2026-04-17T10:00:00.000", "2026-04-18T10:00:00.000")
    assert (own.organization_id, own.looks, own.categories) == ("district", 1, {"housing"})
    assert count_disclosures(database, student_id="s1", agreement_id="a1") == 4
    assert [row.agreement_id for row in disclosures(database, agreement_id="district")] == [
        "district"
    ]


def test_a_breach_report_counts_what_one_account_saw_between_two_days(database, scope):  # R33
    user = scope.viewer.user_id
    for day, students in ((1, ["s1"]), (2, ["s1", "s2"]), (3, ["s1", "s2"]), (4, ["s2"])):
        categories = [Category.DIRECTORY] if day == 2 else [Category.DIRECTORY, Category.ATTENDANCE]
        record_disclosures(
            database, scope, students, categories, "/", datetime(2026, 4, day, 23, 59, 59)
        )
    both = frozenset({"directory", "attendance"})
    assert exposures(database, user, date(2026, 4, 2), date(2026, 4, 3)) == [
        Exposure("s1", both, 2, "2026-04-02T23:59:59.000", "2026-04-03T23:59:59.000"),
        Exposure("s2", both, 2, "2026-04-02T23:59:59.000", "2026-04-03T23:59:59.000"),
    ]
    assert exposures(database, "somebody else", date(2026, 4, 1), date(2026, 4, 30)) == []
    with database.write_transaction() as session:
        unlink_student(session, "s1")
    last = exposures(database, user, date(2026, 4, 3), date(2026, 4, 4))
    assert [(exposure.student_id, exposure.looks) for exposure in last] == [("s2", 2), (None, 1)]


def test_of_simultaneous_requests_no_two_slip_past_the_limit(database, scope):  # R31
    anybody = replace(scope, grants={f"s{n}": scope.grants["s1"] for n in range(12)})
    for day in range(1, 6):
        together = Barrier(4)

        def ask(
            first: int, now: datetime = datetime(2026, 4, day, 10), together: Barrier = together
        ) -> bool:
            together.wait()
            try:
                some = [f"s{n}" for n in range(first, first + 3)]
                record_disclosures(
                    database,
                    anybody,
                    some,
                    [Category.DIRECTORY],
                    "/caseload",
                    now,
                    DisclosureLimits(200, 6),
                )
            except TooManyStudents:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(ask, (0, 3, 6, 9))) == [False, False, True, True]
    outcome = verify_log(database)
    assert (outcome.ok, outcome.rows) == (True, 5 * 6)
    assert [notice.at.day for notice in notices(database)] == [5, 4, 3, 2, 1]


def test_commands_and_students_seen_before_do_not_count(database, scope):  # R31
    for route, limits in (
        ("handrail disclosures report", None),
        ("/caseload", DisclosureLimits(200, 1)),
    ):
        record_disclosures(database, scope, ["s1"], [Category.DIRECTORY], route, NOW, limits)
    record_disclosures(
        database, scope, ["s2"], [Category.DIRECTORY], "handrail disclosures report", NOW
    )
    record_disclosures(
        database, scope, ["s1"], [Category.DIRECTORY], "/caseload", NOW, DisclosureLimits(200, 1)
    )
    with pytest.raises(TooManyStudents, match="more than 1 students in one day") as refused:
        record_disclosures(
            database,
            scope,
            ["s2"],
            [Category.DIRECTORY],
            "/caseload",
            NOW,
            DisclosureLimits(200, 1),
        )
    assert (refused.value.most, refused.value.until) == (1, datetime(2026, 4, 18))
    record_disclosures(
        database,
        scope,
        ["s2"],
        [Category.DIRECTORY],
        "/",
        refused.value.until,
        DisclosureLimits(200, 1),
    )
    assert verify_log(database).rows == 5


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
ROWS = st.fixed_dictionaries(
    {
        "seq": st.integers(0, 10**6),
        "at": TEXT,
        "user_id": TEXT,
        "organization_id": TEXT,
        "student_ref": TEXT,
        "categories": TEXT,
        "purpose": TEXT,
        "legal_basis": TEXT,
        "law_requires": TEXT,
        "agreement_id": TEXT,
        "agreement_sha256": TEXT,
        "route": TEXT,
        "shown_together": st.integers(0, 300),
    }
)
NEIGHBORS = st.tuples(
    ROWS, st.sampled_from(["at", "user_id", "purpose", "agreement_id"]), st.integers(0, 12)
)


@given(NEIGHBORS, ROWS)
def test_two_rows_that_differ_never_get_one_hash(
    row_and_cut, other
):  # R24: the encoding is injective
    row, field, cut = row_and_cut
    after = {
        "at": "user_id",
        "user_id": "organization_id",
        "purpose": "legal_basis",
        "agreement_id": "agreement_sha256",
    }[field]
    moved = row | {field: row[field][:cut], after: row[field][cut:] + row[after]}
    written = {}
    for candidate in (row, other, moved):
        try:
            digest = chain_hash(GENESIS, candidate)
        except DisclosureLogUnavailable:
            assert any("\x1f" in str(value) for value in candidate.values())
            continue
        assert written.setdefault(digest, candidate) == candidate


def test_whatever_an_agreement_says_is_read_back_as_it_was_written(
    database, scope
):  # R24: both databases join alike
    for purpose in (
        "",
        "Zoë, Nguyễn, 王小明",
        "a 'quoted' \\ word\n\tand a tab",
        "%s {x} \x1e",
        "e\u0301 é",
    ):
        record_disclosures(
            database,
            of_purpose(scope, purpose),
            ["s1"],
            [Category.DIRECTORY],
            "/" + purpose[:9],
            NOW,
        )
        assert disclosures(database)[0].purpose == purpose
        assert verify_log(database).ok
    for purpose in ("a\x1fb", "\x1f"):
        with pytest.raises(DisclosureLogUnavailable, match="control character"):
            record_disclosures(
                database, of_purpose(scope, purpose), ["s1"], [Category.DIRECTORY], "/", NOW
            )
    assert verify_log(database).rows == 5


def of_purpose(scope: Scope, purpose: str) -> Scope:
    return replace(
        scope,
        grants={
            student: (replace(grants[0], purpose=purpose),)
            for student, grants in scope.grants.items()
        },
    )


def test_progress_is_reported_from_the_first_row_to_the_last(database, scope):
    fill(database, scope, 5)
    reports: list[tuple[int, int]] = []
    verify_log(database, progress=lambda done, total: reports.append((done, total)))
    assert reports[-1] == (10, 10)


def test_processes_side_by_side_find_a_changed_row_on_either_database(  # R24
    database, scope, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("records.disclosure_log.verification._SEGMENT_ROWS", 4)
    fill(database, scope, 6)
    assert verify_log(database, processes=2) == Verification(True, 12)
    with database.session() as session:
        session.execute(sql("UPDATE disclosures SET route = '/elsewhere' WHERE seq = 7"))
    assert (
        verify_log(database, processes=2).problem
        == "row 7 does not match: it or the previous row was altered"
    )


def test_a_damaged_checkpoint_is_refused_with_its_line(tmp_path: Path):
    file = tmp_path / "checkpoints.jsonl"
    for second in ("{", "[]", '{"seq": 3}', '{"seq": "x", "hash": "00"}', "7"):
        file.write_text('{"seq": 1, "hash": "00"}\n' + second)
        with pytest.raises(
            DisclosureLogDamaged, match=r"checkpoints.jsonl, line 2 is not a log checkpoint"
        ):
            read_checkpoints(file)


def test_each_kind_of_tampering_is_found_on_both_databases(database, scope, tmp_path: Path):  # R24
    fill(database, scope, 10)
    checkpoint = tmp_path / "head.json"
    export_checkpoint(database, checkpoint)
    with database.session() as session:
        original = [dict(row._mapping) for row in session.execute(select(DisclosureRow.__table__))]
    rng = random.Random(24)
    for kind in ("edit", "delete", "insert", "reorder", "truncate", "rewrite"):
        for place in rng.sample(range(1, len(original)), 3):
            tamper(database, kind, place, original)
            outcome = verify_log(database, read_checkpoints(checkpoint))
            assert not outcome.ok and outcome.problem is not None and "row" in outcome.problem, (
                kind,
                place,
            )
            restore(database, original)
            assert verify_log(database, read_checkpoints(checkpoint)).ok


def tamper(database: Database, kind: str, place: int, original: list[dict[str, object]]) -> None:
    with database.session() as session:
        if kind == "edit":
            session.execute(
                update(DisclosureRow).where(DisclosureRow.seq == place).values(student_ref="9" * 64)
            )
        elif kind == "delete":
            session.execute(delete(DisclosureRow).where(DisclosureRow.seq == place))
        elif kind == "truncate":
            session.execute(delete(DisclosureRow).where(DisclosureRow.seq > place))
        elif kind == "insert":
            session.execute(
                insert(DisclosureRow), [original[place - 1] | {"seq": len(original) + 1}]
            )
        elif kind == "reorder":
            for old, new in ((place, -2), (place + 1, place), (-2, place + 1)):
                session.execute(
                    update(DisclosureRow).where(DisclosureRow.seq == old).values(seq=new)
                )
        else:
            session.execute(delete(DisclosureRow))
            previous, rows = GENESIS, []
            for row in original:
                changed = row | {"route": "/about"}
                previous = chain_hash(previous, changed)
                rows.append(changed | {"hash": previous})
            session.execute(insert(DisclosureRow), rows)


def restore(database: Database, original: list[dict[str, object]]) -> None:
    with database.session() as session:
        session.execute(delete(DisclosureRow))
        session.execute(insert(DisclosureRow), original)
