"""The Ed-Fi ODS/API connector against a server with state and faults: nothing lost, nothing twice,
nothing written.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from records.canonical.never_ingest import NEVER_INGEST
from records.connectors.edfi.api import CHANGE_VERSION_OVERLAP, RESOURCES, EdFiApi
from records.connectors.edfi.files import EdFiFiles
from records.connectors.http.client import RequestRefused, SourceUnavailable
from records.connectors.http.mirror import open_mirror
from records.connectors.protocol import SourceRefused
from records.loading.load import load
from records.loading.load_report import LoadReport
from records.snapshots.snapshot import Snapshot
from tests.records import fake_http_server
from tests.records.fake_edfi_api import Body, FakeEdFiApi, add_student, fill, mirrored
from tests.records.fake_http_server import SECRET, Fault, status
from tests.records.loading.test_kills import forking, run

STUDENTS, ATTENDANCE = "ed-fi/students", "ed-fi/studentSchoolAttendanceEvents"
FEW = (
    STUDENTS,
    ATTENDANCE,
    "ed-fi/schools",
    "ed-fi/gradingPeriods",
    "ed-fi/grades",
    "ed-fi/studentAssessments",
)
KINDS = {
    "cursors and changes": (True, True),
    "offsets and changes": (False, True),
    "cursors alone": (True, False),
    "offsets alone": (False, False),
}
TRACKING = {name: kind for name, kind in KINDS.items() if kind[1]}
KILLS = 24
FETCHING = f"""
FEW = {FEW!r}
import os, signal, sys, time
from pathlib import Path
from records.connectors.http.settings import ApiSettings
from records.connectors.edfi.api import EdFiApi
from records.connectors.http.client import Credentials
for line in sys.stdin:
    url, home, kill_after = line.split()
    pid = os.fork()
    if pid == 0:
        secret = Credentials(url + "/oauth/token", "handrail", "the secret of the client 5d1f")
        connector = EdFiApi(ApiSettings("edfi-api", "north", url + "/api", secret, 2))
        resources = connector.resources
        connector.resources = tuple(one for one in resources if one.name in FEW)
        connector.fetch(Path(home), lambda name, done, total: None)
        os._exit(0)
    if float(kill_after) >= 0:
        time.sleep(float(kill_after))
        os.kill(pid, signal.SIGKILL)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


@pytest.fixture
def ods() -> Iterator[FakeEdFiApi]:
    server = FakeEdFiApi()
    with server.running():
        fill(server)
        server.nightfall()
        yield server


def silent(name: str, done: int, total: int) -> None:
    pass


def fetch(connector: EdFiApi, folder: Path) -> Path:
    connector.fetch(folder, silent)
    return folder


def differences(ods: FakeEdFiApi, folder: Path, names: Collection[str] = ()) -> list[str]:
    """Resources whose mirror differs from the server: a record too few or too many, or outdated."""
    return [
        resource.name
        for resource in RESOURCES
        if (not names or resource.name in names)
        and mirrored(folder, resource.name)
        != {id_: only(body, resource.fields) for id_, body in ods.state(resource.name).items()}
    ]


def only(body: Any, wanted: Any) -> Any:
    if wanted is True:
        return body
    if isinstance(body, list):
        return [only(item, wanted) for item in body]
    return {name: only(value, wanted[name]) for name, value in body.items() if name in wanted}


def loaded(connector: EdFiApi, folder: Path, home: Path) -> tuple[LoadReport, Snapshot]:
    return load(connector, fetch(connector, folder), home), Snapshot.current(home)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("page_size", [1, 3, 500])
def test_a_first_fetch_brings_everything_once_however_the_server_pages(
    kind: tuple[bool, bool], page_size: int, tmp_path: Path
):
    ods = FakeEdFiApi(cursors=kind[0], tracks_changes=kind[1])
    with ods.running():
        fill(ods, students=7)
        fetch(ods.connector(page_size=page_size, interventions=True), tmp_path)
    assert differences(ods, tmp_path) == []


