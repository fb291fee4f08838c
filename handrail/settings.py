"""Where Handrail keeps its data, and what day it is. Nothing else reads the environment or a
clock.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

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
    """`home` holds snapshots, features, models and the operational database (SQLite unless
    `database_url` is set).

    `today` holds the clock on one day, as a demo does; None is the real day. `limits` is how many
    students one person may be shown.
    """

    home: Path
    database_url: str
    today: date | None = None
    limits: DisclosureLimits = field(default_factory=DisclosureLimits)

    @classmethod
    def from_environment(cls, home: Path | None = None) -> Settings:
        """Settings from `HANDRAIL_HOME` (default `./var`), `HANDRAIL_DATABASE_URL`,
        `HANDRAIL_TODAY`, `HANDRAIL_STUDENTS_AT_ONCE` (default 200) and `HANDRAIL_STUDENTS_A_DAY`
        (default 1000).

        An explicit `home` wins; a demo's home says its own day.

        Raises:
            SettingsError: `HANDRAIL_TODAY` is not a date, or a limit is no whole number that the
                site can work with.
        """
        folder = (home or Path(os.environ.get("HANDRAIL_HOME", "var"))).resolve()
        named = os.environ.get("HANDRAIL_TODAY") or _demo_day(folder)
        try:
            today = date.fromisoformat(named) if named else None
        except ValueError:
            raise SettingsError(
                f"HANDRAIL_TODAY is {named!r}; it must be a day such as 2026-04-17"
            ) from None
        url = os.environ.get("HANDRAIL_DATABASE_URL") or f"sqlite:///{folder / 'handrail.db'}"
        at_once = _whole(
            "HANDRAIL_STUDENTS_AT_ONCE", DisclosureLimits.at_once, MAX_STUDENTS_PER_PAGE
        )
        return cls(
            folder,
            url,
            today,
            DisclosureLimits(
                at_once, _whole("HANDRAIL_STUDENTS_A_DAY", DisclosureLimits.a_day, at_once)
            ),
        )

    @property
    def on_postgresql(self) -> bool:
        """True where the database can hold the second wall (docs/postgresql.md)."""
        return self.database_url.startswith("postgresql")

    @property
    def is_demo(self) -> bool:
        return (self.home / DEMO_MARKER_FILE).exists()

    def now(self) -> datetime:
        """The district's local time, without a zone."""
        real = datetime.now()
        return datetime.combine(self.today, real.time()) if self.today else real

    def secret(self) -> bytes:
        """The key of the identifiers that partners see: `HANDRAIL_SECRET`, or a file in `home` made
        on first use.

        Raises:
            SettingsError: the secret is short, or others than its owner may read the file.
        """
        named = os.environ.get("HANDRAIL_SECRET")
        if named:
            if len(named) < 32:
                raise SettingsError("HANDRAIL_SECRET has fewer than 32 characters")
            return named.encode()
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


def _whole(name: str, default: int, least: int) -> int:
    said = os.environ.get(name) or str(default)
    if not (said.isascii() and said.isdecimal() and int(said) >= least):
        raise SettingsError(f"{name} is {said!r}; it must be a whole number of at least {least}")
    return int(said)


def _demo_day(home: Path) -> str | None:
    mark = home / DEMO_MARKER_FILE
    return str(json.loads(mark.read_text())["today"]) if mark.exists() else None
