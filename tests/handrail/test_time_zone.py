"""The district's time zone: its day begins at its own midnight, wherever the machine stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(script: str, zone: str, machine: str = "UTC") -> subprocess.CompletedProcess[str]:
    """A script after settings were read, on a machine of another zone."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from datetime import UTC, datetime, timedelta\n"
            "from pathlib import Path\n"
            "from handrail.settings import Settings, SettingsError\n"
            "from records.system.clock import add_elapsed, to_utc\n"
            f"settings = Settings.from_environment(Path('/nowhere'))\n{script}",
        ],
        cwd=ROOT,
        env=os.environ | {"HANDRAIL_TIME_ZONE": zone, "TZ": machine},
        capture_output=True,
        text=True,
    )


def answer(script: str, zone: str) -> str:
    result = run(script, zone)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


@pytest.mark.parametrize(
    ("zone", "instant", "local"),
    [
        ("America/Los_Angeles", "2026-04-17T06:59:59+00:00", "2026-04-16 23:59:59"),
        ("America/Los_Angeles", "2026-04-17T07:00:00+00:00", "2026-04-17 00:00:00"),
        ("America/New_York", "2026-01-15T04:59:59+00:00", "2026-01-14 23:59:59"),
        ("Pacific/Guam", "2026-04-16T14:00:00+00:00", "2026-04-17 00:00:00"),
    ],
)
def test_a_day_turns_at_the_districts_midnight(zone: str, instant: str, local: str):
    moment = f"datetime.fromisoformat({instant!r}).timestamp()"
    assert answer(f"print(datetime.fromtimestamp({moment}))", zone) == local


def test_now_is_the_districts_hour():
    seconds = "(settings.now() - datetime.now(UTC).replace(tzinfo=None)).total_seconds()"
    hours = answer(f"print(round({seconds} / 3600))", "Pacific/Honolulu")
    assert hours == "-10"


def test_an_hour_that_occurs_twice_or_never_keeps_spans_of_time():
    zone = "America/Chicago"
    span = "timedelta(hours=2)"
    forward = f"print(add_elapsed(datetime(2026, 3, 8, 1, 30), {span}))"
    back = f"print(add_elapsed(datetime(2026, 11, 1, 0, 30), {span}))"
    assert answer(forward, zone) == "2026-03-08 04:30:00"
    assert answer(back, zone) == "2026-11-01 01:30:00"
    assert answer("print(to_utc(datetime(2026, 3, 8, 3, 30)))", zone) == "2026-03-08 08:30:00"


def test_a_zone_that_does_not_exist_is_named():
    result = run("", "Chicago")
    assert result.returncode == 1
    assert "HANDRAIL_TIME_ZONE is 'Chicago'; it must be a time zone such as America/Chicago" in (
        result.stderr
    )
