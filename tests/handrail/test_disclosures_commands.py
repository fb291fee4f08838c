"""The log at the command line: checked, told to a family, and searched after a breach."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import stat
import subprocess
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest

from handrail.commands import disclosures as commands
from records.access.scope import scope_for
from records.canonical.schema import Category
from records.database.engine import Database, open_database
from records.disclosure_log.checkpoints import save_checkpoint
from records.disclosure_log.disclosures import record_disclosures
from records.disclosure_log.history import disclosures
from records.disclosure_log.student_references import unlink_student
from records.staff.accounts import Organization, active_staff_member, add_organization, add_staff
from records.staff.viewer import DISTRICT, Role
from tests.handrail.test_cli import PASSWORD, in_process
from tests.records import six_student_district
from tests.records.conftest import SECRET, add_agreement, snapshot_of
from tests.serving.pdf_text import pdf_text

OFFICER, WORKER = "officer@district.example", "worker@tutors.example"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A loaded home in which a caseworker has viewed two students on two days."""
    monkeypatch.setenv("HANDRAIL_TODAY", "2026-04-17")
    snapshot = snapshot_of(six_student_district.rows(), tmp_path / "home")
    database = opened(tmp_path / "home")
    for key, name in (("tutors", "The Tutors"), (DISTRICT, "The District")):
        add_organization(database, Organization(key, name, "partner"))
    add_agreement(database)
    add_staff(database, OFFICER, "Grace Olander", Role.DISTRICT_ADMIN, DISTRICT, PASSWORD)
    add_staff(database, WORKER, "Dana Whitfield", Role.CASEWORKER, "tutors", PASSWORD)
    for day, students in ((15, ["s1", "s2"]), (16, ["s1"])):
        now = datetime(2026, 4, day, 9, 5)
        scope = scope_for(active_staff_member(database, WORKER), database, snapshot, now, SECRET)
        record_disclosures(
            database, scope, students, [Category.DIRECTORY, Category.ATTENDANCE], "/caseload", now
        )
    database.engine.dispose()
    return tmp_path / "home"


def opened(home: Path) -> Database:
    return open_database(f"sqlite:///{home / 'handrail.db'}")


def report(
    home: Path, *options: str, student: str = "s1", who: str = OFFICER
) -> subprocess.CompletedProcess[str]:
    return in_process("disclosures", "report", student, "--as", who, *options, "--home", str(home))


def test_a_report_in_each_format_says_the_same_and_is_itself_on_the_list(
    home: Path, tmp_path: Path
):  # R26, R27, R23
    shown = report(home)
    assert shown.returncode == 0, shown.stderr
    for part in (
        "3 views as of April 17, 2026",
        "by 2 organizations",
        "The Tutors",
        "Tutoring after school",
        "Recordkeeping required by law: No (34 CFR 99.32(d)(2))",
        "Shown to Grace Olander, The District",
        "April 16, 2026, 9:05 AM: Dana Whitfield, The Tutors: name, grade level, and school,",
    ):
        assert part in shown.stdout, part
    for number, kind in enumerate(("text", "csv", "html", "pdf"), start=2):
        file = tmp_path / f"report.{kind}"
        assert report(home, "--format", kind, "--out", str(file)).returncode == 0
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        text = (
            pdf_text(file.read_bytes()) if kind == "pdf" else file.read_text(encoding="utf-8-sig")
        )
        assert (
            "Shown to Grace Olander, The District from the district" in text
            and "The Tutors" in text
        ), kind
        rows = disclosures(opened(home), student_id="s1")
        assert len(rows) == 2 + number and rows[0].route == "handrail disclosures report"


def test_a_report_as_a_page_stands_alone(home: Path, tmp_path: Path):  # R26
    file = tmp_path / "report.html"
    report(home, "--format", "html", "--out", str(file))
    page = file.read_text()
    assert "href=" not in page and "src=" not in page and "<script" not in page
    assert ".table-card" in page and "Who viewed the record, and why" in page


