"""What is never stored is planted in every format, and then searched for on disk."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict
from pathlib import Path

import pytest

from records.canonical.never_ingest import NEVER_INGEST
from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.partner_files.hmis import Hmis
from records.connectors.partner_files.mapping import parse_mapping
from records.connectors.partner_files.service_history import ServiceHistory
from records.connectors.protocol import Connector
from records.loading.load import load
from records.loading.load_report import LoadReport
from tests.records import six_student_district
from tests.records.conftest import snapshot_of
from tests.records.disk_contents import files_on_disk

HEADERS = (
    "Student SSN",
    "Citizenship Status",
    "Migrant Flag",
    "Country of Birth",
    "Religion",
    "Political Party",
    "Home Language",
    "Home Address",
    "Incident Narrative",
    "Medical Diagnosis",
    "Fingerprint Hash",
)
"""One spelling for each kind that is never stored."""
SECRETS = tuple(f"PLANTED{n}" for n in range(len(HEADERS)))
NUMBERS = ("123-45-6789", "987-65-4321")
MAPPING = """
organization_id = "tutors"
[[file]]
name = "sessions.csv"
holds = "sessions"
[file.columns]
session_id = "session_id"
student_id = "student_id"
program_id = "program_id"
date = "date"
attended = "attended"
"""


def planted(header: str, *rows: str) -> str:
    """A CSV file with every forbidden column, notes with a social security number, a bad line."""
    more = ",".join((*HEADERS, "Notes"))
    secret = ",".join(SECRETS) + f",her number is {NUMBERS[0]}"
    lines = [
        f"{header},{more}",
        *(f"{row},{secret}" for row in rows),
        f'"{rows[0]},{secret}',
        f"{rows[0]},{secret},x",
    ]
    return "\n".join(lines) + "\n"


SESSIONS = planted(
    "session_id,student_id,program_id,organization_id,date,attended,minutes",
    "x1,s1,p1,tutors,2026-03-01,true,45",
    "x2,s1,p1,tutors,never,true,45",
    f"x3,{NUMBERS[1]},p1,tutors,2026-03-01,true,45",
    "x4,s1,p1,tutors,2026-03-01,perhaps,45",
    f"x5,s1,p1,tutors,2026-03-01,{NUMBERS[1]},45",
    "x6,nobody,p1,tutors,2026-03-01,true,45",
    "x1,s1,p1,tutors,2026-03-09,true,45",
)
ENROLLMENT = planted(
    "EnrollmentID,PersonalID,ProjectID,EntryDate",
    "E1,C1,10,2026-01-05",
    "E2,C2,10,never",
    f"E3,C9,{NUMBERS[1]},2026-01-05",
    f"E4,{NUMBERS[1]},10,2026-01-05",
)
SERVICES = planted(
    "ServicesID,EnrollmentID,PersonalID,DateProvided,RecordType",
    "N1,E1,C1,2026-01-06,200",
    f"N2,E1,C1,2026-01-06,{NUMBERS[1]}",
    "N3,E1,C1,when,200",
)
USERS = planted(
    "sourcedId,role,givenName,familyName,grades,orgSourcedIds",
    "u1,student,Ada,Green,05,k1",
    ",student,Bo,Blue,05,k1",
    f"u3,student,Cy,{NUMBERS[1]},05,k1",
)


def load_planted(connector: Connector, folder: Path, home: Path, **files: str) -> LoadReport:
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    snapshot_of(six_student_district.rows(), home)
    return load(connector, folder, home, merge=True)


def zipped_roster(folder: Path, home: Path) -> LoadReport:
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("users.csv", USERS)
    return load(OneRosterFiles(), folder.with_suffix(".zip"), home)


@pytest.mark.parametrize("kind", ["canonical", "mapped", "hmis", "oneroster-zip"])
def test_what_is_never_stored_is_nowhere_on_disk_nor_in_the_report(
    kind: str, tmp_path: Path
):  # R38
    home, folder = tmp_path / "home", tmp_path / "in"
    report = {
        "canonical": lambda: load_planted(ServiceHistory(), folder, home, sessions=SESSIONS),
        "mapped": lambda: load_planted(
            ServiceHistory(mapping=parse_mapping(MAPPING, "m.toml")),
            folder,
            home,
            sessions=SESSIONS,
        ),
        "hmis": lambda: load_planted(
            Hmis("harbor", {"C1": "s1", "C2": "s2"}),
            folder,
            home,
            Enrollment=ENROLLMENT,
            Services=SERVICES,
        ),
        "oneroster-zip": lambda: zipped_roster(folder, home),
    }[kind]()
    assert (
        sum(file.kept for file in report.files) >= 1
        and sum(file.quarantined for file in report.files) >= 4
    )
    assert {column["kind"] for column in report.dropped_columns} >= set(NEVER_INGEST)
    assert {column["column"] for column in report.dropped_columns} >= set(HEADERS)
    places = [
        *files_on_disk(home),
        (Path("report"), json.dumps(asdict(report), default=str).encode()),
    ]
    assert any(
        file.name == "quarantine.parquet" and b"struck out" in content for file, content in places
    )
    for file, content in places:
        for secret in (*SECRETS, *NUMBERS):
            assert secret.encode() not in content, (file, secret)


def test_each_kind_that_is_never_stored_has_a_planted_spelling():
    assert len(HEADERS) == len(NEVER_INGEST)
