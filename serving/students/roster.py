"""The students of some records as a list shows them, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from records.access.scoped_records import ScopedRecords
from serving.wording import words


@dataclass(frozen=True)
class RosterEntry:
    """A student as a list shows them. What may not be seen or is not on record is empty.

    Attributes:
        sort_key: last and first name without case.
        grade_level: -1 is pre-kindergarten, 0 kindergarten.
    """

    student_id: str
    name: str
    sort_key: tuple[str, str]
    grade_level: int | None
    school: str

    @property
    def grade(self) -> str:
        """The grade level in words."""
        return words.grade(self.grade_level)


def read_roster(records: ScopedRecords) -> dict[str, RosterEntry]:
    """Every student of `records` by student ID, in the order of last and first name."""
    school_names = records.frame("schools").set_index("school_id")["name"].dropna().to_dict()
    students = records.frame("students").set_index("student_id").reindex(list(records.students))
    schools = [school_names.get(school, school) for school in students["school_id"]]
    columns = (
        students.index,
        students["first_name"],
        students["last_name"],
        students["grade_level"],
        schools,
    )
    entries = [_roster_entry(*values) for values in zip(*columns, strict=True)]
    entries.sort(key=lambda entry: (entry.sort_key, entry.student_id))
    return {entry.student_id: entry for entry in entries}


def _roster_entry(student: str, first: Any, last: Any, grade: Any, school: Any) -> RosterEntry:
    first, last, school = ("" if pd.isna(value) else str(value) for value in (first, last, school))
    name = f"{first} {last}".strip() or "Name not shared"
    level = None if pd.isna(grade) else int(grade)
    return RosterEntry(student, name, (last.casefold(), first.casefold()), level, school)
