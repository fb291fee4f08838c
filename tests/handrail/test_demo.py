"""The demo district: the same bytes each time, read through the ordinary connectors, with something
on every page.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import httpx2
import pytest
from fastapi.testclient import TestClient

from handrail.commands.serve import site_config
from handrail.demo import DEMO_TODAY, DemoFiles, write_source_files
from handrail.demo.build import add_people, load_records
from handrail.demo.office_history import (
    ADMIN_LOGIN,
    CLINIC,
    COUNSEL_LOGIN,
    HOUSING,
    open_todays_emergency,
    record_program_costs,
    simulate_office_history,
)
from handrail.demo.partners import all_staff
from handrail.settings import Settings
from records.access.scope import scope_for
from records.canonical.supports import SupportCatalog
from records.database.engine import Database, open_database
from records.disclosure_log.verification import verify_log
from records.identity.participants import MatchStatus, status_counts
from records.loading.load_history import loads
from records.loading.load_report import LoadReport
from records.permissions.agreements import parse_agreement
from records.permissions.emergencies import emergencies
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import active_staff_member
from records.staff.sessions import start_session
from serving.app import create_app

STUDENTS = 400
NOW = datetime(2026, 4, 17, 10, 30)


@dataclass
class Made:
    """A demo without its model, and the site over it at a fixed hour of its day."""

    settings: Settings
    database: Database
    files: DemoFiles
    reports: list[LoadReport]
    steps: list[tuple[str, int, int]]
    app: object

    def page(self, login: str, path: str) -> httpx2.Response:
        browser = TestClient(self.app, follow_redirects=True)  # type: ignore[arg-type]
        browser.cookies.set(
            "handrail", start_session(self.database, active_staff_member(self.database, login), NOW)
        )
        return browser.get(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("demo")
    steps: list[tuple[str, int, int]] = []

    def step(name: str, done: int, total: int) -> None:
        steps.append((name, done, total))

    files = write_source_files(folder / "source", students=STUDENTS, local=True)
    settings = replace(Settings.from_environment(folder / "home"), today=DEMO_TODAY)
    database = open_database(settings.database_url)
    add_people(database, files, step)
    reports = load_records(settings, database, files, step)
    simulate_office_history(settings, database, files.consents)
    record_program_costs(settings, database, files.costs)
    open_todays_emergency(settings, database, NOW)
    app = create_app(replace(site_config(settings), clock=lambda: NOW))
    yield Made(settings, database, files, reports, steps, app)
    database.engine.dispose()


def digests(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(tmp_path: Path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_source_files(tmp_path / name, seed=seed, students=300, local=True)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert digests(tmp_path / "a") != digests(tmp_path / "c")


@pytest.mark.parametrize(
    "what", ["loading records", "loading service history", "loading a partner's export"]
)
def test_the_bar_of_a_load_grows_and_is_full_only_when_all_files_are_read(made: Made, what: str):
    fractions = [(done, total) for name, done, total in made.steps if name == what]
    shares = [done / total for done, total in fractions]
    assert shares == sorted(shares) and shares[0] < 0.5 and shares.index(1.0) == len(shares) - 1
    assert len({total for _, total in fractions}) == 1


def test_the_demo_loads_like_any_district_and_each_bad_line_is_put_aside(made: Made):
    snapshot, files = Snapshot.current(made.settings.home), made.files
    set_aside = [row["file"] for row in snapshot.quarantined().to_pylist()]
    assert {
        name: set_aside.count(name)
        for name in ("attendance.csv", "course_grades.csv", "sessions.csv", "enrollments.csv")
    } == {
        "attendance.csv": 5,
        "course_grades.csv": 3,
        "sessions.csv": 1,
        "enrollments.csv": 2,
    }
    assert snapshot.manifest["waiting"]["service_sessions"] == 1, "of nobody in the roster"
    (shortened,) = [row for row in snapshot.set_aside() if "shortened" in row.reason]
    assert (shortened.file, shortened.column) == ("Attendance.csv", "Participant ID")
    folders = (files.sis, files.service_history, files.partner_export)
    for report, folder in zip(made.reports, folders, strict=True):
        for count in report.files:
            assert count.read == len((folder / count.file).read_bytes().splitlines()) - 1, count
    assert snapshot.latest_date() == DEMO_TODAY
    assert snapshot.manifest["rows"]["students"] == STUDENTS - 1, "one was destroyed"
    offered = set(snapshot.table("programs")["support"].to_pyarrow().to_pylist())
    assert offered == {*SupportCatalog.declared().keys, None}
    assert (
        len(
            {parse_agreement(file.read_text(), file.name).agreement_id for file in files.agreements}
        )
        == 12
    )
    assert len(loads(made.settings.home)) == 3, "each load is written down"


def test_most_of_the_exporting_partners_participants_are_linked_and_some_wait_for_a_person(
    made: Made,
):
    stands = status_counts(made.database)["mendworks"]
    assert stands[MatchStatus.LINKED] > stands[MatchStatus.UNSURE] > 0
    assert stands[MatchStatus.NONE] >= 2
    rows = Snapshot.current(made.settings.home).table("service_sessions").to_pyarrow().to_pylist()
    assert {row["program_id"] for row in rows if row["organization_id"] == "mendworks"} == {
        "mw-circles"
    }


ROWS = {
    "/students": ("399 students",),
    "/matches": (
        "wait for district staff",
        "None of these",
        "one child may be on the list twice",
    ),
    "/matches?show=decided": ("Ines Moreau",),
    "/matches?show=linked": ("Automatic match (high confidence)",),
    "/agreements": ("BrightPath Tutoring", "Old Mill Art Workshop"),
    "/agreements/brightpath-2025": ("ersion 1", "ersion 2"),
    "/consents": ("Keystone Housing Help", "1 student is hidden from all partners"),
    "/disclosures": ("Dana Whitfield", "Omar Teller", "Iris Boone"),
    "/demands": ("Release proposed", "Refused", "Harrow County Family Court", "In force"),
    "/demands/1": ("An immigration enforcement officer", "Recorded and refused"),
    "/demands/2": ("Release proposed", "Ines Moreau", "Approve"),
    "/emergencies": ("Open now", "Over", "Mina Castell", "Omar Teller", "2 views"),
    "/notices": ("Mina Castell", "legal demand 2", "seen by Ines Moreau"),
    "/effects": (
        "No results yet",
        "It costs $1,150 for each student",
        "entered by Grace Olander",
        (
            "It costs $9 for each session that a student attended. The cost is the partner's own"
            " figure"
        ),
    ),
    "/data": (
        "OneRoster",
        "April 17, 2026, 4:10 AM",
        "day without classes",
        "waiting for somebody",
    ),
    "/retention": ("Old Mill Art Workshop", "March 31, 2026", "Number 1", "Copy of 1 April"),
}


@pytest.mark.parametrize("path", ROWS)
def test_each_page_of_the_district_has_something_to_view(made: Made, path: str):
    answer = made.page(ADMIN_LOGIN, path)
    assert answer.status_code == 200
    text = " ".join(answer.text.split())
    assert [words for words in ROWS[path] if words not in text] == []
    assert "Not recorded" not in answer.text


def test_the_consents_of_families_show_one_that_counts_one_that_ended_and_one_taken_back(
    made: Made,
):
    students = {line.split(",")[0] for line in made.files.consents.read_text().splitlines()[1:4]}
    text = " ".join(
        made.page(ADMIN_LOGIN, f"/consents?student={student}").text for student in sorted(students)
    )
    assert [word for word in ("In effect", "Ended", "Revoked") if f">{word}<" not in text] == []


def test_the_caseworker_of_the_running_emergency_sees_what_it_opens(made: Made):
    (running,) = [emergency for emergency in emergencies(made.database) if emergency.is_open(NOW)]
    assert running.user_id == active_staff_member(made.database, CLINIC).user_id
    scope = scope_for(
        active_staff_member(made.database, CLINIC),
        made.database,
        Snapshot.current(made.settings.home),
        NOW,
        made.settings.secret(),
    )
    assert running.student_id not in scope.without_emergencies.students
    handle = scope.handle(running.student_id)
    assert handle in made.page(CLINIC, "/caseload").text
    assert (
        "Open for an emergency until April 17, 2026, 2:30 PM"
        in made.page(CLINIC, f"/students/{handle}").text
    )
    open_todays_emergency(made.settings, made.database, NOW)
    assert len(emergencies(made.database)) == 2, "one that runs is enough"


def test_every_account_has_a_page_and_the_log_holds(made: Made):
    for login, _, _, _ in all_staff():
        assert made.page(login, "/").status_code == 200, login
    assert verify_log(made.database).ok
    assert {COUNSEL_LOGIN, HOUSING} < {login for login, *_ in all_staff()}
