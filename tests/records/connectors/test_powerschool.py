"""The PowerSchool connector against a server that runs the plugin's own queries: nothing lost,
nothing twice.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from records.connectors.http.client import SourceUnavailable
from records.connectors.http.mirror import open_mirror
from records.connectors.powerschool import (
    ATTENDANCE,
    QUERIES,
    RACES,
    STORED_GRADES,
    STUDENTS,
    PowerSchool,
)
from records.connectors.protocol import SourceRefused
from records.loading.load import load
from records.loading.load_report import LoadReport
from records.snapshots.snapshot import Snapshot
from tests.records import fake_http_server
from tests.records.connectors.test_oneroster import tables_of
from tests.records.disk_contents import files_on_disk
from tests.records.fake_http_server import SECRET, Fault, status
from tests.records.fake_powerschool import (
    PLUGIN,
    FakePowerSchool,
    add_student,
    fields_in,
    fill,
    random_change,
    read_plugin,
)
from tests.records.loading.test_kills import forking, run

KILLS = 12
FETCHING = """
import os, signal, sys, time
from pathlib import Path
from records.connectors.http.settings import ApiSettings
from records.connectors.powerschool import PowerSchool
from records.connectors.http.client import Credentials
for line in sys.stdin:
    url, home, kill_after = line.split()
    pid = os.fork()
    if pid == 0:
        secret = Credentials(f"{url}/oauth/token", "handrail", "the secret of the client 5d1f")
        PowerSchool(ApiSettings("powerschool", "north", url, secret, 2)).fetch(
            Path(home), lambda name, done, total: None)
        os._exit(0)
    if float(kill_after) >= 0:
        time.sleep(float(kill_after))
        os.kill(pid, signal.SIGKILL)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


@pytest.fixture
def server() -> Iterator[FakePowerSchool]:
    made = FakePowerSchool()
    with made.running():
        fill(made)
        yield made


def fetch(connector: PowerSchool, folder: Path) -> Path:
    connector.fetch(folder, lambda name, done, total: None)
    return folder


def loaded(server: FakePowerSchool, folder: Path, home: Path, **options: Any) -> LoadReport:
    return load(server.connector(**options), folder, home)


