"""`handrail effects` on records of a year at school, and `handrail effects costs`: used rightly and
wrongly.
"""

from __future__ import annotations

import json
import shutil
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from records.database.engine import open_database
from records.decisions.program_costs import program_costs
from records.snapshots.snapshot import Snapshot
from records.staff.accounts import Organization, add_organization, add_staff
from records.staff.viewer import DISTRICT, Role
from tests.handrail.test_cli import PASSWORD, in_process
from tests.records.conftest import snapshot_of
from training.effects.effects import FEW_SERVED, GAIN
from training.effects.published_effects import NO_SUPPORT, read_effects

FIRST, LAST = date(2024, 8, 26), date(2025, 6, 6)
STUDENTS = [f"x{number:03d}" for number in range(240)]
TUTORED, FED = STUDENTS[:120:2], STUDENTS[1:12:2]
OFFICER = "grace@district.example"


def days() -> list[date]:
    every = [FIRST + timedelta(days=place) for place in range((LAST - FIRST).days + 1)]
    return [day for day in every if day.weekday() < 5]


def school(number: int) -> str:
    return f"k{number % 12:02d}"


def year_at_school() -> dict[str, list[dict[str, object]]]:
    """A year of 240 students; grades of tutored ones rise by 8 points from their 45th day on."""
    rng = np.random.default_rng(3)
    calendar = days()
    began = calendar[44]
    marks = [
        (period, calendar[place]) for period, place in enumerate((20, 38, 70, 95, 140), start=1)
    ]
    return {
        "schools": [
            {"school_id": school(number), "name": f"School {number}"} for number in range(12)
        ],
        "calendar": [
            {"school_id": school(number), "date": day, "school_year": 2025}
            for number in range(12)
            for day in calendar
        ],
        "students": [
            {
                "student_id": student,
                "first_name": "Given",
                "last_name": "Family",
                "grade_level": 6,
                "school_id": school(number),
            }
            for number, student in enumerate(STUDENTS)
        ],
        "school_enrollments": [
            {
                "student_id": student,
                "school_id": school(number),
                "entry_date": FIRST,
                "school_year": 2025,
            }
            for number, student in enumerate(STUDENTS)
        ],
        "attendance_events": [
            {
                "student_id": student,
                "school_id": school(number),
                "date": calendar[day],
                "status": "absent_excused",
            }
            for number, student in enumerate(STUDENTS)
            for day in np.flatnonzero(rng.random(len(calendar)) < 0.06)
        ],
        "course_grades": [
            {
                "student_id": student,
                "course": "Mathematics",
                "school_year": 2025,
                "period": period,
                "date": day,
                "grade": float(rng.normal(75 + 8 * (student in TUTORED and day > began), 3)),
            }
            for student in STUDENTS
            for period, day in marks
        ],
        "programs": [
            {
                "program_id": "p1",
                "organization_id": "tutors",
                "name": "Readers",
                "support": "tutoring",
                "cost_per_session": 12.0,
            },
            {"program_id": "p2", "organization_id": "pantry", "name": "Bags", "support": "food"},
            {"program_id": "p3", "organization_id": "pantry", "name": "Hall", "support": None},
        ],
        "service_enrollments": [
            {
                "student_id": student,
                "program_id": program,
                "organization_id": organization,
                "start_date": began,
            }
            for program, organization, some in (("p1", "tutors", TUTORED), ("p2", "pantry", FED))
            for student in some
        ],
        "service_sessions": [
            {
                "student_id": student,
                "session_id": f"{student}-{turn}",
                "program_id": "p1",
                "organization_id": "tutors",
                "date": began + timedelta(days=3 * turn),
                "attended": True,
            }
            for number, student in enumerate(TUTORED)
            for turn in range(1 + number % 9)
        ],
    }


