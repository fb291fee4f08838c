"""The Ed-Fi connector, against the sample interchange that the Ed-Fi Alliance publishes and against
hostile files.
"""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from records.connectors.edfi.files import EdFiFiles
from records.connectors.partner_files.service_history import ServiceHistory
from records.connectors.protocol import SourceRefused
from records.loading.load import load
from records.loading.load_report import LoadReport
from records.snapshots.snapshot import Snapshot


@pytest.fixture(scope="module")
def sample(
    shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LoadReport, Snapshot, Path]:
    home = tmp_path_factory.mktemp("home")
    report = load(EdFiFiles(), shared_data / "edfi", home)
    return report, Snapshot.current(home), shared_data / "edfi"


def independent_records(folder: Path) -> dict[str, Counter[str]]:
    """File -> kinds of record in it, by the standard library's parser."""
    return {
        file.name: Counter(child.tag.split("}")[1] for child in ElementTree.parse(file).getroot())
        for file in folder.glob("*.xml")
    }


def test_every_record_of_every_file_is_kept_quarantined_duplicate_or_ignored_by_name(sample):  # R35
    report, _, folder = sample
    expected = {file: sum(kinds.values()) for file, kinds in independent_records(folder).items()}
    assert {count.file: count.read for count in report.files} == expected
    assert all(sum(count.ignored_kinds.values()) == count.ignored for count in report.files)


def test_the_sample_goes_whole_into_canonical_tables(sample):
    _, snapshot, folder = sample
    kinds = independent_records(folder)
    assert snapshot.manifest["rows"]["students"] == kinds["Student.xml"]["Student"] == 960
    days = kinds["StudentSchoolAttendance.xml"]["StudentSchoolAttendanceEvent"]
    classes = kinds["StudentSectionAttendance-Tardy.xml"]["StudentSectionAttendanceEvent"]
    assert (days, classes) == (1917, 66)
    assert snapshot.manifest["rows"]["attendance_events"] == days + classes
    assert snapshot.manifest["rows"]["service_enrollments"] == 25
    assert snapshot.manifest["rows"]["behavior_incidents"] == 21
    assert snapshot.manifest["rows"]["gradebook_entries"] == 250


def test_attendance_agrees_with_an_independent_reading(sample):
    _, snapshot, folder = sample
    namespace = {"e": "http://ed-fi.org/5.2.0"}
    names = {
        "Excused Absence": "absent_excused",
        "Unexcused Absence": "absent_unexcused",
        "Tardy": "tardy",
        "Partial": "partial",
    }
    expected = Counter()
    for event in ElementTree.parse(folder / "StudentSchoolAttendance.xml").getroot():
        category = event.findtext(
            "e:AttendanceEvent/e:AttendanceEventCategory", "", namespace
        ).split("#")[1]
        expected[
            (
                event.findtext(
                    "e:StudentReference/e:StudentIdentity/e:StudentUniqueId", "", namespace
                ),
                date.fromisoformat(event.findtext("e:AttendanceEvent/e:EventDate", "", namespace)),
                names[category],
            )
        ] += 1
    loaded = snapshot.table("attendance_events").to_pandas()
    rows = zip(loaded["student_id"], loaded["date"], loaded["status"], strict=True)
    assert {
        (student, getattr(day, "date", lambda day=day: day)(), status)
        for student, day, status in rows
    } == set(expected)


def test_missing_files_are_named_with_what_stays_empty(sample):
    report, _, _ = sample
    missing = {entry.file: entry.stays_empty for entry in report.missing}
    assert set(missing) == {"StudentEnrollment.xml", "StudentGrade.xml", "StudentTranscript.xml"}
    assert "course_grades" in missing["StudentGrade.xml"]
    assert any("grade levels stay empty" in note for note in report.notes)


def test_migrant_health_and_delinquency_records_are_ignored_by_name_and_never_stored(sample):  # R38
    report, snapshot, _ = sample
    ignored = {
        kind for count in report.files for kind in count.ignored_kinds if "never stored" in kind
    }
    assert len(ignored) == 3
    stored = "".join(
        str(pq.read_table(file).to_pylist()) for file in snapshot.path.glob("*.parquet")
    )
    for forbidden in (
        "Robbery",
        "Hickman, Dewayne",
        "Dropout Risk",
        "Autism",
        "Migrant",
        "Knife",
        "Elm Street",
    ):
        assert forbidden not in stored
    dropped = {entry["column"] for entry in report.dropped_columns}
    assert {"Visa", "CitizenshipStatus", "BehaviorDetailedDescription", "ReporterName"} <= dropped


def test_an_incident_takes_its_date_from_the_incident_it_refers_to(sample):
    _, snapshot, _ = sample
    incidents = snapshot.table("behavior_incidents").to_pandas().set_index("incident_id")
    assert str(incidents.loc["10_255901001", "date"])[:10] == "2021-10-18"
    assert incidents.loc["18_255901001", "days_removed"] == 3.0


def test_the_older_namespace_brings_enrolments_and_grades(shared_data: Path, tmp_path: Path):
    load(EdFiFiles(), shared_data / "edfi-sdg", tmp_path)
    snapshot = Snapshot.current(tmp_path)
    assert snapshot.manifest["rows"]["school_enrollments"] == 1400
    students = snapshot.table("students").to_pandas()
    assert students["grade_level"].between(9, 12).all()
    assert set(students["school_id"]) == {"255901001"}


HEAD = '<InterchangeStudent xmlns="http://ed-fi.org/5.2.0">'


def interchange(folder: Path, body: str, name: str = "Student.xml") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(body)
    return folder


