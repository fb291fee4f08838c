"""Files as people make them: what spreadsheets, systems and reports do to an export, read right or
refused in words that say what to do.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from records.canonical.quarantine import lost_zeros_hint
from records.connectors.corrections import quarantine_to_csv, read_corrections
from records.connectors.edfi.files import EdFiFiles
from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.partner_files.hmis import Hmis
from records.connectors.partner_files.mapping import parse_mapping
from records.connectors.partner_files.mapping_proposal import draft_mapping, propose_file
from records.connectors.partner_files.participant_list import COLUMN_NAMES, read_participants
from records.connectors.partner_files.service_history import ServiceHistory
from records.connectors.protocol import SourceRefused
from records.loading.load import load
from records.loading.load_report import LoadReport
from records.snapshots.snapshot import Snapshot
from tests.records import six_student_district
from tests.records.conftest import snapshot_of

USERS = (
    "sourcedId,status,givenName,familyName,middleName,role,grades,orgSourcedIds\n"
    "1,active,Ann,Test1,,student,07,100\n"
    "2,active,José,Núñez,,student,07,100\n"
)
EXPORT = {
    "orgs.csv": "sourcedId,name,type\n100,North Middle,school\n",
    "academicSessions.csv": (
        "sourcedId,type,startDate,endDate\nY26,schoolYear,2025-08-18,2026-05-22\n"
    ),
    "calendar.csv": "school_id,date,school_year\n100,2025-08-18,2026\n",
    "users.csv": USERS,
    "demographics.csv": "sourcedId,birthDate,sex\n1,2012-03-04,female\n2,2012-05-06,male\n",
    "classes.csv": "sourcedId,title,schoolSourcedId\nk1,Math,100\n",
    "enrollments.csv": (
        "sourcedId,classSourcedId,userSourcedId,role,beginDate,endDate\n"
        "e1,k1,1,student,2025-08-18,\n"
        "e2,k1,2,student,2025-08-18,\n"
    ),
}
SAMPLE_PROGRAMS = "program_id,organization_id,name\np1,tutors,After school\n"
SESSIONS = "session_id,student_id,program_id,organization_id,date,attended,minutes\n"


def write_export(folder: Path, **changed: str | bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in (EXPORT | {f"{name}.csv": text for name, text in changed.items()}).items():
        content = text.encode() if isinstance(text, str) else text
        (folder / file).write_bytes(content)
    return folder


def write_all(folder: Path, write: Callable[[str], bytes]) -> Path:
    """The export with each file written in some way."""
    folder.mkdir(parents=True)
    for file, text in EXPORT.items():
        (folder / file).write_bytes(write(text))
    return folder


def rows(home: Path, table: str) -> list[dict[str, Any]]:
    return Snapshot.current(home).table(table).to_pyarrow().to_pylist()


def bad_rows(home: Path) -> list[tuple[str, int, str | None, str]]:
    return [
        (row["file"], row["line"], row["column"], row["reason"])
        for row in Snapshot.current(home).quarantined().to_pylist()
    ]


def assert_all_is_read(report: LoadReport, home: Path) -> None:
    """Both students of an export, with what each of its files says of them."""
    assert bad_rows(home) == []
    for count in report.files:
        assert count.quarantined == 0 and count.read == count.kept + count.ignored, count
    students = rows(home, "students")
    assert [(row["student_id"], row["birth_date"], row["school_id"]) for row in students] == [
        ("1", date(2012, 3, 4), "100"),
        ("2", date(2012, 5, 6), "100"),
    ]
    assert [(row["entry_date"], row["exit_date"]) for row in rows(home, "school_enrollments")] == [
        (date(2025, 8, 18), None),
        (date(2025, 8, 18), None),
    ]


@pytest.mark.parametrize(
    "case",
    [
        "41-csv-utf16",
        "42-csv-cp1252",
        "43-csv-semicolon",
        "45-csv-trailing-commas",
        "48-csv-cr-only",
        "52-csv-names-upper",
        "54-csv-us-dates",
        "60-zip-folder-dsstore/60-zip-folder-dsstore.zip",
    ],
)
def test_an_export_that_was_saved_in_another_way_is_read_whole(
    case: str, cases: Path, tmp_path: Path
):
    report = load(OneRosterFiles(), cases / case, tmp_path)
    assert_all_is_read(report, tmp_path)
    names = {row["first_name"] for row in rows(tmp_path, "students")}
    assert names == ({"Ann", "José"} if "1252" in case else {"Ann"})
    assert {count.read for count in report.files if count.file.casefold() == "users.csv"} == {2}


@pytest.mark.parametrize(
    ("case", "note"),
    [
        ("41-csv-utf16", "users.csv is not UTF-8: it was read as UTF-16"),
        ("42-csv-cp1252", "users.csv is not UTF-8: it was read as Windows-1252"),
        ("43-csv-semicolon", "the fields of users.csv are separated by semicolons, not by commas"),
        (
            "54-csv-us-dates",
            "dates of enrollments.csv were read with the month first, as in 2/14/2026: beginDate",
        ),
    ],
)
def test_the_report_says_how_such_a_file_was_read(
    case: str, note: str, cases: Path, tmp_path: Path
):
    assert note in load(OneRosterFiles(), cases / case, tmp_path).notes


def test_a_line_break_in_a_description_takes_no_mark_away(cases: Path, tmp_path: Path):
    report = load(OneRosterFiles(), cases / "28-or-quoted-newline", tmp_path)
    [count] = [count for count in report.files if count.file == "lineItems.csv"]
    assert (count.read, count.kept) == (2, 2)
    grades = [row["grade"] for row in rows(tmp_path, "gradebook_entries")]
    assert sum(grades) / len(grades) == 70
    assert bad_rows(tmp_path) == []


def test_empty_and_nil_elements_of_ed_fi_are_unknown(cases: Path, tmp_path: Path):
    report = load(EdFiFiles(), cases / "104-edfi-nil-empty", tmp_path)
    assert bad_rows(tmp_path) == []
    assert {count.file: (count.read, count.kept) for count in report.files} == {
        "EducationOrganization.xml": (1, 1),
        "Student.xml": (4, 4),
        "StudentEnrollment.xml": (4, 4),
    }
    assert [(row["first_name"], row["last_name"]) for row in rows(tmp_path, "students")] == [
        ("Ann", "Test"),
        ("José", "O'Brien-Núñez"),
        ("Ann", "Test"),
        ("Ann", None),
    ]


def test_map_finds_the_header_below_a_reports_title(cases: Path, tmp_path: Path):
    file = cases / "80-map-apricot-title-rows" / "Attendance.csv"
    proposal = propose_file(file)
    assert (proposal.holds, proposal.header_line) == ("sessions", 4)
    assert proposal.column_for("date") == "Service Date"
    assert proposal.questions[0] == (
        "Attendance.csv: line 4 looks like the header, so lines 1 to 3 above it would be left out"
        " (header_line = 4): is that right?"
    )
    mapping = parse_mapping(draft_mapping([proposal], "brightpath"), "mapping.toml")
    snapshot_of(six_student_district.rows() | {"service_sessions": []}, tmp_path)
    links = {"P1": "s1", "P2": "s2"}
    report = load(ServiceHistory(mapping=mapping, links=links), file.parent, tmp_path, merge=True)
    [count] = [count for count in report.files if count.file == "Attendance.csv"]
    assert (count.read, count.kept) == (6, 2)
    assert count.ignored_kinds == {
        "a line above the header": 3,
        "a line below the records (the report's footer)": 1,
    }
    sessions = [(row["session_id"], row["date"]) for row in rows(tmp_path, "service_sessions")]
    assert sessions == [("11", date(2026, 2, 14)), ("12", date(2026, 2, 14))]


def test_a_report_of_salesforce_is_read_to_its_footer(cases: Path, tmp_path: Path):
    folder = cases / "89-sh-footer-cp1252"
    load(OneRosterFiles(), folder / "roster", tmp_path)
    mapping = parse_mapping((folder / "mapping.toml").read_text(), "mapping.toml")
    report = load(ServiceHistory(mapping=mapping), folder, tmp_path, merge=True)
    [count] = [count for count in report.files if count.file == "Sessions.csv"]
    assert count.ignored_kinds == {
        "empty line": 2,
        "a line below the records (the report's footer)": 3,
    }
    assert (count.read, count.kept, count.quarantined) == (10, 4, 1)
    assert report.waiting["service_sessions"] == 2, "of students who are not in the roster"
    assert [row["session_id"] for row in rows(tmp_path, "service_sessions")] == ["11", "12"]
    assert "Sessions.csv is not UTF-8: it was read as Windows-1252" in report.notes
    assert {(row[1], row[2]) for row in bad_rows(tmp_path) if row[0] == "Sessions.csv"} == {
        (6, "Service Date"),
    }


@pytest.mark.parametrize(
    ("encoding", "line_end"),
    [
        ("utf-8", "\n"),
        ("utf-8-sig", "\r\n"),
        ("utf-16", "\r\n"),
        ("utf-16-le", "\n"),
        ("utf-16-be", "\n"),
        ("cp1252", "\r\n"),
        ("cp1252", "\r"),
        ("mac-roman", "\r"),
        ("mac-roman", "\n"),
        ("utf-8", "\r"),
        ("utf-16", "\r"),
    ],
)
def test_every_encoding_and_line_end_gives_the_same_names(
    encoding: str, line_end: str, tmp_path: Path
):
    def write(text: str) -> bytes:
        return text.replace("\n", line_end).encode(encoding)

    home = tmp_path / "home"
    assert_all_is_read(load(OneRosterFiles(), write_all(tmp_path / "in", write), home), home)
    assert [row["last_name"] for row in rows(home, "students")] == ["Test1", "Núñez"]


def test_utf_16_with_a_byte_order_mark_and_the_big_end_first_is_read(tmp_path: Path):
    folder = write_all(tmp_path / "in", lambda text: b"\xfe\xff" + text.encode("utf-16-be"))
    assert_all_is_read(load(OneRosterFiles(), folder, tmp_path / "home"), tmp_path / "home")


def test_a_damaged_byte_in_a_file_of_utf_8_takes_only_its_own_line(tmp_path: Path):
    users = USERS.encode().replace(b"Ann", b"A\xe9nn")
    load(OneRosterFiles(), write_export(tmp_path / "in", users=users), tmp_path / "home")
    assert [row["first_name"] for row in rows(tmp_path / "home", "students")] == ["José"]
    assert ("users.csv", 2, None, "byte 11 of the line is not UTF-8") in bad_rows(tmp_path / "home")


def test_a_byte_that_windows_does_not_have_takes_only_its_own_line(tmp_path: Path):
    users = USERS.encode("cp1252").replace(b"Ann", b"\x81nn")
    users += b"".join(
        f"{n},active,Zoë,Åberg,,student,07,100\n".encode("cp1252") for n in range(3, 9)
    )
    load(OneRosterFiles(), write_export(tmp_path / "in", users=users), tmp_path / "home")
    assert {row["first_name"] for row in rows(tmp_path / "home", "students")} == {"José", "Zoë"}
    reasons = [row for row in bad_rows(tmp_path / "home") if row[0] == "users.csv"]
    assert reasons == [("users.csv", 2, None, "byte 10 of the line is not Windows-1252")]


@pytest.mark.parametrize(
    "name",
    [
        "José",
        "O\u2019Brien",
        "PEÑA",
        "Ángel",
        "É",
        "Smith\u2013Jones",
        "Class of 2025\u201326",
        "Zoë \u201cZ\u201d",
    ],
)
def test_few_letters_are_enough_to_see_windows_1252(name: str, tmp_path: Path):
    users = USERS.replace("Ann", name).replace("José,Núñez", "Bo,Lee").encode("cp1252")
    report = load(OneRosterFiles(), write_export(tmp_path / "in", users=users), tmp_path / "home")
    assert rows(tmp_path / "home", "students")[0]["first_name"] == name
    assert "users.csv is not UTF-8: it was read as Windows-1252" in report.notes


@pytest.mark.parametrize("damage", [b"\xff", b"\x80", b"\xc3", b"\x81", b"\xe9\xe9\xff\x81"])
def test_a_byte_that_makes_no_letter_is_damage(damage: bytes, tmp_path: Path):
    users = USERS.replace("José,Núñez", "Bo,Lee").encode().replace(b"Ann", b"An" + damage + b"n")
    report = load(OneRosterFiles(), write_export(tmp_path / "in", users=users), tmp_path / "home")
    assert [row["student_id"] for row in rows(tmp_path / "home", "students")] == ["2"]
    assert report.notes == []
    assert ("users.csv", 2, None, "byte 12 of the line is not UTF-8") in bad_rows(tmp_path / "home")


@pytest.mark.parametrize("read", [True, False])
def test_a_damaged_byte_does_harm_only_in_a_column_that_is_read(read: bool, tmp_path: Path):
    users = USERS.encode()
    users = users.replace(b"Ann,Test1,", b"A\xffnn,Test1," if read else b"Ann,Test1,\xff")
    load(OneRosterFiles(), write_export(tmp_path / "in", users=users), tmp_path / "home")
    assert len(rows(tmp_path / "home", "students")) == (1 if read else 2)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_fields_may_be_separated_otherwise(separator: str, tmp_path: Path):
    folder = write_all(tmp_path / "in", lambda text: text.replace(",", separator).encode())
    home = tmp_path / "home"
    assert_all_is_read(load(OneRosterFiles(), folder, home), home)
    folder = write_all(
        tmp_path / "said", lambda text: f"sep={separator}\n{text}".replace(",", separator).encode()
    )
    report = load(OneRosterFiles(), folder, tmp_path / "again")
    assert_all_is_read(report, tmp_path / "again")
    assert {count.ignored_kinds.get("a line above the header") for count in report.files} == {1}


def test_a_file_with_semicolons_that_lacks_a_column_is_refused_by_both(tmp_path: Path):
    users = USERS.replace("familyName", "surname").replace(",", ";")
    with pytest.raises(SourceRefused) as refusal:
        load(OneRosterFiles(), write_export(tmp_path / "in", users=users), tmp_path / "home")
    assert str(refusal.value) == (
        "users.csv, line 1: there is no column 'familyName'; found sourcedId, status, givenName,"
        " surname, middleName, role, grades, orgSourcedIds (the fields are separated by semicolons)"
    )


@pytest.mark.parametrize(
    "rewrite",
    [
        str.upper,
        str.lower,
        lambda name: f" {name} ",
        lambda name: f'"{name}"',
        lambda name: name.replace("sourcedId", "Sourced ID").replace("Sourced", " Sourced"),
        lambda name: name.replace("birthDate", "birth_date").replace("given", "given "),
        lambda name: name.replace("Date", "\u00a0Date"),
    ],
)
def test_the_names_of_columns_may_be_written_otherwise(
    rewrite: Callable[[str], str], tmp_path: Path
):
    def write(text: str) -> bytes:
        header, _, body = text.partition("\n")
        return f"{','.join(rewrite(name) for name in header.split(','))}\n{body}".encode()

    home = tmp_path / "home"
    assert_all_is_read(load(OneRosterFiles(), write_all(tmp_path / "in", write), home), home)


def test_one_name_in_two_spellings_is_refused(tmp_path: Path):
    users = USERS.replace("sourcedId,status", "Sourced ID,SOURCEDID")
    with pytest.raises(SourceRefused, match="line 1: the column 'sourcedId' is there twice"):
        load(OneRosterFiles(), write_export(tmp_path / "in", users=users), tmp_path / "home")


def test_columns_without_a_name_must_be_empty(tmp_path: Path):
    users = (
        "sourcedId,givenName,familyName,role,,\n"
        "1,Ann,Test1,student,,\n"
        "2,Bo,Test2,student\n"
        "3,Cy,Test3,student,,x\n"
        "4,Di,Test4,student,\n"
        ",,,,,\n"
    )
    home = tmp_path / "home"
    folder = write_export(tmp_path / "in", users=users, demographics="sourcedId,birthDate\n")
    report = load(OneRosterFiles(), folder, home)
    assert [row["student_id"] for row in rows(home, "students")] == ["1", "2"]
    assert bad_rows(home) == [
        ("users.csv", 4, None, "field 6 of the line is in a column without a name"),
        ("users.csv", 5, None, "the line has 5 fields and the header has 6"),
    ]
    [count] = [count for count in report.files if count.file == "users.csv"]
    assert (count.read, count.kept, count.ignored_kinds) == (5, 2, {"empty line": 1})


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2012-03-04", date(2012, 3, 4)),
        ("2012-03-04T00:00:00Z", date(2012, 3, 4)),
        ("2012-03-04T23:30:00.000+05:00", date(2012, 3, 4)),
        ("2012-03-04 00:00:00", date(2012, 3, 4)),
        ("20120304", date(2012, 3, 4)),
        ("3/4/2012", date(2012, 3, 4)),
        ("03/04/2012", date(2012, 3, 4)),
        ("3-4-2012", date(2012, 3, 4)),
        ("3/4/2012 12:00:00 AM", date(2012, 3, 4)),
        ("3/4/2012 0:00", date(2012, 3, 4)),
    ],
)
def test_a_date_is_read_as_it_is_written(written: str, day: date, tmp_path: Path):
    text = f"sourcedId,birthDate\n1,{written}\n"
    load(OneRosterFiles(), write_export(tmp_path / "in", demographics=text), tmp_path / "home")
    assert rows(tmp_path / "home", "students")[0]["birth_date"] == day


def test_an_unreadable_date_is_refused_by_the_name_that_the_source_gives_it(tmp_path: Path):
    folder = write_export(
        tmp_path / "in",
        academicSessions=EXPORT["academicSessions.csv"].replace("2026-05-22", "22 May"),
        enrollments=EXPORT["enrollments.csv"].replace("2025-08-18", "8/18/25"),
        demographics="sourcedId,birthDate\n1,14/02/2012\n2,2/14/2012\n",
    )
    load(OneRosterFiles(), folder, tmp_path / "home")
    two_digits = (
        "beginDate is '8/18/25', with a year of two digits, which could be of either century; a"
        " date must look like 2026-04-17 or 4/17/2026"
    )
    assert bad_rows(tmp_path / "home") == [
        (
            "academicSessions.csv",
            2,
            "endDate",
            "endDate is '22 May'; a date must look like 2026-04-17 or 4/17/2026",
        ),
        (
            "demographics.csv",
            2,
            "birthDate",
            "birthDate is '14/02/2012', with the day first; a date must look like 2026-04-17, or"
            " like 4/17/2026 with the month first",
        ),
        ("enrollments.csv", 2, "beginDate", two_digits),
        ("enrollments.csv", 3, "beginDate", two_digits),
    ]


def test_in_a_column_with_a_day_first_no_month_is_guessed(tmp_path: Path):
    text = "sourcedId,birthDate\n1,3/4/2012\n2,25/12/2012\n"
    load(OneRosterFiles(), write_export(tmp_path / "in", demographics=text), tmp_path / "home")
    assert {row["birth_date"] for row in rows(tmp_path / "home", "students")} == {None}
    assert (
        "demographics.csv",
        2,
        "birthDate",
        "birthDate is '3/4/2012', and month and day cannot be told apart, because line 3 of the"
        " same column has the day first; write a date like 2026-04-17",
    ) in bad_rows(tmp_path / "home")


def test_one_slip_among_many_dates_with_the_month_first_costs_only_its_own_row(tmp_path: Path):
    users = USERS + "".join(f"{n},,Bo,Lee,,student,07,100\n" for n in range(3, 14))
    born = "".join(f"{n},{n}/20/2012\n" for n in range(3, 13))
    text = f"sourcedId,birthDate\n1,3/4/2012\n{born}13,25/12/2012\n"
    folder = write_export(tmp_path / "in", users=users, demographics=text)
    load(OneRosterFiles(), folder, tmp_path / "home")
    assert rows(tmp_path / "home", "students")[0]["birth_date"] == date(2012, 3, 4)
    assert [(file, line) for file, line, _, _ in bad_rows(tmp_path / "home")] == [
        ("demographics.csv", 13)
    ]


def test_with_semicolons_a_month_that_stands_first_must_be_shown(tmp_path: Path):
    home = tmp_path / "home"
    unsure = "sourcedId;birthDate\n1;3/4/2012\n2;5/5/2012\n"
    load(OneRosterFiles(), write_export(tmp_path / "in", demographics=unsure), home)
    assert [row["birth_date"] for row in rows(home, "students")] == [None, date(2012, 5, 5)]
    [(file, line, column, reason)] = bad_rows(home)
    assert (file, line, column) == ("demographics.csv", 2, "birthDate")
    assert "separated by semicolons, as spreadsheets outside of the United States" in reason
    sure = "sourcedId;birthDate\n1;3/4/2012\n2;5/16/2012\n"
    load(OneRosterFiles(), write_export(tmp_path / "in", demographics=sure), home)
    assert [row["birth_date"] for row in rows(home, "students")] == [
        date(2012, 3, 4),
        date(2012, 5, 16),
    ]


@pytest.mark.parametrize(
    "users",
    [
        USERS.replace("\n1,", '\n="1",'),
        USERS.replace("\n1,", '\n"=""1""",'),
        USERS.replace("\n1,", "\n'1,"),
        USERS.replace("\n2,", "\n\ufeff2,"),
        USERS.replace("\n2,", "\n\u200b2,"),
        USERS.replace(",07,", ', "07",'),
        USERS.replace("middleName", '"middle\nName"'),
        USERS.replace("middleName", ""),
        USERS.replace("status", "note").replace("middleName", "note"),
        USERS.replace("\n2,", "\n" + USERS.splitlines()[0] + "\n2,"),
    ],
)
def test_what_spreadsheets_and_joined_files_leave_in_a_file_changes_no_student(
    users: str, tmp_path: Path
):
    home = tmp_path / "home"
    load(OneRosterFiles(), write_export(tmp_path / "in", users=users), home)
    assert bad_rows(home) == []
    assert [
        (row["student_id"], row["last_name"], row["grade_level"]) for row in rows(home, "students")
    ] == [("1", "Test1", 7), ("2", "Núñez", 7)]
    assert len(rows(home, "school_enrollments")) == 2


