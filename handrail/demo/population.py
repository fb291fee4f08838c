"""The demo's students: grade, zone, sensitive traits, hidden causes of absence and low grades.

This module owns the draw of the students. The hidden causes are drawn without looking at race, sex,
language or disability, so a difference that a model finds between those groups is not in the data's
needs. Poverty raises food insecurity, and unstable housing raises absence, as they do in reality.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from handrail.demo.district import (
    ELEMENTARY,
    FIRST_NAMES,
    LAST_GRADE,
    LAST_NAMES,
    SCHOOL_YEARS,
    Dates,
    Ints,
    school_of,
)
from records.canonical.schema import RACE_ETHNICITIES, SEXES

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_RACE_SHARES = (0.01, 0.06, 0.16, 0.28, 0.005, 0.055, 0.43)
"""In the order of RACE_ETHNICITIES; close to United States public schools."""


@dataclass(frozen=True)
class Population:
    """The drawn students: arrays with one element a student, in drawing order."""

    first_name: Ints
    last_name: Ints
    birth_date: Dates
    grade: Ints
    """Grade in the last school year, 0 is kindergarten."""
    school: Ints
    """School at the start of each school year and after a move: shape (years, 2, students)."""
    move_day: Dates
    """Day in each school year on which the second school begins, NaT without a move: shape (years,
    students)."""
    entry_day: Dates
    """First day in each school year, NaT when not in the district that year: shape (years,
    students)."""
    sex: Ints
    race: Ints
    english_learner: Flags
    special_education: Flags
    unstable_housing: Flags
    meal_eligible: Flags
    ability: Floats
    """Course average that the student tends to, in points of 100."""
    disengaged: Floats
    """Share of days missed for want of connection to school."""
    illness: Floats
    """Share of days missed through passing illness."""
    chronic_illness: Floats
    """Further share of days missed through a lasting health problem."""
    food_insecure: Flags
    """Misses Mondays after weekends without enough to eat."""
    in_conflict: Flags
    """Often in conflict at school, and away because of it."""

    def __len__(self) -> int:
        return len(self.grade)

    def grade_in(self, year: int) -> Ints:
        """Grade in that school year (index); below kindergarten means not yet at school."""
        return self.grade - (len(SCHOOL_YEARS) - 1 - year)


def draw_population(rng: np.random.Generator, students: int) -> Population:
    """Draw `students` students."""
    grade = rng.permutation(np.arange(students) % (LAST_GRADE + 1))
    race = rng.choice(len(RACE_ETHNICITIES), size=students, p=_RACE_SHARES)
    sex = rng.choice(len(SEXES), size=students, p=(0.487, 0.508, 0.005))
    hispanic_or_asian = np.isin(
        race, [RACE_ETHNICITIES.index("hispanic"), RACE_ETHNICITIES.index("asian")]
    )
    meal_eligible = rng.random(students) < np.where(
        race == RACE_ETHNICITIES.index("white"), 0.44, 0.56
    )
    unstable_housing = rng.random(students) < np.where(meal_eligible, 0.045, 0.01)
    school, move_day, entry_day = _schools(rng, grade, unstable_housing)
    born_before: Dates = np.array([f"{2020 - g}-09-02" for g in grade], dtype="datetime64[D]")
    return Population(
        first_name=rng.integers(len(FIRST_NAMES), size=students),
        last_name=rng.integers(len(LAST_NAMES), size=students),
        birth_date=(born_before - 1 - rng.integers(365, size=students)).astype("datetime64[D]"),
        grade=grade,
        school=school,
        move_day=move_day,
        entry_day=entry_day,
        sex=sex,
        race=race,
        english_learner=rng.random(students) < np.where(hispanic_or_asian, 0.25, 0.03),
        special_education=rng.random(students) < np.where(sex == SEXES.index("male"), 0.18, 0.11),
        unstable_housing=unstable_housing,
        meal_eligible=meal_eligible,
        ability=np.clip(rng.normal(81.0, 8.5, students), 55.0, 98.0),
        disengaged=np.minimum(np.exp(rng.normal(-4.5, 1.15, students)), 0.30),
        illness=np.clip(rng.gamma(4.0, 0.03 / 4.0, students), 0.004, 0.10),
        chronic_illness=np.where(
            rng.random(students) < 0.09, rng.uniform(0.06, 0.13, students), 0.0
        ),
        food_insecure=rng.random(students) < np.where(meal_eligible, 0.14, 0.08),
        in_conflict=rng.random(students) < 0.075,
    )


def _schools(rng: np.random.Generator, grade: Ints, unstable: Flags) -> tuple[Ints, Dates, Dates]:
    """School, date of a move and date of entry by school year.

    A move during a year lasts into the next.
    """
    students, years = len(grade), len(SCHOOL_YEARS)
    zone = rng.integers(len(ELEMENTARY), size=students)
    school = np.zeros((years, 2, students), dtype=np.int64)
    move_day = np.full((years, students), "NaT", dtype="datetime64[D]")
    entry_day = np.full((years, students), "NaT", dtype="datetime64[D]")
    arrived = np.zeros(students, dtype=bool)
    newcomer_year = np.where(rng.random(students) < 0.12, rng.integers(years, size=students), 0)
    for year, school_year in enumerate(SCHOOL_YEARS):
        days = school_year.days()
        grade_then = grade - (years - 1 - year)
        here = (grade_then >= 0) & (year >= newcomer_year)
        late = here & ~arrived & (rng.random(students) < 0.15) & (grade_then > 0)
        entry = np.where(late, days[rng.integers(20, 90, size=students)], days[0])
        entry_day[year] = np.where(here, entry, np.datetime64("NaT"))
        arrived |= here
        school[year, 0] = school_of(zone, np.maximum(grade_then, 0))
        moves = here & (rng.random(students) < np.where(unstable, 0.15, 0.02))
        new_zone = np.where(moves, rng.integers(len(ELEMENTARY), size=students), zone)
        school[year, 1] = school_of(new_zone, np.maximum(grade_then, 0))
        moves &= school[year, 0] != school[year, 1]
        move_day[year] = np.where(
            moves, days[rng.integers(95, 140, size=students)], np.datetime64("NaT")
        )
        zone = np.where(moves, new_zone, zone)
    return school, move_day, entry_day
