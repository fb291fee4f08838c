"""A first draft of a partner's mapping, from the headers of its export and its values' shapes.

Owns the names that exports give to their columns. It proposes only what a name says and the values
do not contradict; what could be two things becomes a question and stays unmapped. A proposal shows
names of columns and kinds of values, never a value; the draft also contains the names of programs
and the codes of attendance.
"""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from records.canonical.never_ingest import prohibited_kind
from records.canonical.supports import SUPPORTS_FILE, SupportCatalog
from records.connectors.csv_files import HEADER_WITHIN, first_lines, iter_readable_rows
from records.connectors.partner_files.mapping import FILE_KINDS, FileMapping, normalize_word
from records.connectors.protocol import SourceRefused

_SAMPLE_ROWS = 10_000
_ENOUGH_NAMES = 2
_ENOUGH_FIELDS = 3
_SEE_QUESTION = "see question below"
_KNOWN_NAMES: dict[str, tuple[str, ...]] = {
    "student_id": (
        "student number",
        "district student id",
        "district id",
        "local student id",
        "sis id",
        "lasid",
        "numero de estudiante",
        "numero de estudiante del distrito",
    ),
    "participant_id": (
        "participant id",
        "participant number",
        "client id",
        "client number",
        "contact id",
        "person id",
        "subject id",
        "subject unique identifier",
        "id participante",
        "id del participante",
        "numero de participante",
        "id cliente",
    ),
    "session_id": (
        "session id",
        "record id",
        "service id",
        "service delivery id",
        "response id",
        "touchpoint response id",
        "attendance id",
        "visit id",
        "id de sesion",
        "id sesion",
    ),
    "enrollment_id": (
        "enrollment id",
        "enrolment id",
        "enrollment record id",
        "program engagement id",
        "record id",
        "id de inscripcion",
    ),
    "program_id": ("program id", "program code", "codigo del programa", "id del programa"),
    "name": ("program name", "program", "nombre del programa", "programa"),
    "support": ("support", "program type", "type of support", "tipo de apoyo"),
    "capacity": ("capacity", "places", "slots", "cupo"),
    "cost_per_session": ("cost per session", "costo por sesion"),
    "min_grade": ("min grade", "minimum grade", "lowest grade", "grado minimo"),
    "max_grade": ("max grade", "maximum grade", "highest grade", "grado maximo"),
    "start_date": (
        "enrollment date",
        "enrolment date",
        "date enrolled",
        "program start date",
        "start date",
        "entry date",
        "fecha de inscripcion",
        "fecha de inicio",
        "fecha de ingreso",
    ),
    "end_date": (
        "exit date",
        "date exited",
        "program end date",
        "end date",
        "dismissal date",
        "discharge date",
        "withdrawal date",
        "fecha de salida",
        "fecha de egreso",
        "fecha de fin",
    ),
    "exit_reason": (
        "exit reason",
        "reason for exit",
        "reason for dismissal",
        "dismissal reason",
        "discharge reason",
        "reason for leaving",
        "motivo de salida",
        "razon de salida",
        "motivo de egreso",
    ),
    "date": (
        "service date",
        "date of service",
        "session date",
        "delivery date",
        "date of contact",
        "contact date",
        "attendance date",
        "activity date",
        "visit date",
        "date",
        "fecha de servicio",
        "fecha de sesion",
        "fecha de la sesion",
        "fecha",
    ),
    "attended": ("attended", "attendance", "attendance status", "present", "asistio", "asistencia"),
    "minutes": (
        "minutes",
        "total minutes",
        "duration min",
        "duration minutes",
        "duration in minutes",
        "time spent minutes",
        "minutos",
        "duracion min",
        "duracion minutos",
        "duracion en minutos",
    ),
    "hours": (
        "hours",
        "total hours",
        "duration hours",
        "duration hrs",
        "duration in hours",
        "service hours",
        "horas",
        "duracion horas",
        "duracion en horas",
    ),
    "start_time": (
        "start time",
        "begin time",
        "time in",
        "check in time",
        "hora de inicio",
        "hora de entrada",
    ),
    "end_time": ("end time", "time out", "check out time", "hora de fin", "hora de salida"),
}
"""What a mapping may name -> names of columns in exports of Apricot, Efforts to Outcomes and
Salesforce, in English and Spanish, without case, accents and marks."""
_AMBIGUOUS = {
    "student id": "is it the district's own student number (student_id) or yours (participant_id)?",
    "duration": "is it in minutes (minutes) or in hours (hours)?",
    "duracion": "is it in minutes (minutes) or in hours (hours)?",
    "quantity": "is it in minutes (minutes), in hours (hours), or a number of something else?",
    "time spent": "is it in minutes (minutes) or in hours (hours)?",
    "time spent on contact": "is it in minutes (minutes) or in hours (hours)?",
}
_ALL_NAMES = frozenset(_AMBIGUOUS).union(*_KNOWN_NAMES.values())
_SIMILAR_ENOUGH = 0.88
_DATE_FORMATS = (
    "YYYY-MM-DD",
    "MM/DD/YYYY",
    "DD/MM/YYYY",
    "YYYY/MM/DD",
    "MM-DD-YYYY",
    "DD-MM-YYYY",
    "DD.MM.YYYY",
    "MM/DD/YY",
    "DD/MM/YY",
)
_YES_NO_WORDS = {"true", "false", "yes", "no", "y", "n", "t", "f", "1", "0"}
_ATTENDANCE_WORDS = {
    "true": (
        "present",
        "attended",
        "yes",
        "y",
        "true",
        "1",
        "p",
        "show",
        "showed",
        "late",
        "tardy",
        "si",
        "sí",
        "presente",
        "asistió",
        "asistio",
        "partial",
    ),
    "false": (
        "absent",
        "no show",
        "no-show",
        "no",
        "n",
        "false",
        "0",
        "a",
        "excused",
        "unexcused",
        "excused absence",
        "unexcused absence",
        "did not attend",
        "ausente",
        "falta",
        "no asistió",
        "no asistio",
    ),
}
_NO_SESSION_WORDS = (
    "cancelled",
    "canceled",
    "holiday",
    "no session",
    "no class",
    "closed",
    "scheduled",
    "rescheduled",
    "cancelado",
    "cancelada",
    "feriado",
)
_DATES, _TIMES, _NUMBERS = (
    ("start_date", "end_date", "date"),
    ("start_time", "end_time"),
    ("minutes", "hours"),
)
_MAX_CODES = 12
_MAX_DISTINCT = 20
_CLOCK = re.compile(r"(.*[ T])?\d{1,2}:\d{2}(:\d{2})?( ?[AaPp]\.?[Mm]\.?)?")
_NUMBER = re.compile(r"\d+([.,:]\d+)?")


