"""Row security: even without the application's filter nothing out of scope is shown."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Connection, func, select, table, text
from sqlalchemy.exc import ProgrammingError

from records.access.publication import (
    SCHEMA,
    NotPublished,
    has_row_security,
    newest_publication,
    publish_snapshot,
    student_tables,
)
from records.access.row_security import RowSecuredSnapshot, records_for
from records.access.scope import scope_for
from records.access.scoped_records import ScopedRecords
from records.canonical.schema import TABLES, Category
from records.database.engine import Database, open_database
from records.database.tables import AgreementRow, AgreementTermsRow
from records.permissions.agreements import parse_agreement
from records.snapshots.queries import _compile
from records.snapshots.snapshot import Snapshot
from records.staff.viewer import DISTRICT, Role, Viewer
from tests.own_supports import OWN_HOUSING, write_own_list
from tests.records import six_student_district
from tests.records.conftest import (
    SECRET,
    TODAY,
    add_agreement,
    add_organization,
    at_noon,
    snapshot_of,
)
from tests.records.random_access_rules import NOON, SUPPORT, draw_access_rules, draw_rows
from tests.records.row_secured_database import RowSecuredDatabase, row_secured_database

PARTNERS = (Role.CASEWORKER, Role.COORDINATOR, Role.PARTNER_ADMIN)
STUDENTS = 60
STUDENT_TABLES = [canonical.name for canonical in student_tables()]


@pytest.fixture(scope="module")
def walled(postgres_server: str) -> RowSecuredDatabase:
    return row_secured_database(postgres_server, f"walled{uuid.uuid4().hex[:12]}")


@pytest.fixture(scope="module")
def snapshot(walled: RowSecuredDatabase, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """A random district with a list of supports of its own, published."""
    home = tmp_path_factory.mktemp("home")
    write_own_list(home)
    published = snapshot_of(draw_rows(np.random.default_rng(18), STUDENTS), home)
    publish_snapshot(walled.owner, published)
    return published


@pytest.fixture(scope="module")
def viewers(walled: RowSecuredDatabase, snapshot: Snapshot) -> list[Viewer]:
    return draw_access_rules(np.random.default_rng(18), walled.owner, STUDENTS)


@pytest.fixture
def no_filter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Switches the filter off, in SQL that an earlier test has compiled too."""

    def switch_off() -> None:
        _compile.cache_clear()
        monkeypatch.setattr(ScopedRecords, "table", lambda self, name: self._tables.table(name))

    yield switch_off
    _compile.cache_clear()


def test_with_the_filter_switched_off_nothing_out_of_scope_is_shown(  # R18
    walled: RowSecuredDatabase,
    snapshot: Snapshot,
    viewers: list[Viewer],
    no_filter: Callable[[], None],
):
    scopes = {viewer: scope_for(viewer, walled.site, snapshot, NOON, SECRET) for viewer in viewers}
    no_filter()
    shown = dict.fromkeys(Role, 0)
    for viewer, scope in scopes.items():
        records = ScopedRecords(
            RowSecuredSnapshot(snapshot, walled.site, viewer.user_id, NOON), scope
        )
        for name in STUDENT_TABLES:
            for row in records.frame(name).to_dict("records"):
                known = {
                    str(column)
                    for column, value in row.items()
                    if pd.notna(value) and column != "student_id"
                }
                shown_categories = {
                    category
                    for column in known
                    for category in categories_of(name, column, row, viewer)
                }
                assert shown_categories and shown_categories <= scope.categories(
                    row["student_id"]
                ), (viewer, name)
                shown[viewer.role] += 1
    assert all(
        shown[role]
        for role in (Role.CASEWORKER, Role.COORDINATOR, Role.PARTNER_ADMIN, Role.DISTRICT_ADMIN)
    )
    assert not any(
        shown[role] for role in (Role.DATA_SCIENTIST, Role.EQUITY_REVIEWER, Role.PIPELINE)
    )


def categories_of(
    name: str, column: str, row: dict[Any, Any], viewer: Viewer
) -> set[Category | None]:
    """The categories that a person needs to be shown this value."""
    if not TABLES[name].is_service:
        return {TABLES[name].column(column).category}
    if row["organization_id"] == viewer.organization_id:
        return {Category.SERVICES}
    harmless = SUPPORT.get(row["program_id"]) not in (None, *OWN_HOUSING)
    return {Category.SERVICES_OTHER} if harmless else {Category.SERVICES_OTHER, Category.HOUSING}