def test_only_a_district_administrator_with_a_password_gets_a_report(
    home: Path, tmp_path: Path
):  # R26
    for run, part in (
        (
            report(home, who=WORKER),
            "worker@tutors.example is not an active district administrator: only they may make",
        ),
        (
            report(home, student="s99"),
            "neither the records nor the disclosure log contain a student 's99'",
        ),
        (
            report(home, "--format", "doc"),
            "--format is 'doc'; it must be one of text, csv, html, pdf",
        ),
        (report(home, "--format", "pdf"), "a PDF needs a file to be written to: give --out"),
        (
            in_process(
                "disclosures",
                "report",
                "s1",
                "--as",
                OFFICER,
                "--home",
                str(home),
                password="wrong password",
            ),
            "or its password is wrong",
        ),
    ):
        assert (run.returncode, run.stdout) == (2, ""), part
        assert part in run.stderr.replace("\n", " ")
    assert len(disclosures(opened(home))) == 3, "what was not shown is not on the list"


def test_a_report_is_not_made_when_it_cannot_be_written_down(home: Path, tmp_path: Path):  # R23
    with closing(sqlite3.connect(home / "handrail.db")) as file, file:
        file.execute(
            "CREATE TRIGGER closed BEFORE INSERT ON disclosures BEGIN SELECT RAISE(ABORT,"
            " 'no'); END"
        )
    for kind in ("text", "csv", "html", "pdf"):
        run = report(home, "--format", kind, "--out", str(tmp_path / "report"))
        assert run.returncode == 2 and "the disclosure log cannot be written" in run.stderr.replace(
            "\n", " "
        )
        assert not (tmp_path / "report").exists()


def breach(
    home: Path,
    account: str,
    first: str,
    last: str,
    *options: str,
    who: str = OFFICER,
    password: str = PASSWORD,
) -> subprocess.CompletedProcess[str]:
    return in_process(
        "disclosures",
        "breach-report",
        "--account",
        account,
        "--from",
        first,
        "--to",
        last,
        "--as",
        who,
        *options,
        "--home",
        str(home),
        password=password,
    )


def test_a_breach_report_lists_students_categories_and_times(home: Path, tmp_path: Path):  # R33
    database = opened(home)
    with database.write_transaction() as session:
        unlink_student(session, "s2")
    run = breach(home, WORKER, "2026-04-15", "2026-04-16")
    summary = (
        "worker@tutors.example of tutors saw 2 students in 3 views from 2026-04-15 to 2026-04-16."
    )
    assert run.returncode == 0 and summary in run.stderr.replace("\n", " ")
    assert list(csv.reader(io.StringIO(run.stdout, newline=""))) == [
        [f"# {summary}"],
        ["student", "views", "first", "last", "data shown"],
        [
            "s1",
            "2",
            "2026-04-15T09:05:00.000",
            "2026-04-16T09:05:00.000",
            "name, grade level, and school, attendance",
        ],
        [
            "destroyed",
            "1",
            "2026-04-15T09:05:00.000",
            "2026-04-15T09:05:00.000",
            "name, grade level, and school, attendance",
        ],
    ]
    file = tmp_path / "breach.csv"
    assert breach(home, WORKER, "2026-04-16", "2026-04-16", "--out", str(file)).returncode == 0
    assert [row[0] for row in csv.reader(file.open(encoding="utf-8-sig", newline=""))][2:] == ["s1"]


def test_a_breach_report_finds_a_closed_account_and_refuses_what_it_cannot_read(home: Path):  # R33
    with closing(sqlite3.connect(home / "handrail.db")) as file, file:
        file.execute("UPDATE staff SET active = 0 WHERE login = ?", (WORKER,))
    assert "saw 1 student in 1 view" in breach(home, WORKER, "2026-04-16", "2026-04-16").stderr
    for arguments, part in (
        (("nobody@tutors.example", "2026-04-15", "2026-04-16"), "nobody@tutors.example"),
        (
            (WORKER, "15 April", "2026-04-16"),
            "--from is '15 April'; it must be a day such as 2026-04-17",
        ),
        ((WORKER, "2026-04-16", "2026-04-15"), "the last day is before the first"),
    ):
        run = breach(home, *arguments)
        assert (run.returncode, run.stdout) == (2, "")
        assert part in run.stderr.replace("\n", " ")


