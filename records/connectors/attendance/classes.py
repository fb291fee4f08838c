"""Absences from single classes, which become days by the rule of the source's profile.

That needs the whole source, so the days are written at the end.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta

from records.canonical.quarantine import Value
from records.canonical.schema import ABSENT_STATUSES
from records.connectors.profiles.profile import SourceProfile
from records.connectors.protocol import RowSink

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

    def slots(self, sections: Collection[Section]) -> dict[Section, frozenset[str] | Section]:
        """Sections by the periods in which they meet: nobody is in two classes at once.

        A section of unknown periods is by itself; so is each where all have the same ones, which
        then tell nothing apart.
        """
        slots = {
            section: frozenset(self.periods.get(section, ())) or section for section in sections
        }
        return slots if len(set(slots.values())) > 1 else {section: section for section in slots}


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
    days_recorded: dict[str, set[tuple[str, date]]] = field(
        default_factory=lambda: defaultdict(set)
    )
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

    def missed_by_day(self, row: Mapping[str, Value]) -> None:
        """An absence that its school recorded of the day: its classes say nothing more of it."""
        day = row["date"]
        assert isinstance(day, date)
        self.days_recorded[str(row["school_id"])].add((str(row["student_id"]), day))

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
            if self.profile.reads_by_day(len(self.days_recorded[school]), seen[school].total())
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
        stated = self.profile.classes_a_day
        of_kinds = {
            school: kinds.sections_by_day(school_days.get(school, ()))
            for school, kinds in self.kinds.items()
            if stated is None
        }
        for (school, student, day), sections in self.missed.items():
            recorded = (student, day) in self.days_recorded[school]
            if school in read_by_day or recorded or not sections:
                continue
            classes, own = stated, self._sections_of(student, school, day)
            slots = self.meetings.slots(own.union(sections))
            missed = _by_slot(sections, slots)
            if classes is None:
                meeting = self._meeting(own, day, of_kinds[school])
                if meeting is not None and not meeting.issuperset(own.intersection(sections)):
                    meeting = None  # one that does not meet was missed: the schedule is not theirs
                classes = _classes_of(own, meeting, seen[school])
                if len(missed) < len(sections):
                    classes = min(classes, len({slots[name] for name in meeting or own} or missed))
            file, line = self.places[(school, student, day)]
            for status, share in self.profile.missed_of_day(missed, classes).items():
                row: dict[str, Value] = {
                    "student_id": student,
                    "school_id": school,
                    "date": day,
                    "status": status,
                    "absent_share": share,
                }
                self.sink.derive("attendance_events", row, file, line)

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


def _classes_of(own: set[Section], meeting: set[Section] | None, seen: Counter[int]) -> int:
    """How many classes a student with these sections had on the day."""
    if meeting is not None:
        return len(meeting)
    most = max(seen)
    if not own or (most < len(own) and seen[most] >= _MANY_DAYS):
        return most
    return len(own)


def _by_slot(
    missed: Mapping[Section, str], slots: Mapping[Section, frozenset[str] | Section]
) -> list[str]:
    """The status of each class missed: one for the sections that meet in the same periods."""
    statuses: dict[frozenset[str] | Section, str] = {}
    for section, status in missed.items():
        statuses[slots[section]] = max(statuses.get(slots[section], status), status)
    return list(statuses.values())


def is_absence(status: str) -> bool:
    """Whether an attendance status is an absence."""
    return status in ABSENT_STATUSES
