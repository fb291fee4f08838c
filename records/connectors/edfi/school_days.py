"""School days and attendance of an Ed-Fi source, in the canonical tables.

A calendar says which days had classes; where it lists hardly any, the weekdays of the terms stand
in for it. Attendance by classes becomes attendance by days, by the rule of the source's profile.
Both need the whole source, so they are written at the end.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from records.canonical.quarantine import Value, convert_row
from records.canonical.schema import ABSENT_STATUSES, TABLES
from records.connectors.profiles.profile import SourceProfile
from records.connectors.protocol import RowSink

LISTED_SHARE = 0.5
"""A calendar that lists at least this share of the weekdays of a school's terms is its calendar;
holidays take up less than a tenth."""

_DAYS_SHARE = 0.5
_ONE_YEAR = timedelta(days=365)
_MANY_DAYS = 20
"""Days of students with one number of missed classes, from which that is how many a day has."""


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
    file: str
    line: int


@dataclass
class SchoolCalendar:
    """The calendar of every school of a source."""

    sink: RowSink
    listed: list[_ListedDay] = field(default_factory=list)
    closed: set[tuple[str, date]] = field(default_factory=set)
    terms: list[Term] = field(default_factory=list)

    def add_school_day(self, row: dict[str, Value], file: str, line: int) -> None:
        """A day with classes, as a row of `calendar`."""
        self.listed.append(
            _ListedDay(str(row["school_id"]), row["date"], int(row["school_year"]), file, line)  # type: ignore[arg-type]
        )

    def finish(self) -> None:
        """Write the days: those listed, apart from summer terms, or else the weekdays of terms."""
        terms: dict[str, list[Term]] = defaultdict(list)
        for term in self.terms:
            terms[term.school].append(term)
        held: dict[str, set[date]] = defaultdict(set)
        for listed in self.listed:
            if _is_of_summer(listed.day, terms[listed.school]):
                self.sink.ignore(listed.file, "a day of a summer term, apart from the school year")
                continue
            held[listed.school].add(listed.day)
            self.sink.keep(
                "calendar",
                _day_row(listed.school, listed.day, listed.school_year),
                listed.file,
                listed.line,
            )
        inferred = sum(self._infer(terms[school], held[school]) for school in sorted(terms))
        if inferred:
            self.sink.note(
                f"The calendar lists few school days: {inferred} were worked out as the weekdays"
                " of each term. Holidays count as school days until the district sends its"
                " calendar."
            )

    def _infer(self, terms: Sequence[Term], held: set[date]) -> int:
        """Add the weekdays of a school's terms to the days held, term by term; how many."""
        added = 0
        for term in sorted(terms, key=lambda term: term.school_year):
            weekdays = list(term.weekdays())
            listed = sum(day in held for day in weekdays)
            if term.is_summer or listed >= LISTED_SHARE * len(weekdays):
                continue
            for day in weekdays:
                if day not in held and (term.school, day) not in self.closed:
                    held.add(day)
                    row = _day_row(term.school, day, term.school_year)
                    self.sink.derive("calendar", row, term.file, term.line)
                    added += 1
        return added


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
    section: str
    status: str


@dataclass
class ClassAttendance:
    """Absences from single classes, which become days where a school records no days.

    A student's classes a day are those of the profile; else those in which the student was enrolled
    on the day, unless many days of absence at the school show that fewer of them meet on one day;
    else as many as anybody at the school has missed in one day.
    """

    sink: RowSink
    profile: SourceProfile
    missed: dict[tuple[str, str, date], dict[str, str]] = field(default_factory=dict)
    places: dict[tuple[str, str, date], tuple[str, int]] = field(default_factory=dict)
    records: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    days_recorded: Counter[str] = field(default_factory=Counter)
    attended: set[tuple[str, date, str]] = field(default_factory=set)
    enrolled: dict[str, list[tuple[date | None, date | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def add(self, missed: ClassMissed, file: str, line: int) -> None:
        """One absence from a class, counted once it is known whether its school records days."""
        key = (missed.school, missed.student, missed.day)
        self.missed.setdefault(key, {})[missed.section] = missed.status
        self.places.setdefault(key, (file, line))
        self.records[missed.school][file] += 1

    def came_to(self, student: str, day: date, section: str) -> None:
        """A class to which the student came, late or not: an absence from it was corrected."""
        self.attended.add((student, day, section))

    def _is_by_day(self, school: str, days_by_classes: int) -> bool:
        """Whether a school records days: at least half as many of them as its classes show.

        A few days entered at the office do not make the classes of everybody else unread.
        """
        if self.profile.attendance_by != "either":
            return self.profile.attendance_by == "day"
        return self.days_recorded[school] >= _DAYS_SHARE * days_by_classes

    def finish(self) -> None:
        """Write a row for each kind of absence of each day on which a student missed classes."""
        for (_, student, day), sections in self.missed.items():
            for section in [name for name in sections if (student, day, name) in self.attended]:
                del sections[section]
        seen: dict[str, Counter[int]] = defaultdict(Counter)
        for (school, _, _), sections in self.missed.items():
            seen[school][len(sections)] += 1
        read_by_day = {
            school for school in self.records if self._is_by_day(school, seen[school].total())
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
        for (school, student, day), sections in self.missed.items():
            if school in read_by_day or not sections:
                continue
            classes = self._classes_of(student, day, seen[school])
            file, line = self.places[(school, student, day)]
            for status, share in self._shares(sections.values(), classes).items():
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

    def _classes_of(self, student: str, day: date, seen: Counter[int]) -> int:
        """How many classes the student had on the day."""
        if self.profile.classes_a_day is not None:
            return self.profile.classes_a_day
        most = max(seen)
        enrolled = sum(
            (first is None or day - _ONE_YEAR < first <= day) and (last is None or day <= last)
            for first, last in self.enrolled.get(student, ())
        )
        if not enrolled or (most < enrolled and seen[most] >= _MANY_DAYS):
            return most
        return max(enrolled, 1)

    def _shares(self, statuses: Iterable[str], classes: int) -> dict[str, float]:
        """How much of the day was missed, by kind of absence, by the profile's rule."""
        counts = Counter(statuses)
        total = sum(counts.values())
        shares = {status: min(count / max(classes, total), 1.0) for status, count in counts.items()}
        whole = total / max(classes, total)
        if self.profile.section_rule == "any" or (
            self.profile.section_rule == "half" and whole >= 0.5
        ):
            worst = "absent_unexcused" if "absent_unexcused" in counts else "absent_excused"
            return {worst: 1.0}
        return {} if self.profile.section_rule == "half" else shares


def is_absence(status: str) -> bool:
    """Whether an attendance status is an absence."""
    return status in ABSENT_STATUSES
