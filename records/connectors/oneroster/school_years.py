"""Academic sessions of OneRoster: which school years there are, and on which days they hold school.

A source that lists school years is taken at its word. Where it lists only terms, semesters or
grading periods, as OneRoster allows, a school year is what they cover together. Days are weekdays;
those of a summer session are not days of the regular year. Both ends of a session count: by the
standard the last day is excluded, but exports write the last day of school there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property

MAX_SESSION_DAYS = 550
"""A year and a half: a longer session ("all time") says nothing about when there is school."""

_SCHOOL_YEAR = "schoolyear"
_SCHOOL_YEAR_BEGINS_IN = 7
"""July: a session that begins then, or later in the calendar year, belongs to the school year that
ends in the next session."""


def school_year_of(day: date) -> int:
    """The calendar year in which the school year of a day ends, by the day alone."""
    return day.year + (day.month >= _SCHOOL_YEAR_BEGINS_IN)


@dataclass(frozen=True)
class AcademicSession:
    """One session; `year` is what its column `schoolYear` says, None where it says no year.

    `is_summer` is whether the profile puts it apart from the school year, by its title and type.
    """

    id: str
    type: str
    start: date
    end: date
    year: int | None
    is_summer: bool = False

    @property
    def is_school_year(self) -> bool:
        kind = self.type.lower().replace("_", "").replace(" ", "").replace("-", "")
        return kind == _SCHOOL_YEAR and not self.is_summer

    def holds(self, day: date) -> bool:
        return self.start <= day <= self.end


@dataclass(frozen=True)
class SchoolYear:
    """One school year; `name` is the calendar year in which it ends.

    `terms` is how many terms it was put together from, 0 where the source lists it as a school
    year.
    """

    start: date
    end: date
    name: int
    terms: int = 0


@dataclass
class SchoolYears:
    """The school years of one source, from all of its sessions."""

    sessions: dict[str, AcademicSession] = field(default_factory=dict)

    def add(self, session: AcademicSession) -> None:
        """Add a session; all of them, before anything is asked."""
        self.sessions[session.id] = session

    @cached_property
    def years(self) -> list[SchoolYear]:
        """The school years in order: those that are listed, and those that terms make up."""
        listed = [
            SchoolYear(session.start, session.end, session.end.year)
            for session in self.sessions.values()
            if session.is_school_year
        ]
        terms: dict[int, list[AcademicSession]] = {}
        for session in self._terms:
            if not any(year.start <= session.start <= year.end for year in listed):
                terms.setdefault(session.year or school_year_of(session.start), []).append(session)
        made = [_year_of_terms(year, of_year) for year, of_year in terms.items()]
        names = {year.name for year in listed}
        missing = [year for year in made if year.name not in names]
        return sorted((*listed, *missing), key=lambda year: (year.start, year.end, year.name))

    def year_of(self, day: date) -> int:
        """The name of the school year of a day; by the calendar for a day outside all of them."""
        for year in self.years:
            if year.start <= day <= year.end:
                return year.name
        return school_year_of(day)

    def school_days(self) -> dict[date, int]:
        """Weekdays of the school years -> name of the school year."""
        terms = self._terms
        days: dict[date, int] = {}
        for year in self.years:
            for day in _weekdays(year.start, year.end):
                in_term = any(term.holds(day) for term in terms)
                in_summer = any(summer.holds(day) for summer in self._summers)
                if in_term or not (year.terms or in_summer):
                    days.setdefault(day, year.name)
        return days

    def days_taught(self) -> list[date]:
        """The school days that lie in a term, in order: all of them where no term is listed."""
        days = sorted(self.school_days())
        return [day for day in days if any(term.holds(day) for term in self._terms)] or days

    def is_of_summer(self, day: date) -> bool:
        """Whether a day lies in a summer session, and in no term (or, without terms, no year)."""
        if not any(summer.holds(day) for summer in self._summers):
            return False
        if self._terms:
            return not any(term.holds(day) for term in self._terms)
        return not any(year.start <= day <= year.end for year in self.years)

    def are_of_summer(self, session_ids: Iterable[str]) -> bool:
        """Whether all of these sessions, apart from the school year, are known to be summer's."""
        if not self._summers:
            return False
        named = [self.sessions.get(session) for session in session_ids if session]
        terms = [session for session in named if session is None or not session.is_school_year]
        return bool(terms) and all(session is not None and session.is_summer for session in terms)

    def first_day(self, session_ids: Iterable[str]) -> date | None:
        """The first day of these sessions; None where none of them is known."""
        known = [
            self.sessions[session].start for session in session_ids if session in self.sessions
        ]
        return min(known, default=None)

    @cached_property
    def _summers(self) -> list[AcademicSession]:
        return [session for session in self.sessions.values() if session.is_summer]

    @cached_property
    def _terms(self) -> list[AcademicSession]:
        return [
            session
            for session in self.sessions.values()
            if not (session.is_school_year or session.is_summer)
        ]


def _year_of_terms(stated: int, terms: list[AcademicSession]) -> SchoolYear:
    """The school year that terms make up.

    By the standard `schoolYear` is the year in which the school year ends; where an export writes
    the year in which it begins, the dates say more.
    """
    last = max(terms, key=lambda term: term.end)
    return SchoolYear(
        min(term.start for term in terms),
        last.end,
        max(stated, school_year_of(last.start)),
        len(terms),
    )


def _weekdays(start: date, end: date) -> Iterable[date]:
    days = (start + timedelta(n) for n in range((end - start).days + 1))
    return (day for day in days if day.weekday() < 5)