def test_the_records_of_a_student_become_the_canonical_rows(ods: FakeEdFiApi, tmp_path: Path):
    report, snapshot = loaded(
        ods.connector(interventions=True), tmp_path / "mirror", tmp_path / "home"
    )
    rows = {
        name: [
            row
            for row in snapshot.table(name).to_pyarrow().to_pylist()
            if row.get("student_id") == "s3"
        ]
        for name in report.rows
        if name != "schools"
    }
    assert rows["students"] == [
        {
            "student_id": "s3",
            "first_name": "First3",
            "last_name": "Last3",
            "grade_level": 5,
            "birth_date": day("2012-03-04"),
            "school_id": "2",
        }
    ]
    assert rows["characteristics"] == [
        {
            "student_id": "s3",
            "sex": "female",
            "race_ethnicity": "hispanic",
            "english_learner": False,
            "special_education": False,
            "unstable_housing": True,
            "meal_eligible": False,
        }
    ]
    assert rows["unstable_housing_periods"] == [
        {"student_id": "s3", "first_date": day("2025-08-25"), "last_date": None}
    ]
    assert rows["school_enrollments"] == [
        {
            "student_id": "s3",
            "school_id": "2",
            "school_year": 2026,
            "grade_level": 5,
            "entry_date": day("2025-08-25"),
            "exit_date": None,
            "calendar_code": None,
        }
    ]
    assert rows["attendance_events"] == [
        {
            "student_id": "s3",
            "school_id": "2",
            "date": day("2025-09-02"),
            "status": status,
            "absent_share": None,
            "part": part,
        }
        for status, part in (("absent_unexcused", None), ("tardy", "class"))
    ]
    assert rows["course_grades"] == [
        {
            "student_id": "s3",
            "course": "Art",
            "school_year": 2026,
            "period": 1,
            "date": day("2025-10-10"),
            "grade": 83.0,
            "section_id": "m1",
        }
    ]
    assert rows["gradebook_entries"] == [
        {
            "student_id": "s3",
            "entry_id": "e1",
            "course": "Mathematics",
            "title": "Exercise 1",
            "due_date": day("2025-09-03"),
            "grade": 73.5,
        }
    ]
    assert rows["assessments"] == [
        {
            "student_id": "s3",
            "assessment": "Reading",
            "date": day("2025-09-04"),
            "score": 28.0,
            "measure": "Raw",
        }
    ]
    assert rows["behavior_incidents"] == [
        {
            "student_id": "s3",
            "incident_id": "i2_2",
            "date": day("2025-09-02"),
            "behavior": "Other",
            "action": "Detention",
            "days_removed": None,
        }
    ]
    assert rows["service_enrollments"] == [
        {
            "student_id": "s3",
            "program_id": "check-in",
            "organization_id": "9",
            "start_date": day("2025-09-01"),
            "end_date": None,
            "exit_reason": None,
        }
    ]
    assert {count.file for count in report.files} == {resource.name for resource in RESOURCES}
    assert all(count.read == len(ods.state(count.file)) for count in report.files)  # R35
    assert not any(count.quarantined for count in report.files)


def day(text: str) -> date:
    return date.fromisoformat(text)


FAULTS: dict[str, Fault] = {
    "429 with seconds": status(429, Retry_After="3"),
    "429 with a date": status(429, Retry_After="Wed, 01 Jan 2020 00:00:00 GMT"),
    "500": status(500),
    "503": status(503),
    "a truncated body": fake_http_server.truncated,
    "half of the JSON": fake_http_server.half,
    "a reset": fake_http_server.reset,
    "hung up": fake_http_server.hung_up,
    "HTML": fake_http_server.not_json,
    "a broken encoding": fake_http_server.broken_encoding,
}


@pytest.mark.parametrize(
    "kind", [(True, True), (False, False)], ids=["cursors and changes", "offsets alone"]
)
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_with_a_fault_on_every_third_request_nothing_is_lost_and_nothing_is_twice(
    kind: tuple[bool, bool], fault: Fault, tmp_path: Path
):
    ods = FakeEdFiApi(cursors=kind[0], tracks_changes=kind[1])
    with ods.running():
        fill(ods)
        ods.faults.extend([None, None, fault] * 200)
        fetch(ods.connector(only=FEW), tmp_path)
        assert differences(ods, tmp_path, FEW) == []
        add_student(ods, 9)
        fetch(ods.connector(only=FEW), tmp_path)
    assert differences(ods, tmp_path, FEW) == []


@pytest.mark.parametrize(
    "fault", [fake_http_server.drip, fake_http_server.silence], ids=["a slow drip", "silence"]
)
def test_a_server_that_keeps_the_line_open_and_says_little_is_asked_again(
    ods: FakeEdFiApi, fault: Fault, tmp_path: Path
):
    ods.faults.extend([*[None] * 20, fault, *[None] * 30, fault])
    fetch(ods.connector(only=FEW), tmp_path)
    assert differences(ods, tmp_path, FEW) == []


def test_a_token_that_ends_in_the_middle_of_a_resource_costs_no_record(
    ods: FakeEdFiApi, tmp_path: Path
):
    ods.token_counts_for = 3
    fetch(ods.connector(page_size=1, only=FEW), tmp_path)
    assert differences(ods, tmp_path, FEW) == []
    assert len(ods.tokens) > 10


@pytest.mark.parametrize(
    "fault",
    [fake_http_server.huge, status(302, Location="https://elsewhere.example/"), status(418)],
    ids=["an answer beyond the limit", "a redirect", "a refusal"],
)
def test_after_a_refusal_the_next_fetch_goes_on_where_it_stopped(
    ods: FakeEdFiApi, fault: Fault, tmp_path: Path
):
    def between() -> None:
        pages = [
            request
            for request in ods.requests
            if request.path.endswith(ATTENDANCE) and "pageToken" in request.params
        ]
        if len(pages) == 3 and not ods.faults:
            ods.faults.append(fault)

    ods.between = between
    with pytest.raises(SourceRefused):
        fetch(ods.connector(page_size=1, interventions=True), tmp_path)
    ods.between, before = lambda: None, len(ods.requests)
    with open_mirror(tmp_path) as mirror:
        assert mirror.sync_state(STUDENTS)
        place = mirror.resume_point(ATTENDANCE)["at"]
    with pytest.raises(SourceRefused, match="is incomplete"):
        load(ods.connector(interventions=True), tmp_path, tmp_path / "home")
    fetch(ods.connector(page_size=1, interventions=True), tmp_path)
    assert differences(ods, tmp_path) == []
    pages = [request.params for request in ods.requests[before:] if "pageToken" in request.params]
    assert (
        next(page["pageToken"] for page in pages if page["maxChangeVersion"] == str(ods.version))
        == place["token"]
    )


