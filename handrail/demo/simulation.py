"""Three school years, day by day: absences, grades, tests, incidents, and offered supports.

The past is confounded on purpose: supports went to students with visible need, and, at equal need,
less often to Black and Hispanic students. Their effect differs from student to student: each
support helps with one cause of absence or low grades, and does next to nothing for a student
without it. `EFFECTS` says how much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from handrail.demo.district import PERIODS_A_YEAR, Calendar, Ints
from handrail.demo.partners import PARTNERS, Program
from handrail.demo.population import Flags, Floats, Population
from records.canonical.schema import RACE_ETHNICITIES

MEAN_ABSENCE_DAYS = 1.8
_CONFLICT_RATE, _UNHOUSED_RATE = 0.07, 0.06
"""Chance, before any support, that a student with that cause is away on a day."""
_DISENGAGEMENT_DAYS, _DISENGAGEMENT_FACTOR = 60, 4.0
"""How long a student's bad spell lasts, and how much likelier absence is in it."""
_FOOD_MISSED_SHARE = 0.15
_LEFT_BY_SUPPORT = {
    "counselling": 0.5,
    "restorative_practice": 0.4,
    "health": 0.4,
    "mentoring": 0.35,
    "housing_help": 0.5,
}
"""Share of a cause's absence that is left while a student has the support."""
_MAX_ABSENCE_START, _MAX_DISENGAGED = 0.6, 0.4
_EXCUSED_IF_ILL = 0.9
_TARDY_RATE, _TARDY_BY_DISENGAGEMENT = 0.006, 0.25
_INCIDENT_RATE_IN_CONFLICT, _INCIDENT_RATE = 0.012, 0.0002
INTAKE_DAYS = (40, 75, 110)
"""School days of each year on which partners take in new students."""
ENROLLMENT_DAYS = 70
MONDAY_WITHOUT_FOOD = 0.34
EFFECTS = {
    "mentoring": "takes away 65% of absence for want of connection",
    "food": "takes away 85% of Mondays missed after weekends without food",
    "health": "takes away 60% of absence through lasting illness",
    "counselling": "takes away half of absence through conflict",
    "restorative_practice": "takes away 60% of absence through conflict",
    "housing_help": "takes away half of absence through unstable housing",
    "tutoring": "adds 7 points of 100 where marks are below 78, else half a point",
    "grandparent_readers": "adds 2 points of 100",
}
OfferBias = Mapping[str, Mapping[str, float]]
DEFAULT_OFFER_BIAS: OfferBias = {"black": {"": 0.55}, "hispanic": {"": 0.55}}
"""At equal need, the share of offers that students of a group got: by race or ethnicity and
support, "" for all."""

OFFERED_PROGRAMS = tuple(
    program for partner in PARTNERS for program in partner.programs if program.support
)


@dataclass
class History:
    """What happened, as index arrays: day, student and what."""

    absences: list[tuple[Ints, Ints, Flags]] = field(default_factory=list)
    tardies: list[tuple[Ints, Ints]] = field(default_factory=list)
    incidents: list[tuple[Ints, Ints]] = field(default_factory=list)
    grades: list[tuple[int, Ints, Floats]] = field(default_factory=list)
    service_starts: list[tuple[Ints, Ints, Ints, Ints]] = field(default_factory=list)


def simulate_history(
    rng: np.random.Generator,
    people: Population,
    days: Calendar,
    progress: Callable[[int, int], None],
    habit: OfferBias = DEFAULT_OFFER_BIAS,
) -> History:
    """Draw every school day in order."""
    return _Simulation(rng, people, days, habit).run(progress)


