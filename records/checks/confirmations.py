"""What a district administrator has said about a doubted figure: that it is right, and why.

A confirmation is of one figure of one school. It holds while the figure stays about what it was:
until it moves farther out by more than `MARGIN`, or to the other side of its range; for a school
that has stopped sending attendance, until it sends some and stops again. At a new school year it
lapses. An administrator may take it back. Every confirmation stays on record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select

from records.canonical.schema import Category
from records.checks.doubts import SILENCE, Doubt, doubts, range_of
from records.checks.plausible_ranges import PlausibleRange, plausible_ranges
from records.checks.school_figures import kept_figures
from records.connectors.oneroster.school_years import school_year_of
from records.database.engine import Database
from records.database.tables import ConfirmedFigureRow
from records.snapshots.snapshot import Snapshot
from records.staff.district_admins import require_district_admin
from records.staff.viewer import Viewer
from records.suppression.small_numbers import SmallNumbers
from records.system.errors import UserError

MARGIN = 0.1
"""How much farther out a confirmed figure may move, in widths of its plausible range: an average
attendance by 2 points. A figure of the year moves a little with each day."""

MIN_REASON_LENGTH, MAX_REASON_LENGTH = 10, 300
"""Characters."""


class ConfirmationError(UserError, ValueError):
    """A confirmation that cannot be recorded, and why; nothing was changed."""


@dataclass(frozen=True)
class ConfirmedFigure:
    """One confirmation on record: of which figure, its value then, by whom (an account), when, why.

    Attributes:
        school_year: the calendar year in which the school year of the figure ends.
        taken_back_by: the account that took it back; None where nobody did.
    """

    school_id: str
    measure: str
    value: float
    school_year: int
    confirmed_by: str
    at: datetime
    reason: str
    id: int
    taken_back_by: str | None = None
    taken_back_at: datetime | None = None


@dataclass(frozen=True)
class LoadDoubts:
    """What is doubted of the records in use.

    Attributes:
        standing: doubts that nobody has settled: alerts are silent.
        settled: those that are confirmed, each with the confirmation.
        school_year: that of the load.
    """

    standing: tuple[Doubt, ...] = ()
    settled: tuple[tuple[Doubt, ConfirmedFigure], ...] = ()
    school_year: int = 0

    @property
    def silenced(self) -> frozenset[tuple[str, Category]]:
        """Schools by identifier, each with a category of records, where no alert is raised."""
        return frozenset((doubt.school_id, doubt.category) for doubt in self.standing)

    @property
    def confirmed(self) -> frozenset[ConfirmedFigure]:
        """The confirmations that hold now."""
        return frozenset(one for _, one in self.settled)

    def find(self, school_id: str, measure: str) -> Doubt:
        """The standing doubt about a figure.

        Raises:
            ConfirmationError: there is none; the message names those that there are.
        """
        for doubt in self.standing:
            if (doubt.school_id, doubt.measure) == (school_id, measure):
                return doubt
        known = ", ".join(f"{doubt.school_id} {doubt.measure}" for doubt in self.standing)
        raise ConfirmationError(
            f"{school_id} {measure}: there is no such figure to confirm; alerts are silent because"
            f" of {known or 'none'}"
        )


def load_doubts(home: Path, database: Database, snapshot: Snapshot) -> LoadDoubts:
    """What is doubted of a load, by the figures that it kept and the ranges in force now.

    Returns:
        No doubts where the load kept no figures: it was made by an earlier release, or under
        another rule for small numbers.

    Raises:
        PlausibleRangesError: the district's own ranges have a mistake.
    """
    figures = kept_figures(home, snapshot.id, SmallNumbers.from_home(home))
    if figures is None:
        return LoadDoubts()
    ranges, year = plausible_ranges(home), school_year_of(figures.day)
    found = doubts(figures, ranges)
    if not found:
        return LoadDoubts(school_year=year)
    known = confirmed_figures(database)
    standing, settled = [], []
    for doubt in found:
        confirmed = settling(doubt, known, ranges, year)
        if confirmed is None:
            standing.append(doubt)
        else:
            settled.append((doubt, confirmed))
    return LoadDoubts(tuple(standing), tuple(settled), year)


def settling(
    doubt: Doubt,
    known: Iterable[ConfirmedFigure],
    ranges: Mapping[str, PlausibleRange],
    school_year: int,
) -> ConfirmedFigure | None:
    """The confirmation that settles a doubt: the first of `known` that holds."""
    return next(
        (
            one
            for one in known
            if one.taken_back_at is None
            and (one.school_id, one.measure, one.school_year)
            == (doubt.school_id, doubt.measure, school_year)
            and _is_about_the_same(one.value, doubt, ranges)
        ),
        None,
    )


def confirm_figure(
    database: Database,
    admin: Viewer,
    doubt: Doubt,
    school_year: int,
    reason: str,
    now: datetime,
) -> ConfirmedFigure:
    """Record that a doubted figure is right.

    Raises:
        NotADistrictAdmin: `admin` is not an active district administrator.
        ConfirmationError: the reason is too short or too long.
    """
    reason = reason.strip()
    if not MIN_REASON_LENGTH <= len(reason) <= MAX_REASON_LENGTH:
        raise ConfirmationError(
            f"the reason has {len(reason)} characters; it must say why the figure is right in"
            f" {MIN_REASON_LENGTH} to {MAX_REASON_LENGTH}"
        )
    row = ConfirmedFigureRow(
        school_id=doubt.school_id,
        measure=doubt.measure,
        value=doubt.value,
        school_year=school_year,
        confirmed_by=admin.user_id,
        at=now,
        reason=reason,
    )
    with database.session() as session:
        require_district_admin(session, admin, "say that a figure is right")
        session.add(row)
        session.flush()
        return _of_row(row)


def take_back_confirmation(
    database: Database, admin: Viewer, confirmation_id: int, now: datetime
) -> ConfirmedFigure:
    """Take back that a figure is right, so that it is doubted again; what was said stays on record.

    Raises:
        NotADistrictAdmin: `admin` is not an active district administrator.
        ConfirmationError: there is no such confirmation, or it was taken back before.
    """
    with database.session() as session:
        require_district_admin(session, admin, "take back that a figure is right")
        row = session.get(ConfirmedFigureRow, confirmation_id, with_for_update=True)
        if row is None:
            raise ConfirmationError(
                f"{confirmation_id}: there is no such confirmation;"
                " `handrail records confirmations` lists them"
            )
        if row.taken_back_at is not None:
            raise ConfirmationError(
                f"confirmation {confirmation_id} was taken back on {row.taken_back_at:%Y-%m-%d}"
            )
        row.taken_back_by, row.taken_back_at = admin.user_id, now
        return _of_row(row)


def confirmed_figures(database: Database) -> list[ConfirmedFigure]:
    """Every confirmation, the newest first."""
    query = select(ConfirmedFigureRow).order_by(ConfirmedFigureRow.id.desc())
    with database.session() as session:
        return [_of_row(row) for row in session.scalars(query)]


def _of_row(row: ConfirmedFigureRow) -> ConfirmedFigure:
    return ConfirmedFigure(
        row.school_id,
        row.measure,
        row.value,
        row.school_year,
        row.confirmed_by,
        row.at,
        row.reason,
        row.id,
        row.taken_back_by,
        row.taken_back_at,
    )


def _is_about_the_same(then: float, doubt: Doubt, ranges: Mapping[str, PlausibleRange]) -> bool:
    if doubt.measure == SILENCE:
        return then == doubt.value
    plausible = range_of(doubt.measure, ranges)
    if plausible is None:
        return False
    same_side = (then < plausible.low) == (doubt.value < plausible.low)
    return same_side and plausible.distance(doubt.value) <= plausible.distance(then) + MARGIN
