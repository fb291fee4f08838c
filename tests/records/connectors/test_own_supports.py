"""Programs of a district's own kinds of support, by each way in which partners' files come."""

from __future__ import annotations

from pathlib import Path

import pytest

from records.canonical.supports import SupportCatalog
from records.connectors.partner_files.hmis import Hmis
from records.connectors.partner_files.mapping import MappingError, parse_mapping
from records.connectors.partner_files.mapping_proposal import draft_mapping, propose_file
from records.connectors.partner_files.service_history import ServiceHistory
from records.loading.load import load
from records.loading.load_report import LoadReport
from records.snapshots.snapshot import Snapshot
from tests.own_supports import write_own_list
from tests.records import six_student_district
from tests.records.conftest import snapshot_of

PROGRAMS = """\
program_id,organization_id,name,support
m1,harbor,Rooms,motel_vouchers
m2,harbor,Rooms too,Motel vouchers
m3,harbor,Club,homework_club
m4,harbor,Readers,grandparent_readers
"""
PROGRAM = """\
[programs."Rooms"]
program_id = "m1"
support = "motel_vouchers"

"""
MAPPING = """\
organization_id = "harbor"

[[file]]
name = "offers.csv"
holds = "programs"

[file.columns]
program_id = "Code"
name = "Title"
support = "Kind"

[file.values.support]
"Night in a motel" = "motel_vouchers"
"""
OFFERS = """\
Code,Title,Kind
m2,Rooms,night in a motel
m3,Club,A club
"""
PROJECTS = """\
ProjectID,ProjectName,ProjectType,DateDeleted
10,Harbor Shelter,1,
11,Help desk,7,
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    snapshot_of(six_student_district.rows(), folder)
    return folder


def kinds(home: Path, organization: str = "harbor") -> dict[str, str | None]:
    """The kind of each program of one organization."""
    programs = Snapshot.current(home).table("programs").to_pyarrow().to_pylist()
    return {
        row["program_id"]: row["support"]
        for row in programs
        if row["organization_id"] == organization
    }


def aside(home: Path) -> list[tuple[str, int, str, str]]:
    quarantined = Snapshot.current(home).quarantined().to_pylist()
    return [(row["file"], row["line"], row["column"], row["reason"]) for row in quarantined]


def accounts_for_every_row(report: LoadReport) -> bool:
    return all(
        count.read == count.kept + count.quarantined + count.duplicates + count.ignored
        for count in report.files
    )


def folder_of(folder: Path, **files: str) -> Path:
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def test_a_program_of_the_districts_own_kind_is_loaded_and_another_quarantined(  # R35
    home: Path, tmp_path: Path
):
    own = write_own_list(home, "grandparent_readers")
    folder = folder_of(tmp_path / "in", programs=PROGRAMS)
    report = load(ServiceHistory("harbor", supports=own), folder, home, merge=True)
    assert kinds(home) == {"m1": "motel_vouchers", "m3": "homework_club"}
    known = ", ".join(own.keys)
    added = "a kind is added in the district's supports.toml (`handrail supports write`)"
    assert aside(home) == [
        (
            "programs.csv",
            3,
            "support",
            f"support is 'Motel vouchers'; it must be one of {known}; motel_vouchers is the"
            f" nearest; {added}",
        ),
        (
            "programs.csv",
            5,
            "support",
            f"support is 'grandparent_readers'; it must be one of {known}; {added}",
        ),
    ]
    (count,) = report.files
    assert (count.read, count.kept, count.quarantined) == (4, 2, 2)


def test_without_a_list_of_its_own_a_district_has_the_kinds_of_handrail(home: Path, tmp_path: Path):
    report = load(
        ServiceHistory("harbor"), folder_of(tmp_path / "in", programs=PROGRAMS), home, merge=True
    )
    assert kinds(home) == {"m4": "grandparent_readers"}
    assert [row[1] for row in aside(home)] == [2, 3, 4] and accounts_for_every_row(report)


def test_a_mapping_may_name_the_districts_own_kinds_and_no_others(
    home: Path, tmp_path: Path
):  # R35
    own = write_own_list(home)
    named = MAPPING.replace("[[file]]", PROGRAM + "[[file]]")
    assert parse_mapping(named, "harbor.toml", own).programs["rooms"]["support"] == "motel_vouchers"
    mapping = parse_mapping(MAPPING, "harbor.toml", own)
    folder = folder_of(tmp_path / "in", offers=OFFERS)
    report = load(ServiceHistory("harbor", mapping, supports=own), folder, home, merge=True)
    assert kinds(home) == {"m2": "motel_vouchers"}
    assert aside(home) == [
        (
            "offers.csv",
            3,
            "Kind",
            "Kind is 'A club', and harbor.toml does not say what that means",
        )
    ]
    assert accounts_for_every_row(report)
    with pytest.raises(MappingError) as refused:
        parse_mapping(named, "harbor.toml", SupportCatalog.declared())
    assert str(refused.value) == (
        "harbor.toml, line 5: support is 'motel_vouchers'; it must be one of"
        f" {', '.join(SupportCatalog.declared().keys)}; a kind is added in the district's"
        " supports.toml (`handrail supports write`)"
    )


def test_a_kind_in_a_mapped_column_without_words_is_checked_too(home: Path, tmp_path: Path):
    own = write_own_list(home)
    mapping = parse_mapping(MAPPING.split("\n[file.values")[0] + "\n", "harbor.toml", own)
    offers = OFFERS.replace("night in a motel", "homework_club")
    folder = folder_of(tmp_path / "in", offers=offers)
    load(ServiceHistory("harbor", mapping, supports=own), folder, home, merge=True)
    assert kinds(home) == {"m2": "homework_club"}
    ((_, line, column, reason),) = aside(home)
    assert (line, column) == (3, "Kind") and "Kind is 'A club'; it must be one of" in reason


def test_the_draft_of_a_mapping_asks_for_a_kind_of_the_districts_list(tmp_path: Path):
    own = write_own_list(tmp_path)
    (tmp_path / "enrollments.csv").write_text(
        "Participant ID,Program Name,Start Date\nP1,Rooms,01/13/2026\nP2,Rooms,01/14/2026\n"
    )
    proposal = propose_file(tmp_path / "enrollments.csv")
    assert f"add support = one of {', '.join(own.keys)} (the kinds of" in draft_mapping(
        [proposal], "harbor", own
    )


@pytest.mark.parametrize(
    ("left_out", "kind"),
    [((), "housing_help"), (("housing_help",), "motel_vouchers")],
)
def test_a_project_that_houses_people_is_of_the_districts_kind_for_it(
    home: Path, tmp_path: Path, left_out: tuple[str, ...], kind: str
):
    own = write_own_list(home, *left_out)
    report = load(Hmis("harbor", {}, supports=own), hmis_export(tmp_path / "in"), home, merge=True)
    assert kinds(home) == {"harbor-10": kind, "harbor-11": None}
    assert not any("house people" in note for note in report.notes)


def test_without_a_kind_for_it_a_shelter_stays_of_an_unknown_kind_and_the_report_says_so(
    home: Path, tmp_path: Path
):
    (home / "supports.toml").write_text(
        '[club]\nname = "Club"\nname_es = "Club de tareas"\ndescription = "A club."\n'
        'description_es = "Un club."\ntells_of_housing = false\n'
    )
    connector = Hmis("harbor", {}, supports=SupportCatalog.of(home))
    report = load(connector, hmis_export(tmp_path / "in"), home, merge=True)
    assert kinds(home) == {"harbor-10": None, "harbor-11": None}
    (note,) = (note for note in report.notes if "house people" in note)
    assert note.startswith("the projects that house people have no kind of support")


def hmis_export(folder: Path) -> Path:
    return folder_of(
        folder,
        Project=PROJECTS,
        Enrollment="EnrollmentID,PersonalID,ProjectID,EntryDate,DateDeleted\n",
    )
