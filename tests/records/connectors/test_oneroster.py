"""OneRoster CSV: the manifest is believed, 1.2 says what 1.1 said, changes add up to the whole, no
line is lost.
"""

from __future__ import annotations

import copy
import csv
import random
import shutil
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from records.connectors.http.mirror import open_mirror
from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.protocol import SourceRefused
from records.loading.load import load
from records.loading.load_report import LoadReport
from records.snapshots.snapshot import Snapshot
from tests.records.disk_contents import files_on_disk
from tests.records.loading.test_kills import FORK, forking, run
from tests.records.synthetic_roster import Roster, add_student, change, roster, write_csv

KILLS = 12
EXTENSIONS = {
    "attendance.csv": (
        "userSourcedId,school_id,date,status\ns0,k1,2025-09-02,tardy\ns1,k2,2025-09-03,absent_excused\n"
    ),
    "characteristics.csv": "userSourcedId,english_learner\ns0,true\ns1,false\n",
}


def tables_of(home: Path) -> dict[str, str]:
    """The digest of every table of the snapshot that serves."""
    hashes: dict[str, str] = Snapshot.current(home).manifest["hashes"]
    return {name: digest for name, digest in hashes.items() if name != "quarantine.parquet"}


def load_kept(folder: Path, home: Path) -> LoadReport:
    return load(OneRosterFiles(home / "sources" / "oneroster"), folder, home)


def whole(
    made: Roster, where: Path, *, version: str = "1.2", extensions: bool = False
) -> dict[str, str]:
    """The tables of a bulk export of the roster, read straight from its files."""
    folder = write_csv(made, where / "export", version=version)
    if extensions:
        lay_beside(folder)
    load(OneRosterFiles(), folder, where / "home")
    return tables_of(where / "home")


def lay_beside(folder: Path, **changed: str) -> Path:
    for file, text in EXTENSIONS.items():
        (folder / file).write_text(changed.get(file.removesuffix(".csv"), text))
    return folder


def students(home: Path) -> dict[str, dict[str, Any]]:
    rows = Snapshot.current(home).table("students").to_pyarrow().to_pylist()
    return {row["student_id"]: row for row in rows}


def physical_lines(file: Path) -> int:
    return len(file.read_bytes().splitlines()) - 1


def assert_every_line_is_accounted_for(report: LoadReport, folder: Path) -> None:
    read = {count.file: count.read for count in report.files}
    assert {file: read[file] for file in read if not file.endswith("of earlier loads")} == {
        file.name: physical_lines(file) for file in folder.glob("*.csv") if physical_lines(file)
    }


def test_version_1_2_gives_the_tables_that_version_1_1_gives(tmp_path: Path):
    made = roster()
    assert whole(made, tmp_path / "new") == whole(made, tmp_path / "old", version="1.1")
    loaded = students(tmp_path / "new" / "home")
    assert sorted(loaded) == ["s0", "s1", "s2", "s3", "s4", "s5"], "a teacher is no student"
    assert (loaded["s1"]["school_id"], loaded["s1"]["grade_level"]) == ("k2", 7)


