"""The disclosure log at size: appending, verifying and reporting, each beside a peer in the same
run.

Run: .venv/bin/python benchmarks/disclosure_log.py            # SQLite, and PostgreSQL where its
programs are installed
     .venv/bin/python benchmarks/disclosure_log.py 100000     # fewer rows
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

from sqlalchemy import create_engine, text

from records.canonical.schema import Category
from records.database.engine import Database, open_database
from records.disclosure_log.disclosures import record_disclosures
from records.disclosure_log.hash_chain import GENESIS
from records.disclosure_log.history import count_disclosures, disclosures, exposures, parties
from records.disclosure_log.limits import DisclosureLimits
from records.disclosure_log.verification import Verification, verify_log
from records.people.viewer import Grant, Role, Scope, Viewer
from serving.exports.disclosure_report import read_report, report_csv, report_pdf

ROWS = 1_000_000
STUDENTS = 16_000
ON_A_PAGE = 50
TIMED_PAGES = 400
NOW = datetime(2026, 4, 17, 10)
SHOWN = [
    Category.DIRECTORY,
    Category.ATTENDANCE,
    Category.GRADES,
    Category.ASSESSMENTS,
    Category.SERVICES,
]


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def scope() -> Scope:
    """A caseworker of a partner that may see every student of a district."""
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


def append(database: Database, rows: int) -> None:
    """Fill the log; of the first pages and of the last each is one transaction of 50 rows, as the
    site writes them.
    """
    caseworker, students = scope(), [f"student-{n:06}" for n in range(STUDENTS)]

    def look(number: int, shown: int) -> float:
        first = number * shown % STUDENTS
        moment = NOW + timedelta(seconds=number)
        return seconds(
            lambda: record_disclosures(
                database, caseworker, students[first : first + shown], SHOWN, "/caseload", moment
            )
        )

    filled = rows - 2 * TIMED_PAGES * ON_A_PAGE
    for what, pages, shown in (
        ("of an empty log", TIMED_PAGES, ON_A_PAGE),
        ("", filled // 500, 500),
        (f"at {rows:,} rows", TIMED_PAGES, ON_A_PAGE),
    ):
        taken = [look(number, shown) for number in range(pages)]
        if what:
            print(
                f"| append a page of {shown} students {what} |"
                f" {1000 * statistics.median(taken):.1f} ms; {shown * pages / sum(taken):,.0f}"
                " rows/s |",
                flush=True,
            )


def time_daily_limit(database: Database) -> None:
    """What it costs to count whom somebody saw today: on an ordinary day, and after a thousand
    students ten times.
    """
    some = scope()
    students = [f"student-{n:06}" for n in range(1_000)]
    for user, rounds in (("an ordinary day", 0), ("a thousand students, 10,000 looks", 10)):
        reader = replace(some, viewer=replace(some.viewer, user_id=user))
        pages = [students[first : first + ON_A_PAGE] for first in range(0, 1_000, ON_A_PAGE)]
        for page in pages * rounds:
            record_disclosures(database, reader, page, SHOWN, "/caseload", NOW)
        taken: dict[DisclosureLimits | None, list[float]] = {None: [], DisclosureLimits(): []}
        for number in range(TIMED_PAGES if rounds else 8):
            page = pages[number % len(pages)]
            for limits, times in taken.items():
                times.append(
                    seconds(
                        lambda limits=limits, page=page, reader=reader: record_disclosures(  # type: ignore[misc]
                            database, reader, page, SHOWN, "/caseload", NOW, limits
                        )
                    )
                )
        without, within = (1000 * statistics.median(times) for times in taken.values())
        print(
            f"| append a page of {ON_A_PAGE} students, {user}; with the day's limit | {without:.1f}"
            f" ms; {within:.1f} ms |",
            flush=True,
        )


def bare_chain(database: Database, rows_of_log: int) -> float:
    """The time of a bare SHA-256 chain over the same rows, held in memory."""
    rows: list[bytes] = []
    for offset in range(0, rows_of_log, 100_000):
        some = disclosures(database, offset=offset, limit=100_000)
        rows += [" ".join(map(str, vars(row).values())).encode() for row in some]

    def chain() -> None:
        previous = GENESIS.encode()
        for row in rows:
            previous = hashlib.sha256(previous + row).hexdigest().encode()

    return seconds(chain)


def measure(database: Database, rows: int) -> None:
    append(database, rows)
    time_daily_limit(database)
    rows = count_disclosures(database)
    outcomes: list[Verification] = []
    worked = time.process_time()
    taken = sorted(
        seconds(lambda: outcomes.append(verify_log(database, processes=os.cpu_count() or 1)))
        for _ in range(5)
    )
    worked = (time.process_time() - worked) / len(taken)
    assert all(outcome.ok and outcome.rows == rows for outcome in outcomes)
    print(
        f"| verify {rows:,} rows | {taken[2]:.2f} s ({taken[0]:.2f} to {taken[-1]:.2f});"
        f" {worked:.2f} s of this process's own work |",
        flush=True,
    )
    bare = bare_chain(database, rows)
    print(
        f"| a bare SHA-256 chain over the same rows in memory | {bare:.2f} s; ratio"
        f" {taken[2] / bare:.1f} |"
    )
    one = "student-000007"
    print(
        "| who looked at one student, summed up |"
        f" {1000 * seconds(lambda: parties(database, one)):.1f} ms |"
    )
    partners = seconds(lambda: count_disclosures(database, but_not="district"))
    newest = seconds(lambda: disclosures(database, but_not="district", limit=50))
    print(
        f"| the site's list of partners' looks: how many; the newest 50 | {1000 * partners:.0f} ms;"
        f" {1000 * newest:.1f} ms |",
        flush=True,
    )
    report = read_report(database, one, "A student", NOW, "Shown to somebody.")
    read = seconds(lambda: read_report(database, one, "A student", NOW, "Shown to somebody."))
    print(
        f"| a family's report of {report.total} looks: read; as PDF; as CSV | {1000 * read:.1f} ms;"
        f" {1000 * seconds(lambda: report_pdf(report)):.1f} ms;"
        f" {1000 * seconds(lambda: report_csv(report)):.1f} ms |"
    )
    user, day = scope().viewer.user_id, date(2026, 4, 17)
    breach = seconds(lambda: exposures(database, user, day, day))
    print(f"| a breach report on an account that wrote every row | {breach:.2f} s |", flush=True)


@contextmanager
def temporary_postgresql() -> Iterator[str]:
    """A throw-away server in a temporary folder; the URL of an empty database."""
    binary = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="handrail-log-"))
    as_user: list[str] = []
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    control = [*as_user, binary / "pg_ctl", "-D", folder / "data"]
    subprocess.run(
        [*as_user, binary / "initdb", "-D", folder / "data", "-A", "trust", "-U", "handrail"],
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
            folder / "log",
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
    if list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        with temporary_postgresql() as url:
            print("\n| PostgreSQL | |\n|---|---|")
            measure(open_database(url), rows)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
