"""What each program costs, as a district administrator states it: dollars for each student, year or
session.

A statement counts until another takes its place. What counted before stays on record, with who said
it and when. Nothing of a student is here, and no cost that a partner states of itself: that comes
with its files.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

from sqlalchemy import select
from sqlalchemy.orm import Session

from records.database.engine import Database
from records.database.tables import ProgramCostRow
from records.people.accounts import AccountError, read_csv_rows
from records.people.district_admins import require_district_admin
from records.people.viewer import Viewer
from records.system.errors import UserError

CostUnit = Literal["student", "year", "session"]
COST_UNITS: tuple[CostUnit, ...] = get_args(CostUnit)
COST_COLUMNS = ("program", "dollars", "per")
"""Of a file of costs, and of a form."""
MAX_DOLLARS = 1_000_000_000
_DOLLARS = re.compile(r"\$?(\d+|\d{1,3}(?:,\d{3})+)(?:\.(\d{1,2}))?", re.ASCII)


class ProgramCostError(UserError, ValueError):
    """A cost that cannot be written down, and why; nothing was changed.

    `field` is the one of `COST_COLUMNS` that is not right, or empty; the message names it.
    """

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(f"{field} {reason}".strip())
        self.reason, self.field = reason, field


@dataclass(frozen=True)
class ProgramCost:
    """What one program costs."""

    program_id: str
    cents: int
    per: CostUnit

    @property
    def dollars(self) -> float:
        return self.cents / 100


@dataclass(frozen=True)
class StatedCost:
    """A cost on record: who stated it (an account) and when, and when it ceased to count."""

    price: ProgramCost
    stated_by: str
    stated_at: datetime
    ended_by: str | None
    ended_at: datetime | None


def parse_program_cost(fields: Mapping[str, str], known: Collection[str]) -> ProgramCost:
    """A cost from the words of a form or of a file's row, by the names in `COST_COLUMNS`.

    Args:
        known: the programs on record.

    Raises:
        ProgramCostError: naming what is wrong and what would be right.
    """
    program, dollars, per = (fields[name].strip() for name in COST_COLUMNS)
    if program not in known:
        programs = ", ".join(sorted(known)) or "there is none"
        raise ProgramCostError(
            f"is {program!r}; it must be a program on record: {programs}", "program"
        )
    found = _DOLLARS.fullmatch(dollars)
    if found is None:
        raise ProgramCostError(
            f"is {dollars!r}; it must be an amount such as 1250 or 1250.50", "dollars"
        )
    cents = int(found[1].replace(",", "")) * 100 + int((found[2] or "0").ljust(2, "0"))
    if cents > MAX_DOLLARS * 100:
        raise ProgramCostError(f"is {dollars!r}; it must be at most {MAX_DOLLARS}", "dollars")
    for one in COST_UNITS:
        if per == one:
            return ProgramCost(program, cents, one)
    raise ProgramCostError(
        f"is {per!r}; it must be {', '.join(COST_UNITS[:-1])} or {COST_UNITS[-1]}", "per"
    )


def set_program_cost(database: Database, viewer: Viewer, price: ProgramCost, now: datetime) -> None:
    """Write down what one program costs, in place of what was stated before.

    Raises:
        NotADistrictAdmin: the viewer does not act for the district.
    """
    with database.write_transaction() as session:
        require_district_admin(session, viewer, "state what a program costs")
        before = [row for row in _counting(session) if row.program_id == price.program_id]
        _replace(session, viewer, [price], before, now)


def replace_program_costs(
    database: Database, viewer: Viewer, file: Path, known: Collection[str], now: datetime
) -> list[StatedCost]:
    """Put the costs in a CSV file with the columns `COST_COLUMNS` in the place of all that were
    stated before.

    Returns:
        What counted before and names a program that the file does not.

    Raises:
        NotADistrictAdmin: the viewer does not act for the district.
        ProgramCostError: naming file, line and column of the first thing that is wrong; then all
            stays as it was.
    """
    with database.write_transaction() as session:
        require_district_admin(session, viewer, "state what programs cost")
        prices = _prices(file, known)
        before = _counting(session)
        gone = [
            row for row in before if row.program_id not in {price.program_id for price in prices}
        ]
        _replace(session, viewer, prices, before, now)
        return [_stated(row) for row in gone]


def program_costs(database: Database) -> dict[str, StatedCost]:
    """What counts now, by program."""
    with database.session() as session:
        return {row.program_id: _stated(row) for row in _counting(session)}


def cost_history(database: Database) -> list[StatedCost]:
    """Every cost that was ever stated, the oldest first."""
    with database.session() as session:
        return [
            _stated(row)
            for row in session.scalars(select(ProgramCostRow).order_by(ProgramCostRow.id))
        ]


def _prices(file: Path, known: Collection[str]) -> list[ProgramCost]:
    found: dict[str, tuple[int, ProgramCost]] = {}
    try:
        for line, row in read_csv_rows(file, COST_COLUMNS):
            try:
                price = parse_program_cost(row, known)
                if price.program_id in found:
                    raise ProgramCostError(
                        f"is {price.program_id!r}, as on line {found[price.program_id][0]}; each"
                        " program may be named once",
                        "program",
                    )
            except ProgramCostError as error:
                raise ProgramCostError(f"{file.name}, line {line}: {error}") from None
            found[price.program_id] = line, price
    except AccountError as error:
        raise ProgramCostError(str(error)) from None
    if not found:
        raise ProgramCostError(
            f"{file.name}, line 2: there is no program; each line below the first must name one"
        )
    return [price for _, price in found.values()]


def _replace(
    session: Session,
    viewer: Viewer,
    prices: Iterable[ProgramCost],
    before: Iterable[ProgramCostRow],
    now: datetime,
) -> None:
    """End what counted before and begin what is new; what is stated again as it was goes on."""
    new = {price.program_id: price for price in prices}
    for row in before:
        if _price(row) == new.get(row.program_id):
            del new[row.program_id]
        else:
            row.ended_by, row.ended_at = viewer.user_id, now
    for price in new.values():
        session.add(
            ProgramCostRow(
                program_id=price.program_id,
                cents=price.cents,
                per=price.per,
                stated_by=viewer.user_id,
                stated_at=now,
                ended_by=None,
                ended_at=None,
            )
        )


def _counting(session: Session) -> list[ProgramCostRow]:
    rows = (
        select(ProgramCostRow)
        .where(ProgramCostRow.ended_at.is_(None))
        .order_by(ProgramCostRow.program_id)
    )
    return list(session.scalars(rows))


def _price(row: ProgramCostRow) -> ProgramCost:
    return ProgramCost(row.program_id, row.cents, next(per for per in COST_UNITS if per == row.per))


def _stated(row: ProgramCostRow) -> StatedCost:
    return StatedCost(_price(row), row.stated_by, row.stated_at, row.ended_by, row.ended_at)
