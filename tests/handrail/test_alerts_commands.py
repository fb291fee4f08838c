"""`handrail alerts`: the rules in force, a draft, what it would change, and putting it in force."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path

import pytest

from features.alert_versions import FOLDER, versions_in_force
from features.alerts import ALERTS_FILE, AlertRules
from records.checks.school_figures import keep_figures, school_figures
from records.snapshots.snapshot import Snapshot
from tests.approved_home import NOW, make_approved_home
from tests.handrail.test_cli import in_process
from tests.records.conftest import snapshot_of

TODAY = date(2026, 4, 17)
DAYS = [day for n in range(112) if (day := TODAY - timedelta(n + 1)).weekday() < 5][::-1]
SCHOOLS = {"Adams": 130, "Baker": 90, "Cole": 12}
OWN = """
[seven_unexcused]
severity = 3
grades = { from = "9", to = "12" }
features = ["unexcused_days_year"]
when.unexcused_days_year.at_least = 7
headline = "{unexcused_days_year} unexcused absences this year"
source = "The district's attendance policy, section 3"
"""


def kind(number: int) -> int:
    """Every third student misses ten days, every third seven, and the others none."""
    return (0, 7, 10)[number % 3]


def rows() -> dict[str, list[dict[str, object]]]:
    students = [
        (f"{school}{number:03d}", school, number)
        for school, size in SCHOOLS.items()
        for number in range(size)
    ]
    return {
        "schools": [{"school_id": name, "name": name} for name in SCHOOLS],
        "calendar": [
            {"school_id": name, "date": day, "school_year": 2026}
            for name in SCHOOLS
            for day in DAYS
        ],
        "students": [
            {"student_id": student, "school_id": school, "grade_level": 4 + number % 2 * 6}
            for student, school, number in students
        ],
        "school_enrollments": [
            {
                "student_id": student,
                "school_id": school,
                "school_year": 2026,
                "grade_level": 4 + number % 2 * 6,
                "entry_date": DAYS[0],
            }
            for student, school, number in students
        ],
        "characteristics": [
            {"student_id": student, "sex": "female" if number % 2 else "male"}
            for student, _, number in students
        ],
        "attendance_events": [
            {
                "student_id": student,
                "school_id": school,
                "date": DAYS[7 * place + 1],
                "status": "absent_unexcused",
            }
            for student, school, number in students
            for place in range(kind(number))
        ]
        # Somebody is late each day: on a day without any entry nobody took attendance.
        + [
            {"student_id": f"{name}000", "school_id": name, "date": day, "status": "tardy"}
            for name in SCHOOLS
            for day in DAYS
        ],
    }


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("loaded") / "home"
    snapshot_of(rows(), home)
    return home


@pytest.fixture
def home(loaded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HANDRAIL_TODAY", str(TODAY))
    shutil.copytree(loaded, tmp_path / "home")
    return tmp_path / "home"


def said(*arguments: str, home: Path, status: int = 0) -> str:
    run = in_process("alerts", *arguments, "--home", str(home))
    assert run.returncode == status, (run.stdout, run.stderr)
    return " ".join((run.stdout + run.stderr).split())


def lower_limit(home: Path) -> Path:
    """A draft in which chronic absence begins at 8%: 7 of 80 days is 8.75%, 10 is 12.5%."""
    file = home / "draft.toml"
    text = ALERTS_FILE.read_text()
    before = "when.absence_rate_year.at_least = 0.10"
    assert before in text
    file.write_text(text.replace(before, "when.absence_rate_year.at_least = 0.08"))
    return file


def test_the_rules_in_force_are_said_in_plain_sentences(home: Path):
    text = said("show", home=home)
    version = AlertRules.declared().version
    assert f"The rules that come with Handrail; version {version}, in use since" in text
    assert (
        "chronic_absence (severity 2: look soon) Raised for students in any grade: school days"
        " enrolled this year at least 20; and share of this school year's days missed at least"
        " 10%; and share of this school year's days missed below 20%." in text
    )
    assert "Source: Attendance Works, Chronic Absence" in text
    (home / "alerts.toml").write_text(OWN)
    own = said("show", home=home)
    assert f"The district's own rules, {home / 'alerts.toml'}; version" in own
    assert "Raised for students in grades 9 to 12: absences recorded as unexcused" in own
    assert "chronic_absence" not in own, "what stands in the file is the whole list"
    assert "the district's own" in said("history", home=home)
    assert "courses_below_N" in in_process("alerts", "features").stdout


def test_a_draft_is_not_in_force_and_is_never_written_over(home: Path):
    assert "not in force before" in said("write", home=home)
    draft = home / "alerts.draft.toml"
    assert draft.read_bytes() == ALERTS_FILE.read_bytes()
    draft.write_text(OWN)
    assert "exists already" in said("write", home=home, status=2)
    assert draft.read_text() == OWN
    assert AlertRules.of(home).is_built_in


def test_a_preview_counts_by_school_group_and_rule_and_changes_nothing(home: Path):
    before = sorted(file for file in home.rglob("*") if file.is_file())
    text = said("preview", str(lower_limit(home)), home=home)
    # 43 of Adams and 30 of Baker miss ten days of eighty; as many seven. Cole has four of each.
    assert "As of April 17, 2026, students with an alert now: about 80;" in text
    assert "who would get one: about 80" in text
    assert "who would have none any more: withheld" in text
    adams = next(line for line in text.split("School ") if line.startswith("│ Adams"))
    assert adams.split("│")[2:5] == [" about 130 ", " about 40 ", " about 40 "]
    assert "│ Sex " in text
    assert "Grades 3 to 5" in text
    assert "chronic_absence" in text and "unchanged" in text
    assert "Nothing is changed." in text
    after = sorted(file for file in home.rglob("*") if file.is_file())
    made = {file.name for file in set(after) - set(before)}
    assert made <= {"draft.toml", "handrail.db", "handrail.db-shm", "handrail.db-wal"}


def test_no_small_number_is_printed(home: Path):
    text = said("preview", str(lower_limit(home)), home=home)
    cole = next(part for part in text.split("School ") if part.startswith("│ Cole"))
    assert cole.split("│")[3:6] == [" withheld ", " withheld ", " withheld "]


def test_rules_that_raise_the_same_alerts_are_said_to(home: Path):
    file = home / "draft.toml"
    file.write_bytes(ALERTS_FILE.read_bytes())
    assert "nothing would change" in said("preview", str(file), home=home)
    file.write_text(ALERTS_FILE.read_text().replace("excused or not", "of any kind"))
    assert "No student would get an alert or lose one" in said("preview", str(file), home=home)


def test_rules_are_put_in_force_whole_and_the_old_ones_kept(home: Path):
    file = lower_limit(home)
    text = said("use", str(file), home=home)
    assert "who would get one: about 80" in text
    assert (home / "alerts.toml").read_bytes() == file.read_bytes()
    old, new = versions_in_force(home)
    assert (old.version, new.version) == (
        AlertRules.declared().version,
        AlertRules.of(home).version,
    )
    for entry in (old, new):
        assert (home / FOLDER / f"{entry.version}.toml").exists()
    assert "in force already" in said("use", str(file), home=home)


def test_a_file_with_a_mistake_is_refused_and_the_rules_stay(home: Path):
    file = home / "draft.toml"
    file.write_text(OWN.replace("source", "sauce"))
    for command in ("preview", "use"):
        assert "[seven_unexcused] sauce is not known" in said(
            command, str(file), home=home, status=2
        )
    assert not (home / "alerts.toml").exists()
    assert "is not a file" in said("use", str(home / "none.toml"), home=home, status=2)


def test_rules_with_a_mistake_can_be_replaced_and_their_text_is_kept(home: Path):
    wrong = OWN.replace("severity = 3", "severity = 9")
    (home / "alerts.toml").write_text(wrong)
    assert "severity is 9; it must be one of 3, 2, 1" in said("show", home=home, status=2)
    file = home / "draft.toml"
    file.write_text(OWN)
    assert "has a mistake, and is kept as" in said("use", str(file), home=home)
    assert (home / "alerts.toml").read_text() == OWN
    assert wrong in [kept.read_text() for kept in (home / FOLDER).glob("*.toml")]


def test_the_site_does_not_start_with_rules_that_have_a_mistake(home: Path):
    (home / "alerts.toml").write_text(OWN.replace("severity = 3", "severity = 9"))
    run = in_process("serve", "--home", str(home), "--port", "0")
    assert run.returncode == 2
    assert "alerts.toml: [seven_unexcused] severity is 9" in run.stderr.replace("\n", " ")


def test_other_rules_end_the_suggestions_until_a_new_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HANDRAIL_TODAY", str(NOW.date() + timedelta(days=1)))
    approved = make_approved_home(tmp_path / "home")
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    text = said("use", str(file), home=approved)
    assert "No records are loaded" in text
    assert (
        "Suggestions have stopped. The alert rules, by which students are in need, changed since"
        " the audit of version 1 was made: audit it again." in text
    )


def test_a_preview_leaves_out_what_the_site_leaves_out(home: Path):
    draft = lower_limit(home)
    before = said("preview", str(draft), home=home)
    assert "No alert that rests on attendance" not in before
    (home / "plausible_ranges.toml").write_text(
        "[attendance]\nlow = 0.99\nhigh = 1.0\nsilence_below = 0.99\n"
        'source = "The schools of this test have less"\n'
    )
    snapshot = Snapshot.current(home)
    keep_figures(home, snapshot, school_figures(snapshot, TODAY))
    after = said("preview", str(draft), home=home)
    for school in ("Adams", "Baker"):
        assert f"No alert that rests on attendance counts at {school}, now or then" in after
    assert "counts at Cole" not in after, "it has fewer than 20 students"
    assert after != before and "students with an alert now: withheld" in after