@dataclass(frozen=True)
class ColumnProposal:
    """What one column of an export seems to be.

    `target` is None when it stays unmapped; `confidence` is "sure" or "likely".
    """

    header: str
    target: str | None
    why: str
    confidence: str = ""


@dataclass(frozen=True)
class FileProposal:
    """What one file seems to contain.

    `dates` are the formats that fit; more than one needs a choice.
    """

    file: str
    holds: str | None
    columns: tuple[ColumnProposal, ...]
    dates: tuple[str, ...] = ()
    session_key: tuple[str, ...] = ()
    attendance_codes: Mapping[str, str] = field(default_factory=dict)
    ignored_codes: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    header_line: int = 1

    def column_for(self, target: str) -> str | None:
        """The column proposed for a target, or None."""
        return next((column.header for column in self.columns if column.target == target), None)


def propose_file(path: Path) -> FileProposal:
    """Propose what a file contains, from its header and its first 10,000 records.

    The header is the first line, or the line among the first 20 that names more columns.

    Raises:
        SourceRefused: there is no header, or the first line is a record.
    """
    line = _find_header(path)
    records = iter_readable_rows(path, header_line=line)
    header = next(records)
    rows = list(islice(records, _SAMPLE_ROWS))
    shapes = {name: _shape([row[position] for row in rows]) for position, name in enumerate(header)}
    if any(_shape([name]).is_value for name in header):
        raise SourceRefused(
            f"{path.name}, line {line}: this is a record; the names of the columns must come first"
        )
    return _FileInspection(path.name, header, shapes, line).propose()


