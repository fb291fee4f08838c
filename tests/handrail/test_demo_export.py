"""The demo district exports as a real one does, and what was simulated comes back for each student.

The expected values are those of the simulation and of the facts drawn beside it, drawn here once
more; nothing of them goes through the export.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.build import build_features
from handrail.demo import DEMO_TODAY, DemoFiles, write_source_files
from handrail.demo.district import (
    COURSES,
    SCHOOL_IDS,
    SCHOOL_NAMES,
    SCHOOL_YEARS,
    Calendar,
    calendar,
    level_of,
)
from handrail.demo.local_forms import PROFILE, SUMMERS, LocalFacts, draw_local_facts
from handrail.demo.population import Population, draw_population
from handrail.demo.simulation import History, simulate_history, year_and_period
from records.access.scope import pipeline_scope
from records.access.scoped_records import ScopedRecords
from records.connectors.oneroster.files import OneRosterFiles
from records.connectors.profiles.profile import read_profile
from records.loading.load import load
from records.loading.load_history import code_warnings
from records.loading.load_report import LoadReport
from records.snapshots.snapshot import Snapshot

STUDENTS, SEED = 400, 2026
LAST_YEAR = len(SCHOOL_YEARS) - 1
OWN_WORDS = {
    f"sis/{file}.csv"
    for file in (
        *("academicSessions", "calendar", "classes", "enrollments", "attendance"),
        "course_grades",
    )
} | {"profile.toml"}


@dataclass(frozen=True)
class Truth:
    """What happened, by index of student and day, and each student's identifier."""

    people: Population
    days: Calendar
    history: History
    facts: LocalFacts
    ids: list[str]

    def date(self, day: int) -> date:
        return self.days.days[day].astype(date)


@dataclass(frozen=True)
class Loaded:
    files: DemoFiles
    report: LoadReport
    snapshot: Snapshot

    def rows(self, table: str) -> list[dict[str, object]]:
        return self.snapshot.table(table).to_pyarrow().to_pylist()


@pytest.fixture(scope="module")
def truth() -> Truth:
    rng = np.random.default_rng(SEED)
    people, days = draw_population(rng, STUDENTS), calendar()
    history = simulate_history(rng, people, days, lambda done, total: None)
    ids = [f"HL{400_000 + number}" for number in rng.permutation(STUDENTS)]
    facts = draw_local_facts(np.random.default_rng((SEED, 1)), people, days, history)
    return Truth(people, days, history, facts, ids)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("demo")
    files = write_source_files(folder / "source", seed=SEED, students=STUDENTS, local=True)
    home = folder / "home"
    (home / "profiles").mkdir(parents=True)
    assert files.profile is not None and files.profile.read_text() == PROFILE
    (home / "profiles" / "oneroster.toml").write_text(PROFILE)
    report = load(OneRosterFiles(profile=read_profile("oneroster", home)), files.sis, home)
    return Loaded(files, report, Snapshot.current(home))


def test_the_districts_own_words_change_nothing_of_what_happened(loaded: Loaded, tmp_path: Path):
    write_source_files(tmp_path, seed=SEED, students=STUDENTS)
    own = loaded.files.sis.parent
    files = {str(path.relative_to(own)) for path in own.rglob("*") if path.is_file()}
    different = {
        name
        for name in files
        if not (tmp_path / name).exists()
        or (tmp_path / name).read_bytes() != (own / name).read_bytes()
    }
    assert different == OWN_WORDS


def test_every_line_is_accounted_for_and_every_code_but_one_explained(loaded: Loaded):
    for count in loaded.report.files:
        lines = (loaded.files.sis / count.file).read_bytes().splitlines()
        assert count.read == len(lines) - 1, count
    assert loaded.report.codes["status"].codes == {"at the dentist": 1}
    assert code_warnings(loaded.snapshot, "oneroster") == []


