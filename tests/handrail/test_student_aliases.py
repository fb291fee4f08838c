"""Two students who turn out to be one, and one who turns out to be two, as somebody at the district
meets it: the load is held, what was recorded comes along, and nothing is lost on the way back.
"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from handrail.cli import app
from handrail.settings import Settings
from records.canonical.schema import Category
from records.database.engine import Database, open_database
from records.database.tables import (
    ConsentRow,
    LegalHoldRow,
    LogStudentRow,
    MovedStudentRow,
    OptOutRow,
    OrganizationRow,
    ParticipantCandidateRow,
    StudentAliasRow,
)
from records.destruction.certificates import certificates
from records.destruction.destruction import destroy_student
from records.identity.aliases import identifiers_of, known_aliases
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import (
    Organization,
    active_staff_member,
    add_organization,
    add_staff,
)
from records.staff.viewer import DISTRICT, Role

NOON = datetime(2026, 4, 16, 12)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("HANDRAIL_HOME", str(home))
    monkeypatch.setenv("HANDRAIL_TODAY", "2026-04-17")
    monkeypatch.delenv("HANDRAIL_DATABASE_URL", raising=False)
    return home


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, " ".join(done.output.split())


def export(folder: Path, *masters: str) -> Path:
    """Users s0, s1, ... with these master identifiers; those with an equal one have one name."""
    folder.mkdir()
    users = [
        f"s{number},student,Ana{master},Ortiz{master},05,{master}"
        for number, master in enumerate(masters)
    ]
    header = "sourcedId,role,givenName,familyName,grades,userMasterIdentifier"
    (folder / "users.csv").write_text("\n".join([header, *users]) + "\n")
    return folder


def record_something(database: Database) -> None:
    """A consent, an opt-out, a hold, a disclosure's reference and a tie of each of s0 and s1."""
    with database.write_transaction() as session:
        session.add(OrganizationRow(organization_id="tutors", name="Tutors", kind="partner"))
        session.flush()
        for student in ("s0", "s1"):
            session.add(
                ConsentRow(
                    student_id=student,
                    organization_id="tutors",
                    categories=frozenset({Category.ATTENDANCE}),
                    purpose="Tutoring",
                    signer="A parent",
                    signed_on=date(2026, 1, 5),
                    expires_on=date(2026, 12, 31),
                )
            )
            session.add(
                LogStudentRow(student_ref=f"ref {student}", student_id=student, salt="salt")
            )
            session.add(
                ParticipantCandidateRow(
                    organization_id="tutors",
                    participant_id="P1",
                    student_id=student,
                    probability=0.5,
                )
            )
        session.add(OptOutRow(student_id="s1", since=date(2026, 2, 1)))


def students_of(database: Database, row: type) -> list[str]:
    with database.session() as session:
        return sorted(found.student_id for found in session.scalars(select(row)))


def test_two_students_become_one_when_somebody_says_so_and_two_again(home: Path, tmp_path: Path):
    apart, together = (
        export(tmp_path / "apart", "A", "B", "C"),
        export(tmp_path / "together", "A", "A", "C"),
    )
    assert run("load", "oneroster", apart)[0] == 0
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    record_something(database)
    before = Snapshot.current(home).id

    code, output = run("load", "oneroster", together)
    assert code == 2 and "--accept" in output
    assert "1 student of the current records would become one with another" in output
    assert "(s1 with s0)" in output
    assert Snapshot.current(home).id == before and not known_aliases(database)
    assert students_of(database, ConsentRow) == ["s0", "s1"]
    assert students_of(database, OptOutRow) == ["s1"]

    code, output = run("load", "oneroster", together, "--accept")
    assert code == 0, output
    assert "what was recorded under an alias is the student's now: consents 1" in output
    assert Snapshot.current(home).manifest["rows"]["students"] == 2
    assert known_aliases(database) == {"s1": "s0"}
    assert identifiers_of(database, "s1") == identifiers_of(database, "s0") == ("s0", "s1")
    assert students_of(database, ConsentRow) == ["s0", "s0"]
    assert students_of(database, OptOutRow) == ["s0", "s1"]  # counts for both
    assert students_of(database, ParticipantCandidateRow) == ["s0", "s1"]  # offered once

    # The next night is an ordinary one.
    code, output = run("load", "oneroster", together)
    assert code == 0 and "what was recorded" not in output
    assert students_of(database, OptOutRow) == ["s0", "s1"]

    with database.write_transaction() as session:
        session.add(
            LegalHoldRow(student_id="s0", since=NOON, placed_by="u1", reason="A lawsuit is open")
        )
    code, output = run("load", "oneroster", apart)
    assert code == 2 and "1 further user of students would be parted from them" in output
    assert "(s1 from s0)" in output and "load partners' files again" in output
    assert known_aliases(database) == {"s1": "s0"}
    code, output = run("load", "oneroster", apart, "--accept")
    assert code == 0, output
    assert Snapshot.current(home).manifest["rows"]["students"] == 3
    assert students_of(database, ConsentRow) == ["s0", "s1"]
    assert students_of(database, LegalHoldRow) == ["s0", "s1"]
    assert students_of(database, StudentAliasRow) == []
    assert students_of(database, MovedStudentRow) == []


def test_a_new_user_of_a_known_child_needs_nobodys_word(home: Path, tmp_path: Path):
    assert run("load", "oneroster", export(tmp_path / "first", "A", "B"))[0] == 0
    code, output = run("load", "oneroster", export(tmp_path / "second", "A", "B", "B"))
    assert code == 0, output
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    assert known_aliases(database) == {"s2": "s1"}
    assert Snapshot.current(home).manifest["rows"]["students"] == 2


def test_a_destroyed_child_does_not_come_back_under_an_alias(home: Path, tmp_path: Path):
    source = export(tmp_path / "in", "A", "A", "C")
    assert run("load", "oneroster", source, "--keep-for-changes")[0] == 0
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    add_organization(database, Organization(DISTRICT, "The District", "district"))
    add_staff(database, "o@d.example", "Grace", Role.DISTRICT_ADMIN, DISTRICT, "a password of it")
    admin = active_staff_member(database, "o@d.example")
    assert admin is not None
    secret = Settings.from_environment(home).secret()
    destroy_student(database, home, "s1", admin, NOON, secret)
    assert len(certificates(database)) == 2
    assert not known_aliases(database)
    with database.session() as session:
        assert not session.scalars(select(MovedStudentRow)).all()
    only_alias = export(tmp_path / "alias", "C", "A")
    (only_alias / "users.csv").write_text(
        (only_alias / "users.csv").read_text().replace("s0,", "s2,")
    )
    for again in (source, only_alias):
        code, output = run("load", "oneroster", again, "--accept")
        assert code == 0, output
        rows = Snapshot.current(home).table("students").to_pyarrow().to_pylist()
        assert [row["student_id"] for row in rows] == ["s2"]