def test_a_breach_report_is_for_an_officer_and_is_itself_on_the_list(
    home: Path, tmp_path: Path
):  # R33, R26
    refused = breach(
        home, WORKER, "2026-04-15", "2026-04-16", "--out", str(tmp_path / "breach.csv"), who=WORKER
    )
    assert refused.returncode == 2 and not (tmp_path / "breach.csv").exists()
    assert (
        "worker@tutors.example is not an active district administrator"
        in refused.stderr.replace("\n", " ")
    )
    wrong = breach(home, WORKER, "2026-04-15", "2026-04-16", password="wrong password")
    assert (wrong.returncode, wrong.stdout) == (2, "") and len(disclosures(opened(home))) == 3
    load_without(home, "s2")
    assert breach(home, WORKER, "2026-04-15", "2026-04-16").returncode == 0
    rows = disclosures(opened(home))[:2]
    assert {(row.student_id, row.route, row.categories, row.shown_together) for row in rows} == {
        (student, "handrail disclosures breach-report", frozenset(), 2) for student in ("s1", "s2")
    }
    assert "Grace Olander, The District: the list of who viewed it and when" in report(home).stdout


def test_a_family_of_a_student_who_has_left_gets_the_report_too(
    home: Path, tmp_path: Path
):  # R26: 34 CFR 99.10
    load_without(home, "s2")
    text = report(home, student="s2")
    assert text.returncode == 0, text.stderr
    for part in (
        "Who has seen the record of student s2, who has left",
        "2 views as of April 17, 2026",
        "Dana Whitfield, The Tutors",
        "The student is no longer enrolled in the district, so its records no longer hold a name.",
    ):
        assert part in text.stdout, part
    for kind in ("csv", "html", "pdf"):
        file = tmp_path / f"report.{kind}"
        assert report(home, "--format", kind, "--out", str(file), student="s2").returncode == 0, (
            kind
        )
    with opened(home).write_transaction() as session:
        unlink_student(session, "s2")
    assert report(home, student="s2").returncode == 2, "destroyed is not found"


def load_without(home: Path, student: str) -> None:
    rows = six_student_district.rows()
    remaining = {
        name: [row for row in table_rows if row.get("student_id") != student]
        for name, table_rows in rows.items()
    }
    snapshot_of(remaining, home)


def verify(home: Path) -> subprocess.CompletedProcess[str]:
    return in_process("disclosures", "verify", "--home", str(home))


def test_the_log_is_compared_with_every_head_that_the_home_kept(home: Path):  # R24
    database = opened(home)
    save_checkpoint(database, home, datetime(2026, 4, 17, 10))
    assert json.loads((home / "log-heads.jsonl").read_text())["seq"] == 3
    assert (verify(home).returncode, verify(home).stdout) == (
        0,
        "The disclosure log is intact: 3 rows.\n",
    )
    with closing(sqlite3.connect(home / "handrail.db")) as file, file:
        file.execute("DELETE FROM disclosures WHERE seq = 3")
    run = verify(home)
    assert run.returncode == 1 and "rows 3 to 3 were cut off the end" in run.stderr.replace(
        "\n", " "
    )
    (home / "log-heads.jsonl").write_text("no head\n")
    run = verify(home)
    assert (
        run.returncode == 2
        and "log-heads.jsonl, line 1 is not a log checkpoint" in run.stderr.replace("\n", " ")
    )


def test_a_log_that_names_nobody_any_more_points_to_the_certificates(home: Path):
    with opened(home).write_transaction() as session:
        unlink_student(session, "s1")
    assert "The disclosures about 1 student no longer name a student" in verify(home).stdout


def test_a_long_log_is_read_with_a_bar(home: Path, monkeypatch: pytest.MonkeyPatch):
    assert "reading the log" not in verify(home).stderr
    monkeypatch.setattr(commands, "PROGRESS_BAR_FROM_ROWS", 1)
    assert "reading the log" in verify(home).stderr
