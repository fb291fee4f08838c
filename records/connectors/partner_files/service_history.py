"""Partners' service history: programs, who took part, and each session, as CSV files.

Without a mapping these are `programs.csv`, `enrollments.csv` and `sessions.csv`, whose headers are
the canonical column names; with one (see `mapping.py`) they are the partner's own export. Loaded
onto the district's records that are there already: a student whom the district does not know is
quarantined, and so is a participant of whom nobody has said which student it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from records.canonical.quarantine import BadRow, BadValue, Value, convert
from records.canonical.schema import Column, canonical_table
from records.connectors.csv_files import CsvRecord, RowReader, quarantine_record, read_csv
from records.connectors.partner_files.mapping import FileMapping, ServiceMapping, normalize_word
from records.connectors.protocol import RowSink, SourceRefused
from records.system.progress import ProgressCallback

PLAIN_FILES = {
    "programs.csv": "programs",
    "enrollments.csv": "service_enrollments",
    "sessions.csv": "service_sessions",
}
AWAITING_IDENTIFICATION = "waiting for somebody at the district to say which student this is"
NOT_A_STUDENT_REASON = "of a participant who is not a student of this district"
_WITHOUT = {
    "programs": "what partners offer; nothing can be suggested",
    "enrollments": "who takes part; no partner sees any student",
    "exits": "when and why people left",
    "sessions": "single sessions",
}
_ORDER = ("programs", "exits", "enrollments", "sessions")
_MEMO_LIMIT = 100_000
_LONGEST_SESSION = 24 * 60
_CLOCK = re.compile(r"(?<!\d)(\d{1,2}):(\d{2})(?::\d{2}(?:\.\d+)?)?\s*([ap])?\.?(?:m\b)?", re.I)
_HOURS = re.compile(r"(\d{1,2}):([0-5]\d)(?::[0-5]\d)?")


class ServiceHistory:
    """Connector for a folder of one partner's files, or of several partners' when there is no
    `organization_id`.

    Args:
        organization_id: whose files these are; a row that names another organisation is
            quarantined.
        mapping: how to read the partner's own export.
        links: the student of each of the partner's own participant identifiers.
        strangers: participants of whom somebody has said that they are no student; what is about
            them is left out.

    Raises:
        SourceRefused: the mapping is another organisation's.
    """

    name = "service-history"
    tables: tuple[str, ...] = tuple(PLAIN_FILES.values())

    def __init__(
        self,
        organization_id: str | None = None,
        mapping: ServiceMapping | None = None,
        links: Mapping[str, str] | None = None,
        strangers: Collection[str] = (),
    ) -> None:
        if mapping is not None and organization_id not in (None, mapping.organization_id):
            raise SourceRefused(
                f"{mapping.file} is the mapping of {mapping.organization_id}, not of"
                f" {organization_id}"
            )
        self.organization_id = organization_id if mapping is None else mapping.organization_id
        self.mapping = mapping
        self.links = links or {}
        self.strangers = strangers

    def read(self, directory: Path, sink: RowSink, progress: ProgressCallback) -> None:
        """Read the files that the mapping names, or the three.

        Raises:
            SourceRefused: none is there, one is named twice, or a header lacks a column.
        """
        if self.mapping is not None:
            _Mapped(self.mapping, self.links, self.strangers, directory, sink, progress).run()
            return
        if not any((directory / file).is_file() for file in PLAIN_FILES):
            raise SourceRefused(f"{directory} holds none of {', '.join(PLAIN_FILES)}")
        for file, name in PLAIN_FILES.items():
            if (directory / file).is_file():
                read_canonical_file(
                    directory / file, name, sink, progress, organization_id=self.organization_id
                )
            else:
                sink.missing(file, _WITHOUT[file.removesuffix(".csv")])


def read_canonical_file(
    path: Path,
    name: str,
    sink: RowSink,
    progress: ProgressCallback,
    student_column: str = "student_id",
    organization_id: str | None = None,
) -> None:
    """Read a file whose columns are those of a canonical table, into that table.

    Args:
        organization_id: the one organisation that its rows may name.
    """
    canonical = canonical_table(name)
    renamed = {"student_id": student_column}
    required = tuple(
        renamed.get(column.name, column.name) for column in canonical.columns if column.required
    )
    reader = RowReader(canonical, renamed)
    for line in read_csv(path, required, sink, progress):
        try:
            row = reader.row(line)
            if organization_id is not None and row["organization_id"] != organization_id:
                raise BadValue(
                    "organization_id",
                    f"organization_id is {row['organization_id']!r}; "
                    f"these are the files of {organization_id}",
                )
        except BadValue as error:
            quarantine_record(sink, path.name, line, error)
        else:
            sink.keep(name, row, path.name, line.number)


@dataclass
class _Exit:
    """When somebody left, as a file of its own said it, until the enrolment that it ends is
    found.
    """

    file: str
    line: CsvRecord
    day: date
    reason: Value
    used: bool = False


class _Mapped:
    """One reading of an export through its mapping."""

    def __init__(
        self,
        mapping: ServiceMapping,
        links: Mapping[str, str],
        strangers: Collection[str],
        directory: Path,
        sink: RowSink,
        progress: ProgressCallback,
    ) -> None:
        self.mapping, self.links, self.strangers = mapping, links, strangers
        self.of_strangers: set[tuple[str, ...]] = set()
        self.directory, self.sink, self.progress = directory, sink, progress
        self.exits: dict[tuple[str, ...], list[_Exit]] = {}

    def run(self) -> None:
        found = self._files()
        for values in self.mapping.programs.values():
            row = {
                column.name: convert(column, values.get(column.name) or self._of_partner(column))
                for column in canonical_table("programs").columns
            }
            self.sink.derive("programs", row, self.mapping.file, 0)
        for holds in _ORDER:
            for path, mapped in found:
                if mapped.holds == holds:
                    self._read(path, mapped)
        for enrollment, one in ((key, one) for key, exits in self.exits.items() for one in exits):
            if one.used:
                self.sink.use(one.file)
            elif enrollment in self.of_strangers:
                self.sink.ignore(one.file, NOT_A_STUDENT_REASON)
            else:
                self.sink.quarantine(
                    BadRow(
                        one.file,
                        one.line.number,
                        None,
                        "no enrolment was found that this exit ends",
                        one.line.raw,
                        one.line.columns,
                    )
                )

    def _files(self) -> list[tuple[Path, FileMapping]]:
        found: list[tuple[Path, FileMapping]] = []
        for mapped in self.mapping.files:
            paths = sorted(path for path in self.directory.glob(mapped.name) if path.is_file())
            if not paths:
                self.sink.missing(mapped.name, _WITHOUT[mapped.holds])
            found += [(path, mapped) for path in paths]
        if not found:
            names = ", ".join(mapped.name for mapped in self.mapping.files)
            raise SourceRefused(
                f"{self.directory} holds none of {names}, which {self.mapping.file} names"
            )
        read = [path.name for path, _ in found]
        for name in read:
            if read.count(name) > 1:
                raise SourceRefused(
                    f"{self.mapping.file} names {name} in two places; a file is read once"
                )
        for path in sorted(self.directory.glob("*.csv")):
            if path.name not in read:
                self.sink.note(f"{path.name} is not in {self.mapping.file}; it was left alone")
        return found

    def _of_partner(self, column: Column) -> str | None:
        return self.mapping.organization_id if column.name == "organization_id" else None

    def _read(self, path: Path, mapped: FileMapping) -> None:
        headers = tuple(header for several in mapped.columns.values() for header in several)
        reader = _MappedReader(mapped, self.mapping, self.links)
        for line in read_csv(path, headers, self.sink, self.progress, only=frozenset(headers)):
            left_out = reader.left_out(line)
            if left_out is None and reader.participant(line) in self.strangers:
                left_out = NOT_A_STUDENT_REASON
                self.of_strangers.add((reader.named_enrollment(line),))
            if left_out is not None:
                self.sink.ignore(path.name, left_out)
                continue
            try:
                row = reader.row(line)
            except BadValue as error:
                quarantine_record(self.sink, path.name, line, error)
                continue
            if mapped.holds == "exits":
                self._keep_exit(path.name, line, row, reader)
                continue
            if mapped.holds == "enrollments":
                self._end(row, reader.enrollment(line, row))
            self.sink.keep(mapped.kind.table, row, path.name, line.number)

    def _keep_exit(
        self, file: str, line: CsvRecord, row: Mapping[str, Value], reader: _MappedReader
    ) -> None:
        day = row["end_date"]
        assert isinstance(day, date)
        one = _Exit(file, line, day, row["exit_reason"])
        self.exits.setdefault(reader.enrollment(line, row), []).append(one)

    def _end(self, row: dict[str, Value], enrollment: tuple[str, ...]) -> None:
        """Put the first exit on or after the first day into an enrolment that has no last day of
        its own.
        """
        start = row["start_date"]
        assert isinstance(start, date)
        student, program = str(row["student_id"]), str(row["program_id"])
        exits = self.exits.get(enrollment) or self.exits.get((student, program), [])
        later = [one for one in exits if one.day >= start and not one.used]
        if later and row["end_date"] is None:
            first = min(later, key=lambda one: one.day)
            first.used = True
            row["end_date"] = first.day
            row["exit_reason"] = first.reason if row["exit_reason"] is None else row["exit_reason"]


class _MappedReader:
    """Turns lines of one file into canonical rows. Errors name the export's own columns."""

    def __init__(
        self, mapped: FileMapping, mapping: ServiceMapping, links: Mapping[str, str]
    ) -> None:
        self.mapped, self.mapping, self.links = mapped, mapping, links
        self._cells = [self._cell(column) for column in self._columns()]
        self._left_out = [
            (mapped.columns[name][0], words) for name, words in mapped.leave_out.items()
        ]

    def row(self, line: CsvRecord) -> dict[str, Value]:
        """The canonical row of a line.

        Raises:
            BadValue: naming the export's column that is wrong first.
        """
        return {name: read(line) for name, read in self._cells}

    def left_out(self, line: CsvRecord) -> str | None:
        """Why a line is to be left out, None if it is not."""
        for header, words in self._left_out:
            word = normalize_word(line.fields[header])
            if word in words:
                return f"{header} is {word}"
        return None

    def enrollment(self, line: CsvRecord, row: Mapping[str, Value]) -> tuple[str, ...]:
        """What tells an enrolment from all others: the export's identifier of it, or else student
        and program.
        """
        named = self.named_enrollment(line)
        return (named,) if named else (str(row["student_id"]), str(row["program_id"]))

    def named_enrollment(self, line: CsvRecord) -> str:
        """The export's identifier of an enrolment; empty where it has none."""
        header = self.mapped.columns.get("enrollment_id")
        return line.fields[header[0]].strip() if header else ""

    def participant(self, line: CsvRecord) -> str | None:
        """The partner's identifier of the person; None where the file says the student."""
        return line.fields[self._participant].strip() if self._participant else None

    def _columns(self) -> Iterator[Column]:
        """The canonical columns; of an exit, only the last day must be there, and who and which if
        they are mapped.
        """
        for column in self.mapped.kind.canonical.columns:
            if self.mapped.holds == "exits":
                said = column.name in self.mapped.columns or (
                    column.name == "student_id" and self._participant
                )
                column = replace(column, required=bool(said) and column.name != "exit_reason")
            yield column

    @property
    def _participant(self) -> str | None:
        headers = self.mapped.columns.get("participant_id")
        return headers[0] if headers else None

    def _cell(self, column: Column) -> tuple[str, Callable[[CsvRecord], Value]]:
        name, headers = column.name, self.mapped.columns.get(column.name, ())
        if name == "organization_id":
            return name, lambda line: self.mapping.organization_id
        if name == "student_id" and self._participant:
            return name, _remembered(self._participant, self._student)
        if name == "minutes" and "hours" in self.mapped.columns:
            hours = self.mapped.columns["hours"][0]
            return name, _remembered(hours, lambda text: _length(hours, text.strip(), 60))
        if name == "minutes" and "start_time" in self.mapped.columns:
            return name, self._minutes
        if name in self.mapped.constants or not headers:
            constant = convert(replace(column, required=False), self.mapped.constants.get(name))
            return name, lambda line: constant
        said = replace(column, name=headers[0])
        if len(headers) > 1:
            return name, lambda line: convert(
                said, "/".join(line.fields[header].strip() for header in headers)
            )
        if name in ("start_date", "end_date", "date"):
            return name, _remembered(headers[0], lambda text: self._date(said, text))
        if name == "program_id" and self.mapping.programs:
            return name, _remembered(headers[0], lambda text: self._program(said, text))
        if name == "minutes":
            return name, _remembered(headers[0], lambda text: _length(headers[0], text.strip(), 1))
        words = self.mapped.values.get(name)
        if words is None:
            return name, _remembered(headers[0], lambda text: convert(said, text))
        return name, _remembered(
            headers[0], lambda text: convert(said, self._translated(said, words, text))
        )

    def _student(self, text: str) -> Value:
        participant = text.strip()
        header = self._participant or ""
        if not participant:
            raise BadValue(header, f"{header} is empty, and a row needs it")
        try:
            return self.links[participant]
        except KeyError:
            raise BadValue(header, AWAITING_IDENTIFICATION) from None

    def _date(self, column: Column, text: str) -> Value:
        stripped = text.strip()
        if not stripped or not self.mapped.dates:
            return convert(column, stripped)
        day = self.mapped.read_date(stripped)
        if day is None:
            formats = " or ".join(self.mapped.dates)
            raise BadValue(
                column.name, f"{column.name} is {stripped!r}; a date must look like {formats}"
            )
        return convert(column, day.isoformat())

    def _program(self, column: Column, text: str) -> Value:
        known = self.mapping.programs.get(normalize_word(text))
        if known is None and text.strip():
            raise BadValue(
                column.name, f"{column.name} is {text.strip()!r}, no program in {self.mapping.file}"
            )
        return convert(column, known["program_id"] if known else "")

    def _translated(self, column: Column, words: Mapping[str, str], text: str) -> str:
        if not text.strip():
            return ""
        try:
            return words[normalize_word(text)]
        except KeyError:
            raise BadValue(
                column.name,
                f"{column.name} is {text.strip()!r}, and {self.mapping.file} does not say "
                "what that means",
            ) from None

    def _minutes(self, line: CsvRecord) -> Value:
        first, last = self.mapped.columns["start_time"][0], self.mapped.columns["end_time"][0]
        start, end = line.fields[first].strip(), line.fields[last].strip()
        if not start and not end:
            return None
        minutes = _clock(last, end) - _clock(first, start)
        if minutes < 0:
            raise BadValue(last, f"{last} is {end!r}, before {first}, which is {start!r}")
        return float(minutes)


