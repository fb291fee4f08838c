"""A partner's list of participants as one CSV file, before anyone is matched to a student.

Owns the way from a line to a `Participant`. A line that cannot be read is quarantined with its
reason, which names the line and the column and never repeats their content: it is about a child.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from records.canonical.quarantine import BadRow, BadValue, convert
from records.canonical.schema import Category, Column
from records.connectors.csv_files import CsvRecord, read_csv
from records.connectors.protocol import SourceRefused
from records.identity.participants import Participant

_GRADES = {"PK": "-1", "K": "0", "KG": "0"}
_LOWEST_GRADE, _HIGHEST_GRADE = -1, 13
_EXPECTED = {
    "birth_date": "birth_date must be a day such as 2013-04-17, or empty",
    "grade": f"grade must be PK, K or a number up to {_HIGHEST_GRADE}, or empty",
}


def _text(name: str, *, required: bool = False) -> Column:
    return Column(
        name,
        pa.string(),
        Category.DIRECTORY,
        name.replace("_", " ").capitalize(),
        required=required,
    )


PARTICIPANT_COLUMNS = (
    _text("participant_id", required=True),
    _text("first_name", required=True),
    _text("last_name"),
    Column("birth_date", pa.date32(), Category.DIRECTORY, "Date of birth"),
    Column("grade", pa.int32(), Category.DIRECTORY, "Grade", unit="grade"),
    _text("school"),
)
"""The columns of the file. Each must be present; what a partner does not know stays empty."""

COLUMN_NAMES = tuple(column.name for column in PARTICIPANT_COLUMNS)
MAX_LENGTHS = {"participant_id": 80, "first_name": 200, "last_name": 200, "school": 200}
"""Characters that the store has room for."""


@dataclass
class ParticipantList:
    """What a list contained: read = participants + bad + repeated + ignored."""

    file: str
    participants: list[Participant] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    repeated: int = 0
    ignored: Counter[str] = field(default_factory=Counter)
    dropped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def read(self) -> int:
        return len(self.participants) + len(self.bad) + self.repeated + self.ignored.total()

    def quarantine(self, row: BadRow) -> None:
        self.bad.append(row)

    def ignore(self, file: str, kind: str) -> None:
        self.ignored[kind] += 1

    def drop_column(self, file: str, column: str, kind: str) -> None:
        self.dropped[column] = kind

    def note(self, text: str) -> None:
        self.notes.append(text)


def read_participants(path: Path, organization_id: str) -> ParticipantList:
    """Read one partner's list of participants.

    Raises:
        SourceRefused: the header is missing or lacks a column.
    """
    try:
        return _read(path, organization_id)
    except SourceRefused:
        # Without a header the first line is a child, whom the reader's own words would repeat.
        raise SourceRefused(
            f"{path.name}, line 1: the header must name each of {', '.join(COLUMN_NAMES)} once"
        ) from None


def _read(path: Path, organization_id: str) -> ParticipantList:
    participants = ParticipantList(path.name)
    seen: dict[str, tuple[int, Participant]] = {}
    for record in read_csv(
        path,
        COLUMN_NAMES,
        participants,
        lambda file, done, total: None,
        allowed_columns=COLUMN_NAMES,
        has_footer=True,
    ):
        try:
            participant = _participant(record, organization_id)
            first_line, first = seen.setdefault(
                participant.participant_id, (record.line_number, participant)
            )
            if first != participant:
                raise BadValue(
                    "participant_id",
                    f"line {first_line} has the same participant_id and other facts",
                )
        except BadValue as error:
            participants.quarantine(
                BadRow(path.name, record.line_number, error.column, error.reason, record.raw)
            )
        else:
            if first_line == record.line_number:
                participants.participants.append(participant)
            else:
                participants.repeated += 1
    return participants


def _participant(record: CsvRecord, organization_id: str) -> Participant:
    grade = record.fields["grade"].strip().upper()
    texts = {**record.fields, "grade": _GRADES.get(grade, grade)}
    values = {column.name: _value(column, texts[column.name]) for column in PARTICIPANT_COLUMNS}
    return Participant(
        organization_id,
        values["participant_id"],
        values["first_name"],
        values["last_name"] or "",
        values["birth_date"],
        values["grade"],
        values["school"] or "",
    )


def _value(column: Column, text: str) -> Any:
    try:
        value = convert(column, text)
    except BadValue as error:
        raise BadValue(column.name, _EXPECTED.get(column.name, error.reason)) from None
    if isinstance(value, str) and len(value) > MAX_LENGTHS[column.name]:
        raise BadValue(
            column.name, f"{column.name} is longer than {MAX_LENGTHS[column.name]} characters"
        )
    if isinstance(value, int) and not _LOWEST_GRADE <= value <= _HIGHEST_GRADE:
        raise BadValue(column.name, _EXPECTED[column.name])
    return value
