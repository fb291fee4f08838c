"""What programs cost: stated whole or not at all, by the district alone, and what counted before
stays on record.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from records.database.engine import Database
from records.decisions.program_costs import (
    ProgramCost,
    ProgramCostError,
    cost_history,
    parse_program_cost,
    program_costs,
    replace_program_costs,
    set_program_cost,
)
from records.people.district_admins import NotADistrictAdmin
from records.people.viewer import DISTRICT, Role
from tests.records.conftest import add_organization
from tests.records.row_secured_database import row_secured_database

MORNING, NOON, EVENING = (datetime(2026, 4, 17, hour) for hour in (9, 12, 18))
KNOWN = {"p1", "p2", "p3"}


def written(folder: Path, *lines: str, header: str = "program,dollars,per") -> Path:
    file = folder / "costs.csv"
    file.write_text("\n".join([header, *lines]) + "\n")
    return file


def counting(database: Database) -> dict[str, tuple[float, str]]:
    return {key: (one.price.dollars, one.price.per) for key, one in program_costs(database).items()}


def test_a_file_takes_the_place_of_all_that_was_stated_and_what_is_alike_goes_on(
    database: Database, tmp_path: Path
):
    officer, other = add_organization(database, DISTRICT, Role.DISTRICT_ADMIN, Role.DATA_SCIENTIST)
    first = written(tmp_path, "p1,1150,student", 'p2,"$96,500.50",year')
    assert replace_program_costs(database, officer, first, KNOWN, MORNING) == []
    set_program_cost(database, officer, ProgramCost("p3", 3_800, "session"), NOON)
    assert counting(database) == {
        "p1": (1150.0, "student"),
        "p2": (96_500.5, "year"),
        "p3": (38.0, "session"),
    }
    gone = replace_program_costs(
        database, officer, written(tmp_path, "p2,90000,year", "p1,1150,student"), KNOWN, EVENING
    )
    assert [one.price.program_id for one in gone] == ["p3"]
    assert counting(database) == {"p1": (1150.0, "student"), "p2": (90_000.0, "year")}
    assert program_costs(database)["p1"].stated_at == MORNING, "it was stated again as it was"
    ended = [one for one in cost_history(database) if one.ended_at]
    assert [(one.price.program_id, one.stated_at, one.ended_at) for one in ended] == [
        ("p2", MORNING, EVENING),
        ("p3", NOON, EVENING),
    ]
    assert {one.stated_by for one in ended} == {one.ended_by for one in ended} == {officer.user_id}
    with pytest.raises(NotADistrictAdmin, match="only they may state what programs cost"):
        replace_program_costs(database, other, first, KNOWN, EVENING)
    with pytest.raises(NotADistrictAdmin):
        set_program_cost(database, other, ProgramCost("p1", 1, "year"), EVENING)
    assert len(cost_history(database)) == 4


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            ["p1,1150,student", "p9,5,year"],
            "costs.csv, line 3: program is 'p9'; it must be a program on record: p1, p2, p3",
        ),
        (
            ["p1,free,year"],
            "costs.csv, line 2: dollars is 'free'; it must be an amount such as 1250 or 1250.50",
        ),
        (["p1,-5,year"], "costs.csv, line 2: dollars is '-5'"),
        (["p1,1.505,year"], "costs.csv, line 2: dollars is '1.505'"),
        (['p1,"1,50",year'], "costs.csv, line 2: dollars is '1,50'"),
        (["p1,\u0661\u0660,year"], "costs.csv, line 2: dollars is"),
        (["p1,2000000000,year"], "dollars is '2000000000'; it must be at most 1000000000"),
        (["p1,5,month"], "costs.csv, line 2: per is 'month'; it must be student, year or session"),
        (
            ["p1,5,year", "p2,5,year", "p1,6,year"],
            "costs.csv, line 4: program is 'p1', as on line 2",
        ),
        (["p1,5"], "costs.csv, line 2: too few or too many fields"),
        ([], "costs.csv, line 2: there is no program"),
    ],
)
def test_a_wrong_line_is_named_with_its_column_and_nothing_is_changed(
    new_sqlite, tmp_path: Path, lines: list[str], said: str
):
    database = new_sqlite("wrong")
    (officer,) = add_organization(database, DISTRICT, Role.DISTRICT_ADMIN)
    set_program_cost(database, officer, ProgramCost("p2", 100, "year"), MORNING)
    with pytest.raises(ProgramCostError) as refused:
        replace_program_costs(database, officer, written(tmp_path, *lines), KNOWN, NOON)
    assert said in str(refused.value)
    assert counting(database) == {"p2": (1.0, "year")} and len(cost_history(database)) == 1


def test_a_missing_column_is_named(new_sqlite, tmp_path: Path):
    database = new_sqlite("missing")
    (officer,) = add_organization(database, DISTRICT, Role.DISTRICT_ADMIN)
    with pytest.raises(ProgramCostError, match=r"costs\.csv, line 1: there is no column 'per'"):
        replace_program_costs(
            database, officer, written(tmp_path, "p1,5", header="program,dollars"), KNOWN, NOON
        )


@pytest.mark.parametrize(
    ("dollars", "cents"),
    [
        ("0", 0),
        ("$12", 1_200),
        ("1,250.5", 125_050),
        (" 7.05 ", 705),
        ("1000000000", 100_000_000_000),
    ],
)
def test_amounts_are_kept_to_the_cent(new_sqlite, dollars: str, cents: int):
    database = new_sqlite("cents")
    (officer,) = add_organization(database, DISTRICT, Role.DISTRICT_ADMIN)
    price = parse_program_cost({"program": "p1", "dollars": dollars, "per": "year"}, KNOWN)
    set_program_cost(database, officer, price, NOON)
    assert program_costs(database)["p1"].price == ProgramCost("p1", cents, "year")


def test_on_postgresql_the_site_states_costs_and_what_reads_students_for_it_sees_none(
    postgres_server: str,
):
    walled = row_secured_database(postgres_server, f"costs{uuid.uuid4().hex[:12]}")
    (officer,) = add_organization(walled.owner, DISTRICT, Role.DISTRICT_ADMIN)
    set_program_cost(walled.site, officer, ProgramCost("p1", 100_000_000_000, "year"), NOON)
    assert counting(walled.site) == {"p1": (1e9, "year")}
    for role in ("handrail_reader", "handrail_scope"):
        refused = pytest.raises(
            ProgrammingError, match=r"permission denied for table program_costs"
        )
        with refused, walled.owner.engine.begin() as connection:
            connection.execute(text(f"SET LOCAL ROLE {role}"))
            connection.execute(text("SELECT * FROM program_costs"))
