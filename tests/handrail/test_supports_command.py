"""`handrail supports`, and a district's own kind from its list to a partner's agreement."""

from __future__ import annotations

from pathlib import Path

import pytest

from records.canonical.supports import SUPPORTS_FILE, SupportCatalog
from records.database.engine import open_database
from records.permissions.agreements import agreement_versions
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import Organization, add_organization
from tests.handrail.test_agreement_commands import run
from tests.own_supports import HOMEWORK_CLUB, MOTEL_VOUCHERS, own_list
from tests.records import six_student_district
from tests.records.conftest import agreement_text, snapshot_of

PROGRAMS = "program_id,organization_id,name,support\nm1,harbor,Rooms,motel_vouchers\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A loaded district with one partner, on one day."""
    monkeypatch.setenv("HANDRAIL_TODAY", "2026-04-17")
    folder = tmp_path / "home"
    snapshot_of(six_student_district.rows(), folder)
    add_organization(
        open_database(f"sqlite:///{folder / 'handrail.db'}"),
        Organization("harbor", "Harbor", "partner"),
    )
    return folder


def add_kinds(home: Path, text: str = MOTEL_VOUCHERS + HOMEWORK_CLUB) -> None:
    (home / SUPPORTS_FILE.name).write_text(own_list(text=text))


def line_of(kind: str, output: str) -> list[str]:
    """The cells of one kind in the table of the command."""
    (line,) = (line for line in output.splitlines() if f" {kind} " in line)
    return [cell.strip() for cell in line.strip("│┃ ").split("│")]


def test_the_list_in_force_says_what_names_each_kind(home: Path):
    code, output, _ = run(home, "supports")
    assert code == 0 and run(home, "supports", "list")[1] == output
    assert line_of("tutoring", output) == [
        "tutoring",
        "Tutoring",
        "Tutoría",
        "Help with schoolwork, alone or in a small group.",
        "no",
        "",
        "1",
        "0",
    ]
    assert line_of("housing_help", output)[4:] == ["yes", "", "0", "0"]
    assert f"`handrail supports write` puts a copy into {home}" in output and "Note" not in output


def test_the_list_is_written_to_be_edited_and_never_overwritten(home: Path):
    code, output, _ = run(home, "supports", "write")
    file = home / SUPPORTS_FILE.name
    assert code == 0 and f"{file} is written." in output
    assert file.read_bytes() == SUPPORTS_FILE.read_bytes()
    add_kinds(home)
    kept = file.read_text()
    code, _, error = run(home, "supports", "write")
    assert (code, file.read_text()) == (2, kept)
    assert f"{file} exists already; it will not be overwritten" in error
    output = run(home, "supports")[1]
    assert f"The list is {file}." in output
    assert line_of("homework_club", output)[5].startswith("about $300 a student a year (the")


def test_before_anything_is_loaded_the_number_of_programs_is_not_known(tmp_path: Path):
    code, output, error = run(tmp_path, "supports")
    assert code == 0, error
    assert line_of("tutoring", output)[6:] == ["not known", "0"]


def test_a_list_with_a_mistake_is_one_plain_sentence(home: Path, tmp_path: Path):
    add_kinds(home, MOTEL_VOUCHERS.replace("= true", '= "yes"'))
    (tmp_path / "a.toml").write_text(agreement_text())
    for arguments in (
        ("supports",),
        ("agreements", "check", str(tmp_path / "a.toml")),
        ("load", "service-history", str(tmp_path)),
        ("records", "status"),
    ):
        code, _, error = run(home, *arguments)
        assert code == 2, arguments
        assert "[motel_vouchers] tells_of_housing is 'yes'; it must be true or false" in error


def test_an_own_kind_is_loaded_agreed_and_noted_when_it_leaves_the_list(home: Path, tmp_path: Path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "programs.csv").write_text(PROGRAMS)
    agreement = tmp_path / "m.toml"
    agreement.write_text(
        agreement_text(
            agreement_id="m",
            organization_id="harbor",
            programs=["m1"],
            supports=["motel_vouchers", "food"],
        )
    )
    load = ("load", "service-history", str(folder), "--organization", "harbor")
    code, _, error = run(home, "agreements", "check", str(agreement))
    known = ", ".join(SupportCatalog.declared().keys)
    assert code == 2 and (
        f"m.toml, line 12: supports names 'motel_vouchers'; it may name {known}; a kind is added in"
        " the district's supports.toml (`handrail supports write`)" in error
    )
    add_kinds(home)
    code, output, error = run(home, *load)
    assert code == 0 and "motel_vouchers" not in output, error
    assert programs(home) == ["motel_vouchers"]
    assert run(home, "agreements", "check", str(agreement))[0] == 0
    assert run(home, "agreements", "add", str(agreement))[0] == 0
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    (stored,) = agreement_versions(database, "m")
    assert stored.agreement.supports == ("motel_vouchers", "food")
    assert line_of("motel_vouchers", run(home, "supports")[1])[6:] == ["1", "1"]

    add_kinds(home, HOMEWORK_CLUB)
    note = (
        f"Note: motel_vouchers is not in {home / SUPPORTS_FILE.name}, and still named by agreement"
        " m, program m1: it is not suggested, and its services are shown as if they told of housing"
    )
    assert note in run(home, "supports")[1]
    (folder / "programs.csv").write_text(PROGRAMS.replace("motel_vouchers", "homework_club"))
    code, output, error = run(home, *load)
    assert code == 0 and note.replace(", program m1", "") in output, error
    database.engine.dispose()


def test_a_program_of_a_kind_that_left_the_list_stays_until_its_partner_is_loaded_again(
    home: Path, tmp_path: Path
):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "programs.csv").write_text(PROGRAMS)
    add_kinds(home)
    load = ("load", "service-history", str(folder), "--organization", "harbor")
    assert run(home, *load)[0] == 0
    add_kinds(home, HOMEWORK_CLUB)
    code, output, error = run(home, *load)
    assert code == 0 and programs(home) == [], error
    assert "1" in line_of("programs.csv", output)[3]
    quarantined = Snapshot.current(home).quarantined().to_pylist()
    assert [row["column"] for row in quarantined] == ["support"]


def programs(home: Path) -> list[str]:
    """The kinds of the partner's programs."""
    rows = Snapshot.current(home).table("programs").to_pyarrow().to_pylist()
    return [row["support"] for row in rows if row["organization_id"] == "harbor"]
