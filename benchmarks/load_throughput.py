"""Loads ever longer files of sessions, each in a process of its own: rows a second, memory, and a
bare DuckDB's time.

Run: .venv/bin/python benchmarks/load_throughput.py [rows ...]
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path

STUDENTS = 16_000
PEAK = """
def peak_mb():
    # Not ru_maxrss, which begins with the size of the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024
"""
LOAD = (
    PEAK
    + """
import json, sys, time
from pathlib import Path
from records.connectors.partner_files.service_history import ServiceHistory
from records.loading.load import load
start = time.perf_counter()
report = load(ServiceHistory(), Path(sys.argv[1]), Path(sys.argv[2]), merge=True)
seconds = time.perf_counter() - start
rows = report.rows["service_sessions"]
print(json.dumps({"seconds": seconds, "peak_mb": peak_mb(), "rows": rows}))
"""
)
BARE = (
    PEAK
    + """
import json, sys, time
from pathlib import Path
import duckdb
duckdb.execute("set enable_progress_bar = false")
start = time.perf_counter()
rows = duckdb.read_csv(str(Path(sys.argv[1]) / "sessions.csv"))
rows.order("student_id, session_id").to_parquet(str(Path(sys.argv[2]) / "bare.parquet"))
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "peak_mb": peak_mb()}))
"""
)
ROSTER = """
import sys
from pathlib import Path
from records.connectors.oneroster.files import OneRosterFiles
from records.loading.load import load
load(OneRosterFiles(), Path(sys.argv[1]), Path(sys.argv[2]))
"""


def measured(script: str, *folders: Path) -> dict[str, float]:
    run = subprocess.run(
        [sys.executable, "-c", script, *map(str, folders)],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(run.stdout or "{}")
    return found


def write_roster(folder: Path) -> None:
    folder.mkdir()
    lines = [f"s{n},student,First{n},Last{n},05,k1" for n in range(STUDENTS)]
    header = "sourcedId,role,givenName,familyName,grades,orgSourcedIds"
    (folder / "users.csv").write_text("\n".join([header, *lines, ""]))


def write_sessions(folder: Path, rows: int) -> None:
    """As a partner's system writes them: by day, students in no order, one row in a hundred
    damaged.
    """
    folder.mkdir()
    rng, first = random.Random(rows), date(2021, 8, 1)
    with (folder / "sessions.csv").open("w") as out:
        out.write("session_id,student_id,program_id,organization_id,date,attended,minutes\n")
        for n in range(rows):
            attended = "perhaps" if n % 100 == 0 else rng.choice(("true", "true", "true", "false"))
            day = first + timedelta(1600 * n // rows)
            out.write(
                f"x{n:08},s{rng.randrange(STUDENTS)},p{rng.randrange(9)},tutors,{day},{attended},45\n"
            )


def main(sizes: list[int]) -> None:
    print(
        "| rows | seconds | rows a second | peak memory | bare DuckDB: seconds | peak memory |"
        " ratio |"
    )
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_roster(folder / "roster")
        for rows in sizes:
            source, home = folder / f"sessions-{rows}", folder / f"home-{rows}"
            write_sessions(source, rows)
            measured(ROSTER, folder / "roster", home)
            ours, bare = measured(LOAD, source, home), measured(BARE, source, folder)
            print(
                f"| {rows:,} | {ours['seconds']:.1f} | {rows / ours['seconds']:,.0f} |"
                f" {ours['peak_mb']:,.0f} MB | {bare['seconds']:.2f} | {bare['peak_mb']:,.0f} MB |"
                f" {ours['seconds'] / bare['seconds']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    main([int(size) for size in sys.argv[1:]] or [100_000, 1_000_000, 3_000_000])
