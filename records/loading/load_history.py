"""When each source was last loaded, and warnings about loads that look like a fault.

A feed that suddenly has far fewer students, or a day on which nearly everybody is absent, is more
likely a fault of an export than the truth: such a load waits for a person, and the current records
stay. When a feed has stopped, alerts about absences are not given: nobody can see who came to
school yesterday.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from records.canonical.schema import ABSENT_STATUSES, TABLES
from records.loading.load_report import CodeCounts, LoadReport
from records.snapshots.snapshot import Snapshot
from records.snapshots.waiting_rows import table_words
from records.system.errors import UserError

STALE_AFTER = timedelta(hours=36)
"""A nightly feed that missed one night, with half a day to spare (R42)."""

OLD_AFTER = timedelta(days=100)
"""Records that end before that are of a school year that is over: a summer is shorter."""

MAX_STUDENT_LOSS = 0.20
"""Share of students who may be gone since the last load; a district loses about 2% in an ordinary
month (R42)."""

MIN_KEPT_IDENTIFIERS = 0.5
"""Share of the student identifiers of the current records that must be in a new load. A new
student-information system may number everybody anew, and then hardly any is; no ordinary year
replaces half of a district's students."""

MIN_KEPT_ROWS = 0.5
"""Share of a table's rows of one school year that must be there in a later load. These tables grow
through the year: corrections take back a few rows, and a half is gone only when an export was cut
short or covers a term alone."""

MAX_ABSENT_SHARE = 0.5
"""Share of students absent on one day above which the day is doubted: twice the worst ordinary
winter day."""

_MIN_STUDENTS = 20
"""Below this number of students a share says nothing."""

_MIN_ROWS = 20
"""Below this number of rows of a table a share says nothing: one correction may be half of them."""

_FIRST_MONTH = 7
"""A school year ends in June: the month from which a day belongs to the next one."""

_SCHOOL_YEARS = {
    "calendar": "school_year",
    "school_enrollments": "school_year",
    "attendance_events": f"year(date) + (month(date) >= {_FIRST_MONTH})::int",
    "course_grades": "school_year",
}
"""The tables that no district empties within a school year, each with the year of a row as SQL: the
calendar year in which it ends. Tests, incidents and single marks may be exported term by term."""


class SuspiciousLoad(UserError, ValueError):
    """A load that is likely a fault of the export; nothing changes until a person confirms it."""


@dataclass(frozen=True)
class Load:
    """One completed load. `tables` are those that it replaced, and `profile` is the digest of the
    source's profile, None for a source without one.

    The fields are keys of `loads.jsonl`.
    """

    at: datetime
    source: str
    snapshot_id: str
    tables: tuple[str, ...]
    read: int
    kept: int
    quarantined: int
    organization_id: str | None = None
    profile: str | None = None

    @property
    def source_key(self) -> tuple[str, str | None]:
        """What distinguishes a source from the others: its connector, and the partner if any."""
        return self.source, self.organization_id


def record_load(home: Path, report: LoadReport, tables: Sequence[str], at: datetime) -> Load:
    """Append a completed load to the history, one line.

    Args:
        tables: those of its source; the ones that it did not bring are left out.
    """
    load = Load(
        at=at,
        source=report.source,
        snapshot_id=report.snapshot_id,
        tables=tuple(name for name in tables if name not in report.not_brought),
        read=sum(file.read for file in report.files),
        kept=sum(file.kept for file in report.files),
        quarantined=sum(file.quarantined for file in report.files),
        organization_id=report.organization_id,
        profile=report.profile.get("digest"),
    )
    line = json.dumps(asdict(load) | {"at": at.isoformat(timespec="seconds")}) + "\n"
    with _history_file(home).open("a+", encoding="utf-8") as log:
        log.seek(0)
        # A line that was cut off in writing must not swallow this one.
        is_torn = log.read()[-1:] not in ("", "\n")
        log.write("\n" * is_torn + line)
        log.flush()
        os.fsync(log.fileno())
    return load