def test_attendance_is_what_was_simulated_student_by_student(truth: Truth, loaded: Loaded):
    expected: Counter[tuple[str, date, str, float]] = Counter()
    for day, who, excused in truth.history.absences:
        for place, student, is_excused in zip(day, who, excused, strict=True):
            status = "absent_excused" if is_excused else "absent_unexcused"
            expected[truth.ids[student], truth.date(place), status, 1.0] += 1
    for day, who in truth.history.tardies:
        for place, student in zip(day, who, strict=True):
            expected[truth.ids[student], truth.date(place), "tardy", 0.0] += 1
    for place, student in zip(*truth.facts.half_days, strict=True):
        expected[truth.ids[student], truth.date(place), "absent_excused", 0.5] += 1
    seen: Counter[tuple[str, date, str, float]] = Counter()
    for row in loaded.rows("attendance_events"):
        is_absent = str(row["status"]).startswith("absent")
        share = row["absent_share"] if row["absent_share"] is not None else float(is_absent)
        seen[row["student_id"], row["date"], row["status"], share] += 1  # type: ignore[index]
    (odd,) = (seen - expected).elements()
    assert odd[1:3] == (date(2026, 3, 7), "tardy"), "the Saturday among the odd lines"
    assert expected - seen == Counter()


def test_days_absent_this_year_are_those_of_the_simulation(truth: Truth, loaded: Loaded):
    absent, enrolled = np.zeros(STUDENTS), np.zeros(STUDENTS)
    entry, everybody = truth.people.entry_day[LAST_YEAR], np.arange(STUDENTS)
    unknown = {
        (row["school_id"], row["date"])
        for row in loaded.rows("attendance_taken")
        if row["state"] == "missing" and row["date"] <= DEMO_TODAY  # type: ignore[operator]
    }
    assert len(unknown) < 10, "days on which nobody at a small school was away"
    for day in np.flatnonzero(truth.days.year == LAST_YEAR):
        moved = (truth.people.move_day[LAST_YEAR] <= truth.days.days[day]).astype(int)
        schools = truth.people.school[LAST_YEAR, moved, everybody]
        is_known = [(SCHOOL_IDS[place], truth.date(day)) not in unknown for place in schools]
        enrolled += (entry <= truth.days.days[day]) & is_known
    for day, who, _ in truth.history.absences:
        absent[who] += truth.days.year[day] == LAST_YEAR
    for day, student in zip(*truth.facts.half_days, strict=True):
        absent[student] += 0.5 * (truth.days.year[day] == LAST_YEAR)
    for span in truth.facts.away:
        enrolled[span.student] -= (span.last - span.first + 1) * (span.year == LAST_YEAR)
    records = ScopedRecords(
        loaded.snapshot, pipeline_scope(loaded.snapshot, "features", DEMO_TODAY)
    )
    features = build_features(records, DEMO_TODAY)
    by_student = pd.Series(absent, index=truth.ids)[features.index]
    here = enrolled[[truth.ids.index(student) for student in features.index]] > 0
    assert (features["absent_days_year"][here] == by_student[here]).all()
    days = pd.Series(enrolled, index=truth.ids)[features.index]
    assert (features["days_enrolled_year"][here] == days[here]).all()


def test_high_schools_take_attendance_by_classes_and_one_class_skipped_makes_no_day(
    truth: Truth, loaded: Loaded
):
    lines = pd.read_csv(
        loaded.files.sis / "attendance.csv",
        dtype=str,
        keep_default_na=False,
        on_bad_lines="skip",
        quoting=csv.QUOTE_NONE,
    )
    by_class = lines[lines["classSourcedId"].str.startswith("class-", na=False)]
    assert set(by_class["school_id"]) == set(SCHOOL_IDS[-4:])
    classes = (loaded.files.sis / "classes.csv").read_text()
    assert all(f"\n{name}," in classes for name in set(by_class["classSourcedId"]))
    days, students, _ = truth.facts.skipped
    assert len(days) > 20
    known = {(row["student_id"], row["date"]) for row in loaded.rows("attendance_events")}
    skipped = {
        (truth.ids[student], truth.date(day)) for day, student in zip(days, students, strict=True)
    }
    assert not skipped & known


