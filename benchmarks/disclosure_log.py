"""Appending to a large disclosure log, verifying it and reporting from it.

Run:
    .venv/bin/python -m benchmarks.disclosure_log
    .venv/bin/python -m benchmarks.disclosure_log 100000

The number is the rows of the log (1,000,000 by default). SQLite is measured, and PostgreSQL where
its programs are installed. The reference for `verify` is a bare SHA-256 chain over the same rows.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

from sqlalchemy import create_engine, text

from benchmarks.timing import seconds
from records.canonical.schema import Category
from records.database.engine import Database, open_database
from records.disclosure_log.disclosures import record_disclosures
from records.disclosure_log.hash_chain import GENESIS
from records.disclosure_log.history import count_disclosures, disclosures, exposures, parties
from records.disclosure_log.limits import DisclosureLimits
from records.disclosure_log.verification import Verification, verify_log
from records.staff.viewer import Grant, Role, Scope, Viewer
from serving.exports.disclosure_report import read_report, report_csv, report_pdf

ROWS = 1_000_000
STUDENTS = 16_000
STUDENTS_PER_PAGE = 50
TIMED_PAGES = 400
FILL_BATCH = 500
"""Students of each transaction that only fills the log."""

NOW = datetime(2026, 4, 17, 10)
SHOWN = [
    Category.DIRECTORY,
    Category.ATTENDANCE,
    Category.GRADES,
    Category.ASSESSMENTS,
    Category.SERVICES,
]


def caseworker_scope() -> Scope:
    """The scope of a partner's caseworker who may see every student of a district."""
    viewer = Viewer(
        "a1b2c3d4e5f60718", "worker@partner.example", "A caseworker", Role.CASEWORKER, "brightpath"
    )
    grant = Grant(
        "brightpath-2025",
        "f" * 64,
        "school_official",
        "Tutoring after school in reading and mathematics",
        "brightpath",
        frozenset(SHOWN),
        (),
    )
    return Scope(
        viewer,
        NOW.date(),
        dict.fromkeys((f"student-{n:06}" for n in range(STUDENTS)), (grant,)),
        b"x" * 32,
    )