def loads(home: Path) -> list[Load]:
    """Every load on record, the newest first; a line that was cut off in writing is skipped."""
    return list(_newest_first(home))


def last_loads(home: Path) -> dict[tuple[str, str | None], Load]:
    """The newest load of each source, by connector and partner (None for no single partner)."""
    newest: dict[tuple[str, str | None], Load] = {}
    for load in loads(home):
        newest.setdefault(load.source_key, load)
    return newest


def last_brought(home: Path, table: str, source: tuple[str, str | None]) -> datetime | None:
    """When a table was last brought, by whichever source; None if that was never recorded.

    Args:
        source: connector and partner. A partner's services count only if it brought them itself.
    """
    is_partners_own = any(column.name == "organization_id" for column in TABLES[table].columns)
    return next(
        (
            load.at
            for load in _newest_first(home)
            if table in load.tables and (load.source_key == source or not is_partners_own)
        ),
        None,
    )


def carried_over_notes(home: Path, report: LoadReport) -> list[str]:
    """What a report says of tables that stay as an earlier load brought them.

    Args:
        report: of a load that is not on record yet.
    """
    notes = []
    for name, files in report.not_brought.items():
        if report.rows.get(name):
            at = last_brought(home, name, (report.source, report.organization_id))
            was = "was" if len(files) == 1 else "were"
            as_of = f"the load of {at:%Y-%m-%d}" if at else "an earlier load"
            notes.append(
                f"{' and '.join(files)} {was} not there: {table_words(name)} are as of {as_of}"
            )
    return notes


def stale_attendance_since(home: Path, now: datetime) -> datetime | None:
    """When attendance was last loaded, if that is more than `STALE_AFTER` ago.

    Returns:
        None when attendance is fresh, or its loading was never recorded.
    """
    last = next(
        (load.at for load in _newest_first(home) if "attendance_events" in load.tables), None
    )
    return last if last is not None and now - last > STALE_AFTER else None


def old_records_end(snapshot: Snapshot, today: date) -> date | None:
    """The day of the newest record up to today, if that is more than `OLD_AFTER` ago.

    Returns:
        None when the records are of this school year, or have no dates at all.
    """
    days = [date.fromisoformat(day) for day in snapshot.manifest["latest"].values() if day]
    newest = max((day for day in days if day <= today), default=None)
    return newest if newest is not None and today - newest > OLD_AFTER else None


def load_warnings(new: Snapshot, current: Snapshot | None, today: date | None = None) -> list[str]:
    """Why a person should check a load before it counts, as clauses; empty if nothing is odd.

    Args:
        today: the day of the load. A table may be nearly empty once a new school year has begun;
            without the day that is seen only by rows of the new year.
    """
    if current is None:
        return []
    loss = _student_loss(new, current)
    return [
        *loss,
        *_changed_identifiers(new, current, is_explained=bool(loss)),
        *_emptied_tables(new, current, today),
        *_days_of_absence(new, current),
    ]


def code_warnings(new: Snapshot, source: str) -> list[str]:
    """Which columns of a load hold too many codes that nobody has explained, as clauses."""
    warnings = []
    for report in new.manifest["sources"]:
        if report["source"] != source:
            continue
        for column, stored in report.get("codes", {}).items():
            counts = CodeCounts(**stored)
            if counts.is_too_little_understood:
                total = counts.understood + counts.not_understood
                named = sorted(counts.codes.items(), key=lambda item: (-item[1], item[0]))[:10]
                warnings.append(
                    f"of {total:,} values of {column}, {counts.not_understood:,} are codes that"
                    f" nobody has explained ({', '.join(f'{code!r} {n:,}' for code, n in named)})"
                )
    return warnings


def student_ids(snapshot: Snapshot | None) -> set[str]:
    """The students of a snapshot; none without one."""
    file = None if snapshot is None else snapshot.path / "students.parquet"
    if file is None or not file.exists():
        return set()
    return set(pq.read_table(file, columns=["student_id"])["student_id"].to_pylist())