def _find_header(path: Path) -> int:
    """The line that looks like the header: the first, unless a later one names more columns.

    Where none names columns that are known, it is the first of at least three names, if all lines
    above it have one field at most, as a report's title has.
    """
    lines = first_lines(path, HEADER_WITHIN)
    found = [_count_known_names(names) for names in lines]
    best = max(found, default=0)
    if best >= _ENOUGH_NAMES:
        return found.index(best) + 1
    filled = [[name for name in names if name] for names in lines]
    below = next((number for number, names in enumerate(filled) if len(names) > 1), 0)
    are_names = not any(_shape([name]).is_value for name in filled[below])
    return below + 1 if len(filled[below]) >= _ENOUGH_FIELDS and are_names else 1


def _count_known_names(names: Sequence[str]) -> int:
    """How many different fields of a line are names of columns that are known."""
    return sum(_plain_words(name) in _ALL_NAMES for name in dict.fromkeys(names))


def draft_mapping(
    files: Sequence[FileProposal],
    organization_id: str | None,
    supports: SupportCatalog | None = None,
) -> str:
    """The mapping as the text of a TOML file, with its open questions as comments.

    Args:
        supports: the kinds of support that it may name; by default those of Handrail.
    """
    supports = supports or SupportCatalog.declared()
    organization = organization_id or "YOUR-ORGANIZATION"
    lines = [
        (
            "# How this partner's export is read. Each line says: what Handrail calls it = what the"
            " export calls it."
        ),
        (
            "# Answer each question (marked ?), then: handrail load service-history FOLDER"
            " --mapping THIS-FILE"
        ),
        f"organization_id = {_toml_string(organization)}",
    ]
    names = sorted({name for file in files for name in file.programs})
    if names:
        lines += [
            "",
            (
                "# Which program each name in the export is. An agreement names programs by their"
                " program_id."
            ),
            (
                f"# ? For suggestions, add support = one of {', '.join(supports.keys)} (the kinds"
                f" of the district's {SUPPORTS_FILE.name})"
            ),
        ]
    for name in names:
        lines += [
            "",
            f"[programs.{_toml_string(name)}]",
            f"program_id = {_toml_string(_slug(f'{organization} {name}'))}",
        ]
    for file in files:
        lines += ["", *_draft_file(file)]
    return "\n".join(lines) + "\n"


def _draft_file(proposal: FileProposal) -> list[str]:
    questions = [f"# ? {question}" for question in proposal.questions]
    if proposal.holds is None:
        return [f"# {proposal.file} is left out.", *questions]
    lines = [
        *questions,
        "[[file]]",
        f"name = {_toml_string(proposal.file)}",
        f"holds = {_toml_string(proposal.holds)}",
    ]
    if proposal.header_line > 1:
        lines.append(f"header_line = {proposal.header_line}")
    if proposal.dates:
        lines.append(
            f"{'# ' if len(proposal.dates) > 1 else ''}dates ="
            f" [{', '.join(_toml_string(date_format) for date_format in proposal.dates)}]"
        )
    lines += ["", "[file.columns]"]
    for target in FILE_KINDS[proposal.holds].columns:
        header = proposal.column_for(target)
        if target == "session_id" and proposal.session_key:
            session_key = ", ".join(_toml_string(header) for header in proposal.session_key)
            lines.append(f"session_id = [{session_key}]")
        elif header is not None:
            lines.append(f"{target} = {_toml_string(header)}")
    lines += [
        f"# {'never stored' if prohibited_kind(column.header) else 'not read'}:"
        f" {_toml_string(column.header)}"
        for column in proposal.columns
        if column.target is None
    ]
    if proposal.attendance_codes:
        lines += [
            "",
            "[file.values.attended]",
            *(
                f"{_toml_string(word)} = {value}"
                for word, value in proposal.attendance_codes.items()
            ),
        ]
    if proposal.ignored_codes:
        lines += [
            "",
            "[file.leave_out]",
            f"attended = [{', '.join(_toml_string(word) for word in proposal.ignored_codes)}]",
        ]
    return lines