@pytest.mark.parametrize(
    "declaration",
    [
        '<!ENTITY secret SYSTEM "file:///etc/passwd">',
        '<!ENTITY secret "boo">',
        '<!ENTITY a "x"><!ENTITY secret "&a;">',
    ],
)
def test_an_entity_is_refused_by_name_and_never_becomes_an_empty_value(
    tmp_path: Path, declaration: str
):  # R40
    body = (
        "<!DOCTYPE InterchangeStudent"
        f" [{declaration}]>{HEAD}<Student><StudentUniqueId>1</StudentUniqueId>"
        "<Name><FirstName>&secret;</FirstName></Name></Student></InterchangeStudent>"
    )
    with pytest.raises(SourceRefused, match=r"Student\.xml.*secret"):
        load(EdFiFiles(), interchange(tmp_path / "in", body), tmp_path / "home")
    assert not (tmp_path / "home" / "snapshots" / "CURRENT").exists()


def test_a_file_cut_short_is_refused_with_line_and_column_and_the_old_snapshot_stays(
    tmp_path: Path,
):
    good = f"{HEAD}<Student><StudentUniqueId>1</StudentUniqueId></Student></InterchangeStudent>"
    before = load(EdFiFiles(), interchange(tmp_path / "in", good), tmp_path / "home").snapshot_id
    interchange(tmp_path / "in", good[:-30])
    with pytest.raises(SourceRefused, match=r"Student\.xml, line 1, column \d+"):
        load(EdFiFiles(), tmp_path / "in", tmp_path / "home")
    assert Snapshot.current(tmp_path / "home").id == before


def test_a_bad_record_is_quarantined_with_its_line_and_its_neighbours_stay(tmp_path: Path):
    rows = "\n".join(
        f"<Student><StudentUniqueId>{i}</StudentUniqueId><BirthData><BirthDate>{day}</BirthDate></BirthData></Student>"
        for i, day in enumerate(["2014-01-01", "2014-13-01", "2015-02-02"])
    )
    folder = interchange(tmp_path / "in", f"{HEAD}\n{rows}\n</InterchangeStudent>")
    report = load(EdFiFiles(), folder, tmp_path / "home")
    (bad,) = Snapshot.current(tmp_path / "home").quarantined().to_pylist()
    assert (bad["file"], bad["line"], bad["column"]) == ("Student.xml", 3, "birth_date")
    assert "2014-13-01" in bad["reason"]
    (count,) = report.files
    assert (count.read, count.kept, count.quarantined) == (3, 2, 1)


def test_a_large_file_is_streamed_in_bounded_memory(tmp_path: Path):  # R40
    folder = tmp_path / "in"
    folder.mkdir()
    padding = "<OtherName>" + "x" * 4000 + "</OtherName>"
    with (folder / "Student.xml").open("w") as out:
        out.write(HEAD)
        for i in range(25_000):
            out.write(f"<Student><StudentUniqueId>{i}</StudentUniqueId>{padding}</Student>\n")
        out.write("</InterchangeStudent>")
    assert (folder / "Student.xml").stat().st_size > 100_000_000
    script = (
        "import sys; from pathlib import Path; from records.connectors.edfi.files import"
        " stream_records\nfrom tests.records.peak_memory import peak_mb\nbefore = peak_mb()\nn ="
        " sum(1 for _ in stream_records(Path(sys.argv[1])))\nprint(n, peak_mb() - before)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(folder / "Student.xml")],
        capture_output=True,
        text=True,
        check=True,
    )
    records, grown = map(int, run.stdout.split())
    assert records == 25_000
    assert grown < 100


INTERVENTION = """\
<InterchangeStudentIntervention><Intervention><InterventionIdentificationCode>{code}</InterventionIdentificationCode>
<EducationOrganizationReference><EducationOrganizationIdentity><EducationOrganizationId>{organization}\
</EducationOrganizationId></EducationOrganizationIdentity></EducationOrganizationReference>
<BeginDate>2026-01-05</BeginDate></Intervention></InterchangeStudentIntervention>
"""


@pytest.mark.parametrize("organization", ["255901", "tutors"])
def test_a_districts_load_leaves_what_partners_reported_alone(organization: str, tmp_path: Path):
    home, partner = tmp_path / "home", tmp_path / "partner"
    folder = interchange(
        tmp_path / "in",
        f"{HEAD}<Student><StudentUniqueId>s1</StudentUniqueId></Student></InterchangeStudent>",
    )
    load(EdFiFiles(), folder, home)
    partner.mkdir()
    (partner / "programs.csv").write_text(
        "program_id,organization_id,name\nafter,tutors,After school\n"
    )
    (partner / "enrollments.csv").write_text(
        "student_id,program_id,organization_id,start_date\ns1,after,tutors,2026-01-05\n"
    )
    (partner / "sessions.csv").write_text(
        "student_id,program_id,organization_id,session_id,date,attended\n"
        "s1,after,tutors,1,2026-01-06,true\n"
    )
    load(ServiceHistory("tutors"), partner, home, merge=True)
    names = ("programs", "service_enrollments", "service_sessions")
    before = {name: Snapshot.current(home).table(name).to_pyarrow().to_pylist() for name in names}
    (folder / "StudentIntervention.xml").write_text(
        INTERVENTION.format(code="reading", organization=organization)
    )
    report = load(EdFiFiles(), folder, home, merge=True)
    snapshot = Snapshot.current(home)
    for name in names:
        rows = snapshot.table(name).to_pyarrow().to_pylist()
        assert [row for row in rows if row["organization_id"] == "tutors"] == before[name] != []
    aside = [(row.file, row.column) for row in snapshot.set_aside()]
    if organization == "tutors":
        assert (
            aside == [("StudentIntervention.xml", "organization_id")] and report.organizations == []
        )
    else:
        assert aside == [] and report.organizations == ["255901"]
    assert "service_sessions" not in EdFiFiles().tables
