"""How the demo district writes what happened, and what happens beside the simulation.

A district's export is in its own words: attendance codes, half days, classes at the high schools,
marks by standards or in letters at one school each, students who leave and come back, a summer
session. This module owns those words, the profile that
explains them (`PROFILE`), and the draw of the facts that only a real export shows. They are drawn
with a generator of their own, around what the simulation drew and never in place of it: nobody is
away, late or out of class on a day on which the simulation says so already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np

from handrail.demo.district import (
    COURSES,
    SCHOOL_IDS,
    SCHOOL_NAMES,
    SCHOOL_YEARS,
    Calendar,
    Ints,
    level_of,
)
from handrail.demo.population import Flags, Population
from handrail.demo.simulation import History

ABSENT_EXCUSED, ABSENT_UNEXCUSED, TARDY, HALF_DAY, FIELD_TRIP = "EX", "UX", "T", "HD", "FT"
CLASSES_A_DAY = len(COURSES[0])
"""A high school's blocks a day, one for each course."""

HIGH_SCHOOL_LEVEL = 2
STANDARDS_SCHOOL, LETTERS_SCHOOL = (
    SCHOOL_IDS[SCHOOL_NAMES.index(name)]
    for name in ("Goldfinch Elementary School", "Old Quarry High School")
)
LEVEL_POINTS = {"1": 60, "2": 75, "3": 85, "4": 95}
LETTER_POINTS = {"F": 50, "D": 65, "C": 75, "B": 85, "A": 95}
"""What each word is worth in points of 100, from the lowest on, as the district states it."""

_LEVELS_FROM, _LETTERS_FROM = (70, 80, 90), (60, 70, 80, 90)
"""Points of 100 from which on each further word is given."""


def _table(points: Mapping[str, int]) -> str:
    return "\n".join(f"{word} = {worth}" for word, worth in points.items())


PROFILE = f"""\
# What the words of Harrow Lake's own export mean. A real district writes this file once.

[attendance]
by = "either"         # the elementary and middle schools record days, the high schools classes
section_rule = "half" # a student who misses half of a day's classes, or more, was absent that day
classes_a_day = {CLASSES_A_DAY}

[attendance.codes]
{ABSENT_UNEXCUSED} = "absent_unexcused"
{ABSENT_EXCUSED} = "absent_excused"
{TARDY} = "tardy"
{HALF_DAY} = {{ status = "absent_excused", absent_share = 0.5 }}
{FIELD_TRIP} = "ignored"        # at school, but elsewhere: it says nothing of the day

[grades.schools]
{STANDARDS_SCHOOL} = "1-4"        # Goldfinch Elementary School grades by standards
{LETTERS_SCHOOL} = "letters"    # Old Quarry High School

[grades.points."1-4"]
{_table(LEVEL_POINTS)}

[grades.letters]
{_table(LETTER_POINTS)}
"""

SUMMER_SCHOOL = SCHOOL_IDS[0]
SUMMERS = (
    (2024, date(2024, 6, 17), date(2024, 7, 12)),
    (2025, date(2025, 6, 16), date(2025, 7, 11)),
)
"""School year that has ended, first and last day of the summer session, which one school holds."""

_SUMMER_SHARE, _SUMMER_GRADES = 0.06, (1, 5)
_HALF_DAY_RATE, _SKIP_RATE = 0.0015, 0.002
"""Chance on a school day of half a day at the dentist, and at a high school of a class skipped."""

_LEAVER_SHARE = 0.012
_GAP_DAYS, _AWAY_DAYS = (2, 5), (8, 16)
_LEAVES_ON = (30, 75)
_TEST_DAYS = (20, 95)
"""School days of each year on which students take benchmark tests."""


@dataclass(frozen=True)
class AwaySpan:
    """School days on which a student is at no school of the district, by index in the calendar.

    `year` is an index into `SCHOOL_YEARS`. The student comes back on the day after `last`.
    """

    student: int
    year: int
    first: int
    last: int


@dataclass(frozen=True)
class LocalFacts:
    """What happened beside the simulation: index arrays of days and students.

    Attributes:
        half_days: half a day missed, excused, at an elementary or middle school.
        skipped: one class of a day skipped at a high school: day, student and which class, from 0.
        field_trips: days on which a class went out.
        away: who left the district or moved between its schools with days in between.
        summer: who went to each of `SUMMERS`.
    """

    half_days: tuple[Ints, Ints]
    skipped: tuple[Ints, Ints, Ints]
    field_trips: tuple[Ints, Ints]
    away: tuple[AwaySpan, ...]
    summer: tuple[Ints, ...]


def draw_local_facts(
    rng: np.random.Generator, people: Population, days: Calendar, history: History
) -> LocalFacts:
    """Draw what the simulation leaves open, around what it drew."""
    return _Drawing(rng, people, days, history).facts()


def written_marks(scores: Ints, school: np.ndarray) -> np.ndarray:
    """Marks as the schools write them, from points of 100 and the schools' identifiers."""
    levels = np.array(list(LEVEL_POINTS))[np.searchsorted(_LEVELS_FROM, scores, side="right")]
    letters = np.array(list(LETTER_POINTS))[np.searchsorted(_LETTERS_FROM, scores, side="right")]
    return np.select(
        [school == STANDARDS_SCHOOL, school == LETTERS_SCHOOL],
        [levels, letters],
        scores.astype(str),
    )


def class_ids(year: int, school: Ints, grade: Ints, course: Ints) -> np.ndarray:
    """Identifiers of high-school classes, by index of school year, school, grade and course."""
    names = np.array(
        [
            [
                [
                    f"class-{SCHOOL_YEARS[year].name}-{school_id}-{level:02d}-{course_number}"
                    for course_number in range(1, CLASSES_A_DAY + 1)
                ]
                for level in range(13)
            ]
            for school_id in SCHOOL_IDS
        ],
        dtype=object,
    )
    chosen: np.ndarray = names[school, grade, course]
    return chosen


