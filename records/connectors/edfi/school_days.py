"""School days and attendance of an Ed-Fi source, in the canonical tables.

A calendar says which days had classes; where it lists hardly any, the weekdays of the terms stand
in for it. Attendance by classes becomes attendance by days, by the rule of the source's profile.
Both need the whole source, so they are written at the end.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import pairwise

from records.canonical.quarantine import Value, convert_row
from records.canonical.schema import ABSENT_STATUSES, TABLES
from records.connectors.profiles.profile import SourceProfile
from records.connectors.protocol import RowSink

LISTED_SHARE = 0.5
"""A calendar that lists at least this share of the weekdays of a school's terms is its calendar;
holidays take up less than a tenth."""

_ONE_YEAR = timedelta(days=365)
_MANY_DAYS = 20
"""Days of students with one number of missed classes, from which that is how many a day has."""

_AGREEING_DAYS = 7
"""Days beyond the first of each weekday, or of each turn, on which classes that never meet on one
day follow the weekday or take turns, from which they are those of several kinds of day: 7 days do
so by chance in 1 of 128 cases."""

_WEEKDAYS = 4
"""Weekdays that must be seen: one student's weekly appointment is no schedule."""

Section = tuple[str, str]
"""A section of a course: its school, empty if unknown, and its name there."""


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
    The days of a district are those of its schools that have no day of their own in that year.
    """

    sink: RowSink
    listed: list[_ListedDay] = field(default_factory=list)
    closed: set[tuple[str, date]] = field(default_factory=set)
    terms: list[Term] = field(default_factory=list)
    schools: set[str] = field(default_factory=set)
    districts: set[str] = field(default_factory=set)
    kinds: dict[tuple[str, int], dict[str, CalendarKind]] = field(
        default_factory=lambda: defaultdict(dict)
    )

    def add_calendar(self, school: str, school_year: int, code: str, kind: CalendarKind) -> None:
        """A calendar, and whom it is for."""
        self.kinds[school, school_year][calendar_digest(school, code)] = kind

    def add_school_day(self, row: dict[str, Value], code: str, file: str, line: int) -> None:
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


@dataclass(frozen=True, slots=True)
class ClassMissed:
    """One class from which a student was absent."""

    student: str
    school: str
    day: date
    section: Section
    status: str


@dataclass
class MeetingDays:
    """On which days a section meets, where bell schedules with dates say so."""

    periods: dict[Section, set[str]] = field(default_factory=lambda: defaultdict(set))
    held: dict[tuple[str, date], set[str]] = field(default_factory=lambda: defaultdict(set))

    def those_on(self, day: date, sections: Collection[Section]) -> set[Section] | None:
        """Those of a student's sections that meet on a day; None where that is not said of all."""
        if not sections or not all(
            self.periods.get(section) and (section[0], day) in self.held for section in sections
        ):
            return None
        return {
            section for section in sections if self.periods[section] & self.held[section[0], day]
        }


@dataclass
class KindsOfDay:
    """Which sections of a school never meet on one day, as those of an A/B schedule, by what was
    recorded of anybody.
    """

    seen: dict[date, set[Section]] = field(default_factory=lambda: defaultdict(set))

    def sections_by_day(self, school_days: Collection[date]) -> dict[date, set[Section]]:
        """The sections of each kind of day, by the days; empty where the days are of one kind.

        Args:
            school_days: those of the school, which may alternate.
        """
        leaders: dict[Section, Section] = {}

        def leader(section: Section) -> Section:
            while (above := leaders.setdefault(section, section)) != section:
                section = above
            return section

        for sections in self.seen.values():
            first, *others = sorted(sections)
            for other in others:
                leaders[leader(other)] = leader(first)
        kinds = {day: leader(min(sections)) for day, sections in self.seen.items()}
        days = Counter(kinds.values())
        if len(days) < 2:
            return {}
        place = {day: number for number, day in enumerate(sorted(school_days))}
        weekdays = {day: day.weekday() for day in kinds}
        turns = {day: place[day] % len(days) for day in kinds if day in place}
        is_weekly = len(set(weekdays.values())) >= _WEEKDAYS and _decides(weekdays, kinds)
        if not is_weekly and not _decides(turns, kinds):
            return {}
        members: dict[Section, set[Section]] = defaultdict(set)
        for section in list(leaders):
            members[leader(section)].add(section)
        return {day: members[kind] for day, kind in kinds.items()}


def _decides(rule: Mapping[date, int], kinds: Mapping[date, Section]) -> bool:
    """Whether days on which the rule says the same are of the same kind, and enough of them."""
    said = set(rule.values())
    return (
        len(rule) == len(kinds)
        and len(kinds) - len(said) >= _AGREEING_DAYS
        and len({(rule[day], kind) for day, kind in kinds.items()}) == len(said)
    )