@pytest.fixture(scope="module")
def district(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with records, a district administrator, and somebody of the district who is none."""
    home = tmp_path_factory.mktemp("effects") / "home"
    snapshot_of(year_at_school(), home)
    database = open_database(f"sqlite:///{home / 'handrail.db'}")
    for key, name in ((DISTRICT, "District"), ("tutors", "The Tutors"), ("pantry", "The Pantry")):
        add_organization(database, Organization(key, name, "partner"))
    add_staff(database, OFFICER, "Grace", Role.DISTRICT_ADMIN, DISTRICT, PASSWORD)
    add_staff(database, "sol@district.example", "Sol", Role.DATA_SCIENTIST, DISTRICT, PASSWORD)
    database.engine.dispose()
    return home


@pytest.fixture
def home(district: Path, tmp_path: Path) -> Path:
    shutil.copytree(district, tmp_path / "home")
    return tmp_path / "home"


def test_programs_are_worked_out_told_and_kept_until_something_is_another(
    home: Path, tmp_path: Path
):
    at = ("--home", str(home))
    costs = tmp_path / "costs.csv"
    costs.write_text("program,dollars,per\np1,900,student\n")
    stated = in_process("effects", "costs", str(costs), "--as", OFFICER, *at)
    assert (stated.returncode, "Costs are recorded for 1 program." in stated.stdout) == (
        0,
        True,
    ), stated.stderr
    run = in_process("effects", *at)
    assert run.returncode == 0, run.stderr
    snapshot = Snapshot.current(home).id
    file = home / "effects" / f"{snapshot}.json"
    report = read_effects(home, snapshot)
    by_program = {program.program_id: program for program in report.programs}
    tutoring = by_program["p1"].figures
    assert by_program["p1"].verdict == GAIN and tutoring.served == 60
    assert tutoring.estimate.lower < 4.0 < tutoring.estimate.upper, (
        "8 points of 100, each worth half a point"
    )
    assert (by_program["p2"].figures.cannot_tell, by_program["p2"].figures.served) == (
        FEW_SERVED,
        None,
    )
    assert by_program["p3"].figures.cannot_tell == NO_SUPPORT
    for words in (
        "Readers",
        "The Tutors",
        "about 60",
        "More progress",
        "by sessions attended: fewest sessions",
        "Readers: An unrecorded factor would have to be",
        "Bags: not estimated: fewer than 30 students",
        "1 program is compared at once",
        "$900",
        str(file),
    ):
        assert words in run.stdout, words
    text = file.read_text()
    assert not [student for student in STUDENTS if student in text], "no student is in the file"
    assert json.loads(text)["inputs"]["snapshot_id"] == snapshot
    before = file.read_bytes()
    assert in_process("effects", *at).stdout == run.stdout
    assert file.read_bytes() == before and len(list(file.parent.iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "password", "expected"),
    [
        (("costs", "{costs}", "--as", OFFICER), "not the password", "or its password is wrong"),
        (
            ("costs", "{costs}", "--as", "sol@district.example"),
            PASSWORD,
            "only they may state what programs cost",
        ),
        (
            ("costs", "{wrong}", "--as", OFFICER),
            PASSWORD,
            "wrong.csv, line 3: per is 'month'; it must be student, year or session",
        ),
        (("costs", "{home}/none.csv", "--as", OFFICER), PASSWORD, "none.csv is not a file"),
    ],
)
def test_wrong_use_is_one_plain_sentence_and_changes_nothing(
    home: Path, tmp_path: Path, arguments: tuple[str, ...], password: str, expected: str
):
    (tmp_path / "costs.csv").write_text("program,dollars,per\np1,900,student\n")
    (tmp_path / "wrong.csv").write_text("program,dollars,per\np1,900,student\np2,5,month\n")
    places = {"costs": tmp_path / "costs.csv", "wrong": tmp_path / "wrong.csv", "home": home}
    run = in_process(
        "effects",
        *(argument.format(**places) for argument in arguments),
        "--home",
        str(home),
        password=password,
    )
    assert run.returncode == 2 and expected in run.stderr and "Traceback" not in run.stderr, (
        run.stderr
    )
    assert program_costs(open_database(f"sqlite:///{home / 'handrail.db'}")) == {}


def test_nothing_to_work_with_is_said_plainly(tmp_path: Path):
    empty = in_process("effects", "--home", str(tmp_path / "empty"))
    assert (empty.returncode, "run `handrail load` first" in empty.stderr) == (2, True)
    early = in_process(
        "effects", "--home", str(tmp_path / "empty"), "costs", "costs.csv", "--as", OFFICER
    )
    assert (early.returncode, "--home must come after costs" in early.stderr) == (2, True)
    rows = year_at_school()
    rows["course_grades"] = rows["attendance_events"] = []
    rows["calendar"] = [row for row in rows["calendar"] if row["date"] < date(2024, 10, 1)]
    snapshot_of(rows, tmp_path / "short")
    short = in_process("effects", "--home", str(tmp_path / "short"))
    assert short.returncode == 2 and "no student's progress is known" in short.stderr, short.stderr
    assert not (tmp_path / "short" / "effects").exists()