@pytest.mark.parametrize(
    ("roles", "primary", "expected"),
    [
        ([("primary", "student", "k1", "", ""), ("primary", "student", "k2", "", "")], "k2", "k2"),
        ([("primary", "student", "k1", "", ""), ("primary", "student", "k2", "", "")], "k1", "k1"),
        (
            [
                ("primary", "student", "k1", "2025-08-18", "2025-12-19"),
                ("primary", "student", "k2", "2026-01-05", ""),
            ],
            "",
            "k2",
        ),
        ([("secondary", "student", "k2", "", ""), ("primary", "student", "k1", "", "")], "", "k1"),
        (
            [
                ("primary", "student", "k1", "2024-08-18", ""),
                ("primary", "student", "k2", "2025-08-18", ""),
            ],
            "",
            "k2",
        ),
        ([("primary", "teacher", "k1", "", ""), ("secondary", "student", "k2", "", "")], "", "k2"),
        ([("primary", "teacher", "k1", "", "")], "k1", None),
        ([], "k1", None),
    ],
)
def test_a_students_school_is_that_of_the_role_that_counts(
    roles: list[tuple[str, ...]], primary: str, expected: str | None, tmp_path: Path
):
    folder = write_csv(roster(1), tmp_path / "in")
    for order in (roles, roles[::-1]):
        rows = [(f"r{n}", "", "", "s0", *role) for n, role in enumerate(order)]
        with (folder / "roles.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows(
                [
                    (
                        "sourcedId",
                        "status",
                        "dateLastModified",
                        "userSourcedId",
                        "roleType",
                        "role",
                        "orgSourcedId",
                        "beginDate",
                        "endDate",
                    ),
                    *rows,
                    ("other", "", "", "t1", "primary", "teacher", "k1", "", ""),
                ]
            )
        (folder / "users.csv").write_text(
            "sourcedId,givenName,familyName,primaryOrgSourcedId,password\n"
            f"s0,Ada,Green,{primary},hunter2\nt1,Terry,Ng,k1,\n"
        )
        if expected is None:
            with pytest.raises(SourceRefused, match=r"none of its 2 users could be loaded as a st"):
                load(OneRosterFiles(), folder, tmp_path / "home")
            continue
        load(OneRosterFiles(), folder, tmp_path / "home")
        assert students(tmp_path / "home")["s0"]["school_id"] == expected


def test_a_sex_that_the_source_leaves_open_is_unknown(tmp_path: Path):
    made = roster(3)
    for student, sex in zip(("s0", "s1", "s2"), ("unspecified", "other", "male"), strict=True):
        made["demographics.csv"][student]["sex"] = sex
    whole(made, tmp_path)
    rows = Snapshot.current(tmp_path / "home").table("characteristics").to_pyarrow().to_pylist()
    assert [row["sex"] for row in rows] == [None, "another", "male"]


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.sampled_from(["1.1", "1.2"]))
def test_changes_add_up_to_what_a_whole_export_says(seed: int, exports: int, version: str):
    rng = Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = roster()
        load_kept(lay_beside(write_csv(made, folder / "bulk", version=version)), folder / "home")
        for number in range(exports):
            before = made
            for _ in range(rng.randrange(4)):
                made = change(made, rng)
            bulk = tuple(file for file in (*made, "roles.csv") if rng.random() < 0.2)
            export = write_csv(
                made, folder / f"delta{number}", version=version, since=before, bulk=bulk
            )
            report = load_kept(export, folder / "home")
            assert_every_line_is_accounted_for(report, export)
        assert tables_of(folder / "home") == whole(
            made, folder / "again", version=version, extensions=True
        )


def test_a_whole_export_that_is_kept_gives_the_tables_of_one_that_is_not(tmp_path: Path):
    made = roster(40)
    folder = lay_beside(write_csv(made, tmp_path / "in"))
    report = load_kept(folder, tmp_path / "home")
    assert_every_line_is_accounted_for(report, folder)
    assert tables_of(tmp_path / "home") == whole(made, tmp_path / "plain", extensions=True)


def test_a_later_whole_export_replaces_everything_that_was_kept(tmp_path: Path):
    load_kept(lay_beside(write_csv(roster(6), tmp_path / "first")), tmp_path / "home")
    after = roster(3)
    load_kept(write_csv(after, tmp_path / "second", absent=("results.csv",)), tmp_path / "home")
    assert sorted(students(tmp_path / "home")) == ["s0", "s1", "s2"]
    assert {"gradebook_entries.parquet", "attendance_events.parquet"}.isdisjoint(
        tables_of(tmp_path / "home")
    )
    delta = write_csv(after, tmp_path / "third", since=after)
    with pytest.raises(SourceRefused, match=r"results\.csv holds only changes"):
        load_kept(delta, tmp_path / "home")
    assert sorted(students(tmp_path / "home")) == ["s0", "s1", "s2"], "what served still serves"