@pytest.mark.parametrize("word", ["#REF!", "NULL", "N/A", "-", "#N/A"])
def test_a_word_for_no_value_is_no_students_identifier(word: str, tmp_path: Path):
    folder = write_export(tmp_path / "in", users=USERS.replace("\n1,", f"\n{word},"))
    load(OneRosterFiles(), folder, tmp_path / "home")
    assert [row["student_id"] for row in rows(tmp_path / "home", "students")] == ["2"]
    [reason] = [bad[3] for bad in bad_rows(tmp_path / "home") if bad[0] == "users.csv"]
    assert reason.startswith(f"sourcedId is {word!r}")


@pytest.mark.parametrize("word", ["NULL", "N/A", "-", "0000-00-00"])
def test_a_word_for_no_value_leaves_an_enrollment_open(word: str, tmp_path: Path):
    enrollments = EXPORT["enrollments.csv"].replace("2025-08-18,", f"2025-08-18,{word}")
    load(
        OneRosterFiles(), write_export(tmp_path / "in", enrollments=enrollments), tmp_path / "home"
    )
    assert [row["exit_date"] for row in rows(tmp_path / "home", "school_enrollments")] == [None] * 2


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\x1f\x8b\x08\0", "is packed (gzip)"),
        (b"<html><body>Sign in</body></html>", "is HTML or XML"),
        (b'[{"sourcedId": "1"}]', "is JSON"),
        (b"%PDF-1.7\n", "is a PDF document"),
        (USERS.encode("utf-32"), "is UTF-32"),
    ],
)
def test_a_file_of_another_form_is_refused_by_what_it_is(content: bytes, what: str, tmp_path: Path):
    with pytest.raises(SourceRefused, match=re.escape(f"users.csv {what} and not CSV")):
        load(OneRosterFiles(), write_export(tmp_path / "in", users=content), tmp_path / "home")


