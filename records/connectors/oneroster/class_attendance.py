"""Lines of `attendance.csv` about one class, which become days where a school records no days.

A line that names a class in `classSourcedId` is about that class alone. How many classes a day has
and how classes missed make a day is what the source's profile says; without the number of classes a
line is refused, because one class of four and one of one are not the same day.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date

from records.canonical.quarantine import BadValue, Value
from records.canonical.schema import ABSENT_STATUSES
from records.connectors.csv_files import CsvRecord
from records.connectors.profiles.profile import SourceProfile
from records.connectors.protocol import RowSink

CLASS_COLUMN = "classSourcedId"
"""The column that names the class which a line is about; empty where it is about the day."""

_OF_ONE_CLASS = "class"
"""The part of the day of a late arrival at one class."""


@dataclass
class ClassLines:
    """The lines of one source that are about classes.

    Args:
        is_student: whether a line is of one of the students; if not, it was counted.
    """

    sink: RowSink
    profile: SourceProfile
    is_student: Callable[[CsvRecord], bool]
    _missed: dict[tuple[str, str, date], dict[str, str]] = field(default_factory=dict)
    _places: dict[tuple[str, str, date], tuple[str, int]] = field(default_factory=dict)
    _attended: set[tuple[str, date, str]] = field(default_factory=set)
    _lines: Counter[tuple[str, str]] = field(default_factory=Counter)
    _days_recorded: Counter[str] = field(default_factory=Counter)

    def takes(self, record: CsvRecord, row: dict[str, Value]) -> bool:
        """Whether a line was counted here; else its row is an entry of the day.

        A late arrival at a class is one of the day.

        Raises:
            BadValue: it is about a class, and nobody has said how many of them make a day.
        """
        section, status = record.fields.get(CLASS_COLUMN, "").strip(), str(row["status"])
        if not section:
            if self.profile.attendance_by == "section":
                self.sink.ignore(record.file, "attendance by days (the profile says by classes)")
                return True
            self._days_recorded[str(row["school_id"])] += status in ABSENT_STATUSES
            return False
        if status in ABSENT_STATUSES:
            self._miss(record, row, section)
            return True
        student, day = str(row["student_id"]), row["date"]
        assert isinstance(day, date)
        self._attended.add((student, day, section))
        if status == "present":
            self.sink.ignore(record.file, "present in one class")
            return True
        row["part"] = _OF_ONE_CLASS
        return False

    def finish(self) -> None:
        """Count the lines, and write the days of the schools that record none."""
        for (_, student, day), sections in self._missed.items():
            for section in [name for name in sections if (student, day, name) in self._attended]:
                del sections[section]
        days = Counter(school for school, _, _ in self._missed)
        by_days = {
            school
            for school, count in days.items()
            if self.profile.reads_by_day(self._days_recorded[school], count)
        }
        for (school, file), count in self._lines.items():
            for _ in range(count):
                if school in by_days:
                    self.sink.ignore(
                        file, "absence from one class (the school day's own record is used)"
                    )
                else:
                    self.sink.use(file)
        for (school, student, day), sections in self._missed.items():
            if school in by_days:
                continue
            file, line = self._places[school, student, day]
            missed = self.profile.missed_of_day(sections.values(), self.profile.classes_a_day or 1)
            for status, share in missed.items():
                row: dict[str, Value] = {
                    "student_id": student,
                    "school_id": school,
                    "date": day,
                    "status": status,
                    "absent_share": share,
                }
                self.sink.derive("attendance_events", row, file, line)

    def _miss(self, record: CsvRecord, row: dict[str, Value], section: str) -> None:
        if self.profile.classes_a_day is None and self.profile.attendance_by != "day":
            raise BadValue(
                CLASS_COLUMN,
                f"{CLASS_COLUMN} is {section!r}: the line is about one class, and"
                " profiles/oneroster.toml must say how many of them a day has, as classes_a_day"
                " under [attendance]",
            )
        if not self.is_student(record):
            return
        school, day = str(row["school_id"]), row["date"]
        assert isinstance(day, date)
        key = (school, str(row["student_id"]), day)
        self._missed.setdefault(key, {})[section] = str(row["status"])
        self._places.setdefault(key, (record.file, record.line_number))
        self._lines[school, record.file] += 1