class _Simulation:
    def __init__(
        self, rng: np.random.Generator, people: Population, days: Calendar, offer_bias: OfferBias
    ) -> None:
        self.rng, self.people, self.days, self.offer_bias = rng, people, days, offer_bias
        self.n = len(people)
        self.history = History()
        self.absence_days_left = np.zeros(self.n, dtype=np.int64)
        self.excused = np.zeros(self.n, dtype=bool)
        self.support = np.full(self.n, -1)
        self.support_ends = np.full(self.n, -1)
        self.support_begins = np.full(self.n, -1)
        self.recent_absence = np.zeros(self.n)
        self.recent_mondays = np.zeros(self.n)
        self.recent_incidents = np.zeros(self.n)
        self.latest_grades = people.ability.copy()
        self.absent_in_period = np.zeros(self.n)
        self.tutored_in_period = np.zeros(self.n)
        self.read_in_period = np.zeros(self.n)
        self.course_offset = rng.normal(0.0, 3.5, (self.n, 4))
        self.disengagement_begins = np.where(
            rng.random(self.n) < 0.16, rng.integers(0, len(days.days), self.n), -10_000
        )
        self.support_names = [program.support for program in OFFERED_PROGRAMS]

    def run(self, progress: Callable[[int, int], None]) -> History:
        total = len(self.days.days)
        first_of_year = {
            int(np.argmax(self.days.year == year)): year for year in np.unique(self.days.year)
        }
        for day in range(total):
            if day in first_of_year:
                self.absence_days_left[:] = 0
                year_start = day
            here = self._enrolled(day)
            if day - year_start in INTAKE_DAYS:
                self._intake(day, here)
            self._simulate_day(day, here)
            if day in self.days.period_end:
                self._grade_period(day, here)
            if day % 10 == 0:
                progress(day, total)
        progress(total, total)
        return self.history

    def _enrolled(self, day: int) -> Flags:
        entry = self.people.entry_day[self.days.year[day]]
        here: Flags = ~np.isnat(entry) & (entry <= self.days.days[day])
        return here

    def _has(self, support: str, day: int) -> Flags:
        has: Flags = (
            (self.support == self.support_names.index(support))
            & (self.support_begins <= day)
            & (day <= self.support_ends)
        )
        return has

    def _left_by(self, support: str, day: int) -> Floats:
        """The share of a cause's absence that is left, student by student."""
        return np.where(self._has(support, day), _LEFT_BY_SUPPORT[support], 1.0)

    def _simulate_day(self, day: int, here: Flags) -> None:
        people, rng = self.people, self.rng
        monday = self.days.weekday[day] == 0
        in_turn = (self.disengagement_begins <= day) & (
            day < self.disengagement_begins + _DISENGAGEMENT_DAYS
        )
        conflict = np.where(people.in_conflict, _CONFLICT_RATE, 0.0)
        conflict *= self._left_by("counselling", day)
        conflict *= self._left_by("restorative_practice", day)
        sick = people.illness + people.chronic_illness * self._left_by("health", day)
        disengaged = (
            people.disengaged
            * np.where(in_turn, _DISENGAGEMENT_FACTOR, 1.0)
            * self._left_by("mentoring", day)
        )
        unhoused = np.where(people.unstable_housing, _UNHOUSED_RATE, 0.0)
        unhoused = unhoused * self._left_by("housing_help", day)
        other = np.minimum(disengaged, _MAX_DISENGAGED) + conflict + unhoused
        chance = np.minimum((sick + other) / MEAN_ABSENCE_DAYS, _MAX_ABSENCE_START)
        begins = (self.absence_days_left == 0) & (rng.random(self.n) < chance)
        length = rng.geometric(1.0 / MEAN_ABSENCE_DAYS, self.n)
        ill = rng.random(self.n) < sick / np.maximum(sick + other, 1e-9)
        self.absence_days_left = np.where(begins, length, self.absence_days_left)
        self.excused = np.where(begins, ill & (rng.random(self.n) < _EXCUSED_IF_ILL), self.excused)
        hungry = np.zeros(self.n, dtype=bool)
        if monday:
            fed = np.where(self._has("food", day), _FOOD_MISSED_SHARE, 1.0)
            hungry = people.food_insecure & (rng.random(self.n) < MONDAY_WITHOUT_FOOD * fed)
        absent = ((self.absence_days_left > 0) | hungry) & here
        excused = self.excused & (self.absence_days_left > 0)
        self.absence_days_left = np.maximum(self.absence_days_left - 1, 0)
        late = (
            here
            & ~absent
            & (rng.random(self.n) < _TARDY_RATE + _TARDY_BY_DISENGAGEMENT * people.disengaged)
        )
        draw = rng.random(self.n)
        incident = here & ~absent & people.in_conflict & (draw < _INCIDENT_RATE_IN_CONFLICT)
        incident |= here & ~absent & (rng.random(self.n) < _INCIDENT_RATE)
        who = np.flatnonzero(absent)
        self.history.absences.append((np.full(len(who), day), who, excused[who]))
        who = np.flatnonzero(late)
        self.history.tardies.append((np.full(len(who), day), who))
        who = np.flatnonzero(incident)
        self.history.incidents.append((np.full(len(who), day), who))
        self.recent_absence = self.recent_absence * 0.95 + 0.05 * absent
        self.recent_mondays = self.recent_mondays * 0.97 + (0.15 * absent if monday else 0.0)
        self.recent_incidents = self.recent_incidents * 0.98 + incident
        self.absent_in_period += absent
        self.tutored_in_period += self._has("tutoring", day)
        self.read_in_period += self._has("grandparent_readers", day)

    def _grade_period(self, day: int, here: Flags) -> None:
        length = np.sum(self.days.period == self.days.period[day])
        share_absent = self.absent_in_period / length
        helped = np.where(self.people.ability < 78, 7.0, 0.5) * np.minimum(
            self.tutored_in_period / length * 1.5, 1.0
        )
        helped += 2.0 * np.minimum(self.read_in_period / length * 1.5, 1.0)
        level = self.people.ability + helped - 25.0 * share_absent
        grades = level[:, None] + self.course_offset + self.rng.normal(0.0, 2.5, (self.n, 4))
        grades = np.round(np.clip(grades, 20, 100), 0)
        who = np.flatnonzero(here)
        self.history.grades.append((int(self.days.period[day]), who, grades[who]))
        self.latest_grades = np.where(here, grades.mean(axis=1), self.latest_grades)
        for count in (self.absent_in_period, self.tutored_in_period, self.read_in_period):
            count[:] = 0

    def _need(self, program: Program) -> Floats:
        if program.support in ("tutoring", "grandparent_readers"):
            return (80.0 - self.latest_grades) / 7.0
        if program.support in ("mentoring", "health", "housing_help", "victims_services"):
            return self.recent_absence * 14.0 - 1.0
        if program.support == "food":
            return self.recent_mondays * 2.2 - 1.0
        return self.recent_incidents * 1.5 + self.recent_absence * 6.0 - 1.0

    def _intake(self, day: int, here: Flags) -> None:
        """Each program takes in students with visible need, by its offer bias."""
        grade = self.people.grade_in(int(self.days.year[day]))
        free = here & (self.support_ends < day)
        scale = self.n / 16_000
        for index, program in enumerate(OFFERED_PROGRAMS):
            if not program.starts_per_intake:
                continue
            eligible = free & (grade >= program.min_grade) & (grade <= program.max_grade)
            weight = (
                np.exp(0.8 * np.clip(self._need(program), -2.5, 2.5))
                * self._offer_share(program)
                * eligible
            )
            if program.support == "housing_help":
                weight *= np.where(self.people.unstable_housing, 12.0, 1.0)
            chance = np.minimum(
                weight / max(weight.sum(), 1e-9) * program.starts_per_intake * scale, 0.5
            )
            chosen = np.flatnonzero(self.rng.random(self.n) < chance)
            start = day + 1 + self.rng.integers(0, 12, len(chosen))
            end = start + ENROLLMENT_DAYS + self.rng.integers(-15, 25, len(chosen))
            self.support[chosen], self.support_begins[chosen], self.support_ends[chosen] = (
                index,
                start,
                end,
            )
            free[chosen] = False
            self.history.service_starts.append((chosen, np.full(len(chosen), index), start, end))

    def _offer_share(self, program: Program) -> Floats:
        """At equal need, the share of a program's offers that each student gets."""
        shares = np.ones(self.n)
        for race, by_support in self.offer_bias.items():
            shares[self.people.race == RACE_ETHNICITIES.index(race)] = by_support.get(
                program.support, by_support.get("", 1.0)
            )
        return shares


def year_and_period(period: int) -> tuple[int, int]:
    """School-year index and grading period from 1, of a period counted through the years."""
    return period // PERIODS_A_YEAR, period % PERIODS_A_YEAR + 1