@pytest.mark.parametrize("shortened", ["1.2E+09", "1.23457E+12", "1e+10", " 1.2E+09 "])
def test_an_identifier_that_a_spreadsheet_has_shortened_is_not_believed(
    shortened: str, tmp_path: Path
):
    folder = write_export(
        tmp_path / "in",
        users=USERS.replace("\n1,", f"\n{shortened},"),
        demographics="sourcedId,birthDate\n",
        classes=f"sourcedId,title,schoolSourcedId\n{shortened},Math,100\n",
        enrollments=EXPORT["enrollments.csv"].replace("k1,1", f"{shortened},2"),
    )
    load(OneRosterFiles(), folder, tmp_path / "home")
    assert [row["student_id"] for row in rows(tmp_path / "home", "students")] == ["2"]
    found = {(file, line, column) for file, line, column, _ in bad_rows(tmp_path / "home")}
    assert found >= {
        ("users.csv", 2, "sourcedId"),
        ("classes.csv", 2, "sourcedId"),
        ("enrollments.csv", 2, "classSourcedId"),
    }
    assert bad_rows(tmp_path / "home")[0][3].endswith(
        f"is {shortened.strip()!r}, which looks like a number that a spreadsheet has shortened;"
        " export the file anew with the column as text"
    )


def test_an_identifier_without_its_zeros_is_not_guessed_and_the_reason_says_so(tmp_path: Path):
    folder = write_export(
        tmp_path / "in",
        users=USERS.replace("\n1,", "\n00001,").replace("\n2,", "\n00002,"),
        enrollments=EXPORT["enrollments.csv"],
        demographics="sourcedId,birthDate\n7,2012-03-04\n",
    )
    load(OneRosterFiles(), folder, tmp_path / "home")
    reasons = {(file, line): reason for file, line, _, reason in bad_rows(tmp_path / "home")}
    assert reasons["enrollments.csv", 2] == (
        "no student in users.csv has the identifier '1'; with zeros in front, '00001', it would be"
        " one: a spreadsheet may have removed them, so export the file anew with the column as text"
    )
    assert reasons["demographics.csv", 2] == "no student in users.csv has the identifier '7'"
    assert lost_zeros_hint("1", {"01", "001"}) == "", "which of them cannot be told"
    assert lost_zeros_hint("a1", {"0a1"}) == ""


