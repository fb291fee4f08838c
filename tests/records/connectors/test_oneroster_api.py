"""The OneRoster API connector against servers with state, faults and habits: nothing lost, nothing
twice.
"""

from __future__ import annotations

import csv
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from records.connectors.http.client import RequestRefused, SourceUnavailable
from records.connectors.http.mirror import open_mirror
from records.connectors.oneroster.api import RESOURCES, OneRosterApi
from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.protocol import SourceRefused
from records.loading.load import load
from records.loading.load_report import LoadReport
from records.snapshots.snapshot import Snapshot
from tests.records import fake_http_server
from tests.records.connectors.test_oneroster import students, tables_of, whole
from tests.records.disk_contents import files_on_disk
from tests.records.fake_http_server import SECRET, Fault, status
from tests.records.fake_oneroster_api import COLLECTIONS, LONG_AGO, FakeOneRosterApi
from tests.records.loading.test_kills import forking, run
from tests.records.synthetic_roster import Roster, add_student, change, roster

KILLS = 12
HABITS: dict[str, dict[str, Any]] = {
    "by the book": {},
    "deleted records vanish": {"lists_deleted": False},
    "no sorting": {"sorts": False},
    "no sorting, deleted records vanish": {"sorts": False, "lists_deleted": False},
    "no filter": {"filters": "not at all", "lists_deleted": False},
    "a filter that finds nothing": {"filters": "to nothing", "lists_deleted": False},
    "no count": {"counts": False, "lists_deleted": False},
    "pages smaller than asked": {"most": 2},
    "version 1.1": {"version": "1.1"},
}
FETCHING = """
import os, signal, sys, time
from pathlib import Path
from records.connectors.http.settings import ApiSettings
from records.connectors.oneroster.api import OneRosterApi
from records.connectors.http.client import Credentials
for line in sys.stdin:
    url, home, kill_after = line.split()
    pid = os.fork()
    if pid == 0:
        secret = Credentials(f"{url}/oauth/token", "handrail", "the secret of the client 5d1f")
        rostering = f"{url}/ims/oneroster/rostering/v1p2"
        settings = ApiSettings("oneroster-api", "north", rostering, secret, 2)
        OneRosterApi(settings).fetch(Path(home), lambda name, done, total: None)
        os._exit(0)
    if float(kill_after) >= 0:
        time.sleep(float(kill_after))
        os.kill(pid, signal.SIGKILL)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


@pytest.fixture
def server() -> Iterator[FakeOneRosterApi]:
    made = FakeOneRosterApi()
    with made.running():
        made.set_roster(roster(), LONG_AGO)
        yield made


def fetch(connector: OneRosterApi, folder: Path) -> Path:
    connector.fetch(folder, lambda name, done, total: None)
    return folder


def loaded(server: FakeOneRosterApi, folder: Path, home: Path, **options: Any) -> LoadReport:
    return load(server.connector(**options), folder, home)


def identifiers(folder: Path) -> dict[str, set[str]]:
    with open_mirror(folder) as mirror:
        return {
            resource.name: {record.id for record in mirror.records(resource.name)}
            for resource in RESOURCES
        }


def assert_same(server: FakeOneRosterApi, made: Roster, folder: Path, where: Path) -> None:
    """The mirror holds exactly the server's records, and gives the same tables as files."""
    assert identifiers(folder) == {name: server.ids(name) for name in COLLECTIONS}
    where.mkdir()
    loaded(server, folder, where / "api")
    assert tables_of(where / "api") == whole(made, where / "files")


@pytest.mark.parametrize(
    ("habit", "page_size"),
    [
        *((habit, 3) for habit in HABITS),
        ("by the book", 1),
        ("by the book", 500),
        ("no count", 1),
        ("no count", 500),
    ],
)
def test_a_first_fetch_brings_everything_once(habit: str, page_size: int, tmp_path: Path):
    server = FakeOneRosterApi(**HABITS[habit])
    with server.running():
        server.set_roster(roster(), LONG_AGO)
        assert_same(
            server,
            roster(),
            fetch(server.connector(page_size), tmp_path / "mirror"),
            tmp_path / "made",
        )


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_the_published_sample_gives_the_same_tables_by_api_as_by_file(
    version: str, shared_data: Path, tmp_path: Path
):
    source = shared_data / "oneroster-1.1"
    server = FakeOneRosterApi(version)
    with server.running():
        server.set_roster(read_sample(source), LONG_AGO)
        fetch(server.connector(), tmp_path / "mirror")
        report = loaded(server, tmp_path / "mirror", tmp_path / "api")
    load(OneRosterFiles(), source, tmp_path / "files")
    assert report.rows["students"] == 8 and report.rows["school_enrollments"] > 0
    assert tables_of(tmp_path / "api") == tables_of(tmp_path / "files")


