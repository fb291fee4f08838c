"""School days of an Ed-Fi source, in the canonical tables.

A calendar says which days had classes; where it lists hardly any, the weekdays of the terms stand
in for it. That needs the whole source, so the days are written at the end.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import pairwise

from records.canonical.quarantine import Value
from records.connectors.protocol import RowSink

LISTED_SHARE = 0.5
"""A calendar that lists at least this share of the weekdays of a school's terms is its calendar;
holidays take up less than a tenth."""


@dataclass(frozen=True)
class Term:
    """One session of a school."""

    school: str
    first: date
    last: date
    school_year: int
    is_summer: bool
    file: str
    line: int

    def weekdays(self) -> Iterator[date]:
        """Every Monday to Friday of the term."""
        for offset in range((self.last - self.first).days + 1):
            day = self.first + timedelta(days=offset)
            if day.weekday() < 5:
                yield day


@dataclass(frozen=True, slots=True)
class _ListedDay:
    """A calendar date with classes, and where the source says so."""

    school: str
    day: date
    school_year: int
    calendar: str
    file: str
    line: int
    is_only_planned: bool = False
    is_of_district: bool = False


@dataclass(frozen=True)
class CalendarKind:
    """Whom one calendar of a school is for: some grades, single students, or staff."""

    grades: frozenset[int] = frozenset()
    is_individual: bool = False
    is_of_staff: bool = False

    @classmethod
    def of(cls, type_: str, grades: Iterable[int]) -> CalendarKind:
        """By the code of a CalendarType and the grades of its GradeLevels.

        Source: CalendarTypeDescriptor of Ed-Fi-Data-Standard v5.2 has IEP and Student Specific.
        """
        words = "".join(filter(str.isalpha, type_.lower()))
        return cls(
            frozenset(grades),
            words in ("iep", "studentspecific"),
            words.startswith(("teacher", "staff")),
        )


_ANYBODY = CalendarKind()


@dataclass
class SchoolCalendar:
    """The calendars of every school of a source.

    A school with one calendar has days without a code. Where several calendars of a school and year
    overlap, each has its own days under its own code, and the days common to all of them stand
    without one: they are the days of a student of whom it is not known which calendar they follow.
    Calendars that follow one another are one. Those of single students, and those with less than
    half of the days of the fullest, say nothing of other students; those of staff nothing at all.
    The days of a district are those of its schools that have no day of their own in that year. A
    day that one record plans and another of its calendar closes was closed.
    """

    sink: RowSink
    listed: list[_ListedDay] = field(default_factory=list)
    closed: set[tuple[str, date]] = field(default_factory=set)
    planned_closed: set[tuple[str, date]] = field(default_factory=set)
    terms: list[Term] = field(default_factory=list)
    schools: set[str] = field(default_factory=set)
    districts: set[str] = field(default_factory=set)
    kinds: dict[tuple[str, int], dict[str, CalendarKind]] = field(
        default_factory=lambda: defaultdict(dict)
    )

    def add_calendar(self, school: str, school_year: int, code: str, kind: CalendarKind) -> None:
        """A calendar, and whom it is for."""
        self.kinds[school, school_year][calendar_digest(school, code)] = kind

    def close_planned(self, row: dict[str, Value], code: str) -> None:
        """A day, as a row of `calendar`, that has no classes where it was only planned."""
        key = (calendar_digest(str(row["school_id"]), code), row["date"])
        self.planned_closed.add(key)  # type: ignore[arg-type]

    def add_school_day(
        self, row: dict[str, Value], code: str, file: str, line: int, *, is_only_planned: bool
    ) -> None:
        """A day with classes, as a row of `calendar`, and the code of its calendar."""
        school = str(row["school_id"])
        self.listed.append(
            _ListedDay(
                school=school,
                day=row["date"],  # type: ignore[arg-type]
                school_year=int(row["school_year"]),  # type: ignore[arg-type]
                calendar=calendar_digest(school, code),
                file=file,
                line=line,
                is_only_planned=is_only_planned,
            )
        )

    def followed_by(
        self, school: str, school_year: int, code: str | None, grade: int | None
    ) -> str | None:
        """The calendar that an enrollment names, or else the one calendar for its grade."""
        if code:
            return calendar_digest(school, code)
        kinds = {
            name: kind
            for name, kind in self.kinds.get((school, school_year), {}).items()
            if not (kind.is_individual or kind.is_of_staff)
        }
        own = [name for name, kind in kinds.items() if grade is not None and grade in kind.grades]
        return own[0] if len(own) == 1 else None

    def finish(self) -> Mapping[str, Collection[date]]:
        """Write the days: those listed, apart from summer terms, or else the weekdays of terms.

        Returns:
            The days of each school.
        """
        terms: dict[str, list[Term]] = defaultdict(list)
        for term in self.terms:
            terms[term.school].append(term)
        years: dict[tuple[str, int], list[_ListedDay]] = defaultdict(list)
        held: dict[str, set[date]] = defaultdict(set)
        closed_everywhere = {day for school, day in self.closed if school in self.districts}
        self.closed |= {(school, day) for school in self.schools for day in closed_everywhere}
        for listed in self._by_school():
            kind = self.kinds.get((listed.school, listed.school_year), {}).get(listed.calendar)
            if kind is not None and kind.is_of_staff:
                self.sink.ignore(listed.file, "a day of a calendar of staff")
            elif listed.is_only_planned and (listed.calendar, listed.day) in self.planned_closed:
                self.closed.add((listed.school, listed.day))
                if not listed.is_of_district:
                    self.sink.ignore(
                        listed.file, "a planned day that another record of its calendar closes"
                    )
            elif _is_of_summer(listed.day, terms[listed.school]):
                if not listed.is_of_district:
                    self.sink.ignore(
                        listed.file, "a day of a summer term, apart from the school year"
                    )
            else:
                held[listed.school].add(listed.day)
                years[listed.school, listed.school_year].append(listed)
        for (school, year), days in years.items():
            sparse = any(
                term.school_year == year and _is_sparse(term, held[school])
                for term in terms[school]
            )
            common = None if sparse else self._common_days(school, year, days)
            self._write(days, common)
        inferred = sum(self._infer(terms[school], held[school]) for school in sorted(terms))
        if inferred:
            self.sink.note(
                f"The calendar lists few school days: {inferred} were worked out as the weekdays"
                " of each term. Holidays count as school days until the district sends its"
                " calendar."
            )
        return held

    def _by_school(self) -> Iterator[_ListedDay]:
        """Every listed day of a school; those of a district once for each of its schools."""
        own = {(one.school, one.school_year) for one in self.listed}
        for one in self.listed:
            if one.school not in self.districts - self.schools:
                yield one
                continue
            self.sink.use(one.file)
            for school in sorted(self.schools):
                if (school, one.school_year) not in own:
                    yield replace(one, school=school, is_of_district=True)

    def _common_days(
        self, school: str, school_year: int, listed: Sequence[_ListedDay]
    ) -> set[date] | None:
        """The days common to the calendars of a school and year; None where there is but one."""
        days: dict[str, set[date]] = defaultdict(set)
        for one in listed:
            days[one.calendar].add(one.day)
        spans = sorted((min(own), max(own)) for own in days.values())
        if all(last < first for (_, last), (first, _) in pairwise(spans)):
            return None
        kinds = self.kinds.get((school, school_year), {})
        shared = [
            own for name, own in days.items() if not kinds.get(name, _ANYBODY).is_individual
        ] or list(days.values())
        fullest = max(map(len, shared))
        return set.intersection(*(own for own in shared if len(own) >= LISTED_SHARE * fullest))

    def _write(self, listed: Sequence[_ListedDay], common: set[date] | None) -> None:
        """Write the days of a school and year, under their codes if there are `common` days."""
        pending = set(common or ())
        for one in listed:
            row = _day_row(one.school, one.day, one.school_year)
            code = None if common is None else one.calendar
            add = self.sink.derive if one.is_of_district else self.sink.keep
            add("calendar", row | {"calendar_code": code}, one.file, one.line)
            if one.day in pending:
                pending.remove(one.day)
                self.sink.derive("calendar", row, one.file, one.line)

    def _infer(self, terms: Sequence[Term], held: set[date]) -> int:
        """Add the weekdays of a school's terms to the days held, term by term; how many."""
        added = 0
        for term in sorted(terms, key=lambda term: term.school_year):
            if not _is_sparse(term, held):
                continue
            for day in term.weekdays():
                if day not in held and (term.school, day) not in self.closed:
                    held.add(day)
                    row = _day_row(term.school, day, term.school_year)
                    self.sink.derive("calendar", row, term.file, term.line)
                    added += 1
        return added


def calendar_digest(school: str, code: str) -> str:
    """What stands for a calendar: its code may tell of a student's plan, and is not stored."""
    return hashlib.sha256(f"{school}\n{code}".encode()).hexdigest()[:12]


def _is_sparse(term: Term, held: set[date]) -> bool:
    """Whether a term of the school year has hardly any of its weekdays in the calendar."""
    weekdays = list(term.weekdays())
    listed = sum(day in held for day in weekdays)
    return not term.is_summer and listed < LISTED_SHARE * len(weekdays)


def _is_of_summer(day: date, terms: Iterable[Term]) -> bool:
    """Whether a day lies in a summer term and in no other."""
    kinds = {term.is_summer for term in terms if term.first <= day <= term.last}
    return kinds == {True}


def _day_row(school: str, day: date, school_year: int) -> dict[str, Value]:
    return {"school_id": school, "date": day, "school_year": school_year}
