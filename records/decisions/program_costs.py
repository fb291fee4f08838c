"""What each program costs, as a district administrator states it.

A cost is in dollars for each student, year or session. A statement counts until another takes its
place; what counted before stays on record, with who stated it and when. No student's data is here,
and no cost that a partner states of itself: that comes with its files.
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
from records.staff.accounts import AccountError, read_csv_rows
from records.staff.district_admins import require_district_admin
from records.staff.viewer import Viewer
from records.system.errors import UserError

CostUnit = Literal["student", "year", "session"]
COST_UNITS: tuple[CostUnit, ...] = get_args(CostUnit)
COST_COLUMNS = ("program", "dollars", "per")
"""Columns of a file of costs, and fields of a form."""

MAX_DOLLARS = 1_000_000_000
_DOLLARS = re.compile(r"\$?(\d+|\d{1,3}(?:,\d{3})+)(?:\.(\d{1,2}))?", re.ASCII)


class ProgramCostError(UserError, ValueError):
    """A cost that cannot be recorded, and why; nothing was changed.

    `field` is the one of `COST_COLUMNS` that is wrong, or empty; the message names it.
    """

    def __init__(self, reason: str, field: str = "") -> None:
        super().__init__(f"{field} {reason}".strip())
        self.reason, self.field = reason, field


@dataclass(frozen=True)
class ProgramCost:
    """What one program costs: an amount in cents, for each `per`."""

    program_id: str
    cents: int
    per: CostUnit

    @property
    def dollars(self) -> float:
        """The amount in dollars."""
        return self.cents / 100


@dataclass(frozen=True)
class StatedCost:
    """A cost on record: who stated it (an account) and when, and when it ceased to count."""

    price: ProgramCost
    stated_by: str
    stated_at: datetime
    ended_by: str | None
    ended_at: datetime | None


def parse_program_cost(fields: Mapping[str, str], known_programs: Collection[str]) -> ProgramCost:
    """A cost from the text of a form or of a file's row.

    Args:
        fields: the text of each of `COST_COLUMNS`.
        known_programs: IDs of the programs on record.

    Raises:
        ProgramCostError: naming what is wrong and what would be right.
    """
    program, dollars, per = (fields[name].strip() for name in COST_COLUMNS)
    if program not in known_programs:
        programs = ", ".join(sorted(known_programs)) or "there is none"
        raise ProgramCostError(
            f"is {program!r}; it must be a program on record: {programs}", "program"
        )
    return ProgramCost(program, _parse_cents(dollars), _parse_unit(per))


def set_program_cost(database: Database, viewer: Viewer, cost: ProgramCost, now: datetime) -> None:
    """Record what one program costs, in place of what was stated before.

    Raises:
        NotADistrictAdmin: the viewer is not an active district administrator.
    """
    with database.write_transaction() as session:
        require_district_admin(session, viewer, "state what a program costs")
        previous = [row for row in _current_rows(session) if row.program_id == cost.program_id]
        _replace(session, viewer, [cost], previous, now)


def replace_program_costs(
    database: Database,
    viewer: Viewer,
    file: Path,
    known_programs: Collection[str],
    now: datetime,
) -> list[StatedCost]:
    """Put the costs of a CSV file in place of all that were stated before.

    Args:
        file: has the columns `COST_COLUMNS`.
        known_programs: IDs of the programs on record.

    Returns:
        Costs that counted before and now end, because the file does not name their program.

    Raises:
        NotADistrictAdmin: the viewer is not an active district administrator.
        ProgramCostError: naming file, line and column of the first thing that is wrong; then all
            stays as it was.
    """
    with database.write_transaction() as session:
        require_district_admin(session, viewer, "state what programs cost")
        costs = _read_costs(file, known_programs)
        previous = _current_rows(session)
        named = {cost.program_id for cost in costs}
        dropped = [row for row in previous if row.program_id not in named]
        _replace(session, viewer, costs, previous, now)
        return [_stated_cost(row) for row in dropped]


def program_costs(database: Database) -> dict[str, StatedCost]:
    """The costs that count now, by program ID."""
    with database.session() as session:
        return {row.program_id: _stated_cost(row) for row in _current_rows(session)}


def cost_history(database: Database) -> list[StatedCost]:
    """Every cost that was ever stated, the oldest first."""
    query = select(ProgramCostRow).order_by(ProgramCostRow.id)
    with database.session() as session:
        return [_stated_cost(row) for row in session.scalars(query)]


def _parse_cents(dollars: str) -> int:
    match = _DOLLARS.fullmatch(dollars)
    if match is None:
        raise ProgramCostError(
            f"is {dollars!r}; it must be an amount such as 1250 or 1250.50", "dollars"
        )
    cents = int(match[1].replace(",", "")) * 100 + int((match[2] or "0").ljust(2, "0"))
    if cents > MAX_DOLLARS * 100:
        raise ProgramCostError(f"is {dollars!r}; it must be at most {MAX_DOLLARS}", "dollars")
    return cents


def _parse_unit(per: str) -> CostUnit:
    for unit in COST_UNITS:
        if per == unit:
            return unit
    raise ProgramCostError(
        f"is {per!r}; it must be {', '.join(COST_UNITS[:-1])} or {COST_UNITS[-1]}", "per"
    )


def _read_costs(file: Path, known_programs: Collection[str]) -> list[ProgramCost]:
    costs: list[ProgramCost] = []
    line_of_program: dict[str, int] = {}
    try:
        for line, row in read_csv_rows(file, COST_COLUMNS):
            try:
                cost = parse_program_cost(row, known_programs)
                if cost.program_id in line_of_program:
                    raise ProgramCostError(
                        f"is {cost.program_id!r}, as on line {line_of_program[cost.program_id]};"
                        " each program may be named once",
                        "program",
                    )
            except ProgramCostError as error:
                raise ProgramCostError(f"{file.name}, line {line}: {error}") from None
            line_of_program[cost.program_id] = line
            costs.append(cost)
    except AccountError as error:
        raise ProgramCostError(str(error)) from None
    if not costs:
        raise ProgramCostError(
            f"{file.name}, line 2: there is no program; each line below the first must name one"
        )
    return costs


def _replace(
    session: Session,
    viewer: Viewer,
    costs: Iterable[ProgramCost],
    previous: Iterable[ProgramCostRow],
    now: datetime,
) -> None:
    """End what counted before and begin what is new; a cost that is stated again goes on."""
    new_costs = {cost.program_id: cost for cost in costs}
    for row in previous:
        if _program_cost(row) == new_costs.get(row.program_id):
            del new_costs[row.program_id]
        else:
            row.ended_by, row.ended_at = viewer.user_id, now
    for cost in new_costs.values():
        session.add(
            ProgramCostRow(
                program_id=cost.program_id,
                cents=cost.cents,
                per=cost.per,
                stated_by=viewer.user_id,
                stated_at=now,
                ended_by=None,
                ended_at=None,
            )
        )


def _current_rows(session: Session) -> list[ProgramCostRow]:
    query = (
        select(ProgramCostRow)
        .where(ProgramCostRow.ended_at.is_(None))
        .order_by(ProgramCostRow.program_id)
    )
    return list(session.scalars(query))


def _program_cost(row: ProgramCostRow) -> ProgramCost:
    unit = next(unit for unit in COST_UNITS if unit == row.per)
    return ProgramCost(program_id=row.program_id, cents=row.cents, per=unit)


def _stated_cost(row: ProgramCostRow) -> StatedCost:
    return StatedCost(
        price=_program_cost(row),
        stated_by=row.stated_by,
        stated_at=row.stated_at,
        ended_by=row.ended_by,
        ended_at=row.ended_at,
    )