def read_sample(folder: Path) -> Roster:
    """The sample as a roster. It has no results, and an extra comma after each teacher."""
    made: Roster = {"lineItems.csv": {}, "results.csv": {}}
    for file, _ in COLLECTIONS.values():
        if (folder / file).exists():
            with (folder / file).open(newline="", encoding="utf-8-sig") as stream:
                header, *rows = csv.reader(stream)
            made[file] = {row[0]: dict(zip(header[3:], row[3:], strict=False)) for row in rows}
    return made


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, 10_000), st.sampled_from(list(HABITS)))
def test_what_has_changed_adds_up_to_what_a_first_fetch_brings(seed: int, habits: str):
    rng, made = Random(seed), roster()
    server = FakeOneRosterApi(**HABITS[habits])
    with tempfile.TemporaryDirectory() as name, server.running():
        folder = Path(name)
        server.set_roster(made, LONG_AGO)
        connector = server.connector()
        fetch(connector, folder / "mirror")
        for _ in range(3):
            for _ in range(rng.randrange(4)):
                made = change(made, rng)
                server.set_roster(made)
            fetch(connector, folder / "mirror")
        assert_same(server, made, folder / "mirror", folder / "made")


def test_a_later_fetch_asks_only_for_what_has_changed(server: FakeOneRosterApi, tmp_path: Path):
    fetch(server.connector(500), tmp_path)
    made = roster()
    made["users.csv"]["s1"]["familyName"] = "Renamed"
    server.set_roster(made)
    server.requests.clear()
    fetch(server.connector(500), tmp_path)
    pages = [request for request in server.requests if request.params.get("limit") == "500"]
    assert {request.path.rsplit("/", 1)[-1] for request in pages} == set(COLLECTIONS)
    assert all("dateLastModified>" in request.params["filter"] for request in pages)


def test_once_a_week_everything_is_read_whatever_the_source_says_of_changes(
    server: FakeOneRosterApi, tmp_path: Path
):
    fetch(server.connector(), tmp_path / "mirror")
    with open_mirror(tmp_path / "mirror") as mirror:
        for resource in RESOURCES:
            mirror.begin(resource.name, None, sweeps=False)
            mirror.finish(
                resource.name,
                mirror.sync_state(resource.name) | {"swept": "2026-01-01T00:00:00.000Z"},
            )
    made = roster()
    made["users.csv"]["s1"]["familyName"] = "Renamed"
    server.set_roster(made, LONG_AGO)  # the source did not move the date
    assert_same(server, made, fetch(server.connector(), tmp_path / "mirror"), tmp_path / "made")