def test_a_place_that_the_source_no_longer_knows_is_begun_anew(ods: FakeEdFiApi, tmp_path: Path):
    with pytest.raises(SourceRefused):
        ods.faults.extend([*[None] * 8, status(418)])
        fetch(ods.connector(page_size=1, only=FEW), tmp_path)
    with open_mirror(tmp_path) as mirror:
        assert "token" in mirror.resume_point(STUDENTS)["at"]
    real = ods.answer
    ods.answer = lambda method, path, params, body: (  # type: ignore[method-assign]
        fake_http_server.Reply({}, 400)
        if "pageToken" in params
        else real(method, path, params, body)
    )
    ods.cursors = False
    fetch(ods.connector(page_size=1, only=FEW), tmp_path)
    assert differences(ods, tmp_path, FEW) == []


Step = Callable[[FakeEdFiApi, Random], None]


def insert(ods: FakeEdFiApi, rng: Random) -> None:
    add_student(ods, rng.randrange(100, 1_000_000))


def somewhere(ods: FakeEdFiApi, rng: Random) -> tuple[str, str] | None:
    resource = rng.choice(FEW)
    ids = sorted(ods.held[resource])
    return (resource, rng.choice(ids)) if ids else None


def remove(ods: FakeEdFiApi, rng: Random) -> None:
    if place := somewhere(ods, rng):
        ods.delete(*place)


def correct(ods: FakeEdFiApi, rng: Random) -> None:
    if place := somewhere(ods, rng):
        ods.change(*place, **changed(place[0], rng))


def changed(resource: str, rng: Random) -> Body:
    """A fact that the connector keeps, of a kind that its records have."""
    date_, number = f"2025-09-{rng.randint(1, 28):02d}", rng.randint(0, 100)
    return {
        STUDENTS: {"firstName": f"Name{number}"},
        ATTENDANCE: {"eventDate": date_},
        "ed-fi/schools": {"nameOfInstitution": f"School {number}"},
        "ed-fi/gradingPeriods": {"endDate": date_},
        "ed-fi/grades": {"numericGradeEarned": number},
        "ed-fi/studentAssessments": {"administrationDate": date_},
    }[resource]


def make_again(ods: FakeEdFiApi, rng: Random) -> None:
    if place := somewhere(ods, rng):
        ods.make_again(*place)


def rekey(ods: FakeEdFiApi, rng: Random) -> None:
    """A student's identifier is corrected; their records change, and only keyChanges says so."""
    for id_, held in sorted(ods.held[STUDENTS].items())[:1]:
        old, new = held.body["studentUniqueId"], f"r{rng.randrange(1_000_000)}"
        ods.change(STUDENTS, id_, studentUniqueId=new)
        ods.held[STUDENTS][id_].key = (new,)
        for resource in (ATTENDANCE, "ed-fi/studentAssessments"):
            for about, other in sorted(ods.held[resource].items()):
                if other.body["studentReference"]["studentUniqueId"] == old:
                    ods.rekey(resource, about, (new,), studentReference={"studentUniqueId": new})


STEPS: list[Step] = [insert, remove, correct, make_again, rekey]
steps = st.lists(st.sampled_from(STEPS), max_size=6)


