"""A random small district in one neutral form, and the canonical rows that every source must give.

Nobody is at two schools on one day, and absences fall on days on which the student's own school
held classes. Each day is a weekday but for one make-up Saturday.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from hypothesis import strategies as st

SCHOOLS = ("100", "200")
YEAR = 2026
FIRST, LAST = date(2025, 8, 18), date(2026, 1, 16)
WEEKDAYS = tuple(
    day for n in range((LAST - FIRST).days + 1) if (day := FIRST + timedelta(days=n)).weekday() < 5
)
MAKE_UP_DAY = date(2025, 11, 8)
YEAR_ENDS = date(2026, 5, 29)
COURSES = {"MATH7": "Math 7", "ELA7": "English 7"}
MARKS = (0.0, 4.0, 41.5, 59.5, 60.0, 69.99, 70.0, 88.0, 100.0, 104.0)
RACES = ("hispanic", "white", "black", "asian", "two_or_more", None)
SEXES = ("female", "male", "another", None)
MOST_HALF_DAYS = 4
"""Of one student: twenty at one school would look like a school with half as many classes."""

Rows = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Period:
    """A grading period: its place within the year, and its first and last day."""

    school_year: int
    number: int
    first: date
    last: date


PERIODS = (
    Period(2025, 4, date(2025, 3, 17), date(2025, 5, 30)),
    Period(2026, 1, FIRST, date(2025, 10, 17)),
    Period(2026, 2, date(2025, 10, 20), date(2025, 12, 19)),
    Period(2026, 3, date(2026, 1, 5), date(2026, 3, 13)),
)


@dataclass(frozen=True)
class Spell:
    """A time at one school; `last` is its last day there, None while it goes on."""

    school: str
    first: date
    last: date | None

    def holds(self, day: date) -> bool:
        return self.first <= day and (self.last is None or day <= self.last)


@dataclass(frozen=True)
class Entry:
    """What was recorded of a student and day; `share` is how much of the day an absence took."""

    school: str
    day: date
    status: str
    share: float | None


@dataclass(frozen=True)
class Mark:
    """A mark of a grading period, in points of 100."""

    school: str
    course: str
    period: Period
    points: float


@dataclass(frozen=True)
class Action:
    """What the school did, and how many days it took; None where that is not on record."""

    response: str
    days: float | None


@dataclass(frozen=True)
class Incident:
    """An incident, and each student who had a part in it with what the school did."""

    number: str
    school: str
    day: date
    behavior: str
    parts: dict[str, Action | None]

    @property
    def id(self) -> str:
        """Its identifier in the canonical tables: in Ed-Fi a number is unique within a school."""
        return f"{self.number}_{self.school}"


@dataclass(frozen=True)
class Student:
    """One student with what is on record; `sex` and `race` are canonical, None where unknown."""

    id: str
    grade: int
    sex: str | None
    race: str | None
    spells: tuple[Spell, ...]
    entries: tuple[Entry, ...]
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class District:
    """One district; `days` are those on which a school held classes."""

    schools: tuple[str, ...]
    days: dict[str, tuple[date, ...]]
    students: tuple[Student, ...]
    incidents: tuple[Incident, ...]

    def closed(self, school: str) -> Iterator[date]:
        """Weekdays without classes."""
        return (day for day in WEEKDAYS if day not in self.days[school])


@st.composite
def districts(draw: st.DrawFn) -> District:
    """Districts of one or two schools and two to five students."""
    schools = SCHOOLS[: draw(st.integers(1, 2))]
    days = {}
    for school in schools:
        holidays = draw(st.sets(st.sampled_from(WEEKDAYS), max_size=6))
        held = [day for day in WEEKDAYS if day not in holidays]
        days[school] = tuple(sorted({*held, *([MAKE_UP_DAY] * draw(st.integers(0, 1)))}))
    ids = [str(n + 1) for n in range(draw(st.integers(2, 5)))]
    students = tuple(_student(draw, id_, days) for id_ in ids)
    return District(schools, days, _scaled(students), _incidents(draw, schools, ids))


def canonical_rows(district: District) -> Rows:
    """The rows of the canonical tables that are right for a district."""
    rows: Rows = {
        "schools": [{"school_id": school} for school in district.schools],
        "calendar": [
            {"school_id": school, "date": day, "school_year": YEAR}
            for school, days in district.days.items()
            for day in days
        ],
        "students": [],
        "characteristics": [],
        "school_enrollments": [],
        "attendance_events": [],
        "course_grades": [],
        "behavior_incidents": [],
    }
    for student in district.students:
        for name, more in _rows_of(student).items():
            rows[name] += [{"student_id": student.id, **row} for row in more]
    rows["behavior_incidents"] = [
        {
            "student_id": student,
            "incident_id": incident.id,
            "date": incident.day,
            "behavior": incident.behavior,
            "action": action.response if action else None,
            "days_removed": action.days if action else None,
        }
        for incident in district.incidents
        for student, action in incident.parts.items()
    ]
    return rows


def _rows_of(student: Student) -> Rows:
    return {
        "students": [{"grade_level": student.grade, "school_id": student.spells[-1].school}],
        "characteristics": [{"sex": student.sex, "race_ethnicity": student.race}]
        if student.sex or student.race
        else [],
        "school_enrollments": [
            {"school_id": s.school, "entry_date": s.first, "exit_date": s.last}
            for s in student.spells
        ],
        "attendance_events": [
            {"school_id": e.school, "date": e.day, "status": e.status, "absent_share": e.share}
            for e in student.entries
        ],
        "course_grades": [
            {
                "course": COURSES[mark.course],
                "school_year": mark.period.school_year,
                "period": mark.period.number,
                "date": mark.period.last,
                "grade": mark.points,
            }
            for mark in student.marks
        ],
    }


def _student(draw: st.DrawFn, id_: str, days: dict[str, tuple[date, ...]]) -> Student:
    spells = _apart(_spells(draw, tuple(days)), days)
    return Student(
        id=id_,
        grade=draw(st.integers(6, 8)),
        sex=draw(st.sampled_from(SEXES)),
        race=draw(st.sampled_from(RACES)),
        spells=spells,
        entries=_entries(draw, spells, days),
        marks=_marks(draw, spells[0].school),
    )


def _spells(draw: st.DrawFn, schools: tuple[str, ...]) -> tuple[Spell, ...]:
    """One to three times at a school, one after the other; the last may go on."""
    count = draw(st.sampled_from((1, 1, 2, 3)))
    places = draw(
        st.lists(
            st.integers(0, len(WEEKDAYS) - 1),
            min_size=2 * count,
            max_size=2 * count,
            unique=True,
        ).map(sorted)
    )
    if draw(st.booleans()):
        places[0] = 0
    spells = [
        Spell(draw(st.sampled_from(schools)), WEEKDAYS[first], WEEKDAYS[last])
        for first, last in zip(places[::2], places[1::2], strict=True)
    ]
    if draw(st.sampled_from((True, True, False))):
        spells[-1] = replace(spells[-1], last=None)
    return tuple(spells)


def _apart(spells: tuple[Spell, ...], days: dict[str, tuple[date, ...]]) -> tuple[Spell, ...]:
    """Without the times at a school that no school day parts from an earlier one there."""
    apart: list[Spell] = []
    for spell in spells:
        earlier = [known.last for known in apart if known.school == spell.school and known.last]
        if not earlier or any(max(earlier) < day < spell.first for day in days[spell.school]):
            apart.append(spell)
    return tuple(apart)


def _entries(
    draw: st.DrawFn, spells: tuple[Spell, ...], days: dict[str, tuple[date, ...]]
) -> tuple[Entry, ...]:
    places = [
        (spell.school, day) for spell in spells for day in days[spell.school] if spell.holds(day)
    ]
    if not places:
        return ()
    entries: list[Entry] = []
    whole = ("absent_excused", "absent_unexcused", "tardy")
    for school, day in sorted(draw(st.sets(st.sampled_from(places), max_size=25))):
        status = draw(st.sampled_from(whole))
        entries.append(Entry(school, day, status, None if status == "tardy" else 1.0))
    taken = {entry.day for entry in entries}
    for school, day in sorted(draw(st.sets(st.sampled_from(places), max_size=MOST_HALF_DAYS))):
        if day not in taken:
            kinds = draw(st.sets(st.sampled_from(whole), min_size=1, max_size=2))
            entries += [
                Entry(school, day, kind, None if kind == "tardy" else 0.5) for kind in sorted(kinds)
            ]
    last_run = draw(st.integers(0, 6))
    taken = {entry.day for entry in entries}
    entries += [
        Entry(school, day, "absent_unexcused", 1.0)
        for school, day in places[-last_run:]
        if last_run and day not in taken
    ]
    return tuple(entries)


def _marks(draw: st.DrawFn, school: str) -> tuple[Mark, ...]:
    return tuple(
        Mark(school, course, period, draw(st.sampled_from(MARKS)))
        for course in COURSES
        for period in PERIODS
        if draw(st.booleans())
    )


def _scaled(students: tuple[Student, ...]) -> tuple[Student, ...]:
    """The students with a mark above 5: without any, the marks of a source look like 4 points."""
    if any(mark.points > 5 for student in students for mark in student.marks):
        return students
    better = tuple(replace(mark, points=88.0) for mark in students[0].marks)
    more = better or (Mark(students[0].spells[0].school, "MATH7", PERIODS[1], 88.0),)
    return (replace(students[0], marks=more), *students[1:])


def _incidents(
    draw: st.DrawFn, schools: tuple[str, ...], students: list[str]
) -> tuple[Incident, ...]:
    days = st.sampled_from((date(2025, 1, 10), *WEEKDAYS))
    # Detention is no day out of class, and not every form can say so of its days.
    removed = st.sampled_from((None, 0.0, 0.5, 3.0))
    actions = (
        st.none()
        | st.builds(Action, st.just("Detention"), st.none())
        | st.builds(Action, st.just("Out of School Suspension"), removed)
    )
    return tuple(
        Incident(
            str(number),
            draw(st.sampled_from(schools)),
            draw(days),
            draw(st.sampled_from(("State Offense", "School Code of Conduct"))),
            draw(st.dictionaries(st.sampled_from(students), actions, min_size=1, max_size=2)),
        )
        for number in range(draw(st.integers(0, 5)))
    )
