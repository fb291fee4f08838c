"""Rows per second and peak memory of loading ever larger session files, each in its own process.

Run:
    .venv/bin/python -m benchmarks.load_throughput
    .venv/bin/python -m benchmarks.load_throughput 100000 1000000

The numbers are the rows of each file (100,000, 1,000,000 and 3,000,000 by default). The reference
is DuckDB reading the same file, sorting it and writing Parquet, without any check.
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
    # Not ru_maxrss: it starts at the size of the process that started this one.
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
REFERENCE = (
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


def run_script(script: str, *folders: Path) -> dict[str, float]:
    """The figures that a script prints as JSON, run in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-c", script, *map(str, folders)],
        capture_output=True,
        text=True,
        check=True,
    )
    figures: dict[str, float] = json.loads(run.stdout or "{}")
    return figures


def write_roster(folder: Path) -> None:
    folder.mkdir()
    lines = [f"s{n},student,First{n},Last{n},05,k1" for n in range(STUDENTS)]
    header = "sourcedId,role,givenName,familyName,grades,orgSourcedIds"
    (folder / "users.csv").write_text("\n".join([header, *lines, ""]))


def write_sessions(folder: Path, rows: int) -> None:
    """A partner's export: by day, students in no order, one row in a hundred invalid."""
    folder.mkdir()
    rng, first = random.Random(rows), date(2021, 8, 1)
    with (folder / "sessions.csv").open("w") as out:
        out.write("session_id,student_id,program_id,organization_id,date,attended,minutes\n")
        for number in range(rows):
            valid = number % 100 != 0
            attended = rng.choice(("true", "true", "true", "false")) if valid else "perhaps"
            day = first + timedelta(1600 * number // rows)
            out.write(
                f"x{number:08},s{rng.randrange(STUDENTS)},p{rng.randrange(9)},tutors,{day},{attended},45\n"
            )


def main(sizes: list[int]) -> None:
    print(
        "| rows | seconds | rows per second | peak memory | DuckDB alone: seconds | peak memory |"
        " ratio |"
    )
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_roster(folder / "roster")
        for rows in sizes:
            source, home = folder / f"sessions-{rows}", folder / f"home-{rows}"
            write_sessions(source, rows)
            run_script(ROSTER, folder / "roster", home)
            own, reference = run_script(LOAD, source, home), run_script(REFERENCE, source, folder)
            print(
                f"| {rows:,} | {own['seconds']:.1f} | {rows / own['seconds']:,.0f} |"
                f" {own['peak_mb']:,.0f} MB | {reference['seconds']:.2f} |"
                f" {reference['peak_mb']:,.0f} MB | {own['seconds'] / reference['seconds']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[1])
    main([int(size) for size in sys.argv[1:]] or [100_000, 1_000_000, 3_000_000])
