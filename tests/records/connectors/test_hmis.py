"""HMIS CSV: a housing partner's export becomes programs, enrolments and nights, and nothing else of
it is kept.
"""

from __future__ import annotations

import csv
import random
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from records.connectors.partner_files.hmis import SENSITIVE_COLUMNS, Hmis, read_clients
from records.connectors.partner_files.service_history import (
    AWAITING_IDENTIFICATION,
    NOT_A_STUDENT_REASON,
)
from records.connectors.protocol import SourceRefused
from records.loading.load import load
from records.loading.load_report import LoadReport
from records.snapshots.snapshot import Snapshot
from tests.records import six_student_district
from tests.records.conftest import snapshot_of
from tests.records.disk_contents import files_on_disk

END = ["DateCreated", "DateUpdated", "UserID", "DateDeleted", "ExportID"]
HEADERS = {
    "Client.csv": [
        "PersonalID",
        "FirstName",
        "MiddleName",
        "LastName",
        "NameSuffix",
        "NameDataQuality",
        "SSN",
        "SSNDataQuality",
        "DOB",
        "DOBDataQuality",
        "AmIndAKNative",
        "Asian",
        "BlackAfAmerican",
        "HispanicLatinaeo",
        "MidEastNAfrican",
        "NativeHIPacific",
        "White",
        "RaceNone",
        "AdditionalRaceEthnicity",
        "Sex",
        "VeteranStatus",
        "MilitaryBranch",
        *END,
    ],
    "Project.csv": [
        "ProjectID",
        "OrganizationID",
        "ProjectName",
        "ProjectCommonName",
        "OperatingStartDate",
        "OperatingEndDate",
        "ContinuumProject",
        "ProjectType",
        "HousingType",
        "RRHSubType",
        "ResidentialAffiliation",
        "TargetPopulation",
        "HOPWAMedAssistedLivingFac",
        "PITCount",
        *END,
    ],
    "Enrollment.csv": [
        "EnrollmentID",
        "PersonalID",
        "ProjectID",
        "EntryDate",
        "HouseholdID",
        "RelationshipToHoH",
        "EnrollmentCoC",
        "LivingSituation",
        "RentalSubsidyType",
        "LengthOfStay",
        "DisablingCondition",
        "RunawayYouth",
        "SexualOrientation",
        "CurrentPregnant",
        "PreferredLanguage",
        *END,
    ],
    "Exit.csv": [
        "ExitID",
        "EnrollmentID",
        "PersonalID",
        "ExitDate",
        "Destination",
        "DestinationSubsidyType",
        "OtherDestination",
        "HousingAssessment",
        "ExchangeForSex",
        "WorkplaceViolenceThreats",
        *END,
    ],
    "Services.csv": [
        "ServicesID",
        "EnrollmentID",
        "PersonalID",
        "DateProvided",
        "RecordType",
        "TypeProvided",
        "OtherTypeProvided",
        "MovingOnOtherType",
        "SubTypeProvided",
        "FAAmount",
        "FAStartDate",
        "FAEndDate",
        "ReferralOutcome",
        *END,
    ],
    "HealthAndDV.csv": [
        "HealthAndDVID",
        "EnrollmentID",
        "PersonalID",
        "InformationDate",
        "DomesticViolenceSurvivor",
        "CurrentlyFleeing",
        "GeneralHealthStatus",
        "DueDate",
        *END,
    ],
}
CANARY = "KEEPOUT"
NEUTRAL = {
    "DateCreated": "2026-01-01 10:00:00",
    "DateUpdated": "2026-01-01 10:00:00",
    "UserID": "u1",
    "DateDeleted": "",
    "ExportID": "x1",
}
LINKS = {f"C{n}": f"s{n}" for n in range(1, 7)}