def _history_file(home: Path) -> Path:
    return home / "snapshots" / "loads.jsonl"


def _newest_first(home: Path) -> Iterator[Load]:
    """Loads, parsed no further back than is asked for: each page of the site asks for the last."""
    file = _history_file(home)
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    for line in reversed(lines):
        if line.endswith("}"):
            entry = json.loads(line)
            at, tables = datetime.fromisoformat(entry["at"]), tuple(entry["tables"])
            yield Load(**entry | {"at": at, "tables": tables})


def _student_loss(new: Snapshot, current: Snapshot) -> list[str]:
    before, after = (snapshot.manifest["rows"].get("students", 0) for snapshot in (current, new))
    if before < _MIN_STUDENTS or after >= before * (1 - MAX_STUDENT_LOSS):
        return []
    return [f"it has {after:,} students, and the current records have {before:,}"]


def _changed_identifiers(new: Snapshot, current: Snapshot, *, is_explained: bool) -> list[str]:
    """Whether too many identifiers are gone, though as many students are there.

    Args:
        is_explained: whether it is known already that students are missing.
    """
    before, after = student_ids(current), student_ids(new)
    kept = len(before & after)
    if len(before) < _MIN_STUDENTS:
        return []
    if kept < min(len(before), len(after)) * MIN_KEPT_IDENTIFIERS:
        return [
            f"of the {len(before):,} student identifiers of the current records {kept:,} are in it,"
            f" and {len(after) - kept:,} others are new: has the district changed its student"
            " numbers? Partners' rows and consents name the old ones, and wait with them"
        ]
    if not is_explained and len(before) - kept > len(before) * MAX_STUDENT_LOSS:
        return [
            f"{len(before) - kept:,} of the {len(before):,} students of the current records are not"
            f" in it, and {len(after) - kept:,} others are new"
        ]
    return []


def _emptied_tables(new: Snapshot, current: Snapshot, today: date | None) -> list[str]:
    """Tables that have lost too many rows of the last school year that the current records have."""
    warnings = []
    for name in _SCHOOL_YEARS:
        before, after = (_rows_by_school_year(snapshot, name) for snapshot in (current, new))
        year = max(before, default=0)
        is_over = max(after, default=0) > year or (
            today is not None and today.year + (today.month >= _FIRST_MONTH) > year
        )
        had, has = before.get(year, 0), after.get(year, 0)
        if not is_over and had >= _MIN_ROWS and has < had * MIN_KEPT_ROWS:
            warnings.append(
                f"it has {has:,} rows of {table_words(name)} of the school year that ends in"
                f" {year}, and the current records have {had:,}"
            )
    return warnings


def _rows_by_school_year(snapshot: Snapshot, table: str) -> dict[int, int]:
    file = snapshot.path / f"{table}.parquet"
    if not file.exists():
        return {}
    with duckdb.connect() as engine:
        rows = engine.read_parquet(str(file))
        return dict(rows.aggregate(f"{_SCHOOL_YEARS[table]} as year, count(*)").fetchall())


def _days_of_absence(new: Snapshot, current: Snapshot) -> list[str]:
    """Days since the last attendance of the current records with too many students absent."""
    file = new.path / "attendance_events.parquet"
    students = new.manifest["rows"].get("students", 0)
    known_until = current.manifest["latest"].get("attendance_events")
    if not file.exists() or students < _MIN_STUDENTS or known_until is None:
        return []
    with duckdb.connect() as engine:
        days = engine.execute(
            "select date, count(distinct student_id) from read_parquet($file)"
            " where list_contains($absent, status) and date > $since"
            " group by date having count(distinct student_id) > $most order by date",
            {
                "file": str(file),
                "absent": list(ABSENT_STATUSES),
                "since": date.fromisoformat(known_until),
                "most": students * MAX_ABSENT_SHARE,
            },
        ).fetchall()
    return [f"on {day} {absent:,} of {students:,} students are absent" for day, absent in days]
