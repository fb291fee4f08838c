"""`handrail agreements` and `handrail consents`, used rightly and wrongly, on a loaded home."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from handrail.cli import app
from records.database.engine import Database, open_database
from records.database.tables import StaffRow
from records.disclosure_log.history import disclosures
from records.permissions.agreements import agreement_versions
from records.permissions.consents import CONSENT_COLUMNS, consents
from records.permissions.opt_outs import opt_outs
from records.staff.accounts import Organization, add_organization, add_staff
from records.staff.viewer import DISTRICT, Role
from tests.records import six_student_district
from tests.records.conftest import agreement_text, snapshot_of

PASSWORD = "a password of the test"
OFFICER = "officer@district.example"
CASEWORKER = "cal@tutors.example"
DAY = "2026-04-17"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A loaded district on one day, with a partner, its agreement, a caseworker and an officer."""
    monkeypatch.setenv("HANDRAIL_TODAY", DAY)
    monkeypatch.setenv("HANDRAIL_PASSWORD", PASSWORD)
    folder = tmp_path / "home"
    snapshot_of(six_student_district.rows(), folder)
    database = database_of(folder)
    for key in ("tutors", DISTRICT):
        add_organization(database, Organization(key, key.capitalize(), "partner"))
    add_staff(database, CASEWORKER, "Cal Low", Role.CASEWORKER, "tutors", PASSWORD)
    add_staff(database, OFFICER, "Ola Ruiz", Role.DISTRICT_ADMIN, DISTRICT, PASSWORD)
    (tmp_path / "a1.toml").write_text(
        agreement_text(
            categories=["directory", "attendance", "housing"], consent_required=["housing"]
        )
    )
    assert run(folder, "agreements", "add", str(tmp_path / "a1.toml"))[0] == 0
    return folder


def database_of(home: Path) -> Database:
    return open_database(f"sqlite:///{home / 'handrail.db'}")


def run(home: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    done = CliRunner().invoke(app, [*arguments, "--home", str(home)])
    return done.exit_code, done.stdout, done.stderr


def test_a_newer_version_says_what_it_changes_and_both_stay_readable(home: Path, tmp_path: Path):
    newer = (
        agreement_text(categories=["directory"])
        .replace("version = 1", "version = 2")
        .replace("\n", "\r\n")
    )
    (tmp_path / "a2.toml").write_bytes(newer.encode())
    code, output, _ = run(home, "agreements", "add", str(tmp_path / "a2.toml"))
    assert code == 0 and "a1 version 2 is in force from 2025-08-01 to 2026-07-31." in output
    assert "What it changes in version 1:" in output
    assert "Which records are shared: no longer attendance, housing." in output
    assert run(home, "agreements", "add", str(tmp_path / "a2.toml"))[1].count("\n") == 1
    shown_text = (
        CliRunner().invoke(app, ["agreements", "show", "a1", "--home", str(home)]).stdout_bytes
    )
    assert shown_text == newer.encode()
    assert "housing" in run(home, "agreements", "show", "a1", "--version", "1")[1]
    shown = run(home, "agreements", "diff", "a1")[1]
    assert "Which records are shared: no longer attendance, housing." in shown
    assert (
        '+ categories = ["directory"]' in shown
        and '- categories = ["directory", "attendance", "housing"]' in shown
    )
    listed = run(home, "agreements", "list")[1]
    assert "a1" in listed and "In force" in listed


def test_a_newer_version_does_not_take_a_revocation_back_and_an_officer_does_with_a_reason(  # R12
    home: Path, tmp_path: Path
):
    assert run(home, "agreements", "revoke", "a1")[0] == 0
    assert "Revoked on 17 April 2026" in run(home, "agreements", "list")[1]
    (tmp_path / "a2.toml").write_text(
        agreement_text(categories=["directory"]).replace("version = 1", "version = 2")
    )
    newer = str(tmp_path / "a2.toml")
    code, _, problem = run(home, "agreements", "add", newer)
    assert (
        code == 2
        and "a1 was revoked on 2026-04-17" in problem
        and "handrail agreements reinstate" in problem
    )
    taken = ("agreements", "reinstate", newer, "--reason", "The breach was put right")
    code, _, problem = run(home, *taken, "--as", CASEWORKER)
    assert code == 2 and "only they may undo a revocation" in problem
    assert [stored.agreement.version for stored in agreement_versions(database_of(home), "a1")] == [
        1
    ]
    code, output, _ = run(home, *taken, "--as", OFFICER)
    assert code == 0 and "Its revocation was reversed" in output
    newest, first = agreement_versions(database_of(home), "a1")
    assert newest.revoked_at is None and first.revoked_at is not None, (
        "what was revoked stays on record"
    )
    assert (
        newest.reinstatement is not None
        and newest.reinstatement.reason == "The breach was put right"
    )


def test_explaining_names_each_part_its_answer_and_its_line_and_is_written_down(
    home: Path,
):  # R15, R23
    code, output, problem = run(home, "agreements", "explain", CASEWORKER, "s1", "--as", OFFICER)
    assert (code, problem) == (0, "")
    lines = agreement_text().splitlines()
    line = next(
        number for number, text in enumerate(lines, start=1) if text.startswith("categories")
    )
    assert f"Line {line} of a1, version 1" in output and "no consent covers it" in output
    (look,) = disclosures(database_of(home), limit=10)
    assert (look.student_id, look.route) == ("s1", "handrail agreements explain")
    one_category = run(
        home, "agreements", "explain", CASEWORKER, "s1", "--as", OFFICER, "--category", "attendance"
    )[1]
    (stored,) = agreement_versions(database_of(home), "a1")
    assert (
        stored.agreement.sha256 in one_category
        and "Yes: in p1 since 5 January 2026" in one_category
    )
    assert (
        "attendance is seen: Does the agreement cover this part of the record? Yes." in one_category
    )
    later = run(
        home,
        "agreements",
        "explain",
        CASEWORKER,
        "s1",
        "--as",
        OFFICER,
        "--on",
        "2026-08-01",
        "--category",
        "attendance",
    )[1]
    assert (
        "attendance is not seen: Is it still in force? No: its last day is 31 July 2026." in later
    )


def test_a_closed_account_is_explained_too(home: Path):
    with database_of(home).session() as session:
        session.query(StaffRow).filter(StaffRow.login == CASEWORKER).one().active = False
    output = run(home, "agreements", "explain", CASEWORKER, "s1", "--as", OFFICER)[1]
    assert "No: the account is closed" in output


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("agreements", "explain", "nobody@x.example", "s1", "--as", OFFICER),
            "nobody has the login 'nobody@x.example'",
        ),
        (
            ("agreements", "explain", CASEWORKER, "s99", "--as", OFFICER),
            "no student in the records has this ID",
        ),
        (
            ("agreements", "explain", CASEWORKER, "s1", "--as", CASEWORKER),
            "is not a district administrator",
        ),
        (
            ("agreements", "explain", CASEWORKER, "s1", "--as", OFFICER, "--category", "shoes"),
            "--category is 'shoes'",
        ),
        (
            ("agreements", "explain", CASEWORKER, "s1", "--as", OFFICER, "--on", "May"),
            "--on is 'May'; it must be a day",
        ),
        (("agreements", "show", "a9"), "there is no agreement 'a9'"),
        (("agreements", "show", "a1", "--version", "9"), "a1 has no version 9; the newest is 1"),
        (("agreements", "diff", "a1"), "version 1 of a1 is the first"),
        (
            ("consents", "revoke", "9", "--as", OFFICER, "--by", "A parent"),
            "There is no consent 9.",
        ),
        (
            ("consents", "opt-out", "s99", "--as", OFFICER),
            "there is no such student in the records",
        ),
        (
            ("consents", "opt-out", "s1", "--as", CASEWORKER),
            "is not an active district administrator",
        ),
        (
            ("consents", "opt-out", "s1", "--as", OFFICER, "--on", "May"),
            "--on is 'May'; it must be a day",
        ),
        (
            ("consents", "end-opt-out", "s1", "--as", OFFICER),
            "No opt-out is in effect for this student",
        ),
    ],
)
def test_wrong_use_is_one_plain_sentence_and_exit_two(
    home: Path, arguments: tuple[str, ...], expected: str
):
    code, shown, problem = run(home, *arguments)
    assert code == 2 and expected in problem and "Traceback" not in problem, (shown, problem)
    assert consents(database_of(home)) == [] and opt_outs(database_of(home)) == []
    assert disclosures(database_of(home), limit=10) == []


