"""A partner's mapping: what a draft proposes, what it asks, and what a file of it must not say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from records.connectors.partner_files.mapping import MappingError, parse_mapping
from records.connectors.partner_files.mapping_proposal import (
    FileProposal,
    draft_mapping,
    propose_file,
)
from records.connectors.protocol import SourceRefused

MAPPING = """\
organization_id = "tutors"

[programs."After School Tutoring"]
program_id = "p1"
support = "tutoring"

[[file]]
name = "Enrollments*.csv"
holds = "enrollments"
dates = ["MM/DD/YYYY", "YYYY-MM-DD"]

[file.columns]
participant_id = "Participant ID"
program_id = "Program Name"
start_date = "Enrollment Date"
end_date = "Exit Date"

[[file]]
name = "Attendance.csv"
holds = "sessions"
dates = ["MM/DD/YYYY"]

[file.columns]
participant_id = "Participant ID"
session_id = ["Record ID", "Participant ID"]
date = "Service Date"
attended = "Attended?"
hours = "Hours"

[file.values.attended]
"Present" = true
"No Show" = false

[file.leave_out]
attended = ["Cancelled"]

[file.constants]
program_id = "p1"
"""


def test_a_mapping_says_what_each_file_and_column_is():
    mapping = parse_mapping(MAPPING, "tutors.toml")
    enrollments, sessions = mapping.files
    assert mapping.organization_id == "tutors"
    assert mapping.programs["after school tutoring"]["program_id"] == "p1"
    assert enrollments.columns["end_date"] == ("Exit Date",)
    assert sessions.columns["session_id"] == ("Record ID", "Participant ID")
    assert sessions.values == {"attended": {"present": "true", "no show": "false"}}
    assert sessions.leave_out == {"attended": frozenset({"cancelled"})}
    assert sessions.constants == {"program_id": "p1"}


def test_the_example_in_the_documents_is_a_mapping():
    example = Path(__file__).parents[3] / "docs" / "examples" / "mappings" / "apricot.toml"
    mapping = parse_mapping(example.read_text(encoding="utf-8"), example.name)
    assert [file.holds for file in mapping.files] == ["enrollments", "exits", "sessions"]


@pytest.mark.parametrize(
    ("old", "new", "line", "part"),
    [
        ('organization_id = "tutors"', "", 39, "organization_id is missing"),
        ('organization_id = "tutors"', 'organisation = "tutors"', 1, "not part of a mapping"),
        ('program_id = "p1"\nsupport', "support", 3, "has no program_id"),
        ('support = "tutoring"', 'support = "homework"', 5, "must be one of tutoring"),
        ('support = "tutoring"', 'places = "20"', 5, "places is not part of a program"),
        ('name = "Enrollments*.csv"', 'name = "../Enrollments.csv"', 8, "without a folder"),
        (
            'holds = "enrollments"',
            'holds = "people"',
            9,
            "one of programs, enrollments, exits, sessions",
        ),
        (
            '"MM/DD/YYYY", "YYYY-MM-DD"',
            '"MM/DD/YYYY", "DD/MM/YYYY"',
            10,
            "the same text could mean two dates",
        ),
        ('"MM/DD/YYYY", "YYYY-MM-DD"', '"%m/%d/%Y"', 10, "is written like MM/DD/YYYY"),
        ('"MM/DD/YYYY", "YYYY-MM-DD"', '"MM/MM/YYYY"', 10, "is written like MM/DD/YYYY"),
        (
            'start_date = "Enrollment Date"\n',
            "",
            12,
            "enrollments need start_date, and no column is mapped to it",
        ),
        (
            'end_date = "Exit Date"',
            'last_day = "Exit Date"',
            16,
            "last_day is not something that enrollments have",
        ),
        (
            'end_date = "Exit Date"',
            'exit_reason = "Diagnosis"',
            16,
            "which is never stored (health or diagnosis)",
        ),
        (
            'end_date = "Exit Date"',
            'student_id = "Student"',
            16,
            "participant_id and student_id are both mapped",
        ),
        ('end_date = "Exit Date"', 'end_date = ["Exit", "Date"]', 16, "must be words"),
        ('hours = "Hours"', 'start_time = "In"', 23, "of use only together"),
        (
            'hours = "Hours"',
            'hours = "Hours"\nminutes = "Min"',
            29,
            "hours and minutes are both mapped",
        ),
        ('"No Show" = false', '"No Show" = "perhaps"', 32, "it must be true or false"),
        (
            "[file.values.attended]",
            "[file.values.minutes]",
            30,
            "not one of the columns mapped above",
        ),
        ('attended = ["Cancelled"]', 'attended = "Cancelled"', 35, "must be a list of words"),
        ('[file.constants]\nprogram_id = "p1"', "", 23, "sessions need program_id"),
        (
            '[file.constants]\nprogram_id = "p1"',
            '[file.constants]\nstudent_id = "s1"',
            38,
            "student_id cannot be a constant",
        ),
        (
            '[file.constants]\nprogram_id = "p1"',
            "[file.constants]\nattended = true",
            38,
            "a column and a constant",
        ),
    ],
)
def test_a_mapping_that_will_not_do_names_its_file_and_line(
    old: str, new: str, line: int, part: str
):
    assert old in MAPPING
    with pytest.raises(MappingError, match=re.escape(part)) as error:
        parse_mapping(MAPPING.replace(old, new, 1), "tutors.toml")
    assert str(error.value).startswith(f"tutors.toml, line {line}: "), error.value


def test_a_mapping_that_is_not_toml_or_maps_no_file_is_refused():
    with pytest.raises(MappingError, match="not valid TOML"):
        parse_mapping("organization_id = ", "x.toml")
    with pytest.raises(MappingError, match="which file holds what"):
        parse_mapping('organization_id = "tutors"', "x.toml")


def proposed(folder: Path, file: str, text: str) -> FileProposal:
    (folder / file).write_text(text, encoding="utf-8")
    return propose_file(folder / file)


def targets(proposal: FileProposal) -> dict[str, str]:
    return {
        column.header: column.target for column in proposal.columns if column.target is not None
    }


APRICOT = """\
Record ID,Participant ID,Last Name,SSN,Program Name,Enrollment Date,Exit Date,Exit Reason
E1,P-100,Lopez,123-45-6789,After School Tutoring,01/13/2026,,
E2,P-101,Reyes,223-45-6789,After School Tutoring,01/05/2026,03/27/2026,Moved
"""
APRICOT_SESSIONS = """\
Record ID,Participant ID,Program Name,Service Date,Attended?,Duration (min)
S1,P-100,After School Tutoring,01/14/2026,Present,45
S1,P-101,After School Tutoring,01/14/2026,No Show,0
S2,P-100,After School Tutoring,01/15/2026,Cancelled,
S3,P-100,After School Tutoring,01/16/2026,Danced with Lopez,10
"""


def test_an_apricot_export_is_proposed_whole_and_the_draft_is_a_mapping(tmp_path: Path):
    enrollments = proposed(tmp_path, "Enrollments.csv", APRICOT)
    sessions = proposed(tmp_path, "Attendance.csv", APRICOT_SESSIONS)
    assert (enrollments.holds, enrollments.dates, sessions.holds) == (
        "enrollments",
        ("MM/DD/YYYY",),
        "sessions",
    )
    assert targets(enrollments) == {
        "Record ID": "enrollment_id",
        "Participant ID": "participant_id",
        "Program Name": "program_id",
        "Enrollment Date": "start_date",
        "Exit Date": "end_date",
        "Exit Reason": "exit_reason",
    }
    assert targets(sessions) == {
        "Record ID": "session_id",
        "Participant ID": "participant_id",
        "Program Name": "program_id",
        "Service Date": "date",
        "Attended?": "attended",
        "Duration (min)": "minutes",
    }
    assert {column.header: column.why for column in enrollments.columns}[
        "SSN"
    ] == "never stored (social security number)"
    assert sessions.session_key == (
        "Record ID",
        "Participant ID",
    ), "one record of a group stands on several rows"
    mapping = parse_mapping(draft_mapping([enrollments, sessions], "tutors"), "draft.toml")
    assert mapping.organization_id == "tutors"
    assert mapping.programs["after school tutoring"]["program_id"] == "tutors-after-school-tutoring"
    assert mapping.files[1].values["attended"] == {"present": "true", "no show": "false"}
    assert mapping.files[1].leave_out == {"attended": frozenset({"cancelled"})}


def test_a_draft_holds_no_value_of_a_child_even_where_a_column_is_misused(tmp_path: Path):  # R38
    files = [proposed(tmp_path, "e.csv", APRICOT), proposed(tmp_path, "s.csv", APRICOT_SESSIONS)]
    text = draft_mapping(files, "tutors") + "".join(str(file) for file in files)
    for value in ("Lopez", "Reyes", "P-100", "6789", "Danced", "Moved", "01/13/2026"):
        assert value not in text, value


@pytest.mark.parametrize(
    ("text", "holds", "expected", "dates"),
    [
        (
            (
                "Subject Unique Identifier,Program Name,Date of Contact,"
                "TouchPoint Response ID,Attendance Status,Minutes\n"
                "77,Mentoring,2026-02-03,9001,Attended,60\n"
                "78,Mentoring,2026-02-14,9002,Did not attend,0\n"
            ),
            "sessions",
            {
                "Subject Unique Identifier": "participant_id",
                "Program Name": "program_id",
                "Date of Contact": "date",
                "TouchPoint Response ID": "session_id",
                "Attendance Status": "attended",
                "Minutes": "minutes",
            },
            ("YYYY-MM-DD",),
        ),
        (
            (
                "Client: Contact ID,Program: Program Name,Program Engagement: ID,Start Date,End"
                " Date\n003A,Tutoring,PE-1,1/13/26,\n003B,Tutoring,PE-2,1/14/26,2/28/26\n"
            ),
            "enrollments",
            {
                "Client: Contact ID": "participant_id",
                "Program: Program Name": "program_id",
                "Program Engagement: ID": "enrollment_id",
                "Start Date": "start_date",
                "End Date": "end_date",
            },
            ("MM/DD/YY",),
        ),
        (
            (
                "ServiceDeliveryID,ClientID,ProgramCode,DeliveryDate,TimeIn,TimeOut,Present\n"
                "1,7,tut,14.01.2026,15:30,16:15,Y\n"
                "2,8,tut,15.01.2026,15:30,16:00,N\n"
            ),
            "sessions",
            {
                "ServiceDeliveryID": "session_id",
                "ClientID": "participant_id",
                "ProgramCode": "program_id",
                "DeliveryDate": "date",
                "TimeIn": "start_time",
                "TimeOut": "end_time",
                "Present": "attended",
            },
            ("DD.MM.YYYY",),
        ),
        (
            (
                "Número de participante,Programa,Fecha de inscripción,Fecha de salida,Motivo de"
                " salida\n1,Tutoría,23/04/2026,05/06/2026,Se mudó\n2,Tutoría,05/04/2026,,\n"
            ),
            "enrollments",
            {
                "Número de participante": "participant_id",
                "Programa": "program_id",
                "Fecha de inscripción": "start_date",
                "Fecha de salida": "end_date",
                "Motivo de salida": "exit_reason",
            },
            ("DD/MM/YYYY",),
        ),
        (
            "Enrollment ID,Exit Date,Exit Reason\nE1,2026-03-31,Moved\n",
            "exits",
            {
                "Enrollment ID": "enrollment_id",
                "Exit Date": "end_date",
                "Exit Reason": "exit_reason",
            },
            ("YYYY-MM-DD",),
        ),
        (
            "Program ID,Program Name,Capacity,Minimum Grade\np1,Tutoring,20,3\n",
            "programs",
            {
                "Program ID": "program_id",
                "Program Name": "name",
                "Capacity": "capacity",
                "Minimum Grade": "min_grade",
            },
            (),
        ),
    ],
)
def test_exports_of_other_systems_are_told_by_their_headers(
    text: str, holds: str, expected: dict[str, str], dates: tuple[str, ...], tmp_path: Path
):
    proposal = proposed(tmp_path, "export.csv", text)
    assert (proposal.holds, targets(proposal), proposal.dates, proposal.questions) == (
        holds,
        expected,
        dates,
        (),
    )
    parse_mapping(draft_mapping([proposal], "tutors"), "draft.toml")


@pytest.mark.parametrize(
    ("text", "unmapped", "question"),
    [
        (
            "Client ID,Program,Enrollment Date,Start Date\n1,x,2026-01-05,2026-01-06\n",
            {"Enrollment Date", "Start Date"},
            "both named like start_date: which is it?",
        ),
        (
            "Student ID,Program,Start Date\n1,x,2026-01-05\n",
            {"Student ID"},
            "the district's own student number",
        ),
        (
            "Client ID,Program,Service Date,Record ID,Attended,Duration\n1,x,2026-01-05,2,Y,1\n",
            {"Duration"},
            "in minutes (minutes) or in hours (hours)?",
        ),
        (
            "Client ID,Program,Start Date\n1,x,soon\n",
            {"Start Date"},
            "its values do not look like dates",
        ),
        (
            "Client ID,Program,Start Date,Exit Reason\n"
            + "".join(f"{n},x,2026-01-05,told us {n} things\n" for n in range(20)),
            {"Exit Reason"},
            "free text",
        ),
        (
            "Client ID,Program,Start Date\n1,x,01/02/2026\n",
            set(),
            "written MM/DD/YYYY or DD/MM/YYYY?",
        ),
        (
            "Client ID,Program,Service Date,Record ID\n1,x,2026-01-05,2\n",
            set(),
            "no column was found for attended",
        ),
        (
            "Client ID,Program,Service Date,Attended\n1,x,2026-01-05,Y\n",
            set(),
            "no column identifies a session",
        ),
        ("Colour,Shape\nred,round\n", {"Colour", "Shape"}, "not clear what this file holds"),
    ],
)
def test_what_could_be_two_things_is_asked_and_not_guessed(
    text: str, unmapped: set[str], question: str, tmp_path: Path
):
    proposal = proposed(tmp_path, "export.csv", text)
    assert unmapped <= {column.header for column in proposal.columns if column.target is None}
    assert any(question in question_text for question_text in proposal.questions), (
        proposal.questions
    )
    assert question in draft_mapping([proposal], None)


def test_a_file_without_a_header_is_refused_and_no_child_is_repeated(tmp_path: Path):
    (tmp_path / "x.csv").write_text("Lopez,P-1,2026-01-05\nReyes,P-2,2026-01-06\n")
    with pytest.raises(SourceRefused, match=r"x\.csv, line 1: this is a record") as error:
        propose_file(tmp_path / "x.csv")
    assert "Lopez" not in str(error.value)