@settings(max_examples=16, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    kind=st.sampled_from(sorted(TRACKING)),
    page_size=st.integers(1, 3),
    during=steps,
    seed=st.integers(0, 10_000),
    gap=st.integers(1, 9),
)
def test_records_that_come_go_and_change_between_two_pages_are_not_lost(
    kind: str, page_size: int, during: list[Step], seed: int, gap: int
):
    cursors, tracks = TRACKING[kind]
    ods, rng = FakeEdFiApi(cursors=cursors, tracks_changes=tracks, seed=seed), Random(seed)
    waiting: list[Step] = []

    def between() -> None:
        """While the first pages are read, so that the source is quiet before the last round over
        everything.
        """
        if waiting and len(ods.requests) < calm_after and rng.randrange(gap) == 0:
            waiting.pop()(ods, rng)

    with tempfile.TemporaryDirectory() as folder, ods.running():
        fill(ods, students=5)
        ods.nightfall()
        ods.between = between
        for _ in range(2):
            waiting[:], calm_after = during, len(ods.requests) + 80
            ods.nightfall(seed % (2 * CHANGE_VERSION_OVERLAP))
            fetch(ods.connector(page_size=page_size, only=FEW), Path(folder))
            assert differences(ods, Path(folder), FEW) == []


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    kind=st.sampled_from(sorted(KINDS)),
    nights=st.lists(steps, min_size=1, max_size=3),
    seed=st.integers(0, 10_000),
)
def test_after_each_night_the_changes_alone_give_the_tables_that_everything_gives(
    kind: str, nights: list[list[Step]], seed: int
):
    cursors, tracks = KINDS[kind]
    ods, rng = FakeEdFiApi(cursors=cursors, tracks_changes=tracks, seed=seed), Random(seed)
    with tempfile.TemporaryDirectory() as folder, ods.running():
        fill(ods, students=5)
        ods.nightfall()
        mirror = fetch(ods.connector(only=FEW), Path(folder) / "mirror")
        for number, night in enumerate(nights):
            ods.nightfall(rng.choice((0, CHANGE_VERSION_OVERLAP // 2, 2 * CHANGE_VERSION_OVERLAP)))
            for step in night:
                step(ods, rng)
            changes, everything = (
                loaded(ods.connector(only=FEW), source, Path(folder) / f"home-{source.name}")[1]
                for source in (mirror, Path(folder) / f"afresh{number}")
            )
            assert differences(ods, mirror, FEW) == []
            assert changes.manifest["hashes"] == everything.manifest["hashes"]


@pytest.mark.parametrize("cursors", [True, False])
def test_a_fetch_killed_at_any_moment_loses_nothing_when_it_is_run_again(
    cursors: bool, tmp_path: Path
):  # R36
    ods, rng, mirror = FakeEdFiApi(cursors=cursors), Random(36), tmp_path / "mirror"
    with ods.running(), forking(FETCHING) as parent:
        fill(ods)
        ods.nightfall()
        begun = time.monotonic()
        assert not run(parent, ods.url, mirror)  # type: ignore[arg-type]
        longest = time.monotonic() - begun
        killed = begun_anew = 0
        while killed < KILLS // 2:
            if rng.randrange(3) == 0:
                shutil.rmtree(mirror, ignore_errors=True)
                begun_anew += 1
            for _ in range(rng.randrange(3)):
                rng.choice(STEPS)(ods, rng)
            ods.nightfall(rng.choice((0, 20_000)))
            moment = rng.uniform(0, longest) * rng.random()  # most fetches are short
            killed += run(parent, ods.url, mirror, moment)  # type: ignore[arg-type]
            if rng.randrange(7) == 0:
                assert not run(parent, ods.url, mirror)  # type: ignore[arg-type]
                assert differences(ods, mirror, FEW) == []
        assert begun_anew > 2
        assert not run(parent, ods.url, mirror)  # type: ignore[arg-type]
    assert differences(ods, mirror, FEW) == []


def test_after_a_first_fetch_only_what_changed_is_asked_for(ods: FakeEdFiApi, tmp_path: Path):
    fetch(ods.connector(only=FEW), tmp_path)
    ods.nightfall()
    add_student(ods, 50)
    ods.delete(ATTENDANCE, sorted(ods.held[ATTENDANCE])[0])
    before = len(ods.requests)
    fetch(ods.connector(only=FEW), tmp_path)
    pages = [
        request
        for request in ods.requests[before:]
        if "/data/v3/" in request.path and request.params.get("limit") != "0"
    ]
    assert all(
        "minChangeVersion" in request.params or "pageToken" in request.params for request in pages
    )
    with open_mirror(tmp_path) as mirror:
        assert mirror.count_seen(STUDENTS) == 1
    assert differences(ods, tmp_path, FEW) == []


def test_a_change_committed_late_under_an_older_version_is_found_the_next_time(
    ods: FakeEdFiApi, tmp_path: Path
):
    fetch(ods.connector(only=FEW), tmp_path)
    late, other = sorted(ods.held[STUDENTS])[:2]
    ods.change(STUDENTS, late, firstName="Late")
    ods.held[STUDENTS][late].version -= 40
    ods.change(STUDENTS, other, firstName="In time")
    fetch(ods.connector(only=FEW), tmp_path)
    assert differences(ods, tmp_path, FEW) == []


def test_an_older_database_put_back_at_the_source_is_read_anew(ods: FakeEdFiApi, tmp_path: Path):
    id_, version = sorted(ods.held[STUDENTS])[0], ods.version
    older = replace(ods.held[STUDENTS][id_])
    fetch(ods.connector(only=FEW), tmp_path)
    ods.change(STUDENTS, id_, firstName="Lost with the newer database")
    ods.nightfall()
    fetch(ods.connector(only=FEW), tmp_path)
    ods.held[STUDENTS][id_], ods.version = older, version
    fetch(ods.connector(only=FEW), tmp_path)
    assert differences(ods, tmp_path, FEW) == []


def test_a_source_that_has_forgotten_what_changed_since_is_read_anew(
    ods: FakeEdFiApi, tmp_path: Path
):
    fetch(ods.connector(only=FEW), tmp_path)
    ods.nightfall()
    ods.delete(ATTENDANCE, sorted(ods.held[ATTENDANCE])[0])
    id_ = ods.add(ATTENDANCE, ("unseen",), dict(next(iter(ods.held[ATTENDANCE].values())).body))
    ods.held[ATTENDANCE][id_].version, ods.deletes = 5, defaultdict(list)
    ods.oldest = ods.version
    fetch(ods.connector(only=FEW), tmp_path)
    assert differences(ods, tmp_path, FEW) == []


def test_another_database_under_the_same_name_is_read_anew(ods: FakeEdFiApi, tmp_path: Path):
    fetch(ods.connector(only=FEW), tmp_path)
    other = FakeEdFiApi(seed=5)
    with other.running():
        fill(other, students=2)
        other.nightfall(100_000)
        fetch(other.connector(only=FEW), tmp_path)
    assert differences(other, tmp_path, FEW) == []


def test_a_field_that_a_newer_version_reads_is_read_of_the_old_records_too(
    ods: FakeEdFiApi, tmp_path: Path
):
    older = ods.connector(only=FEW)
    fewer = {"studentUniqueId": True}
    older.resources = tuple(
        replace(resource, fields=fewer) if resource.name == STUDENTS else resource
        for resource in older.resources
    )
    fetch(older, tmp_path)
    ods.nightfall()
    fetch(ods.connector(only=FEW), tmp_path)
    assert differences(ods, tmp_path, FEW) == []


def test_a_new_key_that_changes_more_than_a_page_of_records_is_followed(
    ods: FakeEdFiApi, tmp_path: Path
):
    fetch(ods.connector(only=FEW), tmp_path)
    ods.nightfall()
    for id_ in sorted(ods.held[ATTENDANCE])[:5]:
        ods.rekey(ATTENDANCE, id_, ("new", id_), studentReference={"studentUniqueId": "s0"})
    fetch(ods.connector(page_size=2, only=FEW), tmp_path)
    assert differences(ods, tmp_path, FEW) == []


@pytest.mark.parametrize("code", [403, 404])
@pytest.mark.parametrize("what", ["deletes", "keyChanges"])
def test_a_client_that_may_not_read_the_lists_of_changes_still_loses_nothing(
    ods: FakeEdFiApi, what: str, code: int, tmp_path: Path
):
    ods.refused = {f"{resource.name}/{what}": code for resource in RESOURCES}
    fetch(ods.connector(only=FEW), tmp_path)
    for step in (remove, insert, correct, make_again, remove):
        ods.nightfall()
        step(ods, Random(4))
        fetch(ods.connector(only=FEW), tmp_path)
        assert differences(ods, tmp_path, FEW) == []


def test_without_change_versions_a_record_passed_over_is_found_though_the_counts_agree(
    tmp_path: Path,
):
    ods = FakeEdFiApi(cursors=False, tracks_changes=False)
    with ods.running():
        fill(ods)
        ids = sorted(ods.held[STUDENTS])

        def between() -> None:
            """When the last record has been read, it goes, and a new first one moves the one before
            it to its place.
            """
            request = ods.requests[-1]
            if (
                request.path.endswith(STUDENTS)
                and request.params.get("offset") == str(len(ids) - 1)
                and ids[-1] in held
            ):
                new = replace(held.pop(ids[-1]), body={"studentUniqueId": "new"})
                held["0" * 32] = new

        held, ods.between = ods.held[STUDENTS], between
        fetch(ods.connector(page_size=1, only=FEW), tmp_path)
    assert "0" * 32 in ods.held[STUDENTS]
    assert differences(ods, tmp_path, FEW) == []


def test_while_other_records_change_all_day_a_resource_is_still_read_until_it_is_quiet(
    ods: FakeEdFiApi, tmp_path: Path
):
    fetch(ods.connector(only=FEW), tmp_path)
    changes = 9

    def between() -> None:
        nonlocal changes
        ods.nightfall(1)
        if (
            changes
            and ods.requests[-1].path.endswith(STUDENTS)
            and "minChangeVersion" in ods.requests[-1].params
        ):
            changes -= 1
            ods.change(STUDENTS, sorted(ods.held[STUDENTS])[0], firstName=f"Name{changes}")

    ods.between = between
    ods.nightfall()
    fetch(ods.connector(only=FEW), tmp_path)
    assert changes == 0
    assert differences(ods, tmp_path, FEW) == []


def test_a_source_that_never_holds_still_is_refused_and_the_old_records_serve(
    ods: FakeEdFiApi, tmp_path: Path
):
    fetch(ods.connector(only=FEW), tmp_path / "mirror")
    before = load(ods.connector(only=FEW), tmp_path / "mirror", tmp_path / "home").snapshot_id
    ods.nightfall()
    ods.between = lambda: insert(ods, Random(ods.version))
    with pytest.raises(
        SourceUnavailable, match=r"the records kept changing while they were read.*less busy time"
    ):
        fetch(ods.connector(only=FEW), tmp_path / "mirror")
    assert Snapshot.current(tmp_path / "home").id == before
    ods.between = lambda: None
    fetch(ods.connector(only=FEW), tmp_path / "mirror")
    assert differences(ods, tmp_path / "mirror", FEW) == []


def test_a_resource_that_the_client_may_not_read_is_named_and_its_facts_stay_unknown(
    ods: FakeEdFiApi, tmp_path: Path
):
    ods.refused = {
        "ed-fi/grades": 403,
        "ed-fi/studentHomelessProgramAssociations": 403,
        "ed-fi/studentSection504ProgramAssociations": 404,
    }
    report, snapshot = loaded(
        ods.connector(interventions=True), tmp_path / "mirror", tmp_path / "home"
    )
    assert {missing.file for missing in report.missing} == set(ods.refused)
    assert "course_grades" in next(
        m.stays_empty for m in report.missing if m.file == "ed-fi/grades"
    )
    assert "course_grades" not in report.rows
    facts = snapshot.table("characteristics").to_pandas()
    assert facts["unstable_housing"].isna().all()
    assert facts["special_education"].tolist() == [True, *[False] * 5]


@pytest.mark.parametrize("code", [403, 404])
def test_a_resource_that_is_no_longer_open_to_the_client_is_not_taken_for_empty(
    ods: FakeEdFiApi, code: int, tmp_path: Path
):
    fetch(ods.connector(interventions=True), tmp_path)
    before = mirrored(tmp_path, ATTENDANCE)
    ods.refused = {ATTENDANCE: code}
    with pytest.raises(
        SourceRefused,
        match=rf"{ATTENDANCE}: .* {code}.* It could be read before .*to let this client",
    ):
        fetch(ods.connector(interventions=True), tmp_path)
    assert mirrored(tmp_path, ATTENDANCE) == before != {}
    ods.refused = {}
    fetch(ods.connector(interventions=True), tmp_path)
    assert differences(ods, tmp_path) == []


@pytest.mark.parametrize("code", [403, 404])
def test_without_students_there_is_nothing_to_load(ods: FakeEdFiApi, code: int, tmp_path: Path):
    fetch(ods.connector(interventions=True), tmp_path)
    ods.refused = {resource.name: code for resource in RESOURCES}
    with pytest.raises(RequestRefused, match=rf"/ed-fi/students: the source answered {code}"):
        fetch(ods.connector(interventions=True), tmp_path)
    assert differences(ods, tmp_path) == []


def test_without_the_option_the_partners_own_tables_stay_as_they_are(
    ods: FakeEdFiApi, tmp_path: Path
):
    fetch(ods.connector(interventions=True), tmp_path / "mirror")
    load(ods.connector(interventions=True), tmp_path / "mirror", tmp_path / "home")
    ods.delete("ed-fi/interventions", sorted(ods.held["ed-fi/interventions"])[0])
    connector = ods.connector()
    fetch(connector, tmp_path / "mirror")
    report = load(connector, tmp_path / "mirror", tmp_path / "home", merge=True)
    assert report.rows["programs"] == 1
    assert mirrored(tmp_path / "mirror", "ed-fi/interventions") == {}
    with pytest.raises(
        SourceRefused, match="the one option of an edfi-api source is interventions"
    ):
        ods.connector(intervention=True)


def test_only_reading_requests_and_the_token_are_made(ods: FakeEdFiApi, tmp_path: Path):  # R22
    fetch(ods.connector(interventions=True), tmp_path)
    for step in STEPS:
        ods.nightfall()
        step(ods, Random(2))
        fetch(ods.connector(interventions=True), tmp_path)
    methods = {
        (request.method, request.path) for request in ods.requests if request.method != "GET"
    }
    assert methods == {("POST", "/oauth/token")}


def test_what_must_never_be_stored_reaches_no_byte_under_the_home(
    ods: FakeEdFiApi, tmp_path: Path
):  # R38
    planted = {
        spelling: f"CANARY {spelling}"
        for spellings in NEVER_INGEST.values()
        for spelling in spellings
    }
    unwanted = {
        "loginId": "CANARY login",
        "electronicMails": [{"electronicMailAddress": "CANARY mail"}],
        "diagnosticStatement": "CANARY statement",
        "_ext": {"tx": {**planted}},
    }
    for held in ods.held.values():
        for row in held.values():
            row.body |= planted | unwanted | {"addresses": [planted], "inner": {"deeper": planted}}
            for name, value in list(row.body.items()):
                if name.endswith("Reference"):
                    row.body[name] = value | planted
                elif isinstance(value, list):
                    row.body[name] = [item | planted for item in value if isinstance(item, Mapping)]
    for resource, field in (
        (STUDENTS, "firstName"),
        ("ed-fi/schools", "nameOfInstitution"),
        ("ed-fi/courses", "courseTitle"),
        ("ed-fi/gradebookEntries", "title"),
    ):
        ods.change(resource, sorted(ods.held[resource])[0], **{field: "Ada 123-45-6789"})
    ods.faults.extend([None] * 90 + [status(418)])
    with pytest.raises(SourceRefused):
        fetch(ods.connector(interventions=True), tmp_path / "mirror")
    assert b"First2" in b"".join(
        file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()
    )
    fetch(ods.connector(interventions=True), tmp_path / "mirror")
    report, _ = loaded(ods.connector(interventions=True), tmp_path / "mirror", tmp_path / "home")
    stored = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    for forbidden in (
        b"CANARY",
        b"123-45-6789",
        SECRET.encode(),
        *(token.encode() for token in ods.tokens),
    ):
        assert forbidden not in stored
    named = {(dropped["file"], dropped["column"]) for dropped in report.dropped_columns}
    refused = [*planted, "diagnosticStatement"]
    assert named == {(resource.name, spelling) for resource in RESOURCES for spelling in refused}


def test_the_records_may_lie_under_a_year_of_their_own(ods: FakeEdFiApi, tmp_path: Path):
    real, ods.requests = ods.answer, []
    ods.answer = lambda method, path, params, body: real(  # type: ignore[method-assign]
        method,
        path.replace("/data/v3/2026/", "/data/v3/").replace("/v1/2026/", "/v1/"),
        params,
        body,
    )
    connector = ods.connector(only=FEW)
    connector.settings = replace(connector.settings, base_url=f"{ods.url}/api/data/v3/2026")
    fetch(connector, tmp_path)
    assert differences(ods, tmp_path, FEW) == []
    assert {
        request.path.split("/ed-fi/")[0] for request in ods.requests if "/ed-fi/" in request.path
    } == {"/api/data/v3/2026"}
    assert any(
        request.path == "/api/changeQueries/v1/2026/availableChangeVersions"
        for request in ods.requests
    )


def test_version_5_spells_its_change_versions_with_a_capital(ods: FakeEdFiApi, tmp_path: Path):
    real = ods.answer

    def older(
        method: str, path: str, params: Mapping[str, str], body: bytes
    ) -> fake_http_server.Reply:
        reply = real(method, path, params, body)
        if path.endswith("availableChangeVersions"):
            return fake_http_server.Reply(
                {name[0].upper() + name[1:]: version for name, version in reply.data.items()}
            )
        return reply

    ods.answer = older  # type: ignore[method-assign]
    fetch(ods.connector(only=FEW), tmp_path)
    assert any("maxChangeVersion" in request.params for request in ods.requests)
    assert differences(ods, tmp_path, FEW) == []


@pytest.mark.parametrize(
    ("root", "why"),
    [
        (
            {"urls": {"dataManagementApi": "https://elsewhere.example/data/v3"}},
            "another host .elsewhere.example",
        ),
        (
            {"urls": {"dataManagementApi": "http://127.0.0.1/api/{schoolYear}/data/v3"}},
            "must name the district's own part",
        ),
        ({"urls": {}}, "it has no dataManagementApi"),
        (["urls"], "it has no dataManagementApi"),
    ],
)
def test_a_root_that_leads_elsewhere_or_nowhere_is_refused(
    ods: FakeEdFiApi, root: Any, why: str, tmp_path: Path
):
    ods.root = root
    with pytest.raises(SourceRefused, match=why):
        fetch(ods.connector(), tmp_path)


@pytest.mark.parametrize(
    ("data", "headers", "why"),
    [
        ({"message": "Ada"}, {"Total-Count": "1"}, "the answer is not a list of records"),
        (["Ada"], {"Total-Count": "1"}, "the answer is not a list of records"),
        ([{"firstName": "Ada"}], {"Total-Count": "1"}, "a record without an id"),
        ([{"id": 7, "firstName": "Ada"}], {"Total-Count": "1"}, "a record without an id"),
        ([{"id": "7", "firstName": "Ada"}], {}, "gives no Total-Count"),
        ([{"id": "7", "firstName": "Ada"}], {"Total-Count": "many"}, "gives no Total-Count"),
        ([], {"Total-Count": "3"}, "counts 3 records and gives none"),
    ],
)
def test_an_answer_of_another_shape_is_refused_and_not_repeated_in_the_error(
    ods: FakeEdFiApi, data: Any, headers: dict[str, str], why: str, tmp_path: Path
):
    real = ods.answer
    ods.answer = lambda method, path, params, body: (  # type: ignore[method-assign]
        fake_http_server.Reply(data, headers=headers)
        if path.endswith(STUDENTS) and params.get("limit") != "0"
        else real(method, path, params, body)
    )
    with pytest.raises(SourceRefused, match=why) as error:
        fetch(ods.connector(), tmp_path)
    assert "Ada" not in str(error.value)


def test_a_source_that_gives_the_same_page_for_ever_is_refused(ods: FakeEdFiApi, tmp_path: Path):
    real = ods.answer
    ods.answer = lambda method, path, params, body: (  # type: ignore[method-assign]
        replace(
            real(method, path, params, body),
            headers={"Total-Count": "9", "Next-Page-Token": "MQ=="},
        )
    )
    with pytest.raises(SourceRefused, match="keeps returning the same page"):
        fetch(ods.connector(), tmp_path)


def test_a_bad_record_is_quarantined_under_its_resource_and_its_neighbours_stay(
    ods: FakeEdFiApi, tmp_path: Path
):
    bad = sorted(ods.held[ATTENDANCE])[2]
    ods.change(ATTENDANCE, bad, eventDate="2025-02-30")
    odd = sorted(ods.held["ed-fi/studentAssessments"])[0]
    ods.change(
        "ed-fi/studentAssessments", odd, scoreResults={"result": "5"}, studentReference=["s1"]
    )
    report, snapshot = loaded(
        ods.connector(interventions=True), tmp_path / "mirror", tmp_path / "home"
    )
    [row] = snapshot.quarantined().to_pylist()
    assert (row["file"], row["line"], row["column"]) == (ATTENDANCE, 3, "date")
    assert "2025-02-30" in row["reason"]
    counts = {count.file: count for count in report.files}
    assert (counts[ATTENDANCE].read, counts[ATTENDANCE].kept) == (6, 5)
    assert counts["ed-fi/studentAssessments"].ignored == 1


SPREAD = {"Name", "BirthData", "AttendanceEvent"}
LISTS = {
    "Behavior",
    "CalendarEvent",
    "Discipline",
    "DisciplineIncidentParticipationCode",
    "EnglishLanguageProficiencyAssessment",
    "HomelessProgramService",
    "LanguageInstructionProgramService",
    "PerformanceLevel",
    "ProgramParticipationStatus",
    "Race",
    "SchoolFoodServiceProgramService",
    "ScoreResult",
    "SpecialEducationProgramService",
}
ONE_BEHAVIOR = "StudentDisciplineIncidentBehaviorAssociation"
ACTED_ON = f"{ONE_BEHAVIOR}Reference"


def local(element: ElementTree.Element) -> str:
    return element.tag.split("}")[1]


def camel(name: str) -> str:
    return name[0].lower() + name[1:]


def leaf(element: ElementTree.Element) -> tuple[str, Any]:
    name, text = camel(local(element)), (element.text or "").strip()
    if "Descriptor#" in text:
        return f"{name}Descriptor", text
    if name == "schoolYear":
        return name, int(text[-4:])
    if name in ("schoolId", "educationOrganizationId", "communityProviderId", "periodSequence"):
        return name, int(text)
    if name in ("numericGradeEarned", "disciplineActionLength", "actualDisciplineActionLength"):
        return name, float(text)
    return name, {"true": True, "false": False}.get(text, text)


def as_json(element: ElementTree.Element, linked: Mapping[str, ElementTree.Element]) -> Body:
    """A record of the interchange in the JSON of the API, by the Ed-Fi API Design Guidelines."""
    body: Body = {}
    for child in element:
        name = local(child)
        if name == ACTED_ON:
            body.setdefault(camel(ACTED_ON.removesuffix("Reference")) + "s", []).append(
                {camel(ACTED_ON): flat(child)}
            )
        elif name.endswith("Reference"):
            of = linked.get(child.get("ref", ""))
            body[camel(name)] = flat(child if of is None else of)
        elif name in SPREAD:
            body |= as_json(child, linked)
        elif name in LISTS and (len(child) or not is_single(name, local(element))):
            inner = as_json(child, linked) if len(child) else dict([leaf(child)])
            body.setdefault(camel(name) + "s", []).append(inner)
        elif name == "SchoolYear":
            body["schoolYearTypeReference"] = dict([leaf(child)])
        elif not len(child):
            body |= dict([leaf(child)])
    return body


def is_single(name: str, within: str) -> bool:
    """Whether an element that repeats elsewhere stands once here."""
    return name == within or (name, within) == ("Behavior", ONE_BEHAVIOR)


def flat(reference: ElementTree.Element) -> Body:
    return dict(
        leaf(element)
        for element in reference.iter()
        if not len(element) and element is not reference
    )


def resource_of(kind: str) -> str:
    return f"ed-fi/{camel(kind)[:-1] + 'ies' if kind.endswith('y') else camel(kind) + 's'}"


@pytest.mark.parametrize("cursors", [True, False])
def test_the_published_sample_gives_the_same_tables_by_its_api_and_by_its_files(
    shared_data: Path, cursors: bool, tmp_path: Path
):
    folder, ods = shared_data / "edfi", FakeEdFiApi(cursors=cursors)
    with ods.running():
        served = 0
        for file in sorted(folder.glob("*.xml")):
            records = list(ElementTree.parse(file).getroot())
            linked = {record.get("id", ""): record for record in records if record.get("id")}
            for number, record in enumerate(records):
                ods.add(resource_of(local(record)), (file.name, number), as_json(record, linked))
                served += 1
        assert served > 5_000
        report, by_api = loaded(
            ods.connector(page_size=500, interventions=True), tmp_path / "mirror", tmp_path / "api"
        )
    load(EdFiFiles(), folder, tmp_path / "files")
    by_files = Snapshot.current(tmp_path / "files")
    assert by_api.manifest["rows"] == by_files.manifest["rows"]
    tables = [name for name in by_files.manifest["hashes"] if name != "quarantine.parquet"]
    assert [
        name
        for name in tables
        if by_api.manifest["hashes"][name] != by_files.manifest["hashes"][name]
    ] == []
    assert {count.file: count.read for count in report.files} == {
        resource.name: len(ods.held[resource.name])
        for resource in RESOURCES
        if ods.held[resource.name]
    }


def test_homelessness_as_a_characteristic_is_read_and_no_other_reaches_the_disk(tmp_path: Path):
    def described(*characteristics: Mapping[str, Any]) -> Body:
        return {"studentCharacteristics": list(characteristics)}

    def characteristic(code: str, **days: Any) -> dict[str, Any]:
        return {"studentCharacteristicDescriptor": f"uri://ed-fi.org/Sample#{code}"} | days

    resource, begin = "ed-fi/studentEducationOrganizationAssociations", {"beginDate": "2025-09-01"}
    ods = FakeEdFiApi()
    with ods.running():
        fill(ods, students=4)
        for number, more in enumerate(
            (
                described(characteristic("Migrant", **begin), characteristic("Homeless", **begin)),
                described(characteristic("Homeless", periods=[begin | {"endDate": "2025-09-02"}])),
                described(characteristic("Immigrant"), characteristic("Single Parent")),
                described(characteristic("Homeless", periods=[])),
            )
        ):
            ods.add(
                resource,
                ("characteristics", number),
                {"studentReference": {"studentUniqueId": f"s{number}"}} | more,
            )
        _, snapshot = loaded(ods.connector(), tmp_path / "mirror", tmp_path / "home")
    homeless = {
        row["student_id"]: row["unstable_housing"]
        for row in snapshot.table("characteristics").to_pyarrow().to_pylist()
    }
    assert homeless["s0"] is True and homeless["s3"] is True
    assert homeless["s1"] is not True and homeless["s2"] is not True
    held = json.dumps(list(mirrored(tmp_path / "mirror", resource).values()))
    assert "Homeless" in held
    assert not any(word in held for word in ("igrant", "Single", "periods"))