def test_extension_files_that_come_with_changes_replace_and_the_others_stay(tmp_path: Path):
    made = roster()
    load_kept(lay_beside(write_csv(made, tmp_path / "bulk")), tmp_path / "home")
    delta = write_csv(made, tmp_path / "delta", since=made)
    (delta / "attendance.csv").write_text(
        "userSourcedId,school_id,date,status\ns2,k1,2025-09-04,tardy\n"
    )
    load_kept(delta, tmp_path / "home")
    rows = Snapshot.current(tmp_path / "home").table("attendance_events").to_pyarrow().to_pylist()
    assert [(row["student_id"], str(row["date"])) for row in rows] == [("s2", "2025-09-04")]
    learners = Snapshot.current(tmp_path / "home").table("characteristics").to_pyarrow().to_pylist()
    assert {row["student_id"] for row in learners if row["english_learner"]} == {"s0"}


def test_the_same_changes_twice_change_nothing(tmp_path: Path):  # R37
    made = roster()
    after = change(change(made, Random(1)), Random(2))
    load_kept(write_csv(made, tmp_path / "bulk"), tmp_path / "home")
    delta = write_csv(after, tmp_path / "delta", since=made)
    with (delta / "users.csv").open("a") as stream:
        stream.write('s9,active,2026-01-15,"unclosed\n')
    first = load_kept(delta, tmp_path / "home")
    again = load_kept(delta, tmp_path / "home")
    assert first.changed and not again.changed
    assert first.snapshot_id == again.snapshot_id


def test_every_line_of_an_export_of_changes_ends_in_one_count(tmp_path: Path):  # R35
    made = roster()
    bulk = write_csv(made, tmp_path / "bulk")
    with (bulk / "users.csv").open("a") as stream:
        stream.write('s7,,,"unclosed\n')
    load_kept(bulk, tmp_path / "home")
    delta = write_csv(made, tmp_path / "delta", since=made)
    header = (delta / "users.csv").read_text().splitlines()[0].split(",")
    place = {column: n for n, column in enumerate(header)}

    def user(id_: str, status: str, grade: str) -> str:
        cells = [""] * len(header)
        for column, text in {
            "sourcedId": id_,
            "status": status,
            "givenName": "G",
            "familyName": "F",
            "grades": grade,
        }.items():
            cells[place[column]] = text
        return ",".join(cells)

    lines = [
        user("s0", "active", "06"),
        user("s0", "active", "07"),
        user("s1", "tobedeleted", ""),
        user("s2", "tobedeleted", ""),
        user("s2", "active", "08"),
        user("s3", "active", "ninety"),
        "",
        "a,b",
    ]
    with (delta / "users.csv").open("a") as stream:
        stream.write("\n".join(lines) + "\n")
    report = load_kept(delta, tmp_path / "home")
    assert_every_line_is_accounted_for(report, delta)
    now, earlier = (
        next(count for count in report.files if count.file == name)
        for name in ("users.csv", "users.csv of earlier loads")
    )
    assert (now.kept, now.quarantined, now.duplicates, now.ignored) == (3, 1, 0, 4)
    assert now.ignored_kinds == {
        "deleted at the source": 2,
        "said anew further down in the same file": 1,
        "empty line": 1,
    }
    assert (earlier.kept, earlier.quarantined, earlier.ignored) == (
        2,
        1,
        1,
    ), "s4 and s5, the open quote, the teacher"
    quarantined = Snapshot.current(tmp_path / "home").quarantined().to_pylist()
    bad = {
        (row["file"], row["line"], row["column"])
        for row in quarantined
        if row["file"].startswith("users")
    }
    assert bad == {
        ("users.csv", 9, None),
        ("users.csv of earlier loads", 9, None),
    }
    assert {id_: row["grade_level"] for id_, row in students(tmp_path / "home").items()} == {
        "s0": 7,
        "s2": 8,
        "s3": None,
        "s4": 6,
        "s5": 7,
    }


