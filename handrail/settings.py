"""Where Handrail keeps its data, and the current time. Nothing else reads the environment."""

from __future__ import annotations

import json
import os
import secrets
import stat
import time
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from records.disclosure_log.limits import DisclosureLimits
from records.system.errors import UserError

DEMO_MARKER_FILE = "demo.json"
"""Written last into the home of a finished demo: the day on which it stands, and that it must stay
on this machine."""

MAX_STUDENTS_PER_PAGE = 100
"""Students on the longest page that the site ever makes: under a lower limit the page could not be
opened."""


class SettingsError(UserError, ValueError):
    """A setting that cannot be used; the message says which and why."""


@dataclass(frozen=True)
class Settings:
    """The settings of one Handrail home.

    `home` is the folder of snapshots, features, models and (as SQLite, unless `database_url` is
    set) the operational database. `today` fixes the date, as a demo does; None is the real date.
    `limits` is how many students one person may be shown.
    """

    home: Path
    database_url: str
    today: date | None = None
    limits: DisclosureLimits = field(default_factory=DisclosureLimits)

    @classmethod
    def from_environment(cls, home: Path | None = None) -> Settings:
        """Settings from the environment.

        `HANDRAIL_HOME` (default `./var`), `HANDRAIL_DATABASE_URL`, `HANDRAIL_TODAY`,
        `HANDRAIL_STUDENTS_AT_ONCE` (default 200) and `HANDRAIL_STUDENTS_A_DAY` (default 1000).
        `HANDRAIL_TIME_ZONE` is the district's time zone (default: the machine's); every day and
        hour of this process is in it from then on.

        An explicit `home` wins; a demo's home says its own day.

        Raises:
            SettingsError: `HANDRAIL_TODAY` is not a date, `HANDRAIL_TIME_ZONE` is not a time zone,
                or a limit is no whole number that the site can work with.
        """
        if zone := os.environ.get("HANDRAIL_TIME_ZONE"):
            _set_time_zone(zone)
        folder = (home or Path(os.environ.get("HANDRAIL_HOME", "var"))).resolve()
        date_text = os.environ.get("HANDRAIL_TODAY") or _demo_day(folder)
        try:
            today = date.fromisoformat(date_text) if date_text else None
        except ValueError:
            raise SettingsError(
                f"HANDRAIL_TODAY is {date_text!r}; it must be a day such as 2026-04-17"
            ) from None
        url = os.environ.get("HANDRAIL_DATABASE_URL") or f"sqlite:///{folder / 'handrail.db'}"
        per_response = _whole_number(
            "HANDRAIL_STUDENTS_AT_ONCE", DisclosureLimits.per_response, MAX_STUDENTS_PER_PAGE
        )
        return cls(
            folder,
            url,
            today,
            DisclosureLimits(
                per_response,
                _whole_number("HANDRAIL_STUDENTS_A_DAY", DisclosureLimits.a_day, per_response),
            ),
        )

    @property
    def uses_postgresql(self) -> bool:
        """True where the database can enforce row-level security (docs/postgresql.md)."""
        return self.database_url.startswith("postgresql")

    @property
    def is_demo(self) -> bool:
        return (self.home / DEMO_MARKER_FILE).exists()

    def now(self) -> datetime:
        """The district's local time, without a zone."""
        real = datetime.now()
        return datetime.combine(self.today, real.time()) if self.today else real

    def secret(self) -> bytes:
        """The key of the identifiers that partners see, as bytes.

        It is `HANDRAIL_SECRET`, or a file in `home` that is created on first use.

        Raises:
            SettingsError: the secret is short, or others than its owner may read the file.
        """
        from_environment = os.environ.get("HANDRAIL_SECRET")
        if from_environment:
            if len(from_environment) < 32:
                raise SettingsError("HANDRAIL_SECRET has fewer than 32 characters")
            return from_environment.encode()
        file = self.home / "secret"
        if not file.exists():
            self.home.mkdir(parents=True, exist_ok=True)
            with os.fdopen(
                os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
            ) as stream:
                stream.write(secrets.token_hex(32).encode())
        if stat.S_IMODE(file.stat().st_mode) & 0o077:
            raise SettingsError(
                f"{file} may be read by others than its owner: run chmod 600 {file}"
            )
        return file.read_bytes()


def _set_time_zone(name: str) -> None:
    """Make a time zone that of this process, in which Handrail reads and writes local times."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise SettingsError(
            f"HANDRAIL_TIME_ZONE is {name!r}; it must be a time zone such as America/Chicago"
        ) from None
    os.environ["TZ"] = name
    time.tzset()


def _whole_number(name: str, default: int, minimum: int) -> int:
    text = os.environ.get(name) or str(default)
    if not (text.isascii() and text.isdecimal() and int(text) >= minimum):
        raise SettingsError(f"{name} is {text!r}; it must be a whole number of at least {minimum}")
    return int(text)


def _demo_day(home: Path) -> str | None:
    marker = home / DEMO_MARKER_FILE
    return str(json.loads(marker.read_text())["today"]) if marker.exists() else None