@dataclass
class ClassAttendance:
    """Absences from single classes, which become days where a school records no days.

    A student's classes a day are those of the profile; else those in which the student was enrolled
    on the day and which meet on it: by the bell schedules, or by what was recorded of anybody where
    the school has several kinds of day. Many days of absence at the school may show that fewer meet
    on one day; and where no enrollment in classes is known, they are as many as anybody at the
    school has missed in one day.
    """

    sink: RowSink
    profile: SourceProfile
    missed: dict[tuple[str, str, date], dict[Section, str]] = field(default_factory=dict)
    places: dict[tuple[str, str, date], tuple[str, int]] = field(default_factory=dict)
    records: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    days_recorded: Counter[str] = field(default_factory=Counter)
    attended: set[tuple[str, date, Section]] = field(default_factory=set)
    enrolled: dict[str, list[tuple[Section, date | None, date | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    meetings: MeetingDays = field(default_factory=MeetingDays)
    kinds: dict[str, KindsOfDay] = field(default_factory=lambda: defaultdict(KindsOfDay))

    def add(self, missed: ClassMissed, file: str, line: int) -> None:
        """One absence from a class, counted once it is known whether its school records days."""
        key = (missed.school, missed.student, missed.day)
        self.missed.setdefault(key, {})[missed.section] = missed.status
        self.places.setdefault(key, (file, line))
        self.records[missed.school][file] += 1
        self.kinds[missed.school].seen[missed.day].add(missed.section)

    def came_to(self, student: str, day: date, section: Section) -> None:
        """A class to which the student came, late or not: an absence from it was corrected."""
        self.attended.add((student, day, section))
        self.kinds[section[0]].seen[day].add(section)

    def finish(self, school_days: Mapping[str, Collection[date]]) -> None:
        """Write a row for each kind of absence of each day on which a student missed classes.

        Args:
            school_days: the days of each school.
        """
        for (_, student, day), sections in self.missed.items():
            for section in [name for name in sections if (student, day, name) in self.attended]:
                del sections[section]
        seen: dict[str, Counter[int]] = defaultdict(Counter)
        for (school, _, _), sections in self.missed.items():
            seen[school][len(sections)] += 1
        read_by_day = {
            school
            for school in self.records
            if self.profile.reads_by_day(self.days_recorded[school], seen[school].total())
        }
        for school, files in self.records.items():
            by_day = school in read_by_day
            for file, count in files.items():
                for _ in range(count):
                    if by_day:
                        self.sink.ignore(
                            file, "absence from one class (the school day's own record is used)"
                        )
                    else:
                        self.sink.use(file)
        of_kinds = {
            school: kinds.sections_by_day(school_days.get(school, ()))
            for school, kinds in self.kinds.items()
        }
        for (school, student, day), sections in self.missed.items():
            if school in read_by_day or not sections:
                continue
            own = self._sections_of(student, school, day)
            meeting = self._meeting(own, day, of_kinds[school])
            if meeting is not None and not meeting.issuperset(own.intersection(sections)):
                meeting = None  # a class that does not meet was missed: the schedule is not theirs
            classes = self._classes_of(own, meeting, seen[school])
            file, line = self.places[(school, student, day)]
            for status, share in self.profile.missed_of_day(sections.values(), classes).items():
                row: dict[str, str | None] = {
                    "student_id": student,
                    "school_id": school,
                    "date": day.isoformat(),
                    "status": status,
                    "absent_share": repr(share),
                }
                self.sink.derive(
                    "attendance_events", convert_row(TABLES["attendance_events"], row), file, line
                )

    def _sections_of(self, student: str, school: str, day: date) -> set[Section]:
        """The sections in which the student was enrolled on the day."""
        return {
            section
            for section, first, last in self.enrolled.get(student, ())
            if section[0] in ("", school)
            and (first is None or day - _ONE_YEAR < first <= day)
            and (last is None or day <= last)
        }

    def _meeting(
        self, own: set[Section], day: date, by_day: Mapping[date, set[Section]]
    ) -> set[Section] | None:
        """Those of the student's sections that met on the day; None where it is not known.

        Args:
            by_day: the sections of each day's kind, where a school has several kinds of day.
        """
        stated = self.meetings.those_on(day, own)
        if stated is not None or not own <= set().union(*by_day.values()):
            return stated
        return own & by_day.get(day, set()) or None

    def _classes_of(
        self, own: set[Section], meeting: set[Section] | None, seen: Counter[int]
    ) -> int:
        """How many classes the student had on the day."""
        if self.profile.classes_a_day is not None:
            return self.profile.classes_a_day
        if meeting is not None:
            return len(meeting)
        most = max(seen)
        if not own or (most < len(own) and seen[most] >= _MANY_DAYS):
            return most
        return len(own)


def is_absence(status: str) -> bool:
    """Whether an attendance status is an absence."""
    return status in ABSENT_STATUSES