def test_changes_without_a_whole_export_before_them_are_refused(tmp_path: Path):
    made = roster()
    delta = write_csv(made, tmp_path / "delta", since=made)
    for connector in (
        OneRosterFiles(),
        OneRosterFiles(tmp_path / "home" / "sources" / "oneroster"),
    ):
        with pytest.raises(
            SourceRefused, match=r"orgs\.csv holds only changes .delta., .* bulk export"
        ):
            load(connector, delta, tmp_path / "home")


def test_an_export_that_is_not_what_its_manifest_says_is_refused(tmp_path: Path):
    folder = write_csv(roster(), tmp_path / "in")
    (folder / "enrollments.csv").unlink()
    with pytest.raises(
        SourceRefused,
        match=r"says that enrollments\.csv is bulk, and it is not in in: .* not whole",
    ):
        load(OneRosterFiles(), folder, tmp_path / "home")
    (folder / "manifest.csv").write_text(
        "propertyName,value\nmanifest.version,1.0\nfile.users,everything\n"
    )
    with pytest.raises(
        SourceRefused, match=r"manifest\.csv, line 3: file\.users is 'everything'; it must be bulk"
    ):
        load(OneRosterFiles(), folder, tmp_path / "home")


def test_a_file_that_the_manifest_calls_absent_is_named_and_left_alone(tmp_path: Path):
    made = roster()
    folder = write_csv(made, tmp_path / "in", absent=("results.csv", "lineItems.csv"))
    shutil.copy(write_csv(made, tmp_path / "other") / "results.csv", folder)
    report = load(OneRosterFiles(), folder, tmp_path / "home")
    assert {"results.csv", "lineItems.csv", "attendance.csv"} <= {
        missing.file for missing in report.missing
    }
    assert any(
        "results.csv is there, but manifest.csv says that it is absent" in note
        for note in report.notes
    )
    assert "gradebook_entries" not in report.rows


def test_a_header_without_a_needed_column_leaves_what_was_kept_as_it_was(tmp_path: Path):
    made = roster()
    load_kept(write_csv(made, tmp_path / "bulk"), tmp_path / "home")
    after = copy.deepcopy(made)
    add_student(after, "s8", 1)
    broken = write_csv(after, tmp_path / "broken", since=made)
    (broken / "enrollments.csv").write_text("sourcedId,status\ne-s8,active\n")
    with pytest.raises(
        SourceRefused, match=r"enrollments\.csv, line 1: there is no column 'userSourcedId'"
    ):
        load_kept(broken, tmp_path / "home")
    load_kept(write_csv(made, tmp_path / "nothing", since=made), tmp_path / "home")
    assert "s8" not in students(tmp_path / "home"), "no part of the refused export was kept"


KEEPING = FORK.format(
    imports=(
        "import pandas\n"
        "from records.connectors.oneroster.files import OneRosterFiles\n"
        "from records.loading.load import load"
    ),
    work="load(OneRosterFiles(Path(home) / 'sources' / 'oneroster'), Path(source), Path(home))",
)


def test_a_load_of_changes_killed_at_any_moment_leaves_what_was_kept_or_what_comes(
    tmp_path: Path,
):  # R36
    rng, home = random.Random(12), tmp_path / "home"
    before, after = roster(150), roster(150)
    for number in range(150):
        after["users.csv"][f"s{number}"]["familyName"] = "Changed"
        after["results.csv"][f"r-s{number}"]["score"] = "11"
    load_kept(write_csv(before, tmp_path / "bulk"), tmp_path / "kept")
    delta = write_csv(after, tmp_path / "delta", since=before)
    states, seen = [kept_in(tmp_path / "kept")], [0, 0]
    with forking(KEEPING) as parent:
        shutil.copytree(tmp_path / "kept", home)
        begun = time.monotonic()
        assert not run(parent, delta, home)
        longest = time.monotonic() - begun
        states.append(kept_in(home))
        killed, early = 0, 0.0
        while killed < KILLS or (min(seen) == 0 and killed < 10 * KILLS):
            shutil.rmtree(home)
            shutil.copytree(tmp_path / "kept", home)
            moment = rng.uniform(0 if killed < KILLS else early, longest)
            if not run(parent, delta, home, moment):
                longest -= (longest - moment) / 2
                continue
            killed += 1
            was = states.index(kept_in(home))
            seen[was] += 1
            if was == 0:
                early = min(moment, longest)
        assert min(seen) > 0, "some were killed before what comes was kept, and some after"
        load_kept(delta, home)
    assert tables_of(home) == whole(after, tmp_path / "new"), "the same load again completes it"