class _Drawing:
    def __init__(
        self, rng: np.random.Generator, people: Population, days: Calendar, history: History
    ) -> None:
        self.rng, self.people, self.days = rng, people, days
        self.grades = [people.grade_in(year) for year in range(len(SCHOOL_YEARS))]
        self.is_taken = np.zeros((len(people), len(days.days)), dtype=bool)
        for day, who, *_ in (*history.absences, *history.tardies, *history.incidents):
            self.is_taken[who, day] = True
        self._take_days_elsewhere()

    def _take_days_elsewhere(self) -> None:
        """No fact falls on a day on which the student is not enrolled."""
        for year, entry in enumerate(self.people.entry_day):
            of_year = np.flatnonzero(self.days.year == year)
            late = np.isnat(entry)[:, None] | (self.days.days[of_year] < entry[:, None])
            self.is_taken[:, of_year] |= late

    def facts(self) -> LocalFacts:
        away = tuple(self._away())
        for span in away:
            self.is_taken[span.student, span.first : span.last + 1] = True
        half_day, half_who = self._cells(_HALF_DAY_RATE, at_high_school=False)
        skip_day, skip_who = self._cells(_SKIP_RATE, at_high_school=True)
        which = self.rng.integers(CLASSES_A_DAY, size=len(skip_day))
        return LocalFacts(
            (half_day, half_who),
            (skip_day, skip_who, which),
            self._field_trips(),
            away,
            tuple(self._summer(year) for year in range(len(SUMMERS))),
        )

    def _cells(self, rate: float, *, at_high_school: bool) -> tuple[Ints, Ints]:
        """Days and students, each pair once, drawn among those free at this kind of school."""
        number = round(rate * self.is_taken.size)
        cells = np.unique(self.rng.integers(self.is_taken.size, size=number))
        who, day = np.divmod(cells, self.is_taken.shape[1])
        year = self.days.year[day]
        level = level_of(np.stack(self.grades)[year, who])
        fits = ~self.is_taken[who, day] & ((level == HIGH_SCHOOL_LEVEL) == at_high_school)
        who, day = who[fits], day[fits]
        self.is_taken[who, day] = True
        return day, who

    def _away(self) -> Iterator[AwaySpan]:
        fixed = np.zeros(len(self.days.days), dtype=bool)
        fixed[self.days.period_end] = True
        for year in range(len(SCHOOL_YEARS)):
            of_year = np.flatnonzero(self.days.year == year)
            fixed[of_year[[place for place in _TEST_DAYS if place < len(of_year)]]] = True
            for student, first, last in (
                *self._gaps_before_moves(year, of_year),
                *self._leavers(year, of_year),
            ):
                is_free = not self.is_taken[student, first : last + 1].any()
                if is_free and not fixed[first : last + 1].any():
                    yield AwaySpan(student, year, first, last)

    def _gaps_before_moves(self, year: int, of_year: Ints) -> Iterator[tuple[int, int, int]]:
        """The last days at the first school of some students who move, missed between the two."""
        move = self.people.move_day[year]
        for student in np.flatnonzero(~np.isnat(move)):
            gap = int(self.rng.integers(*_GAP_DAYS))
            begins = int(np.searchsorted(self.days.days[of_year], move[student]))
            enters = self.people.entry_day[year][student]
            if begins < len(of_year) and enters < self.days.days[of_year[begins - gap]]:
                yield int(student), int(of_year[begins - gap]), int(of_year[begins - 1])

    def _leavers(self, year: int, of_year: Ints) -> Iterator[tuple[int, int, int]]:
        """Students who leave the district and come back some weeks later."""
        stays = (self.people.entry_day[year] == self.days.days[of_year[0]]) & np.isnat(
            self.people.move_day[year]
        )
        leaves = np.flatnonzero(stays & (self.rng.random(len(self.people)) < _LEAVER_SHARE))
        first = self.rng.integers(*_LEAVES_ON, size=len(leaves))
        length = self.rng.integers(*_AWAY_DAYS, size=len(leaves))
        for student, begins, lasts in zip(leaves, first, length, strict=True):
            yield int(student), int(of_year[begins]), int(of_year[begins + lasts - 1])

    def _field_trips(self) -> tuple[Ints, Ints]:
        """One day a year for one grade of each elementary and middle school."""
        trips_day, trips_who = [], []
        for year, grade in enumerate(self.grades):
            of_year = np.flatnonzero(self.days.year == year)
            for school in range(len(SCHOOL_IDS)):
                day = int(self.rng.choice(of_year))
                here = (self.people.school[year, 0] == school) & np.isnat(
                    self.people.move_day[year]
                )
                grades = np.unique(grade[here & (level_of(grade) < HIGH_SCHOOL_LEVEL)])
                if len(grades):
                    goes = here & (grade == self.rng.choice(grades)) & ~self.is_taken[:, day]
                    who = np.flatnonzero(goes)
                    trips_day.append(np.full(len(who), day))
                    trips_who.append(who)
        return np.concatenate(trips_day), np.concatenate(trips_who)

    def _summer(self, year: int) -> Ints:
        lowest, highest = _SUMMER_GRADES
        grade = self.grades[year]
        here: Flags = ~np.isnat(self.people.entry_day[year])
        eligible = here & (grade >= lowest) & (grade <= highest)
        return np.flatnonzero(eligible & (self.rng.random(len(grade)) < _SUMMER_SHARE))