def test_consents_are_added_listed_and_revoked_with_who_did_it(home: Path, tmp_path: Path):
    row = "s1,tutors,housing,Tutoring,A parent,{},2026-08-31"
    file = tmp_path / "consents.csv"
    file.write_text(
        "\n".join((",".join(CONSENT_COLUMNS), row.format("2026-04-01"), row.format("2026-04-02")))
        + "\n"
    )
    assert run(home, "consents", "add", str(file), "--as", OFFICER)[1].startswith(
        "2 consents were recorded"
    )
    assert run(home, "consents", "add", str(file), "--as", OFFICER)[1].startswith(
        "0 consents were recorded"
    )
    seen = ("agreements", "explain", CASEWORKER, "s1", "--as", OFFICER, "--category", "housing")
    assert "housing is seen" in run(home, *seen)[1]
    newest, oldest = (consent.number for consent in consents(database_of(home)))
    output = run(
        home, "consents", "revoke", str(newest), "--as", OFFICER, "--by", "The same parent"
    )[1]
    assert f"Consent {newest} is revoked from {DAY} on." in output
    assert f"Consent {oldest}, signed on 2026-04-01, still opens housing." in output
    assert "housing is seen" in run(home, *seen)[1]
    run(home, "consents", "revoke", str(oldest), "--as", OFFICER, "--by", "The same parent")
    assert "housing is not seen" in run(home, *seen)[1]
    listed = run(home, "consents", "list", "s1")[1]
    assert listed.count(f"revoked on {DAY}") == 2 and "A parent" in listed
    assert "A parent" not in run(home, "consents", "list", "s2")[1]
    assert {consent.revoked_by for consent in consents(database_of(home))} == {"The same parent"}


def test_an_opt_out_is_written_down_and_ended(home: Path):
    output = run(home, "consents", "opt-out", "s1", "--as", OFFICER)[1]
    assert output == f"No partner sees this student from {DAY} on.\n"
    seen = ("agreements", "explain", CASEWORKER, "s1", "--as", OFFICER, "--category", "directory")
    assert "Has the family opted out? Yes: since 17 April 2026." in run(home, *seen)[1]
    assert "in effect" in run(home, "consents", "list")[1]
    assert (
        "partners see this student again"
        in run(home, "consents", "end-opt-out", "s1", "--as", OFFICER)[1]
    )
    assert "directory is seen" in run(home, *seen)[1]