def kept_in(home: Path) -> list[str]:
    """What the mirror of a home holds, whole or not."""
    with open_mirror(home / "sources" / "oneroster") as mirror:
        assert mirror.incomplete_resources(("users.csv", "roles.csv", "results.csv")) == []
        return [mirror.fingerprint(file) for file in ("users.csv", "roles.csv", "results.csv")]


def test_what_is_never_stored_reaches_neither_the_mirror_nor_a_snapshot(tmp_path: Path):  # R38
    folder = write_csv(roster(), tmp_path / "in")
    spellings = [
        "SSN",
        "citizenshipStatus",
        "countryOfBirthCode",
        "stateOfBirthAbbreviation",
        "cityOfBirth",
        "visaType",
        "religion",
        "politicalParty",
        "home_language",
        "HomeAddress",
        "metadata.address1",
        "migrantFlag",
        "diagnosis",
        "narrative",
    ]
    for file in folder.glob("*.csv"):
        if file.name != "manifest.csv":
            header, *lines = file.read_text().splitlines()
            more = [column for column in spellings if column not in header]
            canaries = ",".join(f"CANARY{n}" for n in range(len(more)))
            _, *cells = lines[-1].split(",")
            numbered = [
                f"123-45-6789,{','.join(cells)}",
                f"n1,{','.join('123-45-6789' for _ in cells)}",
            ]
            rows = [f"{line},{canaries}" for line in (*lines, *numbered, f'"{lines[-1]}')]
            file.write_text("\n".join([",".join([header, *more]), *rows]) + "\n")
    report = load_kept(folder, tmp_path / "home")
    assert set(spellings) <= {dropped["column"] for dropped in report.dropped_columns}
    assert students(tmp_path / "home"), "the rest of each line was kept"
    assert (tmp_path / "home" / "sources" / "oneroster" / "mirror.sqlite").exists()
    for file, content in files_on_disk(tmp_path / "home"):
        assert b"CANARY" not in content and b"123-45-6789" not in content, file


def test_only_the_columns_that_are_read_are_kept(tmp_path: Path):  # R38
    made = roster()
    for user in made["users.csv"].values():
        user |= {
            "password": "CANARYpassword",
            "email": "CANARY@mail.example",
            "username": "CANARYname",
        }
    for result in made["results.csv"].values():
        result["comment"] = "CANARY: is often ill"
    load_kept(write_csv(made, tmp_path / "in"), tmp_path / "home")
    for file, content in files_on_disk(tmp_path / "home"):
        assert b"CANARY" not in content, file


def test_a_student_whose_records_were_destroyed_does_not_come_back_with_changes(tmp_path: Path):
    made, home = roster(), tmp_path / "home"
    load_kept(lay_beside(write_csv(made, tmp_path / "bulk")), home)
    with open_mirror(home / "sources" / "oneroster") as mirror:
        held = (
            "user",
            "role",
            "demographics",
            "enrollment",
            "result",
            "attendance",
            "characteristics",
        )
        assert mirror.forget("s0") == len(held)
    after = copy.deepcopy(made)
    after["users.csv"]["s0"]["familyName"] = "Back"
    delta = write_csv(after, tmp_path / "delta", since=made)
    report = load_kept(delta, home)
    assert_every_line_is_accounted_for(report, delta)
    assert "s0" not in students(home)
    now = next(count for count in report.files if count.file == "users.csv")
    assert now.ignored_kinds == {"of a student whose records were destroyed": 1}
