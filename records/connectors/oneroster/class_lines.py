"""Lines of `attendance.csv` about one class, which become days where a school records no days.

A line that names a class in `classSourcedId` is about that class alone. How many classes a day has
and how classes missed make a day is what the source's profile says; without the number of classes a
line is refused, because one class of four and one of one are not the same day.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from records.canonical.quarantine import BadValue, Value
from records.connectors.attendance.classes import ClassAttendance, ClassMissed, Section, is_absence
from records.connectors.csv_files import CsvRecord
from records.connectors.profiles.profile import SourceProfile
from records.connectors.protocol import RowSink

CLASS_COLUMN = "classSourcedId"
"""The column that names the class which a line is about; empty where it is about the day."""

_OF_ONE_CLASS = "class"
"""The part of the day of a late arrival at one class."""


class ClassLines:
    """The lines of one source that are about classes.

    Args:
        is_student: whether a line is of one of the students; if not, it was counted.
    """

    def __init__(
        self, sink: RowSink, profile: SourceProfile, is_student: Callable[[CsvRecord], bool]
    ) -> None:
        self.sink, self.profile, self.is_student = sink, profile, is_student
        self.classes = ClassAttendance(sink, profile)

    def takes(self, record: CsvRecord, row: dict[str, Value]) -> bool:
        """Whether a line was counted here; else its row is an entry of the day.

        A late arrival at a class is one of the day.

        Raises:
            BadValue: it is about a class, and nobody has said how many of them make a day.
        """
        name, status = record.fields.get(CLASS_COLUMN, "").strip(), str(row["status"])
        if not name:
            if self.profile.attendance_by == "section":
                self.sink.ignore(record.file, "attendance by days (the profile says by classes)")
                return True
            if is_absence(status):
                self.classes.missed_by_day(row)
            return False
        section: Section = ("", name)
        if is_absence(status):
            self._miss(record, row, section)
            return True
        day = row["date"]
        assert isinstance(day, date)
        self.classes.came_to(str(row["student_id"]), day, section)
        if status == "present":
            self.sink.ignore(record.file, "present in one class")
            return True
        row["part"] = _OF_ONE_CLASS
        return False

    def finish(self) -> None:
        """Count the lines, and write the days of the schools that record none."""
        self.classes.finish({})

    def _miss(self, record: CsvRecord, row: dict[str, Value], section: Section) -> None:
        if self.profile.classes_a_day is None and self.profile.attendance_by != "day":
            raise BadValue(
                CLASS_COLUMN,
                f"{CLASS_COLUMN} is {section[1]!r}: the line is about one class, and"
                " profiles/oneroster.toml must say how many of them a day has, as classes_a_day"
                " under [attendance]",
            )
        if not self.is_student(record):
            return
        day = row["date"]
        assert isinstance(day, date)
        missed = ClassMissed(
            student=str(row["student_id"]),
            school=str(row["school_id"]),
            day=day,
            section=section,
            status=str(row["status"]),
        )
        self.classes.add(missed, record.file, record.line_number)
