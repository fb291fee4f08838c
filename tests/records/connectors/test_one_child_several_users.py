"""One child as several users of OneRoster is one student, and two children never are.

What a child's records say does not depend on how many users they hang from; which identifier is
the student's does not change from night to night.
"""

from __future__ import annotations

import copy
import itertools
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.partner_files.service_history import ServiceHistory
from records.identity.aliases import Identities
from records.loading.load import load
from records.loading.load_report import LoadReport
from records.snapshots.snapshot import Snapshot
from tests.records.fake_oneroster_api import LONG_AGO, FakeOneRosterApi
from tests.records.synthetic_roster import Roster, roster, write_csv

FOLDERS = itertools.count()


class District:
    """A home that is loaded night after night, and keeps the aliases as the database does."""

    def __init__(self, where: Path) -> None:
        self.where, self.home = where, where / "home"
        self.identities = Identities()

    def load(self, made: Roster, version: str = "1.2", *, mirror: bool = False) -> LoadReport:
        folder = write_csv(made, self.where / f"in{next(FOLDERS)}", version=version)
        (folder / "manifest.csv").unlink()
        keep = self.home / "sources" / "oneroster" if mirror else None
        return self.take(OneRosterFiles(keep), folder)

    def take(self, connector: Any, folder: Path) -> LoadReport:
        def identify(found: Identities) -> None:
            self.identities = found

        report = load(
            connector,
            folder,
            self.home,
            merge=(self.home / "snapshots" / "CURRENT").exists(),
            aliases=self.identities.aliases,
            identify=identify,
        )
        for count in report.files:
            assert count.read == count.kept + count.quarantined + count.duplicates + count.ignored
        return report

    def rows(self, table: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (
            Snapshot.current(self.home).table(table).to_pyarrow().to_pylist()
        )
        return found

    @property
    def students(self) -> list[str]:
        return sorted(row["student_id"] for row in self.rows("students"))

    @property
    def aliases(self) -> Mapping[str, str]:
        return self.identities.aliases


@pytest.fixture
def district(tmp_path: Path) -> District:
    return District(tmp_path)


def two_users(made: Roster, one: str, other: str, **shared: str) -> Roster:
    """The roster with `other` listed as the same child as `one`, sharing these columns."""
    for user in (one, other):
        made["users.csv"][user] |= shared
    for name in ("givenName", "familyName"):
        made["users.csv"][other][name] = made["users.csv"][one][name]
    return made


SHARED = (
    {"userMasterIdentifier": "M-77"},
    {"identifier": "900177"},
    {"userIds": "{LDAP:child77},{State:12345}"},
)


@pytest.mark.parametrize("version", ["1.1", "1.2"])
@pytest.mark.parametrize("shared", SHARED)
def test_two_users_are_one_student_at_both_schools(
    shared: dict[str, str], version: str, district: District
):
    report = district.load(two_users(roster(4), "s0", "s1", **shared), version)
    assert district.students == ["s0", "s2", "s3"]
    assert district.aliases == {"s1": "s0"}
    assert sorted(
        row["school_id"] for row in district.rows("school_enrollments") if row["student_id"] == "s0"
    ) == ["k1", "k2"]
    marks = [row for row in district.rows("gradebook_entries") if row["student_id"] == "s0"]
    assert sorted(row["entry_id"] for row in marks) == ["r-s0", "r-s1"]
    assert "students who go by a further identifier too: 1;" in " ".join(report.notes)
    assert not any("stay students of their own" in note for note in report.notes)


def test_extension_files_that_name_the_alias_are_the_students(district: District):
    folder = write_csv(two_users(roster(2), "s0", "s1", identifier="77"), district.where / "in")
    (folder / "manifest.csv").unlink()
    (folder / "attendance.csv").write_text(
        "userSourcedId,school_id,date,status\ns1,k2,2025-09-02,tardy\ns0,k1,2025-09-03,tardy\n"
    )
    (folder / "characteristics.csv").write_text("userSourcedId,english_learner\ns1,true\n")
    (folder / "course_grades.csv").write_text(
        "userSourcedId,course,school_year,period,date,grade\ns1,Algebra,2026,1,2025-10-30,90\n"
    )
    report = district.take(OneRosterFiles(), folder)
    assert {row["student_id"] for row in district.rows("attendance_events")} == {"s0"}
    assert len(district.rows("attendance_events")) == 2
    [facts] = district.rows("characteristics")
    assert facts["student_id"] == "s0" and facts["english_learner"] is True
    assert [row["student_id"] for row in district.rows("course_grades")] == ["s0"]
    assert not any(count.quarantined for count in report.files if count.file == "attendance.csv")


@pytest.mark.parametrize("text", ["0", "0000", "NULL", "N/A", "none", "-", "99999999", ""])
@pytest.mark.parametrize("column", ["identifier", "userMasterIdentifier", "userIds"])
def test_what_stands_for_nothing_joins_nobody(column: str, text: str, district: District):
    value = f"{{State:{text}}}" if column == "userIds" else text
    report = district.load(two_users(roster(3), "s0", "s1", **{column: value}))
    assert district.students == ["s0", "s1", "s2"] and not district.aliases
    assert not any("share" in note or "differ" in note for note in report.notes)


@pytest.mark.parametrize("column", ["identifier", "userMasterIdentifier"])
def test_different_birth_dates_keep_two_apart_and_are_named_by_their_lines(
    column: str, district: District
):
    made = two_users(roster(3), "s0", "s1", **{column: "77"})
    made["demographics.csv"]["s1"]["birthDate"] = "2013-01-01"
    report = district.load(made)
    assert district.students == ["s0", "s1", "s2"] and not district.aliases
    lines = [2 + list(made["users.csv"]).index(user) for user in ("s0", "s1")]
    assert (
        f"users.csv, lines {lines[0]}, {lines[1]}: the users s0, s1 have one {column}, and their"
        f" birth dates differ, so they stay students of their own; correct the {column}, or the"
        " birth dates if it is one child"
    ) in report.notes
    # Whoever is destroyed later must not be named by a stored note.
    assert "s0, s1" not in str(Snapshot.current(district.home).manifest)


def test_a_household_or_school_number_joins_nobody(district: District):
    made = two_users(roster(5), "s0", "s1", identifier="994")
    for student in ("s2", "s3", "s4"):
        made["users.csv"][student]["identifier"] = "994"
    report = district.load(made)
    assert len(district.students) == 5 and not district.aliases
    assert (
        "users who share identifier with users of other names: 5 (it is no number of one child"
        " there and joins nobody)"
    ) in report.notes


def test_twins_with_one_master_identifier_stay_two(district: District):
    made = two_users(roster(2), "s0", "s1", userMasterIdentifier="77")
    made["users.csv"]["s0"]["givenName"], made["users.csv"]["s1"]["givenName"] = "Ana", "Bea"
    report = district.load(made)
    assert district.students == ["s0", "s1"] and not district.aliases
    assert any("their names differ" in note for note in report.notes)


@pytest.mark.parametrize(
    ("names", "joined"),
    [
        (("Robert Lee", "Ortiz", "Bob", "Ortiz-Vega"), True),
        (("José", "Núñez", "JOSE", "NUNEZ"), True),
        (("Ana", "Ortiz", "Ana", "Chen"), True),  # the birth dates are equal
        (("Ana Luz", "Ortiz", "Ana Paz", "Ortiz"), False),
        (("Ana", "Ortiz", "Bea", "Ortiz"), False),
    ],
)
def test_an_equal_master_identifier_allows_for_what_names_do(
    names: tuple[str, str, str, str], joined: bool, district: District
):
    made = two_users(roster(2), "s0", "s1", userMasterIdentifier="77")
    users = made["users.csv"]
    users["s0"] |= {"givenName": names[0], "familyName": names[1]}
    users["s1"] |= {"givenName": names[2], "familyName": names[3]}
    district.load(made)
    assert district.aliases == ({"s1": "s0"} if joined else {})


def test_an_equal_identifier_needs_equal_names_and_no_other_master(district: District):
    made = two_users(roster(4), "s0", "s1", identifier="77")
    made["users.csv"]["s1"]["givenName"] = "Nick"
    two_users(made, "s2", "s3", identifier="78")
    for student in ("s2", "s3"):
        made["users.csv"][student]["userMasterIdentifier"] = f"M{student}"
    report = district.load(made)
    assert not district.aliases
    assert any("and their userMasterIdentifier differ" in note for note in report.notes)


def test_a_new_account_after_a_transfer_keeps_the_students_identifier(district: District):
    made = roster(3)
    made["users.csv"]["s1"]["userMasterIdentifier"] = "77"
    district.load(made)
    # A smaller identifier: it must not become the student's.
    after = copy.deepcopy(made)
    after["users.csv"]["a"] = made["users.csv"]["s1"] | {"orgSourcedIds": "k1", "grades": "06"}
    after["users.csv"]["s1"]["enabledUser"] = "false"
    after["enrollments.csv"]["e-s1"]["endDate"] = "2026-01-10"
    after["enrollments.csv"]["e-a"] = made["enrollments.csv"]["e-s1"] | {
        "userSourcedId": "a",
        "classSourcedId": "c1",
        "schoolSourcedId": "k1",
        "beginDate": "2026-01-12",
    }
    for _ in range(2):
        report = district.load(after)
        assert district.students == ["s0", "s1", "s2"] and district.aliases == {"a": "s1"}
        [child] = [row for row in district.rows("students") if row["student_id"] == "s1"]
        assert (child["school_id"], child["grade_level"]) == ("k1", 6)
        assert not any("disabled" in note for note in report.notes)
    assert not district.identities.joined and not district.identities.apart
    # The old account is gone from the export: the child is who they were.
    gone = copy.deepcopy(after)
    for file, id_ in (
        ("users.csv", "s1"),
        ("enrollments.csv", "e-s1"),
        ("demographics.csv", "s1"),
        ("results.csv", "r-s1"),
    ):
        del gone[file][id_]
    district.load(gone)
    assert district.students == ["s0", "s1", "s2"] and district.aliases == {"a": "s1"}
    assert not district.identities.apart


def test_records_of_a_deleted_account_are_those_of_the_child(district: District):
    made = two_users(roster(3), "s0", "s1", userMasterIdentifier="77")
    folder = write_csv(made, district.where / "in")
    (folder / "manifest.csv").unlink()
    users = (folder / "users.csv").read_text().splitlines()
    users = [line.replace("s0,,", "s0,tobedeleted,") for line in users]
    (folder / "users.csv").write_text("\n".join(users) + "\n")
    district.take(OneRosterFiles(), folder)
    assert district.students == ["s1", "s2"] and district.aliases == {"s0": "s1"}
    assert {row["entry_id"] for row in district.rows("gradebook_entries")} == {
        "r-s0",
        "r-s1",
        "r-s2",
    }


def test_two_who_were_apart_are_reported_as_joined_and_again_as_apart(district: District):
    made = two_users(roster(3), "s0", "s1")
    district.load(made)
    assert district.students == ["s0", "s1", "s2"]
    together = two_users(copy.deepcopy(made), "s0", "s1", userMasterIdentifier="77")
    district.load(together)
    assert district.identities.joined == {"s1": "s0"}
    assert "s1 with s0" in district.identities.changes()[0]
    district.load(together)
    assert not district.identities.changes()
    district.load(made)
    assert district.students == ["s0", "s1", "s2"]
    assert district.identities.apart == {"s1": "s0"} and not district.aliases
    assert "s1 from s0" in district.identities.changes()[0]


def test_a_partners_file_finds_the_student_by_an_alias(district: District):
    made = two_users(roster(3), "s0", "s1")
    partner = district.where / "partner"
    partner.mkdir()
    (partner / "programs.csv").write_text(
        "program_id,organization_id,name,support\np1,tutors,Tutoring,tutoring\n"
    )
    (partner / "enrollments.csv").write_text(
        "organization_id,program_id,student_id,start_date\n"
        "tutors,p1,s0,2025-09-01\ntutors,p1,s1,2025-10-01\ntutors,p1,later,2025-11-01\n"
    )

    def students() -> dict[str, str]:
        found = district.rows("service_enrollments")
        return {str(row["start_date"]): row["student_id"] for row in found}

    district.load(made)
    district.take(ServiceHistory(), partner)
    assert students() == {"2025-09-01": "s0", "2025-10-01": "s1"}
    # Found to be one: what the partner brought before comes along, and so does what waited.
    together = two_users(copy.deepcopy(made), "s0", "s1", userMasterIdentifier="77")
    together["users.csv"]["later"] = dict(together["users.csv"]["s0"])
    district.load(together)
    of_one = {"2025-09-01": "s0", "2025-10-01": "s0", "2025-11-01": "s0"}
    assert students() == of_one
    # Its next file may name either.
    district.take(ServiceHistory(), partner)
    assert students() == of_one


@pytest.fixture
def server() -> Iterator[FakeOneRosterApi]:
    made = FakeOneRosterApi()
    with made.running():
        yield made


def test_an_api_says_what_files_say(server: FakeOneRosterApi, tmp_path: Path):
    made = two_users(roster(4), "s0", "s1", userMasterIdentifier="77")
    server.set_roster(made, LONG_AGO)
    from_api, from_files = District(tmp_path / "api"), District(tmp_path / "files")
    for one in (from_api, from_files):
        one.home.mkdir(parents=True)
    connector = server.connector()
    connector.fetch(tmp_path / "mirror", lambda name, done, total: None)
    from_api.take(connector, tmp_path / "mirror")
    from_files.load(made)
    assert from_api.aliases == from_files.aliases == {"s1": "s0"}
    assert _digests(from_api) == _digests(from_files)


def _digests(district: District) -> dict[str, str]:
    hashes: dict[str, str] = Snapshot.current(district.home).manifest["hashes"]
    return {name: digest for name, digest in hashes.items() if name != "quarantine.parquet"}


def split(made: Roster, rng: Random) -> tuple[Roster, dict[str, str]]:
    """The roster with some children as several users, among whom their records are divided."""
    after, aliases = copy.deepcopy(made), {}
    for student in [id_ for id_ in made["users.csv"] if id_.startswith("s")]:
        users = [student, *(f"{student}-{n}" for n in range(rng.choice((0, 0, 1, 2))))]
        if len(users) == 1:
            continue
        shared = {rng.choice(("userMasterIdentifier", "identifier")): f"N{student}"}
        after["users.csv"][student] |= shared
        for alias in users[1:]:
            aliases[alias] = student
            disabled = {"enabledUser": rng.choice(("", "true", "false"))}
            after["users.csv"][alias] = after["users.csv"][student] | disabled
            if rng.random() < 0.5:
                after["demographics.csv"][alias] = dict(made["demographics.csv"][student])
        if rng.random() < 0.3:  # demographics hang from one of the aliases alone
            after["demographics.csv"][users[-1]] = after["demographics.csv"].pop(student)
        for file, column in (
            ("enrollments.csv", "userSourcedId"),
            ("results.csv", "studentSourcedId"),
        ):
            for record in after[file].values():
                if record[column] == student:
                    record[column] = rng.choice(users)
    for file in ("users.csv", "demographics.csv", "enrollments.csv", "results.csv"):
        records = list(after[file].items())
        rng.shuffle(records)
        after[file] = dict(records)
    return after, aliases


def busy_roster(rng: Random) -> Roster:
    """Children with several enrollments and marks each."""
    made = roster(rng.randrange(2, 7))
    for student in [id_ for id_ in made["users.csv"] if id_.startswith("s")]:
        enrollment = made["enrollments.csv"][f"e-{student}"]
        for number in range(rng.randrange(4)):
            school = rng.choice((1, 2))
            begin, end = sorted(rng.sample(range(1, 28), 2))
            made["enrollments.csv"][f"e{number}-{student}"] = enrollment | {
                "classSourcedId": f"c{school}",
                "schoolSourcedId": f"k{school}",
                "beginDate": f"2025-10-{begin:02}",
                "endDate": f"2025-{rng.choice((10, 11))}-{end:02}",
            }
            made["results.csv"][f"r{number}-{student}"] = {
                "lineItemSourcedId": "w1",
                "studentSourcedId": student,
                "score": str(rng.randrange(21)),
            }
    return made


@given(seed=st.integers(0, 2**32), version=st.sampled_from(("1.1", "1.2")), mirror=st.booleans())
@settings(max_examples=5, deadline=None)
def test_the_numbers_do_not_depend_on_how_many_users_a_child_is(
    seed: int, version: str, mirror: bool
):
    rng = Random(seed)
    made = busy_roster(rng)
    divided, aliases = split(made, rng)
    with tempfile.TemporaryDirectory() as folder:
        whole, parted = District(Path(folder) / "one"), District(Path(folder) / "two")
        whole.load(made, version)
        # By the second night every alias has its student, whatever the first one chose.
        parted.load(made, version, mirror=mirror)
        parted.load(divided, version, mirror=mirror)
        assert parted.aliases == aliases
        assert not parted.identities.joined and not parted.identities.apart
        assert _digests(parted) == _digests(whole)