def time_appending(database: Database, rows: int) -> None:
    """Fill the log to `rows`, timing its first and last pages: one transaction of 50 rows each."""
    scope, students = caseworker_scope(), [f"student-{n:06}" for n in range(STUDENTS)]

    def append_pages(pages: int, students_per_page: int) -> list[float]:
        times = []
        for number in range(pages):
            first = number * students_per_page % STUDENTS
            page = students[first : first + students_per_page]
            moment = NOW + timedelta(seconds=number)
            times.append(
                seconds(
                    lambda page=page, moment=moment: record_disclosures(  # type: ignore[misc]
                        database, scope, page, SHOWN, "/caseload", moment
                    )
                )
            )
        return times

    def print_row(state: str, times: list[float]) -> None:
        print(
            f"| append a page of {STUDENTS_PER_PAGE} students {state} |"
            f" {1000 * statistics.median(times):.1f} ms;"
            f" {STUDENTS_PER_PAGE * len(times) / sum(times):,.0f} rows/s |",
            flush=True,
        )

    print_row("to an empty log", append_pages(TIMED_PAGES, STUDENTS_PER_PAGE))
    filled = rows - 2 * TIMED_PAGES * STUDENTS_PER_PAGE
    append_pages(filled // FILL_BATCH, FILL_BATCH)
    print_row(f"at {rows:,} rows", append_pages(TIMED_PAGES, STUDENTS_PER_PAGE))


def time_daily_limit(database: Database) -> None:
    """What it costs to count the students a person saw today: on an ordinary day, and after a
    thousand students ten times each.
    """
    ordinary = caseworker_scope()
    students = [f"student-{n:06}" for n in range(1_000)]
    pages = [
        students[first : first + STUDENTS_PER_PAGE] for first in range(0, 1_000, STUDENTS_PER_PAGE)
    ]
    for user, rounds in (("an ordinary day", 0), ("a thousand students, 10,000 disclosures", 10)):
        scope = replace(ordinary, viewer=replace(ordinary.viewer, user_id=user))
        for page in pages * rounds:
            record_disclosures(database, scope, page, SHOWN, "/caseload", NOW)
        times: dict[DisclosureLimits | None, list[float]] = {None: [], DisclosureLimits(): []}
        for number in range(TIMED_PAGES if rounds else 8):
            page = pages[number % len(pages)]
            for limits, limit_times in times.items():
                limit_times.append(
                    seconds(
                        lambda limits=limits, page=page, scope=scope: record_disclosures(  # type: ignore[misc]
                            database, scope, page, SHOWN, "/caseload", NOW, limits
                        )
                    )
                )
        without, within = (1000 * statistics.median(taken) for taken in times.values())
        print(
            f"| append a page of {STUDENTS_PER_PAGE} students, {user}: without the daily limit;"
            f" with it | {without:.1f} ms; {within:.1f} ms |",
            flush=True,
        )


def time_verifying(database: Database) -> None:
    rows = count_disclosures(database)
    verifications: list[Verification] = []
    processor_start = time.process_time()
    times = sorted(
        seconds(lambda: verifications.append(verify_log(database, processes=os.cpu_count() or 1)))
        for _ in range(5)
    )
    processor = (time.process_time() - processor_start) / len(times)
    assert all(result.ok and result.rows == rows for result in verifications)
    print(
        f"| verify {rows:,} rows | {times[2]:.2f} s ({times[0]:.2f} to {times[-1]:.2f});"
        f" {processor:.2f} s of this process's own work |",
        flush=True,
    )
    reference = time_bare_chain(database, rows)
    print(
        f"| a bare SHA-256 chain over the same rows in memory | {reference:.2f} s; ratio"
        f" {times[2] / reference:.1f} |"
    )


def time_bare_chain(database: Database, rows_of_log: int) -> float:
    """Seconds that a bare SHA-256 chain over the same rows takes, held in memory."""
    rows: list[bytes] = []
    for offset in range(0, rows_of_log, 100_000):
        batch = disclosures(database, offset=offset, limit=100_000)
        rows += [" ".join(map(str, vars(row).values())).encode() for row in batch]

    def chain() -> None:
        previous = GENESIS.encode()
        for row in rows:
            previous = hashlib.sha256(previous + row).hexdigest().encode()

    return seconds(chain)


def time_reports(database: Database) -> None:
    student = "student-000007"
    summary = seconds(lambda: parties(database, student))
    print(f"| who saw one student, summed up | {1000 * summary:.1f} ms |")
    count = seconds(lambda: count_disclosures(database, but_not="district"))
    newest = seconds(lambda: disclosures(database, but_not="district", limit=50))
    print(
        f"| the site's list of partners' disclosures: count; newest 50 | {1000 * count:.0f} ms;"
        f" {1000 * newest:.1f} ms |",
        flush=True,
    )
    report = read_report(database, student, "A student", NOW, "Shown to somebody.")
    read = seconds(lambda: read_report(database, student, "A student", NOW, "Shown to somebody."))
    print(
        f"| a family's report of {report.total} disclosures: read; as PDF; as CSV |"
        f" {1000 * read:.1f} ms; {1000 * seconds(lambda: report_pdf(report)):.1f} ms;"
        f" {1000 * seconds(lambda: report_csv(report)):.1f} ms |"
    )
    user, day = caseworker_scope().viewer.user_id, date(2026, 4, 17)
    breach = seconds(lambda: exposures(database, user, day, day))
    print(f"| a breach report on an account that wrote every row | {breach:.2f} s |", flush=True)


def measure(database: Database, rows: int) -> None:
    time_appending(database, rows)
    time_daily_limit(database)
    time_verifying(database)
    time_reports(database)


def postgresql_is_installed() -> bool:
    return any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


@contextmanager
def temporary_postgresql() -> Iterator[str]:
    """The URL of an empty database on a server that lives only as long as the context."""
    binary = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="handrail-log-"))
    as_user: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    control = [*as_user, str(binary / "pg_ctl"), "-D", str(folder / "data")]
    subprocess.run(
        [
            *as_user,
            str(binary / "initdb"),
            "-D",
            str(folder / "data"),
            "-A",
            "trust",
            "-U",
            "handrail",
        ],
        check=True,
        capture_output=True,
        cwd="/",
    )
    subprocess.run(
        [
            *control,
            "-o",
            f"-k {folder} -c listen_addresses=''",
            "-w",
            "-l",
            str(folder / "log"),
            "start",
        ],
        check=True,
        capture_output=True,
        cwd="/",
    )
    try:
        url = f"postgresql+psycopg://handrail@/{{name}}?host={folder}"
        with create_engine(
            url.format(name="postgres"), isolation_level="AUTOCOMMIT"
        ).connect() as connection:
            connection.execute(text("CREATE DATABASE log"))
        yield url.format(name="log")
    finally:
        subprocess.run(
            [*control, "-m", "immediate", "stop"], check=False, capture_output=True, cwd="/"
        )
        shutil.rmtree(folder, ignore_errors=True)


def main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        print("| SQLite | |\n|---|---|")
        measure(open_database(f"sqlite:///{folder}/handrail.db"), rows)
    if postgresql_is_installed():
        with temporary_postgresql() as url:
            print("\n| PostgreSQL | |\n|---|---|")
            measure(open_database(url), rows)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
