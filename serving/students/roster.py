"""The students of some records as a list shows them, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from records.access.scoped_records import ScopedRecords
from serving.wording import words


@dataclass(frozen=True)
class RosterEntry:
    """A student as a list shows them. An empty word is one that may not be seen or is not on
    record.
    """

    student_id: str
    name: str
    by_name: tuple[str, str]
    grade_level: int | None
    school: str

    @property
    def grade(self) -> str:
        return words.grade(self.grade_level)


def read_roster(records: ScopedRecords) -> dict[str, RosterEntry]:
    """Every student of `records`, by last name, and first name."""
    schools = records.frame("schools").set_index("school_id")["name"]
    frame = records.frame("students").set_index("student_id").reindex(list(records.students))
    schools = frame["school_id"].map(schools).fillna(frame["school_id"])
    columns = (frame.index, frame["first_name"], frame["last_name"], frame["grade_level"], schools)
    listed = [_roster_entry(*values) for values in zip(*columns, strict=True)]
    return {
        one.student_id: one for one in sorted(listed, key=lambda one: (one.by_name, one.student_id))
    }


def _roster_entry(student: str, first: Any, last: Any, grade: Any, school: Any) -> RosterEntry:
    first, last, school = ("" if pd.isna(value) else str(value) for value in (first, last, school))
    name = f"{first} {last}".strip() or "Name not shared"
    level = None if pd.isna(grade) else int(grade)
    return RosterEntry(student, name, (last.casefold(), first.casefold()), level, school)