def workbook(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return path


ADVICE = r"save it in Excel as 'CSV UTF-8 \(Comma delimited\)'"


def test_a_workbook_in_the_place_of_a_csv_file_is_refused_with_advice(tmp_path: Path):
    folder = write_export(tmp_path / "in")
    (folder / "enrollments.csv").unlink()
    workbook(folder / "Enrollments.xlsx")
    with pytest.raises(
        SourceRefused,
        match=f"Enrollments.xlsx is an Excel workbook, and enrollments.csv is expected: {ADVICE}",
    ):
        load(OneRosterFiles(), folder, tmp_path / "home")
    (folder / "Enrollments.xlsx").rename(folder / "enrollments.csv")
    with pytest.raises(SourceRefused, match=f"enrollments.csv is an Excel workbook.*{ADVICE}"):
        load(OneRosterFiles(), folder, tmp_path / "home")
    for name in ("roster.xlsx", "roster.zip"):
        with pytest.raises(SourceRefused, match=f"{name} is an Excel workbook"):
            load(OneRosterFiles(), workbook(tmp_path / name), tmp_path / "home")


def test_two_files_of_one_name_are_refused(tmp_path: Path):
    folder = write_export(tmp_path / "in")
    (folder / "USERS.CSV").write_text(USERS)
    with pytest.raises(SourceRefused, match=r"USERS\.CSV and users\.csv are both in in"):
        load(OneRosterFiles(), folder, tmp_path / "home")


def test_what_systems_leave_in_a_folder_is_no_file_of_an_export(tmp_path: Path):
    folder = write_export(tmp_path / "in" / "Export" / "2025")
    for clutter in (folder / "._users.csv", folder / "Thumbs.db", tmp_path / "in" / ".DS_Store"):
        clutter.write_bytes(b"\0\1")
    report = load(OneRosterFiles(), tmp_path / "in", tmp_path / "home")
    assert_all_is_read(report, tmp_path / "home")
    assert report.notes == []


@pytest.mark.parametrize("status", ["toBeDeleted", "TOBEDELETED", " tobedeleted ", "to be deleted"])
def test_a_deleted_record_is_left_out_however_that_is_written(status: str, tmp_path: Path):
    users = USERS.replace("1,active", f"1,{status}")
    folder = write_export(
        tmp_path / "in",
        users=users,
        demographics="sourcedId,birthDate\n",
        enrollments=EXPORT["enrollments.csv"].replace("e1,k1,1", "e1,k1,2"),
    )
    report = load(OneRosterFiles(), folder, tmp_path / "home")
    assert [row["student_id"] for row in rows(tmp_path / "home", "students")] == ["2"]
    [count] = [count for count in report.files if count.file == "users.csv"]
    assert count.ignored_kinds == {"deleted at the source": 1}


def test_a_manifest_may_be_partial_and_written_in_any_case(tmp_path: Path):
    folder = write_export(tmp_path / "in")
    (folder / "Users.CSV").write_bytes((folder / "users.csv").read_bytes())
    (folder / "users.csv").unlink()
    (folder / "MANIFEST.CSV").write_text(
        "PropertyName,Value\nmanifest.version,1.0\nOneRoster.Version,1.1\nfile.USERS,Bulk\n"
        "file.orgs,BULK\nfile.lineitems,Absent\nfile.results,\n"
    )
    report = load(OneRosterFiles(), folder, tmp_path / "home")
    assert_all_is_read(report, tmp_path / "home")
    assert report.notes == []
    (folder / "MANIFEST.CSV").write_text("propertyName,value\nfile.Results,bulk\n")
    with pytest.raises(
        SourceRefused, match=r"results\.csv is bulk, and it is not in in: the export is not whole"
    ):
        load(OneRosterFiles(), folder, tmp_path / "home")
    (folder / "MANIFEST.CSV").write_text("propertyName,value\nfile.Users,whole\n")
    with pytest.raises(SourceRefused, match=r"MANIFEST\.CSV, line 2: file\.Users is 'whole'"):
        load(OneRosterFiles(), folder, tmp_path / "home")


def test_an_export_that_is_kept_for_changes_counts_under_the_names_of_its_files(tmp_path: Path):
    folder = write_export(tmp_path / "in")
    for file in ("users.csv", "enrollments.csv"):
        (folder / file).rename(folder / file.upper())
    home = tmp_path / "home"
    report = load(OneRosterFiles(home / "sources"), folder, home)
    assert_all_is_read(report, home)
    assert {count.file for count in report.files} >= {"USERS.CSV", "ENROLLMENTS.CSV"}


def test_files_of_other_sources_may_have_names_in_any_case(cases: Path, tmp_path: Path):
    edfi = tmp_path / "edfi"
    edfi.mkdir()
    for file in (cases / "104-edfi-nil-empty").glob("*.xml"):
        (edfi / file.name.upper()).write_bytes(file.read_bytes())
    report = load(EdFiFiles(), edfi, tmp_path / "home")
    assert len(rows(tmp_path / "home", "students")) == 4
    assert "Student.xml" not in {missing.file for missing in report.missing}

    snapshot_of(six_student_district.rows() | {"service_sessions": []}, tmp_path / "partners")
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "Programs.CSV").write_text(SAMPLE_PROGRAMS)
    (plain / "SESSIONS.csv").write_text(SESSIONS + "x1,s1,p1,tutors,2026-03-01,true,45\n")
    report = load(ServiceHistory(), plain, tmp_path / "partners", merge=True)
    assert report.rows["service_sessions"] == 1

    hmis = tmp_path / "hmis"
    hmis.mkdir()
    (hmis / "ENROLLMENT.CSV").write_text(
        "EnrollmentID,PersonalID,ProjectID,EntryDate\nE1,C1,11,2026-01-08\n"
    )
    (hmis / "project.csv").write_text("projectid,ProjectName,ProjectType\n11,Shelter,1\n")
    report = load(Hmis("harbor", {"C1": "s1"}), hmis, tmp_path / "partners", merge=True)
    assert {count.file: count.kept for count in report.files} == {
        "ENROLLMENT.CSV": 1,
        "project.csv": 1,
    }