def test_who_left_and_came_back_has_two_stays_and_days_between(truth: Truth, loaded: Loaded):
    stays: dict[tuple[object, object], list[tuple[object, object]]] = {}
    for row in loaded.rows("school_enrollments"):
        key = (row["student_id"], row["school_year"])
        stays.setdefault(key, []).append((row["entry_date"], row["exit_date"]))
    assert len(truth.facts.away) >= 5
    for span in truth.facts.away:
        of_year = stays[truth.ids[span.student], SCHOOL_YEARS[span.year].name]
        assert truth.date(span.first - 1) in [last for _, last in of_year]
        assert truth.date(span.last + 1) in [first for first, _ in of_year]
    moves = np.sum(~np.isnat(truth.people.move_day) & ~np.isnat(truth.people.entry_day))
    back = sum(np.isnat(truth.people.move_day[s.year][s.student]) for s in truth.facts.away)
    present = np.sum(~np.isnat(truth.people.entry_day))
    assert sum(map(len, stays.values())) == present + moves + back


def test_a_summer_session_holds_no_school_day_and_enrolls_nobody(truth: Truth, loaded: Loaded):
    assert all(len(who) for who in truth.facts.summer)
    days = {row["date"] for row in loaded.rows("calendar")}
    entries = {row["entry_date"] for row in loaded.rows("school_enrollments")}
    exits = {row["exit_date"] for row in loaded.rows("school_enrollments")}
    for _, first, last in SUMMERS:
        assert f"{first}" in (loaded.files.sis / "calendar.csv").read_text()
        assert not [day for day in days if first <= day <= last]  # type: ignore[operator]
        assert first not in entries and last not in exits
    ignored = {count.file: count.ignored_kinds for count in loaded.report.files}
    assert ignored["calendar.csv"] == {"a day of a summer session, apart from the school year": 40}
    assert sum(ignored["enrollments.csv"].values()) == sum(map(len, truth.facts.summer))


def simulated_mark(score: float, school: int) -> float:
    """What the canonical tables must hold of a simulated mark at a school."""
    if SCHOOL_NAMES[school] == "Goldfinch Elementary School":
        return 95.0 if score >= 90 else 85.0 if score >= 80 else 75.0 if score >= 70 else 60.0
    if SCHOOL_NAMES[school] == "Old Quarry High School":
        if score < 70:
            return 65.0 if score >= 60 else 50.0
        return 95.0 if score >= 90 else 85.0 if score >= 80 else 75.0
    return score


def test_marks_are_those_of_the_simulation_student_by_student(truth: Truth, loaded: Loaded):
    marks = {
        (row["student_id"], row["course"], row["school_year"], row["period"]): row["grade"]
        for row in loaded.rows("course_grades")
    }
    expected = {}
    for period, who, scores in truth.history.grades:
        year, number = year_and_period(period)
        moved = truth.people.move_day[year] <= truth.days.days[truth.days.period_end[period]]
        level = level_of(np.maximum(truth.people.grade_in(year), 0))
        for student, of_student in zip(who, scores, strict=True):
            school = truth.people.school[year, int(moved[student]), student]
            for course, score in zip(COURSES[level[student]], of_student, strict=True):
                key = (truth.ids[student], course, SCHOOL_YEARS[year].name, number)
                expected[key] = simulated_mark(score, school)
    assert marks == expected


def test_the_simulation_draws_the_same_whatever_happens_beside_it(truth: Truth):
    taken = {
        (student, day)
        for days, who, *_ in (*truth.history.absences, *truth.history.tardies)
        for day, student in zip(days, who, strict=True)
    }
    beside: list[Callable[[], list[tuple[int, int]]]] = [
        lambda: [(s, d) for d, s in zip(*truth.facts.half_days, strict=True)],
        lambda: [(s, d) for d, s in zip(*truth.facts.skipped[:2], strict=True)],
        lambda: [(s, d) for d, s in zip(*truth.facts.field_trips, strict=True)],
        lambda: [(a.student, d) for a in truth.facts.away for d in range(a.first, a.last + 1)],
    ]
    for facts in beside:
        assert facts() and not taken & set(facts())
