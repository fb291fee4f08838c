"""Partners' service history: programs, enrollments and sessions, as CSV files.

Without a mapping these are `programs.csv`, `enrollments.csv` and `sessions.csv`, whose headers are
the canonical column names; with one (see `mapping.py`) they are the partner's own export. They are
loaded onto the district's existing records: a row of a student whom the district does not have
waits for them, and a participant who has not been matched to a student is quarantined.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path

from records.canonical.quarantine import BadRow, BadValue, Value, convert, refuse_shortened
from records.canonical.schema import Column, canonical_table
from records.canonical.supports import SupportCatalog
from records.connectors.csv_files import CsvRecord, RowReader, quarantine_record, read_csv
from records.connectors.file_names import files_by_name
from records.connectors.partner_files.mapping import (
    DATE_COLUMNS,
    FileMapping,
    ServiceMapping,
    normalize_word,
)
from records.connectors.protocol import RowSink, SourceRefused
from records.system.progress import ProgressCallback

PLAIN_FILES = {
    "programs.csv": "programs",
    "enrollments.csv": "service_enrollments",
    "sessions.csv": "service_sessions",
}
AWAITING_IDENTIFICATION = "waiting for somebody at the district to say which student this is"
NOT_A_STUDENT_REASON = "of a participant who is not a student of this district"
_STAYS_EMPTY = {
    "programs": "what partners offer; nothing can be suggested",
    "enrollments": "who takes part; no partner sees any student",
    "exits": "when and why people left",
    "sessions": "single sessions",
}
_READING_ORDER = ("programs", "exits", "enrollments", "sessions")
_MEMO_LIMIT = 100_000
_MAX_SESSION_MINUTES = 24 * 60
_TIME_OF_DAY = re.compile(
    r"(?<!\d)(\d{1,2}):(\d{2})(?::\d{2}(?:\.\d+)?)?\s*([ap])?\.?(?:m\b)?", re.I
)
_WITH_UNIT = re.compile(
    r"(?P<hours>\d+(?:\.\d+)?) ?h(?:(?:ou)?rs?)?\.?"
    r"(?: ?(?P<rest>[0-5]?\d) ?(?:m(?:in(?:ute)?s?)?\.?)?)?"
    r"|(?P<minutes>\d+(?:\.\d+)?) ?m(?:in(?:ute)?s?)?\.?",
    re.I,
)
_DECIMAL_COMMA = re.compile(r"\d+,\d{1,2}")
"""Never three digits, which could be thousands."""
_HOURS_AND_MINUTES = re.compile(r"(\d{1,2}):([0-5]\d)(?::[0-5]\d)?")


class ServiceHistory:
    """Connector for a folder of partners' files; of one partner, with `organization_id`.

    Args:
        organization_id: whose files these are; a row that names another organization is
            quarantined.
        mapping: how to read the partner's own export.
        links: the student of each of the partner's own participant identifiers.
        non_students: participants confirmed not to be students; records about them are left out.
        supports: the district's kinds of support; a program of another kind is quarantined. By
            default those of Handrail.

    Raises:
        SourceRefused: the mapping is another organization's.
    """

    name = "service-history"
    tables: tuple[str, ...] = tuple(PLAIN_FILES.values())

    def __init__(
        self,
        organization_id: str | None = None,
        mapping: ServiceMapping | None = None,
        links: Mapping[str, str] | None = None,
        non_students: Collection[str] = (),
        supports: SupportCatalog | None = None,
    ) -> None:
        if mapping is not None and organization_id not in (None, mapping.organization_id):
            raise SourceRefused(
                f"{mapping.file} is the mapping of {mapping.organization_id}, not of"
                f" {organization_id}"
            )
        self.organization_id = organization_id if mapping is None else mapping.organization_id
        self.mapping = mapping
        self.links = links or {}
        self.non_students = non_students
        self.supports = supports or SupportCatalog.declared()

    def read(self, directory: Path, sink: RowSink, progress: ProgressCallback) -> None:
        """Read the files that the mapping names, or else the three plain files.

        Raises:
            SourceRefused: none is there, one is named twice, or a header lacks a column.
        """
        if self.mapping is not None:
            _MappedExport(
                self.mapping,
                self.links,
                self.non_students,
                self.supports,
                directory,
                sink,
                progress,
            ).run()
            return
        files = files_by_name(directory, PLAIN_FILES)
        if not files.keys() & PLAIN_FILES.keys():
            raise SourceRefused(f"{directory} holds none of {', '.join(PLAIN_FILES)}")
        for file, name in PLAIN_FILES.items():
            if file in files:
                read_canonical_file(
                    files[file],
                    name,
                    sink,
                    progress,
                    organization_id=self.organization_id,
                    supports=self.supports,
                    has_footer=True,
                )
            else:
                sink.missing(file, _STAYS_EMPTY[file.removesuffix(".csv")])


def read_canonical_file(
    path: Path,
    name: str,
    sink: RowSink,
    progress: ProgressCallback,
    student_column: str = "student_id",
    organization_id: str | None = None,
    *,
    supports: SupportCatalog | None = None,
    has_footer: bool = False,
) -> None:
    """Read a file whose columns are those of a canonical table into that table.

    Args:
        supports: the kinds of support that its rows may name; only programs have any.
        student_column: the file's column that stands for `student_id`.
        organization_id: the one organization that its rows may name; None allows any.
        has_footer: whether a report's footer may stand below its records.
    """
    canonical = canonical_table(name)
    if supports is not None:
        canonical = supports.table(canonical)
    renamed = {"student_id": student_column}
    required = tuple(
        renamed.get(column.name, column.name) for column in canonical.columns if column.required
    )
    reader = RowReader(canonical, renamed)
    known = tuple(renamed.get(column.name, column.name) for column in canonical.columns)
    for record in read_csv(
        path, required, sink, progress, known_columns=known, has_footer=has_footer
    ):
        try:
            row = reader.row(record)
            if organization_id is not None and row["organization_id"] != organization_id:
                raise BadValue(
                    "organization_id",
                    f"organization_id is {row['organization_id']!r}; "
                    f"these are the files of {organization_id}",
                )
        except BadValue as error:
            quarantine_record(sink, path.name, record, error)
        else:
            sink.keep(name, row, path.name, record.line_number)


@dataclass
class _Exit:
    """When a participant left, from a file of exits, until the enrollment that it ends is found."""

    file: str
    record: CsvRecord
    day: date
    reason: Value
    used: bool = False


class _MappedExport:
    """One reading of an export through its mapping."""

    def __init__(
        self,
        mapping: ServiceMapping,
        links: Mapping[str, str],
        non_students: Collection[str],
        supports: SupportCatalog,
        directory: Path,
        sink: RowSink,
        progress: ProgressCallback,
    ) -> None:
        self.mapping, self.links, self.non_students = mapping, links, non_students
        self.supports = supports
        self.non_student_enrollments: set[tuple[str, ...]] = set()
        self.directory, self.sink, self.progress = directory, sink, progress
        self.exits: dict[tuple[str, ...], list[_Exit]] = {}

    def run(self) -> None:
        files = self._files()
        for values in self.mapping.programs.values():
            row = {
                column.name: convert(
                    column, values.get(column.name) or self._partner_default(column)
                )
                for column in self.supports.table(canonical_table("programs")).columns
            }
            self.sink.derive("programs", row, self.mapping.file, 0)
        for holds in _READING_ORDER:
            for path, mapped in files:
                if mapped.holds == holds:
                    self._read(path, mapped)
        for enrollment, exit_ in (
            (key, exit_) for key, exits in self.exits.items() for exit_ in exits
        ):
            if exit_.used:
                self.sink.use(exit_.file)
            elif enrollment in self.non_student_enrollments:
                self.sink.ignore(exit_.file, NOT_A_STUDENT_REASON)
            else:
                self.sink.quarantine(
                    BadRow(
                        exit_.file,
                        exit_.record.line_number,
                        None,
                        "no enrolment was found that this exit ends",
                        exit_.record.raw,
                        exit_.record.columns,
                    )
                )

    def _files(self) -> list[tuple[Path, FileMapping]]:
        files: list[tuple[Path, FileMapping]] = []
        present = files_by_name(self.directory, (mapped.name for mapped in self.mapping.files))
        for mapped in self.mapping.files:
            paths = [
                path
                for name, path in present.items()
                if name == mapped.name or fnmatchcase(path.name.casefold(), mapped.name.casefold())
            ]
            if not paths:
                self.sink.missing(mapped.name, _STAYS_EMPTY[mapped.holds])
            files += [(path, mapped) for path in paths]
        if not files:
            names = ", ".join(mapped.name for mapped in self.mapping.files)
            raise SourceRefused(
                f"{self.directory} holds none of {names}, which {self.mapping.file} names"
            )
        names_read = [path.name for path, _ in files]
        for name in names_read:
            if names_read.count(name) > 1:
                raise SourceRefused(
                    f"{self.mapping.file} names {name} in two places; a file is read once"
                )
        for path in present.values():
            if path.suffix.casefold() == ".csv" and path.name not in names_read:
                self.sink.note(f"{path.name} is not in {self.mapping.file}; it was left alone")
        return files

    def _partner_default(self, column: Column) -> str | None:
        return self.mapping.organization_id if column.name == "organization_id" else None

    def _read(self, path: Path, mapped: FileMapping) -> None:
        headers = tuple(header for several in mapped.columns.values() for header in several)
        reader = _MappedReader(mapped, self.mapping, self.links, self.supports)
        for record in read_csv(
            path,
            headers,
            self.sink,
            self.progress,
            allowed_columns=frozenset(headers),
            header_line=mapped.header_line,
            has_footer=True,
            date_columns=() if mapped.dates else mapped.date_headers,
        ):
            left_out = reader.reason_left_out(record)
            if left_out is None and reader.participant_id(record) in self.non_students:
                left_out = NOT_A_STUDENT_REASON
                self.non_student_enrollments.add((reader.named_enrollment(record),))
            if left_out is not None:
                self.sink.ignore(path.name, left_out)
                continue
            try:
                row = reader.row(record)
            except BadValue as error:
                quarantine_record(self.sink, path.name, record, error)
                continue
            if mapped.holds == "exits":
                self._add_exit(path.name, record, row, reader)
                continue
            if mapped.holds == "enrollments":
                self._close_with_exit(row, reader.enrollment(record, row))
            self.sink.keep(mapped.kind.table, row, path.name, record.line_number)

    def _add_exit(
        self, file: str, record: CsvRecord, row: Mapping[str, Value], reader: _MappedReader
    ) -> None:
        day = row["end_date"]
        assert isinstance(day, date)
        exit_ = _Exit(file, record, day, row["exit_reason"])
        self.exits.setdefault(reader.enrollment(record, row), []).append(exit_)

    def _close_with_exit(self, row: dict[str, Value], enrollment: tuple[str, ...]) -> None:
        """Close an open enrollment with its first exit on or after the start date."""
        start = row["start_date"]
        assert isinstance(start, date)
        student, program = str(row["student_id"]), str(row["program_id"])
        exits = self.exits.get(enrollment) or self.exits.get((student, program), [])
        later = [exit_ for exit_ in exits if exit_.day >= start and not exit_.used]
        if later and row["end_date"] is None:
            first = min(later, key=lambda exit_: exit_.day)
            first.used = True
            row["end_date"] = first.day
            row["exit_reason"] = first.reason if row["exit_reason"] is None else row["exit_reason"]


class _MappedReader:
    """Turns records of one file into canonical rows. Errors name the export's own columns."""

    def __init__(
        self,
        mapped: FileMapping,
        mapping: ServiceMapping,
        links: Mapping[str, str],
        supports: SupportCatalog,
    ) -> None:
        self.mapped, self.mapping, self.links, self.supports = mapped, mapping, links, supports
        self._readers = {
            column.name: self._reader_for(column) for column in self._canonical_columns()
        }
        self._left_out = [
            (mapped.columns[name][0], words) for name, words in mapped.leave_out.items()
        ]

    def row(self, record: CsvRecord) -> dict[str, Value]:
        """The canonical row of a record.

        Raises:
            BadValue: naming the export's column that is wrong first.
        """
        return {name: read(record) for name, read in self._readers.items()}

    def reason_left_out(self, record: CsvRecord) -> str | None:
        """Why a record is left out, None if it is not."""
        for header, words in self._left_out:
            word = normalize_word(record.fields[header])
            if word in words:
                return f"{header} is {word}"
        return None

    def enrollment(self, record: CsvRecord, row: Mapping[str, Value]) -> tuple[str, ...]:
        """What identifies an enrollment: the export's identifier, or else student and program."""
        enrollment_id = self.named_enrollment(record)
        return (
            (enrollment_id,) if enrollment_id else (str(row["student_id"]), str(row["program_id"]))
        )

    def named_enrollment(self, record: CsvRecord) -> str:
        """The export's identifier of an enrollment; empty where it has none."""
        header = self.mapped.columns.get("enrollment_id")
        return record.fields[header[0]].strip() if header else ""

    def participant_id(self, record: CsvRecord) -> str | None:
        """The partner's identifier of the person; None where the file names the student."""
        return record.fields[self._participant_column].strip() if self._participant_column else None

    def _canonical_columns(self) -> Iterator[Column]:
        """The canonical columns of the file.

        Of an exit only the last day is required, and the student and program if they are mapped.
        """
        for column in self.supports.table(self.mapped.kind.canonical).columns:
            if self.mapped.holds == "exits":
                is_required = column.name in self.mapped.columns or (
                    column.name == "student_id" and self._participant_column
                )
                column = replace(
                    column, required=bool(is_required) and column.name != "exit_reason"
                )
            yield column

    @property
    def _participant_column(self) -> str | None:
        headers = self.mapped.columns.get("participant_id")
        return headers[0] if headers else None

    def _reader_for(self, column: Column) -> Callable[[CsvRecord], Value]:
        """How one canonical column is read from a record.

        What the mapping derives from other columns comes first, then constants, then the column's
        own header.
        """
        name, mapped = column.name, self.mapped
        if name == "organization_id":
            return lambda record: self.mapping.organization_id
        if name == "student_id" and self._participant_column:
            return _memoized(self._participant_column, self._student)
        if name == "minutes" and "hours" in mapped.columns:
            hours = mapped.columns["hours"][0]
            return _memoized(hours, lambda text: _duration(hours, text.strip(), 60))
        if name == "minutes" and "start_time" in mapped.columns:
            return self._minutes
        headers = mapped.columns.get(name, ())
        if name in mapped.constants or not headers:
            constant = convert(replace(column, required=False), mapped.constants.get(name))
            return lambda record: constant
        if len(headers) > 1:
            return lambda record: convert(
                column, "/".join(record.fields[header].strip() for header in headers), headers[0]
            )
        return _memoized(headers[0], self._text_reader(column, headers[0]))

    def _text_reader(self, column: Column, header: str) -> Callable[[str], Value]:
        """How the text of a single mapped column is read. Errors name the export's own column."""
        if column.name in DATE_COLUMNS:
            return lambda text: self._date(column, header, text)
        if column.name == "program_id" and self.mapping.programs:
            return lambda text: self._program(column, header, text)
        if column.name == "minutes":
            return lambda text: _duration(header, text.strip(), 1)
        words = self.mapped.values.get(column.name)
        if words is None:
            return lambda text: convert(column, text, header)
        return lambda text: convert(column, self._translate(header, words, text), header)

    def _student(self, text: str) -> Value:
        participant = text.strip()
        header = self._participant_column or ""
        if not participant:
            raise BadValue(header, f"{header} is empty, and a row needs it")
        refuse_shortened(header, participant)
        try:
            return self.links[participant]
        except KeyError:
            raise BadValue(header, AWAITING_IDENTIFICATION) from None

    def _date(self, column: Column, header: str, text: str) -> Value:
        stripped = text.strip()
        if not stripped or not self.mapped.dates:
            return convert(column, stripped, header)
        day = self.mapped.read_date(stripped)
        if day is None:
            formats = " or ".join(self.mapped.dates)
            raise BadValue(header, f"{header} is {stripped!r}; a date must look like {formats}")
        return convert(column, day.isoformat(), header)

    def _program(self, column: Column, header: str, text: str) -> Value:
        known = self.mapping.programs.get(normalize_word(text))
        if known is None and text.strip():
            raise BadValue(
                header, f"{header} is {text.strip()!r}, no program in {self.mapping.file}"
            )
        return convert(column, known["program_id"] if known else "", header)

    def _translate(self, header: str, words: Mapping[str, str], text: str) -> str:
        if not text.strip():
            return ""
        try:
            return words[normalize_word(text)]
        except KeyError:
            raise BadValue(
                header,
                f"{header} is {text.strip()!r}, and {self.mapping.file} does not say "
                "what that means",
            ) from None

    def _minutes(self, record: CsvRecord) -> Value:
        first, last = self.mapped.columns["start_time"][0], self.mapped.columns["end_time"][0]
        start, end = record.fields[first].strip(), record.fields[last].strip()
        if not start and not end:
            return None
        minutes = _minute_of_day(last, end) - _minute_of_day(first, start)
        if minutes < 0:
            raise BadValue(last, f"{last} is {end!r}, before {first}, which is {start!r}")
        return float(minutes)