def test_a_line_that_is_cut_off_at_the_end_is_no_footer(tmp_path: Path):
    snapshot_of(six_student_district.rows() | {"service_sessions": []}, tmp_path)
    folder = tmp_path / "in"
    folder.mkdir()
    good = "x1,s1,p1,tutors,2026-03-01,true,45\n"
    (folder / "sessions.csv").write_text(SESSIONS + good + "x2")
    report = load(ServiceHistory("tutors"), folder, tmp_path, merge=True)
    [count] = report.files
    assert (count.kept, count.quarantined, count.ignored) == (1, 1, 0)
    (folder / "sessions.csv").write_text(
        f'{SESSIONS}\n"By week"\n{good}\n\n"By week"\n"Copyright (c) 2026 A, Inc."\n2 Records\n'
    )
    report = load(ServiceHistory("tutors"), folder, tmp_path, merge=True)
    [count] = report.files
    assert (count.read, count.kept, count.quarantined, count.ignored) == (8, 1, 1, 6)
    assert bad_rows(tmp_path) == [
        ("sessions.csv", 3, None, "the line has 1 fields and the header has 7")
    ]


def test_a_list_of_participants_may_be_saved_otherwise(tmp_path: Path):
    file = tmp_path / "participants.csv"
    header = ";".join(name.replace("_", " ").title() for name in COLUMN_NAMES)
    file.write_bytes(f"{header}\nP1;José;Núñez;2012-03-04;7;North\n".encode("cp1252"))
    participants = read_participants(file, "brightpath")
    [participant] = participants.participants
    assert (participant.first_name, participant.last_name) == ("José", "Núñez")
    assert participants.notes == [
        "participants.csv is not UTF-8: it was read as Windows-1252",
        "the fields of participants.csv are separated by semicolons, not by commas",
    ]