def test_what_a_partner_sees_is_the_same_through_the_wall_and_without_it(  # R16
    walled: RowSecuredDatabase, snapshot: Snapshot, viewers: list[Viewer]
):
    partners = [
        viewer
        for viewer in viewers
        if viewer.role in PARTNERS and viewer.organization_id != DISTRICT
    ]
    rows = 0
    for viewer in partners:
        scope = scope_for(viewer, walled.site, snapshot, NOON, SECRET)
        for students in (None, [*sorted(scope.students)[:3], "s001", "s002", "nobody"]):
            tables = records_for(viewer, walled.site, snapshot, NOON, students)
            assert isinstance(tables, RowSecuredSnapshot)
            for name in TABLES:
                plain = ScopedRecords(snapshot, scope, students).frame(name)
                pd.testing.assert_frame_equal(
                    ScopedRecords(tables, scope, students).frame(name), plain
                )
                rows += len(plain) if name in STUDENT_TABLES else 0
    assert rows > 500


def test_every_text_number_and_missing_value_comes_back_as_it_was_loaded(
    walled: RowSecuredDatabase, snapshot: Snapshot, viewers: list[Viewer]
):
    district = next(
        viewer for viewer in viewers if viewer.user_id == f"{DISTRICT}-{Role.DISTRICT_ADMIN}"
    )
    through = RowSecuredSnapshot(snapshot, walled.owner, district.user_id, NOON)
    visible = scope_for(
        district, walled.owner, snapshot, NOON, SECRET
    ).students  # all but those being destroyed
    for name in STUDENT_TABLES:
        key, loaded = list(TABLES[name].key), snapshot.table(name)
        loaded = loaded.filter(loaded["student_id"].isin(sorted(visible)))
        if name == "characteristics":  # a row that says nothing of a student is not published
            loaded = loaded.filter(
                ibis.or_(*(loaded[c].notnull() for c in loaded.columns if c != "student_id"))
            )
        pd.testing.assert_frame_equal(
            through.table(name).order_by(key).to_pandas(), loaded.order_by(key).to_pandas()
        )


def test_the_district_reads_its_snapshot_and_so_does_everybody_on_sqlite(
    walled: RowSecuredDatabase, snapshot: Snapshot, tmp_path: Path
):
    caseworker = Viewer("tutors-caseworker", "", "", Role.CASEWORKER, "tutors")
    officer = Viewer("d", "", "", Role.DISTRICT_ADMIN, DISTRICT)
    sqlite = open_database(f"sqlite:///{tmp_path / 'handrail.db'}")
    assert records_for(officer, walled.site, snapshot, NOON) is snapshot
    assert records_for(caseworker, sqlite, snapshot, NOON) is snapshot


CLOSED = [
    {},
    {"user_id": ""},
    {"user_id": "nobody"},
    {"now": ""},
    {"publication": ""},
    {"publication": "0"},
]


@pytest.mark.parametrize("changed", CLOSED)
def test_without_a_person_a_moment_and_a_publication_no_row_is_shown(
    walled: RowSecuredDatabase, snapshot: Snapshot, viewers: list[Viewer], changed: dict[str, str]
):
    district = next(
        viewer for viewer in viewers if viewer.user_id == f"{DISTRICT}-{Role.DISTRICT_ADMIN}"
    )
    seen = scope_for(district, walled.owner, snapshot, NOON, SECRET).students
    with walled.owner.engine.connect() as connection:
        newest = str(newest_publication(connection, snapshot))
    settings = {"user_id": district.user_id, "now": NOON.isoformat(), "publication": newest}
    with walled.site.engine.connect() as connection:
        as_reader(connection, **settings)
        assert count(connection, "students") == len(seen) > 0
    with walled.site.engine.connect() as connection:
        as_reader(connection, **(settings | changed if changed else {}))
        assert [count(connection, name) for name in STUDENT_TABLES] == [0] * len(STUDENT_TABLES)


def test_the_owner_of_the_copies_sees_no_row_of_them(
    walled: RowSecuredDatabase, snapshot: Snapshot
):  # R18
    with walled.owner.engine.connect() as connection:
        assert connection.scalar(text("SELECT current_user")) == "handrail_owner"
        assert [count(connection, name) for name in STUDENT_TABLES] == [0] * len(STUDENT_TABLES)


def test_every_copy_is_behind_policies_that_its_reader_cannot_go_around(
    walled: RowSecuredDatabase, snapshot: Snapshot
):  # R18
    with walled.owner.engine.connect() as connection:
        forced = {
            name: both
            for name, *both in connection.execute(
                text(
                    "SELECT relname, relrowsecurity, relforcerowsecurity, relowner::regrole::text"
                    " FROM pg_class WHERE relnamespace = 'district_records'::regnamespace AND"
                    " relkind IN ('r', 'p')"
                )
            )
        }
        roles = connection.execute(
            text(
                "SELECT rolname, rolsuper OR rolbypassrls OR rolcanlogin OR rolcreaterole OR"
                " rolcreatedb FROM pg_roles WHERE rolname IN ('handrail_reader', 'handrail_scope')"
                " ORDER BY rolname"
            )
        ).all()
        others = connection.scalar(
            text(
                "SELECT count(*) FROM pg_auth_members "
                "WHERE member IN ('handrail_reader'::regrole, 'handrail_scope'::regrole)"
            )
        )
    assert forced.pop("publications") == [False, False, "handrail_owner"], "it names no student"
    assert {name for name in forced if name in TABLES} == set(STUDENT_TABLES)
    assert len(forced) == 2 * len(STUDENT_TABLES), "and one partition of each"
    assert set(map(tuple, forced.values())) == {(True, True, "handrail_owner")}
    assert [tuple(row) for row in roles] == [("handrail_reader", False), ("handrail_scope", False)]
    assert others == 0, "neither can become somebody else"


