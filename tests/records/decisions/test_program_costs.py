"""The district alone states what programs cost, all or nothing; earlier costs stay on record."""

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
from records.staff.district_admins import NotADistrictAdmin
from records.staff.viewer import DISTRICT, Role
from tests.records.conftest import add_organization
from tests.records.row_secured_database import row_secured_database

MORNING, NOON, EVENING = (datetime(2026, 4, 17, hour) for hour in (9, 12, 18))
KNOWN = {"p1", "p2", "p3"}


def costs_file(folder: Path, *lines: str, header: str = "program,dollars,per") -> Path:
    file = folder / "costs.csv"
    file.write_text("\n".join([header, *lines]) + "\n")
    return file


def current_costs(database: Database) -> dict[str, tuple[float, str]]:
    return {
        program: (stated.price.dollars, stated.price.per)
        for program, stated in program_costs(database).items()
    }


def test_a_file_replaces_every_cost_and_what_is_unchanged_goes_on(
    database: Database, tmp_path: Path
):
    admin, other = add_organization(database, DISTRICT, Role.DISTRICT_ADMIN, Role.DATA_SCIENTIST)
    first = costs_file(tmp_path, "p1,1150,student", 'p2,"$96,500.50",year')
    assert replace_program_costs(database, admin, first, KNOWN, MORNING) == []
    set_program_cost(database, admin, ProgramCost("p3", 3_800, "session"), NOON)
    assert current_costs(database) == {
        "p1": (1150.0, "student"),
        "p2": (96_500.5, "year"),
        "p3": (38.0, "session"),
    }
    dropped = replace_program_costs(
        database, admin, costs_file(tmp_path, "p2,90000,year", "p1,1150,student"), KNOWN, EVENING
    )
    assert [stated.price.program_id for stated in dropped] == ["p3"]
    assert current_costs(database) == {"p1": (1150.0, "student"), "p2": (90_000.0, "year")}
    assert program_costs(database)["p1"].stated_at == MORNING, "it was stated again as it was"
    ended = [stated for stated in cost_history(database) if stated.ended_at]
    assert [(stated.price.program_id, stated.stated_at, stated.ended_at) for stated in ended] == [
        ("p2", MORNING, EVENING),
        ("p3", NOON, EVENING),
    ]
    assert {stated.stated_by for stated in ended} == {admin.user_id}
    assert {stated.ended_by for stated in ended} == {admin.user_id}
    with pytest.raises(NotADistrictAdmin, match="only they may state what programs cost"):
        replace_program_costs(database, other, first, KNOWN, EVENING)
    with pytest.raises(NotADistrictAdmin):
        set_program_cost(database, other, ProgramCost("p1", 1, "year"), EVENING)
    assert len(cost_history(database)) == 4


@pytest.mark.parametrize(
    ("lines", "message"),
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
    new_sqlite, tmp_path: Path, lines: list[str], message: str
):
    database = new_sqlite("wrong")
    (admin,) = add_organization(database, DISTRICT, Role.DISTRICT_ADMIN)
    set_program_cost(database, admin, ProgramCost("p2", 100, "year"), MORNING)
    with pytest.raises(ProgramCostError) as refused:
        replace_program_costs(database, admin, costs_file(tmp_path, *lines), KNOWN, NOON)
    assert message in str(refused.value)
    assert current_costs(database) == {"p2": (1.0, "year")} and len(cost_history(database)) == 1


def test_a_missing_column_is_named(new_sqlite, tmp_path: Path):
    database = new_sqlite("missing")
    (admin,) = add_organization(database, DISTRICT, Role.DISTRICT_ADMIN)
    with pytest.raises(ProgramCostError, match=r"costs\.csv, line 1: there is no column 'per'"):
        replace_program_costs(
            database, admin, costs_file(tmp_path, "p1,5", header="program,dollars"), KNOWN, NOON
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
def test_amounts_are_stored_to_the_cent(new_sqlite, dollars: str, cents: int):
    database = new_sqlite("cents")
    (admin,) = add_organization(database, DISTRICT, Role.DISTRICT_ADMIN)
    cost = parse_program_cost({"program": "p1", "dollars": dollars, "per": "year"}, KNOWN)
    set_program_cost(database, admin, cost, NOON)
    assert program_costs(database)["p1"].price == ProgramCost("p1", cents, "year")


def test_on_postgresql_the_site_states_costs_and_its_student_readers_see_none(
    postgres_server: str,
):
    secured = row_secured_database(postgres_server, f"costs{uuid.uuid4().hex[:12]}")
    (admin,) = add_organization(secured.owner, DISTRICT, Role.DISTRICT_ADMIN)
    set_program_cost(secured.site, admin, ProgramCost("p1", 100_000_000_000, "year"), NOON)
    assert current_costs(secured.site) == {"p1": (1e9, "year")}
    for role in ("handrail_reader", "handrail_scope"):
        refused = pytest.raises(
            ProgrammingError, match=r"permission denied for table program_costs"
        )
        with refused, secured.owner.engine.begin() as connection:
            connection.execute(text(f"SET LOCAL ROLE {role}"))
            connection.execute(text("SELECT * FROM program_costs"))