def rows_of(home: Path, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = Snapshot.current(home).table(table).to_pyarrow().to_pylist()
    return rows


def assert_same(server: FakePowerSchool, folder: Path) -> None:
    """The mirror holds every row that each query gives, as it gives it, and no other."""
    with open_mirror(folder) as mirror:
        for query in QUERIES:
            held = {record.id: record.body for record in mirror.records(query.name)}
            assert held == {
                dcid: {name: str(value) for name, value in row.items() if value is not None}
                for dcid, row in server.rows(query.name).items()
            }, query.name


@pytest.mark.parametrize("page_size", [1, 3, 500])
def test_a_first_load_brings_every_row_once(
    page_size: int, server: FakePowerSchool, tmp_path: Path
):
    assert_same(server, fetch(server.connector(page_size), tmp_path))


def test_the_rows_of_a_student_become_the_canonical_rows(server: FakePowerSchool, tmp_path: Path):
    report = loaded(server, fetch(server.connector(), tmp_path / "mirror"), tmp_path / "home")
    home, student = tmp_path / "home", "703"
    assert [row for row in rows_of(home, "students") if row["student_id"] == student] == [
        {
            "student_id": "703",
            "first_name": "First3",
            "last_name": "Last3",
            "birth_date": date(2014, 3, 2),
            "grade_level": 7,
            "school_id": "2",
        }
    ]
    assert [row for row in rows_of(home, "school_enrollments") if row["student_id"] == student] == [
        {
            "student_id": "703",
            "school_id": "2",
            "school_year": 2025,
            "grade_level": 5,
            "entry_date": date(2024, 8, 19),
            "exit_date": date(2025, 5, 30),
            "calendar_code": None,
        },
        {
            "student_id": "703",
            "school_id": "2",
            "school_year": 2026,
            "grade_level": 7,
            "entry_date": date(2025, 8, 18),
            "exit_date": date(2026, 5, 29),
            "calendar_code": None,
        },
    ]
    whole_day = {"student_id": "703", "school_id": "2", "absent_share": None, "part": None}
    assert [row for row in rows_of(home, "attendance_events") if row["student_id"] == student] == [
        whole_day | {"date": date(2025, 9, 2), "status": "absent_unexcused"},
        whole_day | {"date": date(2025, 9, 3), "status": "tardy"},
    ]
    assert [row for row in rows_of(home, "course_grades") if row["student_id"] == student] == [
        {
            "student_id": "703",
            "course": "Algebra I",
            "school_year": 2026,
            "period": 1,
            "date": date(2025, 10, 17),
            "grade": 83.0,
            "section_id": None,
        }
    ]
    canonical = {
        row["student_id"]: (row["sex"], row["race_ethnicity"], row["meal_eligible"])
        for row in rows_of(home, "characteristics")
    }
    assert canonical == {
        "700": ("female", "two_or_more", True),
        "701": ("male", "black", False),
        "702": ("another", "asian", True),
        "703": ("female", "two_or_more", False),
        "704": ("male", "black", True),
        "705": ("another", "hispanic", False),
    }
    assert {
        (row["school_id"], str(row["date"]), row["school_year"])
        for row in rows_of(home, "calendar")
    } == {(str(school), f"2025-09-0{day}", 2026) for school in (1, 2) for day in (2, 3, 4, 5)}
    assert [row["school_id"] for row in rows_of(home, "schools")] == [
        "1",
        "2",
    ], "the district office is no school"
    assert {count.file: count.read for count in report.files} == {
        query.name: len(server.rows(query.name)) for query in QUERIES
    }  # R35


def test_students_who_never_came_or_have_gone_are_told_apart(
    server: FakePowerSchool, tmp_path: Path
):
    server.change("students", "id = 1000", enroll_status=2)
    server.change("students", "id = 1001", enroll_status=3, grade_level=99, schoolid=999999)
    server.change("students", "id = 1002", enroll_status=-1)
    server.change("students", "id = 1003", exitdate="2025-08-18")
    server.change("students", "id = 1004", grade_level=-2)
    report = loaded(server, fetch(server.connector(), tmp_path / "mirror"), tmp_path)
    canonical = {
        row["student_id"]: (row["school_id"], row["grade_level"])
        for row in rows_of(tmp_path, "students")
    }
    assert canonical == {
        "700": (None, 6),
        "701": (None, None),
        "703": ("2", 7),
        "704": ("1", -1),
        "705": ("2", 7),
    }
    stays = {
        row["student_id"]
        for row in rows_of(tmp_path, "school_enrollments")
        if row["school_year"] == 2026
    }
    assert "703" not in stays, "who left on the first day was never there"
    count = next(count for count in report.files if count.file == STUDENTS.name)
    assert (count.read, count.kept, count.ignored, count.quarantined) == (6, 5, 1, 0)


def test_a_code_that_the_settings_do_not_explain_is_put_aside(
    server: FakePowerSchool, tmp_path: Path
):
    server.change("attendance", "studentid = 1001", attendance_codeid=3)
    server.change("attendance", "studentid = 1002", attendance_codeid=2)
    server.change("studentrace", "studentid = 1004", racecd="Q")
    server.change("storedgrades", "studentid = 1003", storecode="S1")
    server.change("storedgrades", "studentid = 1004", percent=None)
    report = loaded(server, fetch(server.connector(), tmp_path / "mirror"), tmp_path)
    reasons = {
        (row["file"], row["column"]): row["reason"]
        for row in Snapshot.current(tmp_path).quarantined().to_pylist()
    }
    assert reasons[(ATTENDANCE.name, "att_code")].startswith(
        "att_code is 'X', which the option attendance does not"
    )
    assert reasons[(RACES.name, "racecd")] == "racecd is 'Q', which the option races does not name"
    ignored = {kind for count in report.files for kind in count.ignored_kinds}
    assert ignored == {
        "present (no code)",
        "present in one class",
        "absence from one class (the school day's own record is used)",
        "not a grading period (S1)",
        "a mark without a percentage",
    }
    loaded(server, tmp_path / "mirror", tmp_path / "other", races={})
    assert {row["race_ethnicity"] for row in rows_of(tmp_path / "other", "characteristics")} == {
        None,
        "hispanic",
    }


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_what_has_changed_adds_up_to_what_a_first_load_brings(seed: int):
    rng, server = Random(seed), FakePowerSchool()
    with tempfile.TemporaryDirectory() as name, server.running():
        folder = Path(name)
        fill(server, students=5)
        connector = server.connector()
        fetch(connector, folder / "mirror")
        for _ in range(3):
            for _ in range(rng.randrange(4)):
                random_change(server, rng)
            assert_same(server, fetch(connector, folder / "mirror"))
        loaded(server, folder / "mirror", folder / "later")
        loaded(server, fetch(connector, folder / "new"), folder / "first")
        assert tables_of(folder / "later") == tables_of(folder / "first")


def test_a_later_load_asks_only_for_the_students_and_marks_that_have_changed(
    server: FakePowerSchool, tmp_path: Path
):
    fetch(server.connector(), tmp_path)
    server.change("students", "id = 1001", last_name="Renamed")
    server.requests.clear()
    assert_same(server, fetch(server.connector(), tmp_path))
    for query in (STUDENTS, STORED_GRADES):
        bodies = [request.body for request in server.requests if request.path == query.path]
        assert len(bodies) == 1 + (query is STUDENTS), (
            "the page with the one that changed, and the empty one behind it"
        )
        assert all(b"1900-01-01" not in body for body in bodies)


def test_a_row_that_was_never_marked_as_changed_is_not_passed_over(
    server: FakePowerSchool, tmp_path: Path
):
    server.database.execute("UPDATE students SET transaction_date = NULL WHERE id = 1002")
    assert_same(server, fetch(server.connector(), tmp_path))
    add_student(server, 9)
    server.database.execute("UPDATE students SET transaction_date = NULL WHERE id = 1009")
    assert_same(server, fetch(server.connector(), tmp_path))


FAULTS: dict[str, Fault] = {
    "429 with seconds": status(429, Retry_After="3"),
    "500": status(500),
    "503": status(503),
    "not JSON": fake_http_server.not_json,
    "half of the JSON": fake_http_server.half,
    "a truncated body": fake_http_server.truncated,
    "a reset connection": fake_http_server.reset,
    "hung up": fake_http_server.hung_up,
    "a slow drip": fake_http_server.drip,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_after_a_fault_at_any_request_nothing_is_lost_and_nothing_is_there_twice(
    fault: Fault, server: FakePowerSchool, tmp_path: Path
):
    rng = Random(7)
    for _ in range(3 if fault is fake_http_server.drip else 30):
        server.faults.extend([fault] * rng.randrange(1, 3) + [None] * rng.randrange(1, 6))
    assert_same(server, fetch(server.connector(2), tmp_path))


@pytest.mark.parametrize("counts_for", [1, 2, 5])
def test_a_token_that_ends_in_the_middle_of_the_pages_is_renewed(
    counts_for: int, server: FakePowerSchool, tmp_path: Path
):
    server.token_counts_for, server.token_lasts = counts_for, "2504877"
    assert_same(server, fetch(server.connector(1), tmp_path))


@pytest.mark.parametrize("seed", range(6))
def test_what_changes_while_it_is_read_is_neither_lost_nor_kept_too_long(
    seed: int, server: FakePowerSchool, tmp_path: Path
):
    rng, left = Random(seed), [14]

    def perhaps() -> None:
        if left[0] and rng.random() < 0.5:
            left[0] -= 1
            random_change(server, rng)

    server.after_answer = perhaps
    for _ in range(4):
        try:
            fetch(server.connector(2), tmp_path)
        except SourceUnavailable as unavailable:
            assert "run the same command again" in str(unavailable)
    server.after_answer = lambda: None
    assert_same(server, fetch(server.connector(2), tmp_path))


def test_a_row_that_is_deleted_before_the_place_that_was_reached_hides_no_other(
    server: FakePowerSchool, tmp_path: Path
):
    gone = iter((1000, 1001, 1002))

    def one_leaves() -> None:
        student = next(gone, None) if STUDENTS.path == server.requests[-1].path else None
        if student is not None:
            server.delete("students", f"id = {student}")

    server.after_answer = one_leaves
    assert_same(server, fetch(server.connector(2), tmp_path))
    assert next(gone, None) is None


def test_a_fetch_killed_at_any_moment_is_completed_by_the_next(
    server: FakePowerSchool, tmp_path: Path
):  # R36
    rng, folder = Random(5), tmp_path / "mirror"
    with forking(FETCHING) as parent:
        begun = time.monotonic()
        assert not fetching(parent, server, folder)
        longest = time.monotonic() - begun
        killed = 0
        while killed < KILLS:
            if rng.random() < 0.3:
                shutil.rmtree(
                    folder, ignore_errors=True
                )  # the one before may have been killed before it made it
            random_change(server, rng)
            killed += fetching(
                parent, server, folder, rng.uniform(0, longest) * rng.random()
            )  # most fetches are short
            if rng.random() < 0.5:
                random_change(server, rng)
                assert not fetching(parent, server, folder)
                assert_same(server, folder)
        assert not fetching(parent, server, folder)
    assert_same(server, folder)


def fetching(parent: Any, server: FakePowerSchool, folder: Path, kill_after: float = -1) -> bool:
    """Fetch in another process and kill it after so many seconds; True if it was killed at work."""
    return run(parent, server.url, folder, kill_after)  # type: ignore[arg-type]


def test_nothing_is_posted_but_queries_and_what_gets_a_token(
    server: FakePowerSchool, tmp_path: Path
):  # R22
    fetch(server.connector(), tmp_path)
    add_student(server, 9)
    fetch(server.connector(), tmp_path)
    assert {request.method for request in server.requests} == {"POST"}
    assert {request.path for request in server.requests} == {"/oauth/token"} | {
        path for query in QUERIES for path in (query.path, f"{query.path}/count")
    }


@pytest.mark.parametrize(
    "path",
    [
        "/ws/schema/table/students/1",
        "/ws/v1/student",
        "/ws/schema/query/../table/students",
        "/ws/schema/query/",
        "/ws/schema/query/a.b/delete",
        "/ws/schema/query/a.b?x=1",
        "/WS/schema/query/a.b",
    ],
)
def test_the_client_posts_to_no_other_path(path: str, server: FakePowerSchool):  # R22
    with (
        server.client() as client,
        pytest.raises(ValueError, match="is not the path of a PowerQuery"),
    ):
        client.post_query(path, body={"after": 0})
    assert server.requests == []


def test_the_plugin_may_look_at_what_its_queries_name_and_at_nothing_else(
    server: FakePowerSchool,
):  # R22, R38
    fields = [
        element.attrib
        for element in read_plugin("plugin.xml").iter()
        if element.tag.endswith("field")
    ]
    assert {field["access"] for field in fields} == {"ViewOnly"}
    queried = set()
    for query in read_plugin("queries_root/handrail.named_queries.xml"):
        sql = query.findtext("sql") or ""
        assert (
            sql.split()[0] == "SELECT"
            and sql.split()[-3:-1] == ["ORDER", "BY"]
            and sql.strip().endswith(".dcid")
        )
        assert len(query.attrib["name"].split(".")) == 5 and query.attrib["flattened"] == "true"
        assert server.may_read(query.attrib["name"])
        queried |= fields_in(sql)
    assert queried == {f"{field['table']}.{field['field']}" for field in fields}
    assert {path.name for path in PLUGIN.rglob("*.*")} == {
        "plugin.xml",
        "handrail.named_queries.xml",
    }


def test_the_plugin_has_the_queries_and_columns_that_are_read(server: FakePowerSchool):
    declared = {
        name: [str(column.text) for column in query.iter("column")]
        for name, query in server.queries.items()
    }
    assert declared == {query.name: ["dcid", *query.columns] for query in QUERIES}
    takes = {
        name: {arg.attrib["name"] for arg in query.iter("arg")}
        for name, query in server.queries.items()
    }
    assert takes == {
        query.name: {"after", "changed_since"} if query.supports_changed_since else {"after"}
        for query in QUERIES
    }


def test_rows_that_are_not_in_order_are_refused(server: FakePowerSchool, tmp_path: Path):
    sql = server.queries[STUDENTS.name].find("sql")
    assert sql is not None and sql.text is not None
    sql.text = sql.text.replace("ORDER BY students.dcid", "ORDER BY students.dcid DESC")
    with pytest.raises(
        SourceRefused, match=r"student\.students: the rows are not in the order of dcid; install"
    ):
        fetch(server.connector(), tmp_path)


def test_a_server_without_the_plugin_is_refused_with_what_to_do(
    server: FakePowerSchool, tmp_path: Path
):
    server.refused_queries = dict.fromkeys((query.name for query in QUERIES), 404)
    with pytest.raises(
        SourceRefused, match=r"answered 404.* Is Handrail's plugin installed and enabled\?"
    ):
        fetch(server.connector(), tmp_path)


def test_a_query_that_may_not_be_asked_is_named_unless_it_could_be_before(
    server: FakePowerSchool, tmp_path: Path
):
    server.refused_queries = {STORED_GRADES.name: 403}
    report = loaded(server, fetch(server.connector(), tmp_path / "mirror"), tmp_path / "home")
    assert {missing.file for missing in report.missing} >= {
        STORED_GRADES.name,
        "characteristics.csv",
    }
    assert "course_grades" not in report.rows
    server.refused_queries = {}
    assert_same(server, fetch(server.connector(), tmp_path / "mirror"))
    server.refused_queries = {STORED_GRADES.name: 403}
    with pytest.raises(SourceRefused, match=r"403.* It could be read before"):
        fetch(server.connector(), tmp_path / "mirror")


def test_what_is_never_stored_reaches_no_disk(server: FakePowerSchool, tmp_path: Path):  # R38
    server.more = {
        "ssn": "CANARY1",
        "citizenship": "CANARY2",
        "HomeAddress": "CANARY3",
        "religion": "CANARY4",
        "comment": "CANARY5 123-45-6789",
        "birthplace": {"city": "CANARY6"},
    }
    server.change("students", "id = 1001", last_name="123-45-6789")
    report = loaded(server, fetch(server.connector(), tmp_path / "sources" / "north"), tmp_path)
    dropped = {
        column["column"] for column in report.dropped_columns if column["file"] == STUDENTS.name
    }
    assert dropped == {"ssn", "citizenship", "homeaddress", "religion", "birthplace"}
    assert {row["student_id"] for row in rows_of(tmp_path, "students")} == {
        "700",
        "702",
        "703",
        "704",
        "705",
    }
    for file, content in files_on_disk(tmp_path):
        for secret in (
            b"CANARY",
            b"123-45-6789",
            SECRET.encode(),
            *(token.encode() for token in server.tokens),
        ):
            assert secret not in content, (file, secret)


def test_extension_files_bring_what_powerschool_keeps_in_each_states_own_tables(
    server: FakePowerSchool, tmp_path: Path
):
    folder = tmp_path / "nightly"
    folder.mkdir()
    (folder / "characteristics.csv").write_text(
        "userSourcedId,english_learner,special_education,unstable_housing,meal_eligible\n"
        "700,true,false,,true\n"
        "701,perhaps,,,\n"
        "nobody,true,,,\n"
        "702,false,true,true,\n"
        "702,true,true,true,\n"
    )
    (folder / "incidents.csv").write_text("userSourcedId,incident_id,date\n700,i1,2025-09-03\n")
    options = {"extensions": str(folder)}
    fetch(server.connector(**options), tmp_path / "mirror")
    report = loaded(server, tmp_path / "mirror", tmp_path / "home", **options)
    canonical = {
        row["student_id"]: (
            row["english_learner"],
            row["special_education"],
            row["unstable_housing"],
        )
        for row in rows_of(tmp_path / "home", "characteristics")
    }
    assert canonical["700"] == (True, False, None) and canonical["702"] == (False, True, True)
    assert canonical["701"] == (None, None, None)
    count = next(count for count in report.files if count.file == "characteristics.csv")
    assert (count.read, count.kept, count.quarantined) == (5, 2, 3)  # R35
    assert report.rows["behavior_incidents"] == 1
    assert "behavior_incidents" not in server.connector().tables, "what another source loaded stays"


def test_a_student_whose_records_were_destroyed_stays_away(server: FakePowerSchool, tmp_path: Path):
    fetch(server.connector(), tmp_path / "mirror")
    with open_mirror(tmp_path / "mirror") as mirror:
        assert mirror.forget("703") > 4
    fetch(server.connector(), tmp_path / "mirror")
    report = loaded(server, tmp_path / "mirror", tmp_path / "home")
    assert "703" not in {row["student_id"] for row in rows_of(tmp_path / "home", "students")}
    assert {count.file: count.read for count in report.files} == {
        query.name: len(server.rows(query.name)) for query in QUERIES
    }  # R35


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"atendance": {}},
            (
                "there is no option atendance; the options of a powerschool source are attendance,"
                " races"
            ),
        ),
        (
            {"attendance": {"A": "absent"}},
            "attendance.A is 'absent'; it must be one of absent_excused, ",
        ),
        ({"periods": {"Q1": "first"}}, "periods.Q1 is 'first'; it must be one of 1, 2"),
        ({"races": "W"}, "the option races must be a table of the district's codes"),
        ({"extensions": "/nowhere"}, "extensions names /nowhere, which is not a folder"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_before_anything_is_asked(
    options: dict[str, Any], expected: str, server: FakePowerSchool
):
    with pytest.raises(SourceRefused) as refused:
        server.connector(**options)
    assert expected in str(refused.value)
    assert server.requests == []