def _toml_string(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _slug(text: str) -> str:
    return "-".join(_plain_words(text).split())


def _plain_words(name: str) -> str:
    """A name without case, accents and punctuation, `EnrollmentDate` as two words."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    plain = "".join(
        c for c in unicodedata.normalize("NFKD", spaced) if not unicodedata.combining(c)
    )
    return " ".join(re.sub(r"[^a-z0-9]+", " ", plain.lower()).split())


@dataclass(frozen=True)
class _Shape:
    """What the values of one column have in common.

    `words` are the distinct values by their normalized form, None when they are too many.
    """

    filled: int
    dates: tuple[str, ...]
    clock: bool
    number: bool
    words: Mapping[str, str] | None
    repeats: bool

    @property
    def is_value(self) -> bool:
        return self.filled > 0 and (bool(self.dates) or self.clock or self.number)

    def contradicts(self, target: str) -> str | None:
        """Why the values cannot be what the name suggests, None if they can."""
        if not self.filled:
            return None
        if target in _DATES and not self.dates:
            return "its values do not look like dates"
        if target in _TIMES and not self.clock:
            return "its values do not look like times of day"
        if target in _NUMBERS and not self.number:
            return "its values are not numbers"
        if target == "attended" and (self.words is None or len(self.words) > _MAX_CODES):
            return "it has too many different values for a yes or no"
        if target == "exit_reason" and (self.words is None or len(self.words) > _MAX_CODES):
            return (
                "it looks like free text, which may reveal more about a child than a reason; map it"
                " with [file.values]"
            )
        return None

    def __str__(self) -> str:
        if not self.filled:
            return "no values in the sample"
        if self.dates:
            return "values look like dates"
        if self.clock:
            return "values look like times of day"
        if self.words is not None and len(self.words) == 2 and set(self.words) <= _YES_NO_WORDS:
            return "values are yes or no"
        if self.number:
            return "values are numbers"
        if self.words is not None and len(self.words) <= _MAX_CODES:
            return (
                "all values are the same"
                if len(self.words) == 1
                else f"{len(self.words)} different values"
            )
        return "values are text"


def _shape(values: Iterable[str]) -> _Shape:
    filled = [value.strip() for value in values if value.strip()]
    distinct = dict.fromkeys(filled)
    dates = tuple(
        date_format
        for date_format in _DATE_FORMATS
        if filled and all(_plausible(date_format, value) for value in distinct)
    )
    words: dict[str, str] | None = {}
    for value in distinct:
        if words is not None:
            words.setdefault(normalize_word(value), value)
            words = words if len(words) <= _MAX_DISTINCT else None
    return _Shape(
        len(filled),
        dates,
        bool(filled) and all(_CLOCK.fullmatch(value) for value in distinct),
        bool(filled) and all(_NUMBER.fullmatch(value) for value in distinct),
        words,
        len(distinct) < len(filled),
    )


def _plausible(date_format: str, value: str) -> bool:
    day = FileMapping("", "sessions", {}, (date_format,)).read_date(value)
    return day is not None and date(1980, 1, 1) <= day < date(2100, 1, 1)


class _Candidate(NamedTuple):
    """A column that may be mapped to a target, by its name."""

    header: str
    confidence: str


class _FileInspection:
    """One file while its mapping is proposed."""

    def __init__(
        self, file: str, header: list[str], shapes: Mapping[str, _Shape], header_line: int = 1
    ) -> None:
        self.file, self.header, self.shapes = file, header, shapes
        self.header_line = header_line
        self.questions: list[str] = []
        if header_line > 1:
            above = "line 1" if header_line == 2 else f"lines 1 to {header_line - 1}"
            self.ask(
                f"line {header_line} looks like the header, so {above} above it would be left out"
                f" (header_line = {header_line}): is that right?"
            )

    def propose(self) -> FileProposal:
        matches = {
            header: _name_matches(header)
            for header in self.header
            if prohibited_kind(header) is None
        }
        holds = _guess_kind({target for targets, _ in matches.values() for target in targets})
        if holds is None:
            self.ask(
                "it is not clear what this file holds: programs, enrollments, exits or sessions"
            )
            unmapped = tuple(self._unmapped(header) for header in self.header)
            return FileProposal(
                self.file,
                None,
                unmapped,
                questions=self.all_questions,
                header_line=self.header_line,
            )
        columns = self._columns(matches, holds)
        proposal = FileProposal(self.file, holds, columns)
        session_key = self._session(proposal) if holds == "sessions" else ()
        attendance_codes, ignored_codes = self._attendance(proposal)
        dates = self._dates(proposal)
        programs = self._programs(proposal)
        self._ask_for_missing(proposal, session_key)
        return FileProposal(
            self.file,
            holds,
            columns,
            dates,
            session_key,
            attendance_codes,
            ignored_codes,
            programs,
            self.all_questions,
            self.header_line,
        )

    @property
    def all_questions(self) -> tuple[str, ...]:
        return tuple(self.questions)

    def ask(self, question: str) -> None:
        self.questions.append(f"{self.file}: {question}")

    def _unmapped(self, header: str, why: str = "") -> ColumnProposal:
        kind = prohibited_kind(header)
        if kind is not None:
            return ColumnProposal(header, None, f"never stored ({kind})")
        return ColumnProposal(header, None, why or str(self.shapes[header]))

    def _columns(
        self, matches: Mapping[str, tuple[tuple[str, ...], str]], holds: str
    ) -> tuple[ColumnProposal, ...]:
        candidates: dict[str, list[_Candidate]] = {}
        why_unmapped: dict[str, str] = {}
        for header, (targets, confidence) in matches.items():
            target, reason = self._target(header, _targets_of_kind(targets, holds))
            if target is not None:
                candidates.setdefault(target, []).append(_Candidate(header, confidence))
            elif reason:
                why_unmapped[header] = reason
        mapped: dict[str, ColumnProposal] = {}
        for target, best in _best_candidates(candidates).items():
            if len(best) == 1:
                mapped[best[0].header] = self._mapped(best[0], target)
                continue
            names = " and ".join(repr(candidate.header) for candidate in best)
            self.ask(f"{names} are both named like {target}: which is it?")
            why_unmapped |= {candidate.header: _SEE_QUESTION for candidate in best}
        return tuple(
            mapped.get(header) or self._unmapped(header, why_unmapped.get(header, ""))
            for header in self.header
        )

    def _target(self, header: str, possible: Sequence[str]) -> tuple[str | None, str]:
        """What a column is mapped to, or None with the reason; a doubt becomes a question."""
        words = _plain_words(header)
        if words in _AMBIGUOUS:
            self.ask(f"{header!r}: {_AMBIGUOUS[words]}")
            return None, _SEE_QUESTION
        if not possible:
            return None, ""
        if len(possible) > 1:
            self.ask(f"{header!r} may be {' or '.join(possible)}: which?")
            return None, _SEE_QUESTION
        reason = self.shapes[header].contradicts(possible[0])
        if reason is not None:
            self.ask(f"{header!r} is named like {possible[0]}, but {reason}")
            return None, reason
        return possible[0], ""

    def _mapped(self, candidate: _Candidate, target: str) -> ColumnProposal:
        likeness = "is" if candidate.confidence == "sure" else "is like"
        why = f"name {likeness} one for this; {self.shapes[candidate.header]}"
        return ColumnProposal(candidate.header, target, why, candidate.confidence)

    def _session(self, proposal: FileProposal) -> tuple[str, ...]:
        """Several columns that together identify a session, where no single column does."""
        person = proposal.column_for("participant_id") or proposal.column_for("student_id")
        session_id = proposal.column_for("session_id")
        if person is None or (session_id is not None and not self.shapes[session_id].repeats):
            return ()
        if session_id is not None:
            self.ask(
                f"{session_id!r} is the same on several rows, so it counts together with"
                f" {person!r}: is that right?"
            )
            return session_id, person
        parts = [
            person,
            *(proposal.column_for(target) for target in ("date", "program_id", "start_time")),
        ]
        key_columns = tuple(part for part in parts if part is not None)
        self.ask(
            f"no column identifies a session, so {', '.join(map(repr, key_columns))} together form"
            " the key: is that right?"
        )
        return key_columns

    def _attendance(self, proposal: FileProposal) -> tuple[dict[str, str], tuple[str, ...]]:
        header = proposal.column_for("attended")
        words = self.shapes[header].words if header is not None else None
        if not words or set(words) <= _YES_NO_WORDS:
            return {}, ()
        meaning = {
            word: value for value, synonyms in _ATTENDANCE_WORDS.items() for word in synonyms
        }
        codes = {words[word]: meaning[word] for word in words if word in meaning}
        ignored = tuple(words[word] for word in words if word in _NO_SESSION_WORDS)
        unknown = len(words) - len(codes) - len(ignored)
        if unknown:
            self.ask(
                f"{header!r} contains unknown codes ({unknown}): add them to [file.values.attended]"
            )
        return codes, ignored

    def _dates(self, proposal: FileProposal) -> tuple[str, ...]:
        """The formats that fit every date column; several only if the sample cannot decide."""
        shapes = [
            self.shapes[date_format.header]
            for date_format in proposal.columns
            if date_format.target in _DATES
        ]
        fitting = [shape.dates for shape in shapes if shape.filled]
        shared = [
            date_format
            for date_format in _DATE_FORMATS
            if fitting and all(date_format in formats for formats in fitting)
        ]
        if not shared:
            shared = sorted(
                {formats[0] for formats in fitting if len(formats) == 1}, key=_DATE_FORMATS.index
            )
            if len(shared) < len(set(fitting)):
                self.ask("its dates are written in more than one way: put the formats under dates")
        elif len(shared) > 1:
            self.ask(
                f"are its dates written {' or '.join(shared)}? The sample does not settle it: keep"
                " one under dates"
            )
        return tuple(shared)

    def _programs(self, proposal: FileProposal) -> tuple[str, ...]:
        header = proposal.column_for("program_id")
        words = self.shapes[header].words if header is not None else None
        is_program_name = (
            header is not None
            and "name" in _name_matches(header)[0]
            and proposal.holds != "programs"
        )
        return tuple(words.values()) if words and is_program_name else ()

    def _ask_for_missing(self, proposal: FileProposal, session: tuple[str, ...]) -> None:
        assert proposal.holds is not None
        for group in FILE_KINDS[proposal.holds].required_groups:
            if any(proposal.column_for(target) for target in group) or (
                group == ("session_id",) and session
            ):
                continue
            names = " or ".join(group)
            hint = (
                "; is it the same on every row? Then say it under [file.constants]"
                if group[0] in ("attended", "program_id")
                else ""
            )
            self.ask(f"no column was found for {names}, which {proposal.holds} need{hint}")


def _name_matches(header: str) -> tuple[tuple[str, ...], str]:
    """The targets that a column of this name may be, and how sure that is."""
    words = _plain_words(header)
    exact = tuple(target for target, names in _KNOWN_NAMES.items() if words in names)
    if exact or words in _AMBIGUOUS:
        return exact, "sure"
    close = tuple(
        target
        for target, names in _KNOWN_NAMES.items()
        if any(_is_similar(words, name) for name in names)
    )
    return close, "likely"


def _is_similar(words: str, name: str) -> bool:
    parts = name.split()
    if len(parts) > 1 and set(parts) <= set(words.split()):
        return True
    return (
        difflib.SequenceMatcher(None, words.replace(" ", ""), name.replace(" ", "")).ratio()
        >= _SIMILAR_ENOUGH
    )


def _guess_kind(targets: set[str]) -> str | None:
    """The kind of file with these targets among its columns."""
    person = targets & {"student_id", "participant_id"} or "enrollment_id" in targets
    if "date" in targets and (
        targets & {"attended", "minutes", "hours", "start_time"} or "start_date" not in targets
    ):
        return "sessions"
    if "start_date" in targets:
        return "enrollments"
    if "end_date" in targets and person:
        return "exits"
    return "programs" if not person and targets & {"name", "program_id"} else None


def _targets_of_kind(targets: Sequence[str], holds: str) -> list[str]:
    """Those of the targets that such a file may have.

    A program's name stands for the program where the file is about people.
    """
    if holds != "programs":
        targets = tuple("program_id" if target == "name" else target for target in targets)
    return [target for target in dict.fromkeys(targets) if target in FILE_KINDS[holds].columns]


def _best_candidates(chosen: Mapping[str, list[_Candidate]]) -> dict[str, list[_Candidate]]:
    """The best columns for each target.

    Sure names before likely ones, a program's code before its name, the district's number before
    the partner's.
    """
    best_of: dict[str, list[_Candidate]] = {}
    for target, candidates in chosen.items():
        if target == "participant_id" and "student_id" in chosen:
            continue
        best = [column for column in candidates if column.confidence == "sure"] or candidates
        if target == "program_id":
            codes = [column for column in best if "program_id" in _name_matches(column.header)[0]]
            best = codes or best
        best_of[target] = best
    return best_of