def write(folder: Path, file: str, *rows: dict[str, str]) -> None:
    """A file in which every column that a row does not name holds a canary."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / file).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, HEADERS[file])
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {name: row.get(name, NEUTRAL.get(name, CANARY + name)) for name in HEADERS[file]}
            )


def export(folder: Path) -> Path:
    """Two projects, seven clients, one of them no student; some oddities of real exports."""
    write(
        folder,
        "Project.csv",
        {"ProjectID": "10", "ProjectName": "Harbor Shelter", "ProjectType": "1"},
        {"ProjectID": "11", "ProjectName": "Help desk", "ProjectType": "7"},
        {"ProjectID": "12", "ProjectName": "Old", "ProjectType": "1", "DateDeleted": "2026-01-02"},
    )
    write(
        folder,
        "Client.csv",
        *(
            {
                "PersonalID": f"C{n}",
                "FirstName": f"First{n}",
                "LastName": f"Last{n}",
                "DOB": f"2014-01-0{n}",
                "SSN": f"12{n}-45-6789",
            }
            for n in range(1, 8)
        ),
    )
    write(
        folder,
        "Enrollment.csv",
        *(
            {
                "EnrollmentID": f"E{n}",
                "PersonalID": f"C{n}",
                "ProjectID": "10",
                "EntryDate": f"2026-01-0{n}",
            }
            for n in range(1, 8)
        ),
        {"EnrollmentID": "E8", "PersonalID": "C1", "ProjectID": "11", "EntryDate": "8 January"},
    )
    write(
        folder,
        "Exit.csv",
        {"EnrollmentID": "E1", "ExitDate": "2026-02-01", "Destination": "410"},
        {"EnrollmentID": "E2", "ExitDate": "2026-02-02", "Destination": "206"},
        {"EnrollmentID": "E7", "ExitDate": "2026-02-02", "Destination": "9206"},
        {"EnrollmentID": "E1", "ExitDate": "2026-02-03", "Destination": "9207"},
    )
    services = [
        ("N1", "E1", "C1", "200"),
        ("N2", "E1", "C1", "200"),
        ("N3", "E2", "C2", "142"),
        ("N4", "E2", "C2", "143"),
        ("N5", "E2", "C2", "144"),
        ("N6", "E7", "C7", "200"),
        ("N7", "E2", "C1", "200"),
        ("N8", "E1", "C1", "999"),
    ]
    write(
        folder,
        "Services.csv",
        *(
            {
                "ServicesID": key,
                "EnrollmentID": enrollment,
                "PersonalID": person,
                "DateProvided": f"2026-01-1{n}",
                "RecordType": kind,
            }
            for n, (key, enrollment, person, kind) in enumerate(services)
        ),
    )
    write(folder, "HealthAndDV.csv", {"EnrollmentID": "E1", "PersonalID": "C1"})
    return folder


@pytest.fixture
def loaded(tmp_path: Path) -> tuple[LoadReport, Path]:
    home = tmp_path / "home"
    snapshot_of(six_student_district.rows(), home)
    return load(Hmis("harbor", LINKS), export(tmp_path / "in"), home, merge=True), home


def rows(home: Path, name: str) -> list[dict[str, Any]]:
    table = Snapshot.current(home).table(name)
    loaded: list[dict[str, Any]] = (
        table.filter(table["organization_id"] == "harbor").to_pyarrow().to_pylist()
    )
    return loaded


def test_projects_stays_and_nights_become_programs_enrolments_and_sessions(
    loaded: tuple[LoadReport, Path],
):  # R35
    report, home = loaded
    assert [(row["program_id"], row["name"], row["support"]) for row in rows(home, "programs")] == [
        ("harbor-10", "Harbor Shelter", "housing_help"),
        ("harbor-11", "Help desk", None),
    ]
    assert [
        (row["student_id"], str(row["start_date"]), str(row["end_date"]), row["exit_reason"])
        for row in rows(home, "service_enrollments")
    ][:3] == [
        ("s1", "2026-01-01", "2026-02-01", "Moved to a lasting home"),
        ("s2", "2026-01-02", "2026-02-02", "Left"),
        ("s3", "2026-01-03", "None", None),
    ]
    assert [
        (row["student_id"], row["session_id"], row["program_id"], row["attended"], row["minutes"])
        for row in rows(home, "service_sessions")
    ] == [
        ("s1", "N1", "harbor-10", True, None),
        ("s1", "N2", "harbor-10", True, None),
        ("s2", "N3", "harbor-10", True, None),
    ]
    counts = {
        count.file: (count.read, count.kept, count.quarantined, count.ignored)
        for count in report.files
    }
    assert counts == {
        "Project.csv": (3, 2, 0, 1),
        "Exit.csv": (4, 2, 2, 0),
        "Enrollment.csv": (8, 6, 2, 0),
        "Services.csv": (8, 3, 3, 2),
    }


def test_each_record_that_was_put_aside_says_why(loaded: tuple[LoadReport, Path]):  # R35
    _, home = loaded
    aside = [
        (row["file"], row["line"], row["column"], row["reason"])
        for row in Snapshot.current(home).quarantined().to_pylist()
    ]
    assert aside == [
        ("Enrollment.csv", 8, "PersonalID", AWAITING_IDENTIFICATION),
        (
            "Enrollment.csv",
            9,
            "EntryDate",
            "EntryDate is '8 January'; a date must look like 2026-04-17 or 4/17/2026",
        ),
        ("Exit.csv", 4, "EnrollmentID", "no enrolment was loaded that this exit ends"),
        ("Exit.csv", 5, "EnrollmentID", "an earlier line ends the same enrolment"),
        ("Services.csv", 7, "PersonalID", AWAITING_IDENTIFICATION),
        (
            "Services.csv",
            8,
            "EnrollmentID",
            "no enrolment of this person was loaded that it belongs to",
        ),
        (
            "Services.csv",
            9,
            "RecordType",
            (
                "RecordType is '999'; it must be one of 141, 142, 143, 144, 151, 152, 161, 200,"
                " 210, 300"
            ),
        ),
    ]


def test_nothing_that_is_sensitive_reaches_a_disk_and_its_name_is_in_the_report(
    loaded: tuple[LoadReport, Path],
):  # R38
    report, home = loaded
    for file, content in files_on_disk(home):
        for secret in (b"KEEPOUT", b"45-6789", b"9206", b"9207"):
            assert secret not in content, (file, secret)
    named = {dropped["column"]: dropped["kind"] for dropped in report.dropped_columns}
    assert named["SSN"] == "social security number"
    sensitive = {column for columns in SENSITIVE_COLUMNS.values() for column in columns}
    for file, header in HEADERS.items():
        assert sensitive & set(header) <= set(named), file
    assert any(note.startswith("HealthAndDV.csv is not a file") for note in report.notes)


def test_clients_are_told_for_linking_and_no_name_of_theirs_is_loaded(
    loaded: tuple[LoadReport, Path], tmp_path: Path
):
    clients = read_clients(tmp_path / "in", "harbor")
    assert [
        (client.participant_id, client.first_name, client.last_name, client.birth_date)
        for client in clients.participants
    ][:2] == [
        ("C1", "First1", "Last1", date(2014, 1, 1)),
        ("C2", "First2", "Last2", date(2014, 1, 2)),
    ]
    assert (len(clients.participants), clients.read, clients.dropped) == (
        7,
        7,
        {"SSN": "social security number", "SSNDataQuality": "social security number"},
    )
    assert "First7" not in str(Snapshot.current(loaded[1]).quarantined().to_pylist())
    write(
        tmp_path / "in",
        "Client.csv",
        {"PersonalID": "C1", "FirstName": "A", "DOB": "not known"},
        {"PersonalID": "C1", "FirstName": "A"},
        {"PersonalID": "C2", "FirstName": ""},
        {"PersonalID": "C3", "DateDeleted": "2026-01-01"},
    )
    clients = read_clients(tmp_path / "in", "harbor")
    assert [(client.participant_id, client.birth_date) for client in clients.participants] == [
        ("C1", None)
    ]
    assert (
        clients.repeated,
        [(row.line, row.reason) for row in clients.bad],
        dict(clients.ignored),
    ) == (
        1,
        [(4, "FirstName is empty")],
        {"deleted at the source": 1},
    )


def test_another_partners_rows_stay_when_an_export_is_loaded(loaded: tuple[LoadReport, Path]):
    _, home = loaded
    table = Snapshot.current(home).table("service_sessions")
    assert sorted(set(table["organization_id"].to_pyarrow().to_pylist())) == [
        "harbor",
        "pantry",
        "tutors",
    ]


def test_a_folder_that_is_no_export_is_refused(tmp_path: Path):
    with pytest.raises(SourceRefused, match=r"has no Enrollment\.csv"):
        load(Hmis("harbor", {}), tmp_path, tmp_path)
    with pytest.raises(SourceRefused, match=r"has no Client\.csv"):
        read_clients(tmp_path, "harbor")
    (tmp_path / "Client.csv").write_text("C1,Ada,Green,2014-01-01\n")
    with pytest.raises(
        SourceRefused, match=r"Client\.csv, line 1: the header must name each of"
    ) as error:
        read_clients(tmp_path, "harbor")
    assert "Ada" not in str(error.value)


def test_every_line_of_a_large_made_up_export_is_accounted_for(tmp_path: Path):  # R35
    rng, home = random.Random(40), tmp_path / "home"
    snapshot_of(six_student_district.rows(), home)
    stays = [
        {
            "EnrollmentID": f"E{n}",
            "PersonalID": f"C{rng.randint(1, 9)}",
            "ProjectID": "10",
            "EntryDate": str(date(2025, 1, 1) + timedelta(n)) if rng.random() < 0.9 else "",
            "DateDeleted": "2026-01-01" if rng.random() < 0.1 else "",
        }
        for n in range(200)
    ]
    write(tmp_path / "in", "Enrollment.csv", *stays)
    write(
        tmp_path / "in",
        "Services.csv",
        *(
            {
                "ServicesID": f"N{rng.randint(1, 900)}",
                "EnrollmentID": f"E{rng.randint(0, 250)}",
                "PersonalID": f"C{rng.randint(1, 9)}",
                "DateProvided": "2026-01-10",
                "RecordType": rng.choice(["200", "142", "151", "7"]),
            }
            for _ in range(2_000)
        ),
    )
    report = load(Hmis("harbor", LINKS), tmp_path / "in", home, merge=True)
    assert {count.file: count.read for count in report.files} == {
        "Enrollment.csv": 200,
        "Services.csv": 2_000,
    }
    assert sum(count.kept for count in report.files) == len(
        rows(home, "service_enrollments") + rows(home, "service_sessions")
    )
    assert {count.file for count in report.missing} == {"Project.csv", "Exit.csv"}


def test_what_is_about_somebody_who_is_no_student_is_left_out_and_does_not_wait(
    tmp_path: Path,
):  # R35
    home = tmp_path / "home"
    snapshot_of(
        six_student_district.rows()
        | {"service_sessions": [], "service_enrollments": [], "programs": []},
        home,
    )
    write(
        tmp_path / "in",
        "Enrollment.csv",
        *(
            {
                "EnrollmentID": f"E{n}",
                "PersonalID": f"C{n}",
                "ProjectID": "10",
                "EntryDate": "2026-01-05",
            }
            for n in (1, 7)
        ),
    )
    write(
        tmp_path / "in",
        "Exit.csv",
        *(
            {
                "EnrollmentID": f"E{n}",
                "PersonalID": f"C{n}",
                "ExitDate": "2026-02-05",
                "Destination": "410",
            }
            for n in (1, 7)
        ),
    )
    report = load(Hmis("harbor", LINKS, {"C7"}), tmp_path / "in", home, merge=True)
    counts = {
        count.file: (count.kept, count.quarantined, count.ignored_kinds) for count in report.files
    }
    assert counts["Enrollment.csv"] == counts["Exit.csv"] == (1, 0, {NOT_A_STUDENT_REASON: 1})