FAULTS: dict[str, Fault] = {
    "429 with seconds": status(429, Retry_After="3"),
    "429 with a date": status(429, Retry_After="Wed, 01 Jan 2020 00:00:00 GMT"),
    "500": status(500),
    "503": status(503),
    "not JSON": fake_http_server.not_json,
    "half of the JSON": fake_http_server.half,
    "a truncated body": fake_http_server.truncated,
    "a reset connection": fake_http_server.reset,
    "hung up": fake_http_server.hung_up,
    "a broken encoding": fake_http_server.broken_encoding,
    "a slow drip": fake_http_server.drip,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_after_a_fault_at_any_request_nothing_is_lost_and_nothing_is_there_twice(
    fault: Fault, server: FakeOneRosterApi, tmp_path: Path
):
    rng = Random(7)
    for _ in range(3 if fault is fake_http_server.drip else 40):
        server.faults.extend([fault] * rng.randrange(1, 3) + [None] * rng.randrange(1, 6))
    assert_same(
        server, roster(), fetch(server.connector(2), tmp_path / "mirror"), tmp_path / "made"
    )


@pytest.mark.parametrize("counts_for", [1, 2, 5])
def test_a_token_that_ends_in_the_middle_of_the_pages_is_renewed(
    counts_for: int, server: FakeOneRosterApi, tmp_path: Path
):
    server.token_counts_for = counts_for
    assert_same(
        server, roster(), fetch(server.connector(1), tmp_path / "mirror"), tmp_path / "made"
    )


@pytest.mark.parametrize("habits", HABITS.values(), ids=HABITS.keys())
@pytest.mark.parametrize("seed", range(3))
def test_what_changes_while_it_is_read_is_neither_lost_nor_kept_too_long(
    seed: int, habits: dict[str, Any], tmp_path: Path
):
    rng, made = Random(seed), [roster(12)]
    server = FakeOneRosterApi(**habits)
    left = 14

    def something_happens() -> None:
        nonlocal left
        if left and rng.random() < 0.5:
            left -= 1
            made[0] = change(made[0], rng)
            server.set_roster(made[0])

    with server.running():
        server.set_roster(made[0], LONG_AGO)
        server.after_page = something_happens
        fetch_until_it_holds_still(server, tmp_path / "mirror")
        assert_same(server, made[0], tmp_path / "mirror", tmp_path / "made")


def fetch_until_it_holds_still(server: FakeOneRosterApi, folder: Path) -> None:
    """Fetch again, as the next night does, for what changed during the first fetch."""
    for _ in range(4):
        try:
            fetch(server.connector(2), folder)
        except SourceUnavailable as unavailable:
            assert "run the same command again" in str(unavailable)
    server.after_page = lambda: None
    fetch(server.connector(2), folder)


def test_a_deletion_before_the_place_that_was_reached_makes_no_record_be_passed_over(
    tmp_path: Path,
):
    made = roster(9)
    server = FakeOneRosterApi(lists_deleted=False)
    gone = iter(("s0", "s1"))

    def one_leaves() -> None:
        student = (
            next(gone, None)
            if "students" in server.requests[-1].path
            and server.requests[-1].params["offset"] != "0"
            else None
        )
        if student is not None:
            for records in made.values():
                for id_ in [
                    id_ for id_, fields in records.items() if student in (id_, *fields.values())
                ]:
                    del records[id_]
            server.set_roster(made)

    with server.running():
        server.set_roster(made, LONG_AGO)
        server.after_page = one_leaves
        fetch(server.connector(3), tmp_path / "mirror")
        assert next(gone, None) is None
        sweeps = [
            request
            for request in server.requests
            if "students" in request.path
            and request.params["limit"] == "3"
            and "filter" not in request.params
            and request.params["offset"] == "0"
        ]
        assert_same(server, made, tmp_path / "mirror", tmp_path / "made")
        assert len(sweeps) <= 2


def test_a_pass_ends_where_the_records_became_fewer_than_were_read(tmp_path: Path):
    made = roster(9)
    server = FakeOneRosterApi(lists_deleted=False, counts=False)
    pages = 0

    def most_leave() -> None:
        nonlocal pages
        pages += server.requests[-1].path.endswith("students")
        if pages == 2:
            for file in ("users.csv", "demographics.csv", "enrollments.csv", "results.csv"):
                for id_ in [id_ for id_ in made[file] if id_[-1] in "5678"]:
                    del made[file][id_]
            server.set_roster(made)

    with server.running():
        server.set_roster(made, LONG_AGO)
        server.after_page = most_leave
        fetch(server.connector(4), tmp_path / "mirror")
        assert_same(server, made, tmp_path / "mirror", tmp_path / "made")


def test_a_source_that_never_holds_still_is_refused_plainly(tmp_path: Path):
    server = FakeOneRosterApi(counts=False)
    number = iter(range(10_000))

    def renamed() -> None:
        made = roster()
        made["users.csv"]["s1"]["familyName"] = f"Name{next(number)}"
        server.set_roster(made)

    with server.running():
        server.set_roster(roster(), LONG_AGO)
        server.after_page = renamed
        with pytest.raises(
            SourceUnavailable, match=r"students: it changed each time .* does not say how many"
        ):
            fetch(server.connector(2), tmp_path)
        with pytest.raises(SourceRefused, match="is incomplete"):
            loaded(server, tmp_path, tmp_path / "home")


def test_a_source_that_counts_more_than_it_gives_is_refused_with_both_numbers(
    server: FakeOneRosterApi, tmp_path: Path
):
    honest = server.answer

    def boasting(method: str, path: str, params: Any, body: bytes) -> fake_http_server.Reply:
        reply = honest(method, path, params, body)
        more = {
            "X-Total-Count": str(int(reply.headers["X-Total-Count"]) + ("filter" not in params))
        }
        return replace(reply, headers=more)

    server.answer = boasting  # type: ignore[method-assign]
    with pytest.raises(
        SourceUnavailable, match=r"the source counts 7 records, and 6 could be read"
    ):
        fetch(server.connector(), tmp_path)


def test_a_fetch_killed_at_any_moment_is_completed_by_the_next(tmp_path: Path):  # R36
    rng, folder = Random(5), tmp_path / "mirror"
    server, made = FakeOneRosterApi(), roster(20)
    with server.running(), forking(FETCHING) as parent:
        server.set_roster(made, LONG_AGO)
        begun = time.monotonic()
        assert not fetching(parent, server, folder)
        longest = time.monotonic() - begun
        killed = 0
        while killed < KILLS:
            if rng.random() < 0.3:
                shutil.rmtree(
                    folder, ignore_errors=True
                )  # the one before may have been killed before it made it
            made = change(made, rng)
            server.set_roster(made)
            killed += fetching(
                parent, server, folder, rng.uniform(0, longest) * rng.random()
            )  # most fetches are short
            if rng.random() < 0.5:
                made = change(made, rng)
                server.set_roster(made)
                assert not fetching(parent, server, folder)
                assert identifiers(folder) == {name: server.ids(name) for name in COLLECTIONS}
        assert not fetching(parent, server, folder)
        assert_same(server, made, folder, tmp_path / "made")


def fetching(parent: Any, server: FakeOneRosterApi, folder: Path, kill_after: float = -1) -> bool:
    """Fetch in another process and kill it after so many seconds; True if it was killed at work."""
    return run(parent, server.url, folder, kill_after)  # type: ignore[arg-type]


def test_only_gets_and_the_posts_for_a_token_are_made(
    server: FakeOneRosterApi, tmp_path: Path
):  # R22
    fetch(server.connector(), tmp_path)
    made = roster()
    add_student(made, "s9", 1)
    server.set_roster(made)
    fetch(server.connector(), tmp_path)
    posts = {request.path for request in server.requests if request.method != "GET"}
    assert posts == {"/oauth/token"}
    assert {request.method for request in server.requests} == {"GET", "POST"}


def test_what_may_not_be_read_is_named_with_what_stays_empty(
    server: FakeOneRosterApi, tmp_path: Path
):
    server.without = {"demographics": 403, "lineItems": 404, "results": 404}
    report = loaded(server, fetch(server.connector(), tmp_path / "mirror"), tmp_path / "home")
    missing = {file.file: file.stays_empty for file in report.missing}
    assert {"demographics", "lineItems", "results", "attendance.csv"} <= set(missing)
    assert "students" in report.rows and "gradebook_entries" not in report.rows
    server.without = {}
    assert_same(server, roster(), fetch(server.connector(), tmp_path / "mirror"), tmp_path / "made")


def test_students_that_may_not_be_read_are_a_refusal(server: FakeOneRosterApi, tmp_path: Path):
    server.without = {"students": 403}
    with pytest.raises(RequestRefused, match=r"students: the source answered 403"):
        fetch(server.connector(), tmp_path)


def test_what_could_be_read_before_and_is_now_refused_is_not_taken_for_empty(
    server: FakeOneRosterApi, tmp_path: Path
):
    fetch(server.connector(), tmp_path)
    server.without = {"demographics": 403}
    with pytest.raises(SourceRefused, match=r"demographics: .* 403.* It could be read before"):
        fetch(server.connector(), tmp_path)
    assert identifiers(tmp_path)["demographics"] == server.ids("demographics")


def test_what_is_never_stored_reaches_no_disk(server: FakeOneRosterApi, tmp_path: Path):  # R38
    server.more = {
        "ssn": "CANARY1",
        "citizenship": "CANARY2",
        "countryOfBirthCode": "CANARY3",
        "cityOfBirth": "CANARY4",
        "religion": "CANARY5",
        "password": "CANARY6",
        "comment": "CANARY7 123-45-6789",
        "metadata": {"visaStatus": "CANARY8", "homeLanguage": ["CANARY9"]},
        "userProfiles": [{"credentials": [{"password": "CANARY10"}]}],
    }
    made = roster()
    made["users.csv"]["s1"]["familyName"] = "123-45-6789"
    server.set_roster(made)
    report = loaded(server, fetch(server.connector(), tmp_path / "sources" / "north"), tmp_path)
    dropped = {
        column["column"] for column in report.dropped_columns if column["file"] == "students"
    }
    assert dropped == {
        "ssn",
        "citizenship",
        "countryOfBirthCode",
        "cityOfBirth",
        "religion",
        "visaStatus",
        "homeLanguage",
    }
    assert sorted(students(tmp_path)) == [
        "s0",
        "s2",
        "s3",
        "s4",
        "s5",
    ], "a number for a name is not taken"
    for file, content in files_on_disk(tmp_path):
        for secret in (
            b"CANARY",
            b"123-45-6789",
            SECRET.encode(),
            *(token.encode() for token in server.tokens),
        ):
            assert secret not in content, (file, secret)


def test_an_identifier_shaped_like_a_social_security_number_is_refused(
    server: FakeOneRosterApi, tmp_path: Path
):  # R38
    made = roster()
    add_student(made, "123-45-6789", 1)
    server.set_roster(made)
    with pytest.raises(
        SourceRefused, match="a sourcedId is shaped like a social security number"
    ) as refused:
        fetch(server.connector(), tmp_path)
    assert "123-45" not in str(refused.value)
    for file, content in files_on_disk(tmp_path):
        assert b"123-45-6789" not in content, file


def test_extension_files_beside_the_settings_bring_what_oneroster_has_no_words_for(
    server: FakeOneRosterApi, tmp_path: Path
):
    folder = tmp_path / "nightly"
    folder.mkdir()
    (folder / "attendance.csv").write_text(
        "userSourcedId,school_id,date,status\ns0,k1,2025-09-02,tardy\n"
    )
    options = {"extensions": str(folder)}
    fetch(server.connector(**options), tmp_path / "mirror")
    report = loaded(server, tmp_path / "mirror", tmp_path / "home", **options)
    assert report.rows["attendance_events"] == 1
    without = server.connector()
    assert "attendance_events" not in without.tables, "what another source loaded stays"
    with pytest.raises(SourceRefused, match="which is not a folder"):
        server.connector(extensions=str(tmp_path / "elsewhere"))


def test_an_address_or_an_option_that_is_not_known_is_refused_before_anything_is_asked(
    server: FakeOneRosterApi,
):
    with pytest.raises(
        SourceRefused, match=r"base_url is .*/api; it must end in /ims/oneroster/v1p1 or in "
    ):
        OneRosterApi(replace(server.settings(), base_url=f"{server.url}/api"))
    with pytest.raises(
        SourceRefused, match="the one option of a oneroster-api source is extensions"
    ):
        server.connector(extension="nightly")
    assert server.requests == []


def test_a_student_whose_records_were_destroyed_stays_away(
    server: FakeOneRosterApi, tmp_path: Path
):
    fetch(server.connector(), tmp_path / "mirror")
    with open_mirror(tmp_path / "mirror") as mirror:
        assert mirror.forget("s1") == 4
    fetch(server.connector(), tmp_path / "mirror")
    report = loaded(server, tmp_path / "mirror", tmp_path / "home")
    assert "s1" not in students(tmp_path / "home")
    assert all(count.read == len(server.ids(count.file)) for count in report.files)  # R35
    assert Snapshot.current(tmp_path / "home").quarantined().num_rows == 0