def corrected(home: Path, file: Path, **changes: str) -> Path:
    """The quarantine of a home, handed out, edited and handed back."""
    text = quarantine_to_csv(Snapshot.current(home).set_aside(), "Shown to somebody.")
    found = list(csv.DictReader(io.StringIO(text)))
    for row in found:
        for old, new in changes.items():
            row["raw"] = row["raw"].replace(old, new)
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, found[0].keys())
        writer.writeheader()
        writer.writerows(found)
    return file


@pytest.mark.parametrize(
    "write",
    [
        lambda text: text.replace(",", ";").encode("utf-16"),
        lambda text: text.replace("\n", "\r").encode("mac-roman"),
        lambda text: text.replace("userSourcedId", "User Sourced ID").encode("cp1252"),
        lambda text: text.replace("Ruiz", '"Ruiz\nof the office"').encode(),
    ],
)
def test_a_row_of_such_a_file_is_corrected_like_any_other(
    write: Callable[[str], bytes], tmp_path: Path
):
    incidents = (
        "userSourcedId,incident_id,date,behavior,reported by\n"
        "1,i1,2026-03-02,minor,Núñez\n"
        "2,i2,Tuesday,minor,Ruiz\n"
    )
    folder, home = write_export(tmp_path / "in", incidents=write(incidents)), tmp_path / "home"
    load(OneRosterFiles(), folder, home)
    [(file, line, column, _)] = bad_rows(home)
    assert (file, line, column) == ("incidents.csv", 3, "date")
    corrections = read_corrections(corrected(home, tmp_path / "fixed.csv", Tuesday="2026-03-03"))
    report = load(OneRosterFiles(), folder, home, corrections=corrections)
    [count] = [count for count in report.files if count.file == "incidents.csv"]
    assert (count.read, count.kept) == (2, 2)
    assert bad_rows(home) == []
    assert len(rows(home, "behavior_incidents")) == 2
