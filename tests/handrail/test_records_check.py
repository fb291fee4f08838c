"""`handrail records check` says what is odd first, and ends with exit status 1 if anything is."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from handrail.cli import app
from records.database.engine import open_database
from records.staff.accounts import Organization, add_organization, add_staff
from records.staff.viewer import DISTRICT, Role

TODAY = date(2025, 10, 13)
DAYS = [
    date(2025, 9, 1) + timedelta(days=n)
    for n in range(40)
    if (date(2025, 9, 1) + timedelta(days=n)).weekday() < 5
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("HANDRAIL_HOME", str(home))
    monkeypatch.setenv("HANDRAIL_TODAY", TODAY.isoformat())
    return home


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    return result.exit_code, result.output


def row(output: str, figure: str) -> list[str]:
    """The cells beside a figure of the table."""
    [line] = [line for line in output.splitlines() if f"│ {figure} " in line]
    return [cell.strip() for cell in line.split("│")[3:-1]]


def district(folder: Path, students: int, absent: int) -> Path:
    """One school of so many students, of whom so many are absent on each day."""
    folder.mkdir()
    (folder / "orgs.csv").write_text("sourcedId,name,type\nk1,Oak [High],school\n")
    (folder / "users.csv").write_text(
        "sourcedId,role,givenName,familyName,grades\n"
        + "".join(f"s{n},student,Ann,Lee,05\n" for n in range(students))
    )
    (folder / "academicSessions.csv").write_text(
        "sourcedId,title,type,startDate,endDate,schoolYear\n"
        "y,Year,schoolYear,2025-08-01,2026-06-30,2026\n"
    )
    (folder / "enrollments.csv").write_text(
        "sourcedId,classSourcedId,schoolSourcedId,userSourcedId,role,beginDate,endDate\n"
        + "".join(f"e{n},c1,k1,s{n},student,2025-09-01,\n" for n in range(students))
    )
    (folder / "calendar.csv").write_text(
        "school_id,date,school_year\n" + "".join(f"k1,{day},2026\n" for day in DAYS)
    )
    (folder / "attendance.csv").write_text(
        "userSourcedId,school_id,date,status\n"
        + "".join(f"s{n},k1,{day},absent_excused\n" for day in DAYS for n in range(absent))
    )
    return folder


def test_what_is_odd_comes_first_then_the_figures_beside_the_last_load(home: Path, tmp_path: Path):
    code, output = run("load", "oneroster", district(tmp_path / "a", 100, 5))
    assert code == 0, output
    code, output = run("records", "check")
    assert code == 0 and output.startswith("Nothing is beyond what is plausible.")
    assert row(output, "The number of students enrolled") == ["100", "", "", ""]
    assert row(output, "The average attendance") == ["95%", "", "", "80% to 99%"]
    assert row(output, "The share of English learners") == ["unknown", "", "", "0% to 90%"]
    code, output = run("load", "oneroster", district(tmp_path / "b", 100, 48))
    assert code == 0, output
    code, output = run("records", "check")
    assert code == 1
    assert output.startswith(
        "At Oak [High] the average attendance is 52%; 80% to 99% is plausible (NCES, School"
    )
    assert "last load (2025-10-13)" in output
    assert row(output, "The average attendance") == ["52%", "95%", "", "80% to 99%"]
    assert row(output, "The share of students who are chronically absent")[:2] == [
        "48%",
        "withheld",
    ]
    assert not any(f"s{n}" in output.split() for n in range(100))


def test_a_districts_own_range_counts_and_a_bad_one_is_refused(home: Path, tmp_path: Path):
    assert run("load", "oneroster", district(tmp_path / "a", 100, 5))[0] == 0
    own = home / "plausible_ranges.toml"
    own.write_text('[attendance]\nlow = 0.97\nhigh = 1.0\nsource = "Board policy 5113"\n')
    code, output = run("records", "check")
    assert code == 1 and "97% to 100% is plausible (Board policy 5113)" in output
    own.write_text("[attendance]\nlow = 0.97\n")
    code, output = run("records", "check")
    assert code == 2 and "attendance must have low, high, source" in output


def test_nothing_loaded_is_said(home: Path):
    code, output = run("records", "check")
    assert code == 2 and "run `handrail load` first" in output


def test_a_bad_rule_for_small_numbers_is_refused_before_anything_is_loaded(
    home: Path, tmp_path: Path
):
    home.mkdir()
    (home / "small_numbers.toml").write_text("smallest_cell = 3\n")
    code, output = run("load", "oneroster", district(tmp_path / "a", 100, 5))
    assert code == 2 and "smallest_cell is 3" in output
    assert not (home / "snapshots" / "CURRENT").exists()


def test_a_figure_that_no_school_has_silences_alerts_until_it_is_confirmed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HANDRAIL_PASSWORD", "a password of the test")
    monkeypatch.delenv("HANDRAIL_DATABASE_URL", raising=False)
    assert run("load", "oneroster", district(tmp_path / "a", 100, 75))[0] == 0
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    add_organization(database, Organization(DISTRICT, "The District", "district"))
    for login, name, role in (
        ("grace", "Grace", Role.DISTRICT_ADMIN),
        ("d", "D", Role.DATA_SCIENTIST),
    ):
        add_staff(database, login, name, role, DISTRICT, "a password of the test")
    code, output = run("records", "check")
    assert code == 1
    command = "handrail records confirm k1 attendance --reason"
    assert "Alerts that rest on attendance are silent at Oak [High] until" in output
    assert command in output
    reason = ("--reason", "A night school, checked with its clerk", "--as")
    code, output = run("records", "confirm", "k1", "mean_mark", *reason, "grace")
    assert code == 2 and "k1 mean_mark: there is no such figure to confirm" in output
    assert "alerts are silent because of k1 attendance" in " ".join(output.split())
    code, output = run("records", "confirm", "k1", "attendance", *reason, "d")
    assert code == 2 and "not an active district administrator" in " ".join(output.split())
    code, output = run("records", "confirm", "k1", "attendance", *reason, "grace")
    assert code == 0 and output.startswith("Confirmed: At Oak [High] the average attendance is 25%")
    code, output = run("records", "check")
    assert code == 1, "it is still odd"
    assert command not in output
    assert (
        "Oak [High], attendance: confirmed by Grace on 2025-10-13: A night school, checked with its"
        " clerk" in output
    )
    code, output = run("records", "confirmations")
    assert code == 0 and "Grace" in output and "2025-26" in output and "25%" in output
    code, output = run("records", "unconfirm", 9, "--as", "grace")
    assert code == 2 and "9: there is no such confirmation" in output
    code, output = run("records", "unconfirm", 1, "--as", "d")
    assert code == 2 and "not an active district administrator" in " ".join(output.split())
    code, output = run("records", "unconfirm", 1, "--as", "grace")
    assert code == 0 and "confirmation 1, of the average attendance at k1." in output
    assert command in run("records", "check")[1], "it is doubted again"
    code, output = run("records", "unconfirm", 1, "--as", "grace")
    assert code == 2 and "confirmation 1 was taken back on 2025-10-13" in output
    assert run("records", "confirm", "k1", "attendance", *reason, "grace")[0] == 0
    assert run("load", "oneroster", district(tmp_path / "b", 100, 85), "--accept")[0] == 0
    code, output = run("records", "check")
    assert command in output, "the figure has moved on"