def test_the_reader_may_read_the_copies_and_nothing_else_and_write_nothing(
    walled: RowSecuredDatabase, snapshot: Snapshot
):  # R22
    with walled.owner.engine.connect() as connection:
        rights = connection.execute(
            text(
                "SELECT relnamespace::regnamespace::text, relname, privilege FROM pg_class,"
                " unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES',"
                " 'TRIGGER']) AS privilege WHERE relnamespace IN ('public'::regnamespace,"
                " 'district_records'::regnamespace) AND relkind IN ('r', 'p', 'v', 'm') AND"
                " (has_table_privilege('handrail_reader', pg_class.oid, privilege) OR (privilege IN"
                " ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') AND"
                " has_any_column_privilege('handrail_reader', pg_class.oid, privilege)))"
            )
        ).all()
    assert {tuple(row) for row in rights} == {
        ("district_records", name, "SELECT") for name in (*STUDENT_TABLES, "publications")
    }


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO district_records.students (publication, student_id) VALUES (1, 'x')",
        "UPDATE district_records.students SET last_name = ''",
        "DELETE FROM district_records.students",
        "TRUNCATE district_records.students",
        "SELECT document FROM public.agreements",
        "SELECT name FROM public.staff",
        "SELECT student_id FROM public.consents",
        "SELECT * FROM district_records.students_1",
        "CREATE TABLE district_records.mine (student_id text)",
        "SET LOCAL row_security = off; SELECT * FROM district_records.students",
    ],
)
def test_what_the_reader_may_not_do_is_refused(
    walled: RowSecuredDatabase, snapshot: Snapshot, statement: str
):  # R18, R22
    with walled.site.engine.connect() as connection:
        as_reader(connection)
        with pytest.raises(ProgrammingError) as error:
            connection.execute(text(statement))
    assert getattr(error.value.orig, "sqlstate", "") == "42501"


def test_an_agreement_whose_text_was_changed_by_hand_opens_nothing(
    database: Database, tmp_path: Path
):
    if not has_row_security(database):
        return
    (caseworker,) = add_organization(database, "tutors", Role.CASEWORKER)
    add_agreement(database)
    snapshot = snapshot_of(six_student_district.rows(), tmp_path / "home")
    publish_snapshot(database, snapshot)
    through = RowSecuredSnapshot(snapshot, database, caseworker.user_id, at_noon(TODAY))
    assert through.rows("students")["student_id"].to_pylist() == ["s1", "s2"]
    with database.session() as session:
        row = session.scalars(select(AgreementRow)).one()
        row.document = row.document.replace('"p1"', '"p1", "p2"')
    assert through.rows("students").num_rows == 0


def test_the_terms_are_those_of_the_text(walled: RowSecuredDatabase, viewers: list[Viewer]):
    with walled.owner.session() as session:
        terms = {
            (row.agreement_id, row.version): row
            for row in session.scalars(select(AgreementTermsRow))
        }
        rows = session.scalars(select(AgreementRow)).all()
        assert len(rows) == len(terms) > 5
        for row in rows:
            agreement, stored = (
                parse_agreement(row.document, row.agreement_id),
                terms[row.agreement_id, row.version],
            )
            assert stored.sha256 == row.sha256 == agreement.sha256
            assert (stored.legal_basis, stored.starts_on, stored.ends_on) == (
                agreement.legal_basis,
                agreement.start,
                agreement.end,
            )
            assert (set(stored.categories), set(stored.programs)) == (
                agreement.categories,
                agreement.programs,
            )


def test_a_snapshot_that_is_not_published_is_an_error_and_never_an_empty_district(
    walled: RowSecuredDatabase, tmp_path: Path
):
    other = snapshot_of(six_student_district.rows(), tmp_path)
    with pytest.raises(NotPublished, match="handrail records publish"):
        RowSecuredSnapshot(other, walled.site, "tutors-caseworker", NOON).rows("students")


def as_reader(connection: Connection, **settings: str) -> None:
    connection.execute(text("SET LOCAL ROLE handrail_reader"))
    for name, value in settings.items():
        connection.execute(text(f"SET LOCAL handrail.{name} = '{value}'"))


def count(connection: Connection, name: str) -> int:
    return connection.scalar(select(func.count()).select_from(table(name, schema=SCHEMA))) or 0
