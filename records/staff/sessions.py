"""Browser sessions of staff: when one begins, how long it lasts, and how it ends.

A session ends after 30 minutes without use, after 12 hours, at sign-out, and when its account is
closed. Source: OWASP ASVS 5, chapter 7.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import update

from records.database.engine import Database
from records.database.tables import StaffRow, WebSessionRow
from records.staff.accounts import _viewer
from records.staff.viewer import Viewer

IDLE_TIMEOUT = timedelta(minutes=30)


ABSOLUTE_TIMEOUT = timedelta(hours=12)


def start_session(database: Database, viewer: Viewer, now: datetime) -> str:
    """A new session's token, to be given to the browser once; only its digest is stored."""
    token = secrets.token_urlsafe(32)
    with database.session() as session:
        session.add(
            WebSessionRow(
                token_sha256=_digest(token),
                user_id=viewer.user_id,
                csrf=secrets.token_urlsafe(24),
                created_at=now,
                seen_at=now,
                ended_at=None,
            )
        )
    return token


def session_viewer(database: Database, token: str, now: datetime) -> tuple[Viewer, str] | None:
    """The person of an open session and its anti-forgery token; None if it has ended.

    Using a session keeps it from timing out.
    """
    with database.session() as session:
        row = session.get(WebSessionRow, _digest(token))
        if (
            row is None
            or row.ended_at is not None
            or now - row.seen_at > IDLE_TIMEOUT
            or now - row.created_at > ABSOLUTE_TIMEOUT
        ):
            return None
        staff = session.get(StaffRow, row.user_id)
        if staff is None or not staff.active:
            return None
        if now - row.seen_at > timedelta(minutes=1):
            row.seen_at = now
        return _viewer(staff), row.csrf


def end_session(database: Database, token: str, now: datetime) -> None:
    """Sign out: the token is invalid from now on."""
    with database.session() as session:
        session.execute(
            update(WebSessionRow)
            .where(WebSessionRow.token_sha256 == _digest(token), WebSessionRow.ended_at.is_(None))
            .values(ended_at=now)
        )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
