"""When each source was last loaded, and the loads that a person must look at before they count.

A feed that suddenly holds far fewer students, or a day on which nearly everybody is absent, is more
likely a fault of an export than the truth: such a load is held, and what served goes on serving. A
feed that has stopped is said to be old, and alerts about absences are then not given: nobody can
see who came to school yesterday.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import duckdb

from records.canonical.schema import ABSENT_STATUSES
from records.loading.load_report import LoadReport
from records.snapshots.snapshot import Snapshot
from records.system.errors import UserError

STALE_AFTER = timedelta(hours=36)
"""A nightly feed that missed one night, with half a day to spare (R42)."""

MAX_STUDENT_LOSS = 0.20
"""Share of students who may be gone since the last load; a district loses about 2% in an ordinary
month (R42)."""

MAX_ABSENT_SHARE = 0.5
"""Share of students absent on one day above which the day is doubted: twice the worst ordinary
winter day."""

_FEWEST = 20
"""Students below whom a share says nothing."""


class SuspiciousLoad(UserError, ValueError):
    """A load that is likely a fault of the export; nothing was changed until a person says that it
    is right.
    """


@dataclass(frozen=True)
class Load:
    """One load that was done. `tables` are those that it replaced."""

    at: datetime
    source: str
    snapshot_id: str
    tables: tuple[str, ...]
    read: int
    kept: int
    quarantined: int
    organization_id: str | None = None

    @property
    def whose(self) -> tuple[str, str | None]:
        """What tells a source from the others: its connector, and the partner whose files they
        are.
        """
        return self.source, self.organization_id


def record_load(home: Path, report: LoadReport, tables: Sequence[str], at: datetime) -> Load:
    """Write down that a load was done: one line, appended."""
    done = Load(
        at,
        report.source,
        report.snapshot_id,
        tuple(tables),
        sum(file.read for file in report.files),
        sum(file.kept for file in report.files),
        sum(file.quarantined for file in report.files),
        report.organization_id,
    )
    line = json.dumps(asdict(done) | {"at": at.isoformat(timespec="seconds")}) + "\n"
    with (home / "snapshots" / "loads.jsonl").open("a+", encoding="utf-8") as log:
        log.seek(0)
        torn = log.read()[-1:] not in ("", "\n")
        log.write("\n" * torn + line)
        log.flush()
        os.fsync(log.fileno())
    return done


def loads(home: Path) -> list[Load]:
    """Every load that was written down, the newest first. A line that was cut off in writing is
    passed over.
    """
    return list(_newest_first(home))


def last_loads(home: Path) -> dict[tuple[str, str | None], Load]:
    """The newest load of each source, by its connector and the partner whose files they were (None:
    no single one).
    """
    newest: dict[tuple[str, str | None], Load] = {}
    for load in loads(home):
        newest.setdefault(load.whose, load)
    return newest


def stale_attendance_since(home: Path, now: datetime) -> datetime | None:
    """When attendance was last loaded, if that is too long ago to go by; None when it is fresh, or
    was never noted.
    """
    last = next(
        (load.at for load in _newest_first(home) if "attendance_events" in load.tables), None
    )
    return last if last is not None and now - last > STALE_AFTER else None


def load_warnings(new: Snapshot, current: Snapshot | None) -> list[str]:
    """Why a person should look at a load before it counts, in plain words; empty when nothing is
    odd.
    """
    if current is None:
        return []
    return [*_shrunk(new, current), *_absent_days(new, current)]


def _newest_first(home: Path) -> Iterator[Load]:
    """The loads, read no further back than somebody asks: each page of the site asks for the last
    one.
    """
    file = home / "snapshots" / "loads.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    for line in reversed(lines):
        if line.endswith("}"):
            entry = json.loads(line)
            yield Load(
                **entry
                | {
                    "at": datetime.fromisoformat(entry["at"]),
                    "tables": tuple(entry["tables"]),
                }
            )


def _shrunk(new: Snapshot, current: Snapshot) -> list[str]:
    before, after = (snapshot.manifest["rows"].get("students", 0) for snapshot in (current, new))
    if before < _FEWEST or after >= before * (1 - MAX_STUDENT_LOSS):
        return []
    return [f"it holds {after:,} students, and the records that serve hold {before:,}"]


def _absent_days(new: Snapshot, current: Snapshot) -> list[str]:
    file = new.path / "attendance_events.parquet"
    students = new.manifest["rows"].get("students", 0)
    known_until = current.manifest["latest"].get("attendance_events")
    if not file.exists() or students < _FEWEST or known_until is None:
        return []
    with duckdb.connect() as engine:
        days = engine.execute(
            "select date, count(distinct student_id) from read_parquet($file) where"
            " list_contains($absent, status) and date > $since group by date having count(distinct"
            " student_id) > $most order by date",
            {
                "file": str(file),
                "absent": list(ABSENT_STATUSES),
                "since": date.fromisoformat(known_until),
                "most": students * MAX_ABSENT_SHARE,
            },
        ).fetchall()
    return [f"on {day} {absent:,} of {students:,} students are absent" for day, absent in days]