def _memoized(header: str, read: Callable[[str], Value]) -> Callable[[CsvRecord], Value]:
    """A reader of one column that converts no text twice."""
    memo: dict[str, Value] = {}

    def cell(record: CsvRecord) -> Value:
        text = record.fields[header]
        try:
            return memo[text]
        except KeyError:
            value = read(text)
            if len(memo) < _MEMO_LIMIT:
                memo[text] = value
            return value

    return cell


def _duration(header: str, text: str, minutes_each: int) -> float | None:
    """Minutes of a session.

    Hours may also be written as 1:30, and both with their unit: 1h 30, 1.5 hrs, 90 min.
    """
    clock = _HOURS_AND_MINUTES.fullmatch(text) if minutes_each == 60 else None
    if clock is not None:
        return 60.0 * int(clock[1]) + int(clock[2])
    if _DECIMAL_COMMA.fullmatch(text):
        text = text.replace(",", ".")
    with_unit = _WITH_UNIT.fullmatch(text)
    if with_unit is not None:
        hours, minutes = with_unit["hours"], with_unit["rest"] or with_unit["minutes"]
        text = str(float(hours or 0) * 60 + float(minutes or 0))
        minutes_each = 1
    amount = convert(canonical_table("service_sessions").column("minutes"), text, header)
    if not isinstance(amount, float):
        return None
    if not 0 <= amount * minutes_each <= _MAX_SESSION_MINUTES:
        raise BadValue(header, f"{header} is {text!r}; a session lasts from nothing to a whole day")
    return amount * minutes_each


def _minute_of_day(header: str, text: str) -> int:
    """Minutes after midnight."""
    match = _TIME_OF_DAY.search(text)
    hour, minute = (int(match[1]), int(match[2])) if match else (99, 99)
    meridiem = match[3].lower() if match and match[3] else None
    if hour > (12 if meridiem else 23) or minute > 59 or (meridiem and not hour):
        raise BadValue(header, f"{header} is {text!r}; a time must look like 15:30 or 3:30 PM")
    return (hour % 12 + 12 * (meridiem == "p") if meridiem else hour) * 60 + minute