def _remembered(header: str, read: Callable[[str], Value]) -> Callable[[CsvRecord], Value]:
    """Reads one column, and no text twice."""
    memo: dict[str, Value] = {}

    def cell(line: CsvRecord) -> Value:
        text = line.fields[header]
        try:
            return memo[text]
        except KeyError:
            value = read(text)
            if len(memo) < _MEMO_LIMIT:
                memo[text] = value
            return value

    return cell


def _length(header: str, text: str, minutes_each: int) -> float | None:
    """Minutes; hours may also be written as 1:30."""
    clock = _HOURS.fullmatch(text) if minutes_each == 60 else None
    if clock is not None:
        return 60.0 * int(clock[1]) + int(clock[2])
    found = convert(
        replace(canonical_table("service_sessions").column("minutes"), name=header), text
    )
    if not isinstance(found, float):
        return None
    if not 0 <= found * minutes_each <= _LONGEST_SESSION:
        raise BadValue(header, f"{header} is {text!r}; a session lasts from nothing to a whole day")
    return found * minutes_each


def _clock(header: str, text: str) -> int:
    """Minutes after midnight."""
    found = _CLOCK.search(text)
    hour, minute = (int(found[1]), int(found[2])) if found else (99, 99)
    half = found[3].lower() if found and found[3] else None
    if hour > (12 if half else 23) or minute > 59 or (half and not hour):
        raise BadValue(header, f"{header} is {text!r}; a time must look like 15:30 or 3:30 PM")
    return (hour % 12 + 12 * (half == "p") if half else hour) * 60 + minute
